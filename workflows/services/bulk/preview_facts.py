"""Facts of a preview, stored in the job's row when its selection is frozen: pages read them without a search.

The facts are as old as the selection itself. The start of the job checks again what must be accepted.

Source: docs/reference/screens.md#run-list
"""

import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from workflows.models import BulkItem, BulkJob, Run
from workflows.services.bulk.eligibility import INELIGIBLE_REASONS
from workflows.services.bulk.first_runs import first_runs, typical_put_first
from workflows.services.bulk.selectors import bulk_split, item_label
from workflows.services.runs.replay_checks import ReplayFacts, replay_facts_of_job, replay_has_succeeded
from workflows.services.runs.replay_rules import CHUNK, RepeatedAction, runs_with_repeats
from workflows.statuses import BulkItemState, CommandAction

SHOWN_LEFT_OUT = 3
SHOWN_REPEATS = 5


@dataclass(frozen=True)
class PreviewFacts:
    """Effect of a job before it starts.

    `by_status`: eligible runs by status. `left_out`: other runs by code. `left_out_first`: the first of these runs,
    each with its `label` and its own `reason`, which is empty if the code says all. For a replay: `replay`,
    `has_succeeded` (a replay of these runs has succeeded on the version that the job uses), `first` (the first runs
    that start, see `first_runs`), `repeats` and `repeats_first` (the number of runs in which an action ran that is not
    idempotent, and the first of them as `{run, label}`), `canceled_first` (the first runs whose newest replay was
    canceled or terminated, in the same form), and `pinned` and `published`, the numbers of the versions if all runs
    have one definition and one version.
    """

    by_status: dict[str, int]
    left_out: dict[str, int]
    replay: ReplayFacts | None = None
    has_succeeded: bool = False
    first: list[dict[str, Any]] = field(default_factory=list)
    repeats: int = 0
    repeats_first: list[dict[str, str]] = field(default_factory=list)
    pinned: int | None = None
    published: int | None = None
    left_out_first: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    canceled_first: list[dict[str, str]] = field(default_factory=list)

    @property
    def eligible(self) -> int:
        return sum(self.by_status.values())


def preview_facts_freeze(job: BulkJob) -> dict[str, Any]:
    """Return the facts of a job that was just frozen, as a JSON value.

    The runs that repeat effects are marked, and a typical run becomes the first. Cost: one statement, and one for each
    code of runs that are left out. For a replay at most 21 more, of which eight are for each CHUNK of runs.
    """
    split = bulk_split(job)
    facts = PreviewFacts(
        split["by_status"],
        split["ineligible"],
        left_out_first={code: _first(job, code) for code in split["ineligible"]},
    )
    if job.action == CommandAction.REPLAY:
        pinned, published = _versions(job)
        replay = replay_facts_of_job(job)
        repeats, repeats_first = _mark_repeats(job, replay)
        typical_put_first(job)
        facts = replace(
            facts, replay=replay, has_succeeded=replay_has_succeeded(job), first=first_runs(job), repeats=repeats,
            repeats_first=repeats_first, pinned=pinned, published=published, canceled_first=_named(job, replay),
        )  # fmt: skip
    return asdict(facts)


def _mark_repeats(job: BulkJob, facts: ReplayFacts) -> tuple[int, list[dict[str, str]]]:
    """Mark the items whose replay repeats an effect. Return their number, and the first of them."""
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    targets = list(items.values_list("target_id", flat=True)) if facts.repeated else []
    found = list(runs_with_repeats(tenant_id=job.tenant_id, run_ids=targets, repeated=facts.repeated))
    for begin in range(0, len(found), CHUNK):
        items.filter(target_id__in=found[begin : begin + CHUNK]).update(repeats_effects=True)
    first = items.filter(repeats_effects=True).order_by("position")[:SHOWN_REPEATS] if found else []
    return len(found), [{"run": str(item.target_id), "label": item_label(item)} for item in first]


def _named(job: BulkJob, facts: ReplayFacts) -> list[dict[str, str]]:
    """Return the first runs whose newest replay was canceled or terminated."""
    if not facts.canceled_first:
        return []
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, target_id__in=facts.canceled_first)
    return [{"run": str(item.target_id), "label": item_label(item)} for item in items.order_by("position")]


def _first(job: BulkJob, code: str) -> list[dict[str, str]]:
    """Return the first runs that are left out with this code."""
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.INELIGIBLE, code=code)
    return [
        {"label": item_label(item), "reason": "" if item.message == INELIGIBLE_REASONS.get(code) else item.message}
        for item in items.order_by("position")[:SHOWN_LEFT_OUT]
    ]


def preview_facts(job: BulkJob) -> PreviewFacts:
    """Return the stored facts of a preview."""
    values = dict(job.preview or {"by_status": {}, "left_out": {}})
    replay = values.pop("replay", None)
    if replay is None:
        return PreviewFacts(**values)
    executed = [RepeatedAction(**action) for action in replay["executed"]]
    return PreviewFacts(**values, replay=ReplayFacts(**{**replay, "executed": executed}))


def _versions(job: BulkJob) -> tuple[int | None, int | None]:
    """Return the version of the runs and the published version, if all runs have one definition and one version."""
    found: set[tuple[uuid.UUID, int, int | None]] = set()
    targets = list(BulkItem.objects.filter(tenant_id=job.tenant_id, job=job).values_list("target_id", flat=True))
    for begin in range(0, len(targets), CHUNK):
        runs = Run.objects.filter(tenant_id=job.tenant_id, id__in=targets[begin : begin + CHUNK]).order_by()
        found.update(runs.values_list("definition_id", "version", "definition__published_version__version").distinct())
        if len(found) > 1:
            return None, None
    return next(((pinned, published) for _, pinned, published in found), (None, None))

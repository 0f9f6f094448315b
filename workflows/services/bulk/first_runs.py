"""The first runs of a replay job, of which the requester chooses the one that starts first.

Runs of one cause can still have different kinds of input. The first replay says most about the others if its input has
the form that most of them have, so the newest run with this form is put first.

Source: docs/reference/incidents.md#replay
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from workflows.engine.control import IF
from workflows.errors import InputInvalid
from workflows.models import BulkItem, BulkJob, Run, RunStep
from workflows.selectors.bulk_first_runs import SHOWN_FIRST
from workflows.services.bulk.selectors import item_label
from workflows.statuses import BulkItemState

FIRST_RUN = "BULK_FIRST_RUN"
MOST_COMPARED = 100
SHOWN_BRANCHES = 3
FORM_DEPTH = 3


def typical_put_first(job: BulkJob) -> None:
    """Put the first item whose input has the most frequent form at the beginning of the job.

    A run that was not replayed comes before all that were, because their replays did not succeed. Then an item that
    repeats no effect comes before an item that does. Call it when the selection is frozen and the items that repeat
    effects are marked. Cost: three statements, and two if the order changes. At most MOST_COMPARED inputs are compared.
    """
    repeats = dict(_pending(job).values_list("target_id", "repeats_effects")[:MOST_COMPARED])
    targets = list(repeats)
    inputs = dict(Run.objects.filter(tenant_id=job.tenant_id, id__in=targets).values_list("id", "input"))
    forms = {target: form_of(inputs.get(target)) for target in targets}
    most = Counter(forms.values()).most_common(1)
    replays = Run.objects.filter(tenant_id=job.tenant_id, replay_of_id__in=targets)
    replayed = set(replays.order_by().values_list("replay_of_id", flat=True))
    if targets:
        first = min(targets, key=lambda run: (run in replayed, forms[run] != most[0][0], repeats[run]))
        if first != targets[0]:
            item_put_first(job, first)


def item_put_first(job: BulkJob, run_id: uuid.UUID) -> None:
    """Let the item of this run change its place with the first item that is pending.

    Errors: InputInvalid BULK_FIRST_RUN if no run of the job with this id can start.
    """
    first = _pending(job).first()
    chosen = _pending(job).filter(target_id=run_id).first()
    if first is None or chosen is None:
        raise InputInvalid(
            f"the run {run_id} cannot start first, because the job does not start it; choose a run that the preview"
            " starts",
            code=FIRST_RUN,
            details={"runId": str(run_id)},
        )
    if first.id != chosen.id:
        places = {first.id: chosen.position, chosen.id: first.position}
        for item_id, position in places.items():
            BulkItem.objects.filter(id=item_id).update(position=position)


def form_of(value: Any, depth: int = FORM_DEPTH) -> str:
    """Return a text that is equal for values with the same names and types, down to a depth."""
    if not isinstance(value, dict) or not depth:
        return "number" if type(value) in (int, float) else type(value).__name__
    return "{" + ",".join(f"{name!r}:{form_of(value[name], depth - 1)}" for name in sorted(value)) + "}"


def first_runs(job: BulkJob) -> list[dict[str, Any]]:
    """Return the first runs that start, as `{run, label, version, branches}`. `branches`: those that the run took.

    Cost: three statements.
    """
    items = list(_pending(job)[:SHOWN_FIRST])
    ids = [item.target_id for item in items]
    versions = dict(Run.objects.filter(tenant_id=job.tenant_id, id__in=ids).values_list("id", "version"))
    branches = _branches(job, ids)
    return [
        {
            "run": str(item.target_id),
            "label": item_label(item),
            "version": versions.get(item.target_id),
            "branches": branches[item.target_id],
        }
        for item in items
    ]


def _branches(job: BulkJob, run_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    """Return the first branches that each of the runs took, for example `Is the amount large?: no`."""
    steps = RunStep.objects.filter(tenant_id=job.tenant_id, run_id__in=run_ids, step_type=IF).exclude(branch="")
    found: dict[uuid.UUID, list[str]] = defaultdict(list)
    rows = steps.order_by("run_id", "projection_seq").values_list("run_id", "name", "step_id", "branch")
    for run_id, name, step_id, branch in rows[:MOST_COMPARED]:
        text = f"{name or step_id}: {'yes' if branch == 'then' else 'no'}"
        if text not in found[run_id] and len(found[run_id]) < SHOWN_BRANCHES:
            found[run_id].append(text)
    return found


def _pending(job: BulkJob) -> QuerySet[BulkItem]:
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    return items.order_by("position")

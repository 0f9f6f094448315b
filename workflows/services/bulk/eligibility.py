"""Eligibility of the items of a bulk job. A run that is not eligible gets a code and a reason, and no request.

A replay job has more rules than other jobs: it starts one run for each key, and the input of each run must fit the
version that the job uses (docs/reference/authority.md#control-matrix).

Each statement reads one table by a list of ids or keys. In one statement with joins and subqueries, PostgreSQL read all
runs of the tenant again for each pair of items, because it did not know yet how large the tables were: 41 runs took
17 s. With a list, the worst plan reads the runs of the tenant once for each CHUNK of items.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from workflows.errors import PortalError
from workflows.models import BulkItem, BulkJob, Command, DefinitionVersion, Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.payload_check import PayloadChecker
from workflows.services.runs.replay_rules import (
    REPEATS,
    RUN_OPEN,
    RUN_SUCCEEDED,
    repeated_actions,
    runs_with_repeats,
)
from workflows.services.runs.start import require_definition_startable
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    BulkItemState,
    CommandAction,
    CommandState,
    Engine,
    ReplayVersion,
    RunStatus,
)

CHUNK = 5_000
# More inputs are checked when their replays start.
MAX_CHECKED_INPUTS = 1_000
LEGACY, CLOSED, ASKED, TWICE = (
    "WORKFLOW_LEGACY_RUN_READ_ONLY", "WORKFLOW_RUN_CLOSED", "BULK_ALREADY_ASKED", "REPLAY_KEY_TWICE",
)  # fmt: skip
_PUBLISHED = "definition__published_version_id"
_UNOBSERVED = (CommandState.ACCEPTED, CommandState.UNKNOWN)

INELIGIBLE_REASONS = {
    "RUN_NOT_FOUND": "there is no run with this id",
    LEGACY: "the run belongs to the history of an older engine and can only be read",
    CLOSED: "the run had already ended",
    ASKED: "the same request was sent before, and the run has not recorded its end yet",
    RUN_OPEN: "another run of the key is open",
    RUN_SUCCEEDED: "another run of the key has succeeded since",
    TWICE: "a newer run of the same key is in the selection",
    REPEATS: "a replay would repeat the effect of an action that is not idempotent",
    "PAYLOAD_INVALID": "the input does not fit the version",
    "DEFINITION_NOT_PUBLISHED": "the definition has no published version",
    "DEFINITION_PAUSED": "the definition is paused, and an author must resume it first",
    "DEFINITION_ARCHIVED": "the definition is archived and starts no runs",
}


@dataclass(frozen=True)
class _Selected:
    """One pending item and the facts of its run."""

    item_id: uuid.UUID
    run_id: uuid.UUID
    engine: str
    status: str
    definition_id: uuid.UUID
    key: str
    created_at: datetime

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_RUN_STATUSES

    @property
    def place(self) -> tuple[uuid.UUID, str]:
        """Return the definition and the key. Two runs with the same place do the same work."""
        return self.definition_id, self.key


@dataclass(frozen=True)
class _Checked:
    """Version of a replay: the reason why it starts no runs now, or the schema of its input."""

    code: str = ""
    schema: str = ""


@dataclass
class _OneForEachKey:
    """The newest run of each key so far, and the items of the older runs."""

    newest: dict[tuple[uuid.UUID, str], tuple[datetime, uuid.UUID, uuid.UUID]] = field(default_factory=dict)
    older: list[uuid.UUID] = field(default_factory=list)

    def add(self, run: _Selected) -> None:
        own = (run.created_at, run.run_id, run.item_id)
        known = self.newest.setdefault(run.place, own)
        if known != own:
            self.newest[run.place], (_, _, item_id) = max(known, own), min(known, own)
            self.older.append(item_id)


def items_check(job: BulkJob) -> None:
    """Mark the items that are not eligible. Call this function in the transaction that freezes the selection.

    Items of runs that do not exist have their code from the freeze.
    """
    is_replay = job.action == CommandAction.REPLAY
    is_keyed = is_replay and not job.allows_another_run
    kept = _OneForEachKey()
    for selected in _chunks(job):
        codes = {run.item_id: LEGACY for run in selected if run.engine == Engine.DB}
        current = [run for run in selected if run.item_id not in codes]
        if BULK_ACTIONS[job.action].is_for_open:
            codes |= _open_rules(job, current)
        elif is_keyed:
            codes |= _replay_rules(job, current)
            for run in current:
                if run.key and run.item_id not in codes:
                    kept.add(run)
        _mark_codes(job, codes)
    _mark_codes(job, dict.fromkeys(kept.older, TWICE))
    if is_replay:
        _check_inputs(job)


def repeats_leave_out(job: BulkJob) -> None:
    """Leave out the runs whose replay would repeat the effect of an action that is not idempotent.

    Call this function in the transaction that starts the job: a run can have executed an action since the preview.
    Cost: one statement, and five for each CHUNK of runs.
    """
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    item_of = dict(items.values_list("target_id", "id"))
    targets = list(item_of)
    repeated = repeated_actions(tenant_id=job.tenant_id, run_ids=targets)
    found = runs_with_repeats(tenant_id=job.tenant_id, run_ids=targets, repeated=repeated)
    _mark_codes(job, {item_of[run_id]: REPEATS for run_id in found})
    facts = job.preview or {}
    job.preview = {**facts, "left_out": {**facts.get("left_out", {}), REPEATS: len(found)}} if found else job.preview


def _chunks(job: BulkJob) -> Iterator[list[_Selected]]:
    """Return the pending items with the facts of their runs, in chunks. Cost: two statements for each chunk."""
    pending = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    position = 0
    while items := list(
        pending.filter(position__gt=position).order_by("position").values_list("target_id", "id", "position")[:CHUNK]
    ):
        position = items[-1][2]
        item_of = {run_id: item_id for run_id, item_id, _ in items}
        runs = Run.objects.filter(tenant_id=job.tenant_id, id__in=item_of)
        facts = runs.values_list("id", "engine", "status", "definition_id", "correlation_key", "created_at")
        yield [_Selected(item_of[row[0]], *row) for row in facts]


def _open_rules(job: BulkJob, selected: Sequence[_Selected]) -> dict[uuid.UUID, str]:
    codes = {run.item_id: CLOSED for run in selected if not run.is_open}
    item_of = {run.run_id: run.item_id for run in selected if run.is_open}
    asked = Command.objects.filter(
        tenant_id=job.tenant_id, run_id__in=item_of, action=job.action, state__in=_UNOBSERVED
    )
    return codes | {item_of[run_id]: ASKED for run_id in asked.values_list("run_id", flat=True) if run_id}


def _replay_rules(job: BulkJob, selected: Sequence[_Selected]) -> dict[uuid.UUID, str]:
    """Return the codes of runs that have another run of their key, which is open or has succeeded since."""
    runs = Run.objects.filter(tenant_id=job.tenant_id)
    replays = _others(runs.filter(replay_of_id__in=[run.run_id for run in selected]), "replay_of_id")
    keyed = [run for run in selected if run.key]
    # The exclusion of the empty key is the condition of the index.
    same_key = runs.exclude(correlation_key="").filter(
        correlation_key__in={run.key for run in keyed}, definition_id__in={run.definition_id for run in keyed}
    )
    others = _others(same_key, "definition_id", "correlation_key")
    codes = {}
    for run in selected:
        own_open = 1 if run.is_open and run.key else 0
        found = [replays[run.run_id,], others[run.place] if run.key else (0, None)]
        if found[0][0] or found[1][0] > own_open:
            codes[run.item_id] = RUN_OPEN
        elif any(newest is not None and newest > run.created_at for _, newest in found):
            codes[run.item_id] = RUN_SUCCEEDED
    return codes


def _others(runs: QuerySet[Run], *group: str) -> dict[tuple[Any, ...], tuple[int, datetime | None]]:
    """Return the number of open runs of each group, and the time of creation of its newest run that succeeded."""
    is_open, has_succeeded = Q(status__in=OPEN_RUN_STATUSES), Q(status=RunStatus.SUCCEEDED)
    rows = runs.filter(is_open | has_succeeded).order_by().values_list(*group)
    found = rows.annotate(open=Count("id", filter=is_open), newest=Max("created_at", filter=has_succeeded))
    counted: dict[tuple[Any, ...], tuple[int, datetime | None]] = defaultdict(lambda: (0, None))
    counted.update((tuple(row[:-2]), (row[-2], row[-1])) for row in found)
    return counted


def _mark_codes(job: BulkJob, codes: dict[uuid.UUID, str]) -> None:
    items_of: dict[str, list[uuid.UUID]] = defaultdict(list)
    for item_id, code in codes.items():
        items_of[code].append(item_id)
    for code, ids in items_of.items():
        for begin in range(0, len(ids), CHUNK):
            _mark(job, ids[begin : begin + CHUNK], code, INELIGIBLE_REASONS[code])


def _mark(job: BulkJob, ids: Sequence[uuid.UUID], code: str, message: str) -> None:
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING, id__in=ids)
    items.update(state=BulkItemState.INELIGIBLE, code=code, message=message, decided_at=timezone.now())


def _check_inputs(job: BulkJob) -> None:
    """Mark items that their version refuses: it starts no runs now, or the input does not fit its schema.

    At most MAX_CHECKED_INPUTS inputs are checked.
    """
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    wanted = dict(items.order_by("position").values_list("target_id", "id")[:MAX_CHECKED_INPUTS])
    runs = Run.objects.filter(tenant_id=job.tenant_id, id__in=wanted.keys())
    version_of = "definition_version_id" if job.replay_version == ReplayVersion.PINNED else _PUBLISHED
    checker = PayloadChecker(job.tenant_id)
    versions: dict[Any, _Checked] = {}
    refused: dict[Any, tuple[str, str]] = {}
    for run_id, given, version_id in runs.values_list("id", "input", version_of).iterator(chunk_size=100):
        if version_id not in versions:
            versions[version_id] = _checked(job, version_id)
        version = versions[version_id]
        if version.code:
            refused[wanted[run_id]] = (version.code, INELIGIBLE_REASONS[version.code])
            continue
        problems = checker.problems(given, version.schema)
        if checker.is_exhausted:
            break
        if problems:
            text = f"the input does not fit {version.schema}: {problems[0]['pointer']} {problems[0]['message']}"
            refused[wanted[run_id]] = ("PAYLOAD_INVALID", " ".join(text.split()))
    for item_id, (code, message) in refused.items():
        _mark(job, [item_id], code, message)


def _checked(job: BulkJob, version_id: uuid.UUID | None) -> _Checked:
    if version_id is None:
        return _Checked(code="DEFINITION_NOT_PUBLISHED")
    version = DefinitionVersion.objects.select_related("definition").get(tenant_id=job.tenant_id, id=version_id)
    try:
        require_definition_startable(version.definition)
    except PortalError as error:
        return _Checked(code=error.code)
    return _Checked(schema=version.document()["payloadSchemaRef"])

"""Facts for a person before a replay: earlier replays, other runs of the key, and effects that would be repeated.

Source: docs/reference/authority.md#control-matrix
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Case, Count, F, Q, Value, When

from workflows.models import BulkItem, BulkJob, Run
from workflows.selectors.runs_in_the_way import open_or_succeeded_since
from workflows.services.runs.replay_rules import (
    CHUNK,
    MAX_NAMED,
    RepeatedAction,
    executed_actions,
    runs_of_key,
)
from workflows.statuses import BulkItemState, ReplayVersion, RunStatus

FAILED_STATUSES = (RunStatus.FAILED, RunStatus.TIMED_OUT)
CANCELED_STATUSES = (RunStatus.CANCELED, RunStatus.TERMINATED)


@dataclass(frozen=True)
class ReplayFacts:
    """Facts about the replay of some runs.

    `replayed`: runs that were replayed before. `replays`: their earlier replays by status. `canceled`: runs whose
    newest replay was canceled or terminated. `canceled_first`: ids of the first of them. For the replay of one run,
    `in_the_way` has the other runs of the key that are open or have succeeded since, and `others` the newest of the
    other replays.
    """

    replayed: int
    replays: dict[str, int]
    executed: list[RepeatedAction]
    in_the_way: list[Run] = field(default_factory=list)
    others: list[Run] = field(default_factory=list)
    canceled: int = 0
    canceled_first: list[str] = field(default_factory=list)

    @property
    def repeated(self) -> list[RepeatedAction]:
        return [action for action in self.executed if not action.is_idempotent]

    @property
    def resent(self) -> list[RepeatedAction]:
        return [action for action in self.executed if action.is_idempotent]

    @property
    def replay_count(self) -> int:
        return sum(self.replays.values())

    @property
    def failed_replays(self) -> int:
        return sum(number for status, number in self.replays.items() if status in FAILED_STATUSES)


def replay_facts_of_job(job: BulkJob) -> ReplayFacts:
    """Return the facts about the eligible runs of a replay job. Cost: four statements for each CHUNK of runs."""
    targets = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    return _facts(job.tenant_id, list(targets.values_list("target_id", flat=True)))


def replay_facts_of_run(run: Run) -> ReplayFacts:
    """Return the facts about the replay of one run. Cost: five statements."""
    is_in_the_way = Case(When(open_or_succeeded_since(run.created_at), then=Value(True)), default=Value(False))
    found = runs_of_key(run).annotate(is_in_the_way=is_in_the_way).filter(Q(is_in_the_way=True) | Q(replay_of=run))
    rows: list[Any] = list(found.order_by("-is_in_the_way", "-created_at", "-id")[: 2 * MAX_NAMED])
    return replace(
        _facts(run.tenant_id, [run.id]),
        in_the_way=[row for row in rows if row.is_in_the_way][:MAX_NAMED],
        others=[row for row in rows if not row.is_in_the_way][:MAX_NAMED],
    )


def replay_has_succeeded(job: BulkJob) -> bool:
    """Return True if a replay of a run of this job has succeeded on the version that the job uses."""
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job)
    targets = list(items.values_list("target_id", flat=True))
    replays = Run.objects.filter(tenant_id=job.tenant_id, status=RunStatus.SUCCEEDED)
    if job.replay_version == ReplayVersion.PUBLISHED:
        replays = replays.filter(definition_version_id=F("definition__published_version_id"))
    else:
        replays = replays.filter(definition_version_id=F("replay_of__definition_version_id"))
    return any(replays.filter(replay_of_id__in=ids).exists() for ids in _chunks(targets))


def _facts(tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> ReplayFacts:
    replays, newest = Counter[str](), dict[uuid.UUID, str]()
    for ids in _chunks(run_ids):
        earlier = Run.objects.filter(tenant_id=tenant_id, replay_of_id__in=ids).order_by()
        replays.update(dict(earlier.values_list("status").annotate(Count("id"))))
        by_run = earlier.order_by("replay_of_id", "-created_at", "-id").distinct("replay_of_id")
        newest.update(by_run.values_list("replay_of_id", "status"))
    canceled = [str(run_id) for run_id in run_ids if newest.get(run_id) in CANCELED_STATUSES]
    executed = executed_actions(tenant_id=tenant_id, run_ids=run_ids)
    return ReplayFacts(
        len(newest), dict(replays), executed, canceled=len(canceled), canceled_first=canceled[:MAX_NAMED]
    )


def _chunks(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    """Return the ids in lists. PostgreSQL may choose a slow plan for a subquery on items that were just written."""
    return (ids[begin : begin + CHUNK] for begin in range(0, len(ids), CHUNK))

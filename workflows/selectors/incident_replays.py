"""Results of the replays of the runs of an incident (docs/reference/incidents.md#replay)."""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, NullIf

from workflows.models import Incident, IncidentFailure, Run, RunStep
from workflows.selectors.incidents import family_of, shown_incident_of_run
from workflows.selectors.replay_counts import ReplayGroup
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus, StepStatus

SHOWN_FAILURES = 10


@dataclass
class FailedReplays:
    """Failed replays on one version with one error code and failed step. `newest_id` is the newest of them."""

    code: str
    runs: int
    newest_id: uuid.UUID


@dataclass
class VersionReplays:
    """Replays on one version: of each run of the incident, only its newest replay on this version counts."""

    version: int
    succeeded: int = 0
    open: int = 0
    canceled: int = 0
    failures: list[FailedReplays] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(failure.runs for failure in self.failures)

    @property
    def total(self) -> int:
        return self.succeeded + self.open + self.canceled + self.failed


def replays_by_version(groups: Iterable[ReplayGroup]) -> dict[int, VersionReplays]:
    """Return the replays of the runs of an incident by version."""
    found: dict[int, VersionReplays] = {}
    for group in groups:
        replays = found.setdefault(group.version, VersionReplays(group.version))
        if group.status == RunStatus.SUCCEEDED:
            replays.succeeded += group.runs
        elif group.status in OPEN_RUN_STATUSES:
            replays.open += group.runs
        elif group.status in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            replays.failures.append(FailedReplays(group.code, group.runs, group.newest_id))
        else:
            replays.canceled += group.runs
    return found


def replay_runs(*, tenant_id: uuid.UUID, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Any]:
    """Return runs by id, each with the name of the step that failed and the incident of its failure.

    Shapes: `failed_step` is a name, an id, or None. So are `current_step` and, for a replay, `passed_step`: the step in
    which the original failed, if it has succeeded in the replay. Steps of loops are left out, because another item may
    have failed. `shown_incident` has `id`, `number` and `run_count`, or is None.
    Cost: one statement, or none without an id.
    """
    return _with_failed_step(Run.objects.filter(tenant_id=tenant_id, id__in=ids)).in_bulk() if ids else {}


def failures_and_replays(incident: Incident, *, ids: Collection[uuid.UUID]) -> tuple[list[Any], dict[uuid.UUID, Any]]:
    """Return the newest failures of an incident, and the runs with these ids as `replay_runs` returns them.

    Cost: one statement for both.
    """
    replays = Run.objects.filter(tenant_id=incident.tenant_id, id__in=ids)
    parts = [
        _with_failed_step(_with_replay(runs)).annotate(is_replay=Value(is_replay))
        for runs, is_replay in ((newest_failures(incident), False), (replays, True))
    ]
    found: list[Any] = list(parts[0].union(parts[1], all=True))
    failures = [run for run in found if not run.is_replay]
    failures.sort(key=lambda run: run.ended_at or run.created_at, reverse=True)
    return failures, {run.id: run for run in found if run.is_replay}


def newest_failures(incident: Incident) -> QuerySet[Run]:
    """Return the newest counted runs of an incident."""
    family = family_of(Incident.objects.filter(id=incident.id), tenant_id=incident.tenant_id)
    newest = IncidentFailure.objects.filter(tenant_id=incident.tenant_id, incident__in=family, is_counted=True)
    ids = newest.order_by("-failed_at").values("run_id")[:SHOWN_FAILURES]
    return Run.objects.filter(tenant_id=incident.tenant_id, id__in=ids)


def _with_replay(runs: QuerySet[Run]) -> QuerySet[Any]:
    """Add the id, the status, the start and the end of the newest replay."""
    replays = Run.objects.filter(tenant_id=OuterRef("tenant_id"), replay_of=OuterRef("pk")).order_by("-created_at")
    return runs.annotate(
        replay_id=Subquery(replays.values("id")[:1]),
        replay_status=Subquery(replays.values("status")[:1]),
        replay_at=Subquery(replays.values("created_at")[:1]),
        replay_ended_at=Subquery(replays.values("ended_at")[:1]),
    )


def _with_failed_step(runs: QuerySet[Any]) -> QuerySet[Any]:
    steps = RunStep.objects.filter(tenant_id=OuterRef("tenant_id"), run=OuterRef("pk"))
    same_step = RunStep.objects.filter(
        tenant_id=OuterRef("tenant_id"), run=OuterRef("run__replay_of"), step_path=OuterRef("step_path"),
        step_id=OuterRef("step_id"),
    )  # fmt: skip
    passed = steps.filter(
        Exists(same_step), step_path=OuterRef("replay_of__failed_step_path"), status=StepStatus.SUCCEEDED, iteration=""
    )
    names = {
        "failed_step": steps.filter(step_path=OuterRef("failed_step_path")),
        "current_step": steps.filter(step_path=OuterRef("current_step_path")),
        "passed_step": passed,
    }
    shown = Coalesce(NullIf("name", Value("")), "step_id")
    found = {name: Subquery(rows.order_by("-attempt").values(shown=shown)[:1]) for name, rows in names.items()}
    return runs.annotate(**found, shown_incident=shown_incident_of_run()).defer("input", "output", "trigger_metadata")

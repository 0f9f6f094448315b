"""Replays of the runs of incidents, counted once for all pages (docs/reference/incidents.md#replay).

A run and its replays are one piece of work (`selectors/work.py`). So a replay of a replay belongs to the first run too.
The run of an incident can be a replay that failed with a new cause. Each newer run of its work replays it, also if a
person replayed the original again.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from workflows.statuses import OPEN_RUN_STATUSES, RunStatus, StepStatus

MOST_RUNS = 1_000
"""Largest number of runs of an incident whose replays are counted: the newest ones."""

# OFFSET 0 makes each step one search in the index of the originals: PostgreSQL cannot join with all runs.
_REPLAYS_OF = """(
    SELECT run.id, run.version, run.status, run.error_code, run.failed_step_path, run.created_at, run.ended_at
    FROM workflow_runs run WHERE run.tenant_id = %(tenant)s AND run.replay_of_id = {above} OFFSET 0
) replay"""
# An original has no older run in its work, so only the start of a replay is read.
_CREATED_AT = """coalesce((
    SELECT created_at FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND id = failure.run_id AND failure.run_id <> failure.origin_id
), '-infinity')"""
_GROUPS = f"""
WITH RECURSIVE counted (incident_id, id, origin_id, created_at, runs) AS (
    SELECT shown.id, failure.run_id, failure.origin_id, {_CREATED_AT}, count(*) OVER (PARTITION BY shown.id)
    FROM unnest(%(incidents)s::uuid[]) AS shown(id), LATERAL (
        SELECT run_id, origin_id FROM workflow_incident_failures
        WHERE tenant_id = %(tenant)s AND is_counted AND incident_id IN (
            SELECT id FROM workflow_incidents
            WHERE tenant_id = %(tenant)s AND (id = shown.id OR merged_into_id = shown.id)
        )
        ORDER BY failed_at DESC LIMIT %(most)s
    ) failure
), replays AS (
    SELECT counted.incident_id, counted.runs, counted.id AS first_id, counted.created_at AS first_at, replay.*
    FROM counted, LATERAL {_REPLAYS_OF}
    UNION ALL
    SELECT replays.incident_id, replays.runs, replays.first_id, replays.first_at, replay.*
    FROM replays, LATERAL {{next}}
), newest AS (
    SELECT DISTINCT ON (incident_id, first_id, version) *,
        row_number() OVER (PARTITION BY incident_id, first_id ORDER BY created_at DESC, id DESC) = 1 AS is_newest
    FROM replays WHERE (created_at, id) > (first_at, first_id)
    ORDER BY incident_id, first_id, version, created_at DESC, id DESC
)
SELECT newest.incident_id, newest.version, newest.status, newest.error_code, cause.id, cause.number, count(*),
    count(*) FILTER (WHERE newest.is_newest),
    count(*) FILTER (WHERE newest.is_newest AND newest.status = ANY(%(open)s) AND EXISTS (
        SELECT FROM workflow_run_steps step
        WHERE step.tenant_id = %(tenant)s AND step.run_id = newest.id AND step.step_path = incident.step_path
          AND step.step_id = incident.step_id AND step.iteration = '' AND step.status = %(succeeded)s
    )),
    (array_agg(newest.id ORDER BY newest.created_at DESC))[1], max(newest.runs)
FROM newest
JOIN workflow_incidents incident ON incident.id = newest.incident_id
LEFT JOIN LATERAL (
    SELECT shown.id, shown.number FROM workflow_incident_failures failure
    JOIN workflow_incidents own ON own.id = failure.incident_id
    JOIN workflow_incidents shown ON shown.id = coalesce(own.merged_into_id, own.id)
    WHERE failure.tenant_id = %(tenant)s AND failure.run_id = newest.id AND failure.failed_at = newest.ended_at LIMIT 1
) cause ON true
GROUP BY newest.incident_id, newest.version, newest.status, newest.error_code, newest.failed_step_path, cause.id,
    cause.number
ORDER BY count(*) DESC, newest.version
""".format(above="counted.origin_id", next=_REPLAYS_OF.format(above="replays.id"))  # noqa: S608
_IDS = f"""
WITH RECURSIVE replays AS (
    SELECT failure.run_id AS first_id, {_CREATED_AT} AS first_at, replay.id, replay.created_at
    FROM unnest(%(runs)s::uuid[], %(origins)s::uuid[]) AS failure(run_id, origin_id), LATERAL {_REPLAYS_OF}
    UNION ALL
    SELECT replays.first_id, replays.first_at, replay.id, replay.created_at FROM replays, LATERAL {{next}}
)
SELECT id FROM replays WHERE (created_at, id) > (first_at, first_id)
""".format(above="failure.origin_id", next=_REPLAYS_OF.format(above="replays.id"))  # noqa: S608


@dataclass(frozen=True)
class ReplayGroup:
    """Replays on one version with one status, error code, failed step and cause.

    `cause_id` and `cause_number`: the incident that shows the failure, or None if no run failed or the failure was not
    read yet. `runs`: of each run of the incident, only its newest replay on this version counts. `newest_runs`: only
    its newest replay on any version counts. `passed_runs`: those of them that are open and have passed the step of the
    incident. `newest_id` is the newest of the replays. `counted`: runs of the incident of which replays are counted.
    Retention may have deleted others, so it can be less than the number that the incident shows.
    """

    version: int
    status: str
    code: str
    cause_id: uuid.UUID | None
    cause_number: int | None
    runs: int
    newest_runs: int
    passed_runs: int
    newest_id: uuid.UUID
    counted: int


@dataclass(frozen=True)
class OtherCause:
    """Another incident that has failures of replays."""

    id: uuid.UUID
    number: int


@dataclass
class ReplayCounts:
    """Newest replay of each run of an incident, by status.

    `runs`: runs of the incident whose replays are counted. `passed`: open replays that have passed the step of the
    incident. `same_cause`: failures that this incident has. `other_causes`: failures that other incidents have.
    """

    runs: int = 0
    succeeded: int = 0
    open: int = 0
    passed: int = 0
    failed: int = 0
    timed_out: int = 0
    canceled: int = 0
    same_cause: int = 0
    other_causes: dict[OtherCause, int] = field(default_factory=dict)
    most_runs = MOST_RUNS

    @property
    def total(self) -> int:
        return self.succeeded + self.open + self.failed + self.timed_out + self.canceled

    @property
    def not_replayed(self) -> int:
        return max(0, self.runs - self.total)

    @property
    def failed_again(self) -> int:
        return self.failed + self.timed_out

    @property
    def ungrouped(self) -> int:
        """Return the number of failures that the task has not read yet."""
        return self.failed_again - self.same_cause - sum(self.other_causes.values())


def replay_groups(*, tenant_id: uuid.UUID, incidents: Collection[uuid.UUID]) -> dict[uuid.UUID, list[ReplayGroup]]:
    """Return the replays of the newest MOST_RUNS runs of each incident that has replays, the largest group first.

    Cost: one statement.
    """
    found: dict[uuid.UUID, list[ReplayGroup]] = defaultdict(list)
    values: dict[str, Any] = {
        "tenant": tenant_id, "incidents": list(incidents), "most": MOST_RUNS,
        "open": [str(status) for status in OPEN_RUN_STATUSES], "succeeded": str(StepStatus.SUCCEEDED),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, values)
        for incident_id, *group in cursor.fetchall():
            found[incident_id].append(ReplayGroup(*group))
    return dict(found)


def replays_of_failures(*, tenant_id: uuid.UUID, failures: Collection[tuple[uuid.UUID, uuid.UUID]]) -> list[uuid.UUID]:
    """Return the ids of the newer runs of the works of these runs. Cost: one statement.

    Shapes: a failure is the id of a run and the id of the first run of its work.
    """
    runs, origins = [run for run, _ in failures], [origin for _, origin in failures]
    with connection.cursor() as cursor:
        cursor.execute(_IDS, {"tenant": tenant_id, "runs": runs, "origins": origins})
        return [row[0] for row in cursor.fetchall()]


def newest_replays(incident_id: uuid.UUID, groups: Collection[ReplayGroup]) -> ReplayCounts:
    """Return the newest replay of each run of an incident by its status and by the cause of its failure."""
    counts = ReplayCounts(runs=max((group.counted for group in groups), default=0))
    for group in groups:
        number = group.newest_runs
        if group.status == RunStatus.SUCCEEDED:
            counts.succeeded += number
        elif group.status in OPEN_RUN_STATUSES:
            counts.open += number
            counts.passed += group.passed_runs
        elif group.status not in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            counts.canceled += number
        elif number:
            _add_failures(counts, incident_id, group)
    return counts


def _add_failures(counts: ReplayCounts, incident_id: uuid.UUID, group: ReplayGroup) -> None:
    if group.status == RunStatus.FAILED:
        counts.failed += group.newest_runs
    else:
        counts.timed_out += group.newest_runs
    if group.cause_id == incident_id:
        counts.same_cause += group.newest_runs
    elif group.cause_id is not None and group.cause_number is not None:
        cause = OtherCause(group.cause_id, group.cause_number)
        counts.other_causes[cause] = counts.other_causes.get(cause, 0) + group.newest_runs

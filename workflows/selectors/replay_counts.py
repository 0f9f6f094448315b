"""Replays of the runs of incidents, counted once for all pages (docs/reference/incidents.md#replay)."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from workflows.statuses import OPEN_RUN_STATUSES, RunStatus

MOST_RUNS = 1_000
"""Largest number of runs of an incident whose replays are counted: the newest ones."""

# The list of ids is read first, so that each replay is found with the index of the originals.
_GROUPS = """
SELECT shown.id, replay.version, replay.status, replay.error_code, count(*), count(*) FILTER (WHERE replay.is_newest),
    (array_agg(replay.id ORDER BY replay.created_at DESC))[1],
    max(replay.ended_at) FILTER (WHERE replay.is_newest)
FROM unnest(%(incidents)s::uuid[]) AS shown(id), LATERAL (
    SELECT DISTINCT ON (replay_of_id, version) id, version, status, error_code, failed_step_path, created_at, ended_at,
        row_number() OVER (PARTITION BY replay_of_id ORDER BY created_at DESC, id DESC) = 1 AS is_newest
    FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND replay_of_id = ANY(ARRAY(
        SELECT run_id FROM workflow_incident_failures
        WHERE tenant_id = %(tenant)s AND is_counted AND incident_id IN (
            SELECT id FROM workflow_incidents
            WHERE tenant_id = %(tenant)s AND (id = shown.id OR merged_into_id = shown.id)
        )
        ORDER BY failed_at DESC LIMIT %(most)s
    ))
    ORDER BY replay_of_id, version, created_at DESC, id DESC
) replay
GROUP BY shown.id, replay.version, replay.status, replay.error_code, replay.failed_step_path
ORDER BY count(*) DESC, replay.version
"""


@dataclass(frozen=True)
class ReplayGroup:
    """Replays on one version with one status, error code and failed step.

    `runs`: of each run of the incident, only its newest replay on this version counts. `newest_runs`: only its newest
    replay on any version counts. `newest_id` is the newest of the replays. `last_ended_at` is the last end of those
    that `newest_runs` counts.
    """

    version: int
    status: str
    code: str
    runs: int
    newest_runs: int
    newest_id: uuid.UUID
    last_ended_at: datetime | None


@dataclass
class ReplayCounts:
    """Newest replay of each run of an incident, by status. `failed_code`: error code of the failure that ended last."""

    succeeded: int = 0
    open: int = 0
    failed: int = 0
    timed_out: int = 0
    canceled: int = 0
    failed_code: str = ""
    most_runs = MOST_RUNS

    @property
    def total(self) -> int:
        return self.succeeded + self.open + self.failed + self.timed_out + self.canceled


def replay_groups(*, tenant_id: uuid.UUID, incidents: Collection[uuid.UUID]) -> dict[uuid.UUID, list[ReplayGroup]]:
    """Return the replays of the newest MOST_RUNS runs of each incident that has replays, the largest group first.

    Cost: one statement.
    """
    found: dict[uuid.UUID, list[ReplayGroup]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"tenant": tenant_id, "incidents": list(incidents), "most": MOST_RUNS})
        for incident_id, *group in cursor.fetchall():
            found[incident_id].append(ReplayGroup(*group))
    return dict(found)


def newest_replays(groups: Iterable[ReplayGroup]) -> ReplayCounts:
    """Return the newest replay of each run by its status."""
    counts, last_failed_at = ReplayCounts(), datetime.min.replace(tzinfo=UTC)
    for group in groups:
        if group.status == RunStatus.SUCCEEDED:
            counts.succeeded += group.newest_runs
        elif group.status in OPEN_RUN_STATUSES:
            counts.open += group.newest_runs
        elif group.status == RunStatus.TIMED_OUT:
            counts.timed_out += group.newest_runs
        elif group.status != RunStatus.FAILED:
            counts.canceled += group.newest_runs
        elif group.newest_runs:
            counts.failed += group.newest_runs
            if group.last_ended_at is not None and group.last_ended_at > last_failed_at:
                counts.failed_code, last_failed_at = group.code, group.last_ended_at
    return counts

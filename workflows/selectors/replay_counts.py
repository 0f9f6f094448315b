"""Counts of the replays of incidents for the lists of incidents (docs/reference/incidents.md#replay)."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection

from workflows.statuses import OPEN_RUN_STATUSES, RunStatus

MOST_RUNS = 1_000
"""Largest number of runs of an incident whose replays are counted: the newest ones."""

# The list of ids is read first, so that each replay is found with the index of the originals.
_COUNTS = """
SELECT shown.id, newest.status, count(*), (array_agg(newest.error_code ORDER BY newest.ended_at DESC NULLS LAST))[1]
FROM unnest(%(incidents)s::uuid[]) AS shown(id), LATERAL (
    SELECT DISTINCT ON (replay_of_id) status, error_code, ended_at
    FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND replay_of_id = ANY(ARRAY(
        SELECT run_id FROM workflow_incident_failures
        WHERE tenant_id = %(tenant)s AND is_counted AND incident_id IN (
            SELECT id FROM workflow_incidents
            WHERE tenant_id = %(tenant)s AND (id = shown.id OR merged_into_id = shown.id)
        )
        ORDER BY failed_at DESC LIMIT %(most)s
    ))
    ORDER BY replay_of_id, created_at DESC, id DESC
) newest
GROUP BY shown.id, newest.status
"""


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


def replay_counts(*, tenant_id: uuid.UUID, incidents: Collection[uuid.UUID]) -> dict[uuid.UUID, ReplayCounts]:
    """Return the replays of the newest MOST_RUNS runs of each incident that has replays. Cost: one statement."""
    found: dict[uuid.UUID, ReplayCounts] = {}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"tenant": tenant_id, "incidents": list(incidents), "most": MOST_RUNS})
        for incident_id, status, runs, code in cursor.fetchall():
            counts = found.setdefault(incident_id, ReplayCounts())
            if status == RunStatus.SUCCEEDED:
                counts.succeeded += runs
            elif status in OPEN_RUN_STATUSES:
                counts.open += runs
            elif status == RunStatus.FAILED:
                counts.failed, counts.failed_code = runs, code
            elif status == RunStatus.TIMED_OUT:
                counts.timed_out = runs
            else:
                counts.canceled += runs
    return found

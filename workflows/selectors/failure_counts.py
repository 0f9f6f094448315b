"""Numbers of failed runs of one definition because of incidents: by hour, by version, and in the last hour.

The page of an incident and the page of its definition show these numbers, so they agree.

Source: docs/reference/incidents.md#pages
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from workflows.models import Incident
from workflows.selectors.attention import FAILED_STATUSES
from workflows.selectors.incidents import HOURS, first_hour
from workflows.shares import percent
from workflows.statuses import OPEN_RUN_STATUSES

SHOWN_VERSIONS = 5
# If more runs have closed, the pages show no shares.
MOST_CLOSED = 10_000
MOST_OPEN = 1_000
RECENT = timedelta(hours=1)

# Hours, versions and the last hour are read together: the row of the last hour has the replays in the columns of open
# runs and of all failures, and the row of version 0 has the closed runs of all versions. A share compares originals
# with originals: both parts leave out replays.
_COUNTERS = """
WITH family AS (
    SELECT id FROM workflow_incidents
    WHERE tenant_id = %(tenant)s AND (id = ANY(%(incidents)s) OR merged_into_id = ANY(%(incidents)s))
), own AS (
    SELECT hour, version, failures FROM workflow_incident_hours
    WHERE tenant_id = %(tenant)s AND failures > 0 AND incident_id IN (SELECT id FROM family)
), failed AS (
    SELECT version, failed_at, run_id <> origin_id AS is_replay FROM workflow_incident_failures
    WHERE tenant_id = %(tenant)s AND is_counted AND failed_at >= %(since)s
      AND incident_id IN (SELECT id FROM family)
    ORDER BY failed_at DESC LIMIT %(most_closed)s
), closed AS (
    SELECT version, ended_at, status = ANY(%(failures)s) AS has_failed FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND definition_id = %(definition)s AND ended_at IS NOT NULL
      AND ended_at >= %(since)s AND replay_of_id IS NULL
    ORDER BY ended_at DESC LIMIT %(most_closed)s
), replayed AS (
    SELECT FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND definition_id = %(definition)s AND ended_at IS NOT NULL
      AND ended_at >= %(recent)s AND replay_of_id IS NOT NULL
    ORDER BY ended_at DESC LIMIT %(most_closed)s
), opened AS (
    SELECT version, count(*) AS runs FROM (
        SELECT version FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND definition_id = %(definition)s AND status = ANY(%(open)s)
        LIMIT %(most_open)s
    ) AS first GROUP BY version
)
SELECT hour, NULL::int, NULL::timestamptz, '', 0::bigint, 0::bigint, 0::bigint, 0::bigint, sum(failures)
FROM own WHERE hour >= %(begin)s GROUP BY hour
UNION ALL
SELECT NULL, NULL, NULL, '', (SELECT count(*) FROM closed WHERE ended_at >= %(recent)s),
    (SELECT count(*) FROM replayed), 0, (SELECT count(*) FROM failed WHERE failed_at >= %(recent)s AND NOT is_replay),
    (SELECT count(*) FROM failed WHERE failed_at >= %(recent)s AND is_replay)
UNION ALL
SELECT NULL, 0, NULL, '', (SELECT count(*) FROM closed), 0, 0, 0, 0
UNION ALL (
    SELECT NULL, version.version, version.published_at, version.published_by_name,
        (SELECT count(*) FROM closed WHERE closed.version = version.version), coalesce(opened.runs, 0),
        (SELECT count(*) FROM closed WHERE closed.version = version.version AND has_failed),
        (SELECT count(*) FROM failed WHERE failed.version = version.version AND NOT is_replay),
        coalesce((SELECT sum(failures) FROM own WHERE own.version = version.version), 0)
    FROM workflow_definition_versions version
    LEFT JOIN opened ON opened.version = version.version
    WHERE version.tenant_id = %(tenant)s AND version.definition_id = %(definition)s
    ORDER BY version.version DESC LIMIT %(most)s
)
"""


@dataclass(frozen=True)
class Share:
    """Closed runs, and those of them that failed because of the incidents. Replays are not counted with originals."""

    closed: int
    failed: int

    @property
    def percent(self) -> int:
        return int(percent(min(self.failed, self.closed), self.closed))


@dataclass(frozen=True)
class VersionRow:
    """One version of the definition.

    `share`: its runs since the incident began, or of the last 24 hours if it began later. `open`: its open runs, also
    replays. `failed`: all failures that the incidents count, also those of replays with a new cause.
    `failed_otherwise`: closed runs that failed with another cause, or 0 if not all closed runs were read.
    """

    version: int
    published_at: datetime
    published_by: str
    share: Share
    open: int
    failed: int
    failed_otherwise: int = 0

    @property
    def closed(self) -> int:
        return self.share.closed

    @property
    def only_otherwise(self) -> int:
        """Return `failed_otherwise` if no run of the version failed because of the incidents."""
        return 0 if self.share.failed else self.failed_otherwise


@dataclass(frozen=True)
class Hour:
    begin: datetime
    end: datetime
    failures: int


@dataclass(frozen=True)
class Failures:
    """Numbers of the incidents.

    `since`: beginning of the shares. `recent`: share of the last hour. `recent_replays`: the same share of replays.
    `closed`: runs of all versions that closed since the beginning, at most `MOST_CLOSED`.
    """

    since: datetime
    hours: list[Hour]
    versions: list[VersionRow]
    recent: Share
    recent_replays: Share
    closed: int

    most_closed = MOST_CLOSED

    @property
    def has_shares(self) -> bool:
        return self.closed < MOST_CLOSED

    @property
    def failing_versions(self) -> list[VersionRow]:
        """Return the versions of which runs failed, newest first, then the newest version if no run of it failed."""
        failing = [row for row in self.versions if row.share.failed]
        return [*failing, *(row for row in self.versions[:1] if not row.share.failed)]


def failures_of(incidents: Sequence[Incident]) -> Failures:
    """Return the numbers of one or more incidents of one definition. Cost: one statement."""
    begin, now = first_hour(), timezone.now()
    since = min(begin, *(incident.first_failed_at for incident in incidents))
    values: dict[str, Any] = {
        "tenant": incidents[0].tenant_id,
        "incidents": [incident.id for incident in incidents],
        "definition": incidents[0].definition_id,
        "begin": begin,
        "since": since,
        "recent": now - RECENT,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "failures": [str(status) for status in FAILED_STATUSES],
        "most_closed": MOST_CLOSED,
        "most_open": MOST_OPEN,
        "most": SHOWN_VERSIONS,
    }
    by_hour: dict[datetime, int] = {}
    versions, recent, recent_replays, all_closed = [], Share(0, 0), Share(0, 0), 0
    with connection.cursor() as cursor:
        cursor.execute(_COUNTERS, values)
        for hour, version, at, by, closed, opened, all_failed, failed, failures in cursor.fetchall():
            if hour is not None:
                by_hour[hour] = int(failures)
            elif version is None:
                recent, recent_replays = Share(closed, failed), Share(opened, int(failures))
            elif version == 0:
                all_closed = closed
            else:
                share = Share(closed, failed)
                versions.append(
                    VersionRow(version, at, by, share, opened, int(failures), max(0, all_failed - share.failed))
                )
    if all_closed >= MOST_CLOSED:
        versions = [replace(row, failed_otherwise=0) for row in versions]
    times = [begin + timedelta(hours=number) for number in range(HOURS)]
    hours = [Hour(time, time + timedelta(hours=1), by_hour.get(time, 0)) for time in times]
    return Failures(since, hours, versions, recent, recent_replays, all_closed)

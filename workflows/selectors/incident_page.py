"""Everything that the page of one incident shows (docs/reference/incidents.md#pages)."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery

from workflows.models import BulkJob, Incident, IncidentFailure, IncidentNote, Run
from workflows.selectors.incidents import HOURS, family_of, first_hour
from workflows.statuses import OPEN_RUN_STATUSES, BulkState

SHOWN_VERSIONS = 5
SHOWN_FAILURES = 10
SHOWN_NOTES = 20
# If more runs have closed, the page shows no shares.
MOST_CLOSED = 10_000
MOST_OPEN = 1_000

_HOURS = """
WITH own AS (
    SELECT hour, version, failures FROM workflow_incident_hours
    WHERE tenant_id = %(tenant)s AND failures > 0 AND incident_id IN (
        SELECT id FROM workflow_incidents
        WHERE tenant_id = %(tenant)s AND (id = %(incident)s OR merged_into_id = %(incident)s)
    )
)
SELECT hour, NULL, sum(failures) FROM own WHERE hour >= %(begin)s GROUP BY hour
UNION ALL SELECT NULL, version, sum(failures) FROM own GROUP BY version
"""
# Closed runs exclude replays, because a replay is shown with its original.
_VERSIONS = """
WITH closed AS (
    SELECT version, count(*) AS runs FROM (
        SELECT version FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND definition_id = %(definition)s AND ended_at IS NOT NULL
          AND ended_at >= %(since)s AND replay_of_id IS NULL
        ORDER BY ended_at DESC LIMIT %(most_closed)s
    ) AS newest GROUP BY version
), opened AS (
    SELECT version, count(*) AS runs FROM (
        SELECT version FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND definition_id = %(definition)s AND status = ANY(%(open)s)
          AND replay_of_id IS NULL
        LIMIT %(most_open)s
    ) AS first GROUP BY version
)
SELECT version.version, version.published_at, version.published_by_name, coalesce(closed.runs, 0),
    coalesce(opened.runs, 0)
FROM workflow_definition_versions version
LEFT JOIN closed ON closed.version = version.version
LEFT JOIN opened ON opened.version = version.version
WHERE version.tenant_id = %(tenant)s AND version.definition_id = %(definition)s
ORDER BY version.version DESC LIMIT %(most)s
"""


@dataclass(frozen=True)
class VersionRow:
    """One version of the definition: closed and open runs without replays, and failures of this incident.

    The closed runs are those since the incident began, or of the last 24 hours if it began later.
    """

    version: int
    published_at: datetime
    published_by: str
    closed: int
    open: int
    failed: int

    @property
    def share(self) -> int:
        """Return the share of the closed runs that failed here, in percent, rounded down."""
        return min(100, 100 * self.failed // self.closed) if self.closed else 0


@dataclass(frozen=True)
class Hour:
    begin: datetime
    end: datetime
    failures: int


@dataclass(frozen=True)
class IncidentPage:
    hours: list[Hour]
    versions: list[VersionRow]
    failures: list[Run]
    jobs: list[BulkJob]
    notes: list[IncidentNote]
    merged: list[Incident]

    @property
    def has_shares(self) -> bool:
        return sum(row.closed for row in self.versions) < MOST_CLOSED

    @property
    def last_job(self) -> BulkJob | None:
        """Return the newest replay job that has started."""
        return next((job for job in self.jobs if job.state != BulkState.PREVIEW and job.started_at), None)


def incident_page(incident: Incident) -> IncidentPage:
    """Return the parts of the page of an incident. Cost: six statements."""
    failures_by_hour, failures_by_version = _counters(incident)
    begin = first_hour()
    times = [begin + timedelta(hours=number) for number in range(HOURS)]
    jobs = BulkJob.objects.filter(tenant_id=incident.tenant_id, incident=incident).order_by("-created_at")
    notes = IncidentNote.objects.filter(tenant_id=incident.tenant_id, incident=incident).order_by("-created_at")
    return IncidentPage(
        hours=[Hour(time, time + timedelta(hours=1), failures_by_hour.get(time, 0)) for time in times],
        versions=_versions(incident, failures_by_version),
        failures=list(newest_failures(incident)),
        jobs=list(jobs[:10]),
        notes=list(notes[:SHOWN_NOTES]),
        merged=list(Incident.objects.filter(tenant_id=incident.tenant_id, merged_into=incident).order_by("number")),
    )


def counted_since(incident: Incident) -> datetime:
    """Return the time from which the closed runs of the versions count."""
    return min(first_hour(), incident.first_failed_at)


def _counters(incident: Incident) -> tuple[dict[datetime, int], dict[int, int]]:
    hours: dict[datetime, int] = {}
    versions: dict[int, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(_HOURS, {"tenant": incident.tenant_id, "incident": incident.id, "begin": first_hour()})
        for hour, version, failures in cursor.fetchall():
            if version is None:
                hours[hour] = int(failures)
            else:
                versions[version] = int(failures)
    return hours, versions


def _versions(incident: Incident, failed: dict[int, int]) -> list[VersionRow]:
    values: dict[str, Any] = {
        "tenant": incident.tenant_id,
        "definition": incident.definition_id,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "most_closed": MOST_CLOSED,
        "since": counted_since(incident),
        "most_open": MOST_OPEN,
        "most": SHOWN_VERSIONS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_VERSIONS, values)
        return [
            VersionRow(version, at, by, closed, opened, failed.get(version, 0))
            for version, at, by, closed, opened in cursor.fetchall()
        ]


def newest_failures(incident: Incident) -> QuerySet[Run]:
    """Return the newest counted runs. Each has the id, the status and the time of its newest replay."""
    family = family_of(Incident.objects.filter(id=incident.id), tenant_id=incident.tenant_id)
    newest = IncidentFailure.objects.filter(tenant_id=incident.tenant_id, incident__in=family, is_counted=True)
    ids = newest.order_by("-failed_at").values("run_id")[:SHOWN_FAILURES]
    replays = Run.objects.filter(tenant_id=incident.tenant_id, replay_of=OuterRef("pk")).order_by("-created_at")
    return (
        Run.objects.filter(tenant_id=incident.tenant_id, id__in=ids)
        .annotate(
            replay_id=Subquery(replays.values("id")[:1]),
            replay_status=Subquery(replays.values("status")[:1]),
            replay_at=Subquery(replays.values("created_at")[:1]),
        )
        .defer("input", "output", "trigger_metadata")
        .order_by("-ended_at")
    )


def merge_targets(*, tenant_id: uuid.UUID, incident: Incident) -> QuerySet[Incident]:
    """Return the incidents of the same definition into which this one can be merged, the newest failure first."""
    others = Incident.objects.filter(tenant_id=tenant_id, definition=incident.definition_id, merged_into__isnull=True)
    return others.exclude(id=incident.id).order_by("-last_failed_at")[:50]

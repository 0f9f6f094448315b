"""Everything that the page of one incident shows (docs/reference/incidents.md#pages)."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import Case, F, OuterRef, QuerySet, When
from django.db.models.functions import JSONObject

from workflows.models import BulkJob, Incident, IncidentNote
from workflows.selectors.bulk_first_runs import first_inputs
from workflows.selectors.incidents import HOURS, first_hour
from workflows.statuses import OPEN_RUN_STATUSES, BulkState

SHOWN_VERSIONS = 5
SHOWN_NOTES = 20
SHOWN_JOBS = 4
# If more runs have closed, the page shows no shares.
MOST_CLOSED = 10_000
MOST_OPEN = 1_000

# Hours and versions are read together. Closed runs exclude replays, because a replay is shown with its original.
_COUNTERS = """
WITH own AS (
    SELECT hour, version, failures FROM workflow_incident_hours
    WHERE tenant_id = %(tenant)s AND failures > 0 AND incident_id IN (
        SELECT id FROM workflow_incidents
        WHERE tenant_id = %(tenant)s AND (id = %(incident)s OR merged_into_id = %(incident)s)
    )
), closed AS (
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
SELECT hour, NULL::int, NULL::timestamptz, '', 0::bigint, 0::bigint, sum(failures)
FROM own WHERE hour >= %(begin)s GROUP BY hour
UNION ALL (
    SELECT NULL, version.version, version.published_at, version.published_by_name, coalesce(closed.runs, 0),
        coalesce(opened.runs, 0),
        coalesce((SELECT sum(failures) FROM own WHERE own.version = version.version), 0)
    FROM workflow_definition_versions version
    LEFT JOIN closed ON closed.version = version.version
    LEFT JOIN opened ON opened.version = version.version
    WHERE version.tenant_id = %(tenant)s AND version.definition_id = %(definition)s
    ORDER BY version.version DESC LIMIT %(most)s
)
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
    """Parts of the page. `jobs`: replay jobs that have started, those that go on first, then the newest.

    `preview`: the preview of a replay that the caller named. `notes` and `merged` have only the fields that are shown.
    """

    hours: list[Hour]
    versions: list[VersionRow]
    jobs: list[BulkJob]
    preview: BulkJob | None
    notes: list[IncidentNote]
    merged: list[Incident]

    @property
    def has_shares(self) -> bool:
        return sum(row.closed for row in self.versions) < MOST_CLOSED


def incident_page(incident: Incident, *, preview_id: uuid.UUID | None = None) -> IncidentPage:
    """Return the parts of the page of an incident, with the preview of a replay if it exists.

    The incident must have the annotations of `notes_and_merged`. Cost: two statements.
    """
    hours, versions = _counters(incident)
    annotated: Any = incident
    inputs = Case(When(state=BulkState.PREVIEW, then=first_inputs()))
    own = BulkJob.objects.filter(tenant_id=incident.tenant_id, incident=incident).annotate(first_inputs=inputs)
    started = own.filter(started_at__isnull=False).order_by(F("ended_at").desc(nulls_first=True), "-started_at")
    named = own.filter(id=preview_id, state=BulkState.PREVIEW) if preview_id else own.none()
    jobs = list(started[:SHOWN_JOBS].union(named[:1], all=True))
    return IncidentPage(
        hours=hours,
        versions=versions,
        jobs=[job for job in jobs if job.started_at is not None],
        preview=next((job for job in jobs if job.started_at is None), None),
        notes=[_note(row) for row in annotated.newest_notes],
        merged=[Incident(**row) for row in annotated.merged_incidents],
    )


def counted_since(incident: Incident) -> datetime:
    """Return the time from which the closed runs of the versions count."""
    return min(first_hour(), incident.first_failed_at)


def _counters(incident: Incident) -> tuple[list[Hour], list[VersionRow]]:
    begin = first_hour()
    values: dict[str, Any] = {
        "tenant": incident.tenant_id,
        "incident": incident.id,
        "definition": incident.definition_id,
        "begin": begin,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "most_closed": MOST_CLOSED,
        "since": counted_since(incident),
        "most_open": MOST_OPEN,
        "most": SHOWN_VERSIONS,
    }
    failed: dict[datetime, int] = {}
    versions = []
    with connection.cursor() as cursor:
        cursor.execute(_COUNTERS, values)
        for hour, version, at, by, closed, opened, failures in cursor.fetchall():
            if version is None:
                failed[hour] = int(failures)
            else:
                versions.append(VersionRow(version, at, by, closed, opened, int(failures)))
    times = [begin + timedelta(hours=number) for number in range(HOURS)]
    return [Hour(time, time + timedelta(hours=1), failed.get(time, 0)) for time in times], versions


def notes_and_merged() -> dict[str, Any]:
    """Return the annotations of an incident that its page needs: the newest notes, and the incidents merged into it."""
    of_this = {"tenant_id": OuterRef("tenant_id")}
    notes = IncidentNote.objects.filter(**of_this, incident=OuterRef("pk")).order_by("-created_at")
    note = JSONObject(author_name="author_name", text="text", created_at="created_at")
    others = Incident.objects.filter(**of_this, merged_into=OuterRef("pk")).order_by("number")
    return {
        "newest_notes": ArraySubquery(notes.values(shown=note)[:SHOWN_NOTES]),
        "merged_incidents": ArraySubquery(others.values(shown=JSONObject(id="id", number="number"))),
    }


def _note(row: dict[str, Any]) -> IncidentNote:
    return IncidentNote(**{**row, "created_at": datetime.fromisoformat(row["created_at"])})


def merge_targets(*, tenant_id: uuid.UUID, incident: Incident) -> QuerySet[Incident]:
    """Return the incidents of the same definition into which this one can be merged, the newest failure first."""
    others = Incident.objects.filter(tenant_id=tenant_id, definition=incident.definition_id, merged_into__isnull=True)
    return others.exclude(id=incident.id).order_by("-last_failed_at")[:50]

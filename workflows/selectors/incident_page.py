"""Everything that the page of one incident shows (docs/reference/incidents.md#pages)."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, F, OuterRef, QuerySet, When
from django.db.models.functions import JSONObject

from workflows.models import BulkJob, Incident, IncidentNote
from workflows.selectors.bulk_first_runs import first_inputs
from workflows.selectors.failure_counts import Failures, failures_of
from workflows.selectors.incident_jobs import replay_jobs_of
from workflows.statuses import BulkState

SHOWN_NOTES = 20
SHOWN_JOBS = 4


@dataclass(frozen=True)
class IncidentPage:
    """Parts of the page.

    `failures`: how often and in which versions runs fail. `jobs`: started jobs that replay runs of the incident, those
    that go on first, then the newest. `preview`: the preview of a replay that the caller named. `notes` and `merged`
    have only the fields that are shown.
    """

    failures: Failures
    jobs: list[BulkJob]
    preview: BulkJob | None
    notes: list[IncidentNote]
    merged: list[Incident]


def incident_page(incident: Incident, *, preview_id: uuid.UUID | None = None) -> IncidentPage:
    """Return the parts of the page of an incident, with the preview of a replay if it exists.

    The incident must have the annotations of `notes_and_merged`. Cost: two statements.
    """
    annotated: Any = incident
    inputs = Case(When(state=BulkState.PREVIEW, then=first_inputs()))
    own = BulkJob.objects.filter(tenant_id=incident.tenant_id, incident=incident).annotate(first_inputs=inputs)
    replaying = replay_jobs_of(incident).annotate(first_inputs=inputs)
    started = replaying.filter(started_at__isnull=False).order_by(F("ended_at").desc(nulls_first=True), "-started_at")
    named = own.filter(id=preview_id, state=BulkState.PREVIEW) if preview_id else own.none()
    jobs = list(started[:SHOWN_JOBS].union(named[:1], all=True))
    return IncidentPage(
        failures=failures_of([incident]),
        jobs=[job for job in jobs if job.started_at is not None],
        preview=next((job for job in jobs if job.started_at is None), None),
        notes=[_note(row) for row in annotated.newest_notes],
        merged=[Incident(**row) for row in annotated.merged_incidents],
    )


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

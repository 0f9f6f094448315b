"""Places where the forms of a bulk job are shown: the page of the job, and the page of the incident that it replays."""

import uuid

from django.http import HttpRequest
from django.urls import reverse

from workflows.models import BulkJob
from workflows.statuses import BulkState

INCIDENT = "incident"
"""Value of the field `shown_on` in forms on the page of an incident."""

REPLAY_PANEL = "replay"
"""Id of the panel of the replay on the page of an incident."""


def is_on_incident(request: HttpRequest, job: BulkJob) -> bool:
    """Return True if the form that was sent is on the page of the job's incident."""
    shown_on = request.POST.get("shown_on") or request.GET.get("shown_on")
    return job.incident_id is not None and shown_on == INCIDENT


def incident_address(incident_id: uuid.UUID, *, preview: uuid.UUID | None = None) -> str:
    """Return the address of the page of an incident. With the preview of a replay, its panel takes the focus."""
    address = reverse("admin:workflows_incident_change", args=[incident_id])
    return f"{address}?preview={preview}#{REPLAY_PANEL}" if preview else address


def page_of_job(request: HttpRequest, job: BulkJob) -> str:
    """Return the address of the page on which the form of the job is, so that a person stays there."""
    if job.incident_id is not None and is_on_incident(request, job):
        return incident_address(job.incident_id, preview=job.id if job.state == BulkState.PREVIEW else None)
    return reverse("admin:workflows_bulkjob_change", args=[job.id])

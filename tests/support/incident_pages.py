"""Requests of a member on the page of an incident."""

from typing import Any

from django.test import Client
from django.urls import reverse

from tests.support.bulk_jobs import complete_job, end_replays, set_run
from workflows.models import BulkJob, Incident
from workflows.models.fields import new_id

NEW_CAUSE = {
    "category": "ActionError",
    "code": "BANK_CLOSED",
    "message": "The bank is closed.",
    "nodePath": "root.steps[0]",
}


def page_of(incident: Incident) -> str:
    return reverse("admin:workflows_incident_change", args=[incident.id])


def post(client: Client, incident: Incident, name: str, **fields: Any) -> Any:
    address = reverse(f"admin:workflows_incident_{name}", args=[incident.id])
    return client.post(address, {"idempotency_key": str(new_id()), **fields})


def start(client: Client, job: BulkJob, **fields: Any) -> Any:
    address = reverse("admin:workflows_bulkjob_start", args=[job.id])
    return client.post(address, {"idempotency_key": str(new_id()), "shown_on": "incident", **fields})


def preview(client: Client, incident: Incident) -> BulkJob:
    assert post(client, incident, "replay").status_code == 302
    return BulkJob.objects.filter(tenant=incident.tenant, state="preview").latest("created_at")


def replay(
    client: Any, incident: Incident, *statuses: str, error: dict[str, str] = NEW_CAUSE, **fields: Any
) -> BulkJob:
    """Replay the incident on version 2, and end the new runs. Those that fail have this error."""
    job = preview(client, incident)
    start(client, job, **fields)
    end_replays(complete_job(job), *statuses)
    for item, status in zip(job.items.filter(state="accepted").order_by("position"), statuses, strict=True):
        if status == "FAILED":
            set_run(item.new_run_id, error=error, error_code=error["code"], error_category=error["category"])
    return job


def text_of(client: Any, address: str) -> str:
    """Return the text of a page without the line breaks and indents of its template."""
    return " ".join(client.get(address).content.decode().split())

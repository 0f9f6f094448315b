"""Requests of a member on the page of an incident."""

from typing import Any

from django.test import Client
from django.urls import reverse

from workflows.models import BulkJob, Incident
from workflows.models.fields import new_id


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

"""Replay of the runs of an incident, as a bulk job (docs/reference/incidents.md#replay)."""

import uuid

from workflows.actors import Actor
from workflows.models import BulkJob, Run
from workflows.selectors.incidents import runs_of_incident
from workflows.services.bulk.preview import bulk_preview
from workflows.services.incidents.find import incident_find
from workflows.statuses import CommandAction


def incident_replay_preview(
    *, actor: Actor, incident_id: uuid.UUID, reason: str = "", idempotency_key: str = ""
) -> BulkJob:
    """Freeze the runs that the incident counts as the preview of a replay job, and return the job. Nothing starts.

    Errors: NotFound; the errors of `bulk_preview`.
    """
    incident = incident_find(actor=actor, incident_id=incident_id)
    runs = runs_of_incident(Run.objects.all(), tenant_id=actor.tenant_id, number=incident.number)
    job = bulk_preview(
        actor=actor,
        action=CommandAction.REPLAY,
        runs=runs,
        selection={"filters": {"incident": incident.number}},
        reason=reason,
        idempotency_key=idempotency_key,
    )
    BulkJob.objects.filter(id=job.id, incident__isnull=True).update(incident=incident)
    return job

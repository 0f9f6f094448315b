"""Search for one incident of the actor's tenant."""

import uuid
from collections.abc import Mapping
from typing import Any

from workflows.actors import Actor
from workflows.errors import NotFound
from workflows.models import Incident


def incident_find(*, actor: Actor, incident_id: uuid.UUID, annotations: Mapping[str, Any] | None = None) -> Incident:
    """Return the incident, with the annotations that its reader needs.

    Errors: NotFound. An incident of another tenant counts as not found.
    """
    incidents = Incident.objects.select_related("definition__published_version", "merged_into", "split_from")
    incidents = incidents.defer("definition__draft_text", "definition__published_version__canonical_text")
    incident = incidents.annotate(**annotations or {}).filter(tenant_id=actor.tenant_id, id=incident_id).first()
    if incident is None:
        raise NotFound(f"there is no incident {incident_id}", code="INCIDENT_NOT_FOUND")
    return incident

"""Failed runs for tests of incidents, and the incidents that they make."""

from typing import Any

from django.utils import timezone

from tests.support.factories import make_run
from workflows.models import Incident, Run
from workflows.selectors.incidents import shown_incident_of_run
from workflows.services.incidents.grow import batch_grow
from workflows.tenancy import tenant_scope

CAPTURE = {"id": "capture", "type": "state.set", "name": "Capture", "config": {"state": "X"}}


def fail_run(
    version: Any,
    message: str = "No payment with the id PAY-1 exists.",
    *,
    code: str = "NOT_FOUND",
    path: str = "root.steps[0]",
    **fields: Any,
) -> Run:
    """Create the row of a run that failed at a step of this version."""
    values = {
        "definition_version": version,
        "status": "FAILED",
        "ended_at": timezone.now(),
        "error": {"category": "ActionError", "code": code, "message": message, "nodePath": path, "at": "y"},
        "error_category": "ActionError",
        "error_code": code,
        "temporal_first_run_id": "x",
        **fields,
    }
    return make_run(version.tenant, **values)


def grow_incidents(tenant: Any) -> list[Incident]:
    """Add all failures of the tenant to incidents. Return the incidents by number."""
    with tenant_scope(tenant.id):
        while batch_grow(tenant_id=tenant.id):
            pass
    return list(Incident.objects.filter(tenant=tenant).order_by("number"))


def incident_of_run(run: Run) -> Incident | None:
    """Return the incident that the page and the list show for a run."""
    shown = Run.objects.filter(id=run.id).values_list(shown_incident_of_run()).get()[0]
    return Incident.objects.get(id=shown["id"]) if shown else None

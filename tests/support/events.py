"""Events and open waits for tests that do not run a workflow."""

from typing import Any

from django.utils import timezone

from ingress.intake.receive import event_receive
from tests.support.factories import make_run
from workflows.models import Event, RunWait
from workflows.projections.transaction import projection_writer
from workflows.statuses import EventSource

REPLY = {"event_type": "REPLIED", "payload": {"ticketId": "T-1"}, "workflow_correlation_key": "T-1"}


def receive(tenant: Any, **value: Any) -> Event:
    return event_receive(tenant_id=tenant.id, value={**REPLY, **value}, source=EventSource.REST).event


def open_wait(tenant: Any, key: str = "T-1", name: str = "REPLIED", **fields: Any) -> RunWait:
    """Create the row of an open wait, in the given `run` or in a new one."""
    run = fields.pop("run", None) or make_run(tenant)
    values = {
        "step_path": "root.steps[0]",
        "step_id": "w",
        "kind": "event",
        "status": "WAITING",
        "opened_at": timezone.now(),
    }
    with projection_writer("test"):
        return RunWait.objects.create(
            tenant=tenant, run=run, event_name=name, correlation_key=key, **{**values, **fields}
        )

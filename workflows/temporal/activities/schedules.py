"""The activity that records one occurrence of a schedule (docs/decisions/0012-schedules.md)."""

import uuid

from temporalio import activity

from workflows.engine.clock import datetime_of_ms
from workflows.services.schedules.fire import schedule_fire
from workflows.temporal import contracts


@activity.defn(name=contracts.ACTIVITY_FIRE_SCHEDULE, no_thread_cancel_exception=True)
def fire_schedule_activity(request: contracts.ScheduleFire) -> str:
    """Record the occurrence and return what it did, as text for the reader of the history."""
    occurrence = schedule_fire(
        tenant_id=uuid.UUID(request.tenant_id),
        schedule_id=uuid.UUID(request.schedule_id),
        scheduled_at=datetime_of_ms(request.scheduled_at_ms),
    )
    if occurrence is None:
        return "the portal has no such schedule, so no run was started"
    return f"{occurrence.status} {occurrence.reason}".strip()

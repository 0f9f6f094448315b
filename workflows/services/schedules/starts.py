"""Start of a run by an occurrence of a schedule. The dispatcher calls this module when it delivers the event.

Source: docs/reference/schedules.md#occurrences
"""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from workflows.engine.clock import iso_time, ms_of_datetime
from workflows.models import Event, EventDelivery, ScheduleOccurrence
from workflows.services.schedules.fire import open_runs, waiting_starts
from workflows.statuses import ScheduleKind, ScheduleOverlap, TriggerType


@dataclass(frozen=True)
class ScheduledStart:
    """Facts of a scheduled run that its row stores.

    `held` is the reason if an earlier run of the schedule must end first.
    """

    trigger_type: TriggerType
    metadata: dict[str, Any]
    requested_by: str
    held: str


def scheduled_start(delivery: EventDelivery) -> ScheduledStart | None:
    """Return the facts of the run that this delivery starts, or None if no schedule caused the event.

    Shapes: the metadata is `{scheduleId, schedule, cause, scheduledAt, firedAt, startedAt}`. `scheduledAt` is the time
    of the schedule. `firedAt` is the time at which the portal recorded it. `startedAt` is the real time of the start.
    """
    rows = ScheduleOccurrence.objects.select_related("schedule").filter(tenant_id=delivery.tenant_id)
    occurrence = rows.filter(event_id=delivery.event_id).first()
    if occurrence is None:
        return None
    schedule = occurrence.schedule
    is_once = schedule.kind == ScheduleKind.ONCE
    return ScheduledStart(
        trigger_type=TriggerType.SCHEDULE if is_once else TriggerType.RECURRING,
        metadata={
            "scheduleId": str(schedule.id),
            "schedule": schedule.name,
            "cause": str(occurrence.cause),
            "scheduledAt": iso_time(ms_of_datetime(occurrence.scheduled_at)),
            "firedAt": iso_time(ms_of_datetime(occurrence.fired_at)),
            "startedAt": iso_time(ms_of_datetime(timezone.now())),
        },
        requested_by=occurrence.requested_by or f"schedule {schedule.name}",
        held=_held(occurrence, delivery.event),
    )


def _held(occurrence: ScheduleOccurrence, event: Event) -> str:
    """Return why the start waits. An occurrence that was recorded earlier starts first."""
    if occurrence.overlap not in (ScheduleOverlap.BUFFER_ONE, ScheduleOverlap.BUFFER_ALL):
        return ""
    # A waiting start is checked first. If it begins between the two checks, the second check finds its open run.
    earlier = waiting_starts(occurrence.schedule).filter(event__occurrences__id__lt=occurrence.id)
    if earlier.exists():
        return f"an earlier occurrence of the schedule {occurrence.schedule.name} starts first"
    is_open = open_runs(occurrence.schedule).exclude(event=event).exists()
    return f"an earlier run of the schedule {occurrence.schedule.name} is still open" if is_open else ""

"""Reads of schedules for the screens and the API (docs/reference/schedules.md#times)."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from workflows.models import EventDelivery, Schedule, ScheduleOccurrence
from workflows.services.schedules.sync import is_over, wanted_schedule
from workflows.services.schedules.times import NextTime, next_times
from workflows.temporal import gateway
from workflows.temporal.schedules import describe_schedule, schedule_differences


@dataclass(frozen=True)
class NextTimes:
    """Next times of a schedule. `source` is `temporal`, or `portal` if the portal computed them.

    `difference` says how Temporal's schedule differs from the row now. It is empty if they agree, or if Temporal does
    not respond.
    """

    times: list[NextTime]
    source: str
    difference: str = ""


def schedule_next_times(schedule: Schedule) -> NextTimes:
    """Return the next times of a schedule: Temporal's own times if Temporal has the schedule.

    Cost: one call to Temporal.
    """
    now = timezone.now()
    if is_over(schedule):
        return NextTimes([], "portal")
    try:
        seen = describe_schedule(schedule.temporal_schedule_id) if not schedule.sync_error else None
    except gateway.TemporalError:
        return NextTimes(next_times(schedule, now=now), "portal")
    if seen is None:
        difference = "" if schedule.sync_error else "Temporal does not have this schedule"
        return NextTimes(next_times(schedule, now=now), "portal", difference)
    differences = schedule_differences(wanted_schedule(schedule), seen)
    difference = f"This schedule was changed in Temporal: {', '.join(differences)}" if differences else ""
    known = [at for at in seen.next_times if at > now]
    return NextTimes(next_times(schedule, now=now, known=known), "temporal", difference)


def occurrences_of(schedule: Schedule) -> QuerySet[ScheduleOccurrence]:
    """Return the occurrences of a schedule with their deliveries and runs."""
    return with_results(ScheduleOccurrence.objects.filter(tenant_id=schedule.tenant_id, schedule=schedule))


def with_results(rows: QuerySet[ScheduleOccurrence]) -> QuerySet[ScheduleOccurrence]:
    deliveries = EventDelivery.objects.select_related("run").only(
        "id", "event_id", "status", "reason", "held_since", "run__id", "run__status", "run__error_code"
    )
    return rows.prefetch_related(Prefetch("event__deliveries", queryset=deliveries))


def result_of(occurrence: ScheduleOccurrence) -> dict[str, Any]:
    """Return what became of an occurrence: `{state, reason, run}`. The state is a status of a delivery or of a run."""
    delivery = next(iter(occurrence.event.deliveries.all()), None) if occurrence.event else None
    if delivery is None:
        return {"state": str(occurrence.status), "reason": occurrence.reason, "run": None}
    if delivery.run is not None:
        return {"state": str(delivery.run.status), "reason": delivery.run.error_code, "run": delivery.run}
    return {"state": "held" if delivery.held_since else str(delivery.status), "reason": delivery.reason, "run": None}

"""End of buffer times. Buffered events become `unmatched` here (docs/reference/events.md#statuses-and-outcomes).

An event stays buffered while a wait can still take it. There are two cases:

- An open wait has the name and the key of the event, and an earlier event is on its way to this wait. This module lets
  the wait search again, because the process may have been killed before its search after a verdict.
- The portal accepted the start of a run before the event, and this run does not run yet. The start may be pending or
  held. The run can open a wait for the event.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Min
from django.utils import timezone

from ingress.dispatch.routing import open_waits
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, EventKey, Run
from workflows.services.wait_lookback import events_left
from workflows.statuses import DeliveryKind, DeliveryStatus, Engine, EventOutcome, RunStatus

BATCH = 500
# After this time, an event that stays buffered is checked again.
CHECK_AGAIN = timedelta(seconds=15)


def events_end_buffer_times(stop_at: float) -> int:
    """Write the outcome of events whose buffer time is over. Return the number of these events.

    Units: `stop_at` is a time of `time.monotonic`.
    """
    count = 0
    while True:
        over = Event.objects.filter(outcome=EventOutcome.BUFFERED, buffered_until__lt=timezone.now())
        events = list(over.defer("payload", "decision_trace").order_by("buffered_until")[:BATCH])
        staying = events_still_takable(events)
        Event.objects.filter(id__in=staying, outcome=EventOutcome.BUFFERED).update(
            buffered_until=timezone.now() + CHECK_AGAIN
        )
        ended = [event.id for event in events if event.id not in staying]
        with deliveries_changing(Event.objects.filter(id__in=ended)):
            pass  # `deliveries_changing` writes the outcomes at its end
        count += len(ended)
        if len(events) < BATCH or time.monotonic() > stop_at:
            return count


def events_still_takable(events: Sequence[Event]) -> set[uuid.UUID]:
    """Return the events that can still be taken by an open wait, or by the run of an earlier start."""
    by_tenant: dict[uuid.UUID, list[Event]] = defaultdict(list)
    for event in events:
        by_tenant[event.tenant_id].append(event)
    found: set[uuid.UUID] = set()
    for tenant_id, group in by_tenant.items():
        found |= _with_open_wait(tenant_id, group)
        earliest = earliest_unfinished_start(tenant_id)
        if earliest is not None:
            found |= {event.id for event in group if event.received_at > earliest}
    return found


def _with_open_wait(tenant_id: uuid.UUID, events: Sequence[Event]) -> set[uuid.UUID]:
    """Return the events that an open wait can take later. Let each of these waits search for events."""
    keys = EventKey.objects.filter(tenant_id=tenant_id, event_id__in=[event.id for event in events])
    events_of: dict[tuple[str, str], set[uuid.UUID]] = defaultdict(set)
    for event_type, key, event_id in keys.values_list("event_type", "key", "event_id"):
        events_of[event_type, key].add(event_id)
    found: set[uuid.UUID] = set()
    for wait in open_waits(tenant_id, {name for name, _ in events_of}, {key for _, key in events_of}):
        if among := events_of.get((wait.event_name, wait.correlation_key)):
            found |= events_left(tenant_id=str(tenant_id), wait_id=str(wait.id), among=among)
    return found


def earliest_unfinished_start(tenant_id: uuid.UUID) -> datetime | None:
    """Find the oldest start of the tenant whose run does not run yet.

    Return the time at which the portal accepted this start, or None if there is no such start.
    """
    pending = EventDelivery.objects.filter(
        tenant_id=tenant_id, kind=DeliveryKind.TRIGGER, status=DeliveryStatus.PENDING
    ).aggregate(at=Min("event__received_at"))["at"]
    starting = Run.objects.filter(
        tenant_id=tenant_id, engine=Engine.TEMPORAL, status=RunStatus.STARTING, parent_run__isnull=True
    )
    accepted = starting.aggregate(by_event=Min("event__received_at"), by_request=Min("created_at"))
    moments = [moment for moment in (pending, *accepted.values()) if moment is not None]
    return min(moments, default=None)

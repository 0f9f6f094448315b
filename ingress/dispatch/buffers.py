"""End of buffer times. Buffered events become `unmatched` here (docs/reference/events.md#statuses-and-outcomes).

After its buffer time, an event stays buffered only if one of two takers exists. The event then names this taker.

- An open wait has the name and the key of the event, and an earlier event is on its way to this wait. This module lets
  the wait search again, because the process may have been killed before its search after a verdict.
- A start does not run yet, for example because it is on hold, and its run can open a wait for the event.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from ingress.dispatch.routing import open_waits
from ingress.dispatch.unfinished_starts import starts_that_take
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventKey
from workflows.models.statements import update_rows
from workflows.services.wait_lookback import events_left
from workflows.statuses import EventOutcome

BATCH = 500
# After this time, an event that can still be taken is checked again.
CHECK_AGAIN = timedelta(seconds=15)


def events_end_buffer_times(stop_at: float) -> int:
    """Write the outcome of events whose buffer time is over. Return the number of these events.

    Units: `stop_at` is a time of `time.monotonic`.
    """
    count = 0
    while True:
        now = timezone.now()
        over = Event.objects.filter(outcome=EventOutcome.BUFFERED, buffered_until__lt=now).exclude(
            check_again_at__gte=now
        )
        events = list(over.defer("payload", "decision_trace").order_by("buffered_until")[:BATCH])
        takers = event_takers(events)
        _check_later([event for event in events if event.id in takers], takers)
        ended = [event.id for event in events if event.id not in takers]
        with deliveries_changing(Event.objects.filter(id__in=ended)):
            pass  # `deliveries_changing` writes the outcomes at its end
        count += len(ended)
        if len(events) < BATCH or time.monotonic() > stop_at:
            return count


def _check_later(events: Sequence[Event], takers: dict[uuid.UUID, dict[str, Any]]) -> None:
    """Store the takers of the events, unless another process has decided an event in the meantime."""
    if not events:
        return
    for event in events:
        event.check_again_at, event.can_be_taken_by = timezone.now() + CHECK_AGAIN, takers[event.id]
    with transaction.atomic():
        open_ids = Event.objects.filter(id__in=takers, outcome=EventOutcome.BUFFERED).select_for_update(no_key=True)
        still_buffered = set(open_ids.order_by("id").values_list("id", flat=True))
        update_rows([event for event in events if event.id in still_buffered], ["check_again_at", "can_be_taken_by"])


def event_takers(events: Sequence[Event]) -> dict[uuid.UUID, dict[str, Any]]:
    """Return the open wait, or the start, that can still take an event after its buffer time.

    Events that nothing can take are not in the result.
    Shapes: `{kind: "wait", definition, runId, waitId}`, or the start of `starts_that_take`.
    """
    by_tenant: dict[uuid.UUID, list[Event]] = defaultdict(list)
    for event in events:
        by_tenant[event.tenant_id].append(event)
    found: dict[uuid.UUID, dict[str, Any]] = {}
    for tenant_id, group in by_tenant.items():
        found |= {**starts_that_take(tenant_id, group), **_open_waits_that_take(tenant_id, group)}
    return found


def _open_waits_that_take(tenant_id: uuid.UUID, events: Sequence[Event]) -> dict[uuid.UUID, dict[str, Any]]:
    """Return the open wait that can take an event later, by event. Let each of these waits search for events."""
    keys = EventKey.objects.filter(tenant_id=tenant_id, event_id__in=[event.id for event in events])
    events_of: dict[tuple[str, str], set[uuid.UUID]] = defaultdict(set)
    for event_type, key, event_id in keys.values_list("event_type", "key", "event_id"):
        events_of[event_type, key].add(event_id)
    found: dict[uuid.UUID, dict[str, Any]] = {}
    for wait in open_waits(tenant_id, {name for name, _ in events_of}, {key for _, key in events_of}):
        if among := events_of.get((wait.event_name, wait.correlation_key)):
            left = events_left(tenant_id=str(tenant_id), wait_id=str(wait.id), among=among)
            facts = {"definition": wait.run.definition_key, "runId": str(wait.run_id), "waitId": str(wait.id)}
            found |= {event_id: {"kind": "wait", **facts} for event_id in left}
    return found

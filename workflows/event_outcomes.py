"""The outcome of an event, computed from its deliveries (docs/reference/events.md#statuses-and-outcomes), and written to the event's row.

Whoever makes deliveries or changes their statuses holds the events' rows first: inside `deliveries_changing`, which locks
them in the order of their ids and writes their outcomes at the end; or, as routing does, with locks that wait for nobody.
So two writers of one event's deliveries see each other's, and none waits for a delivery that the other holds while that
waits for the event. Claims of deliveries change no status, and lock no event.
"""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from workflows.models import Event, EventDelivery
from workflows.models.statements import update_rows
from workflows.statuses import CorrelationStatus, DeliveryStatus, EventOutcome

REACHED = frozenset({DeliveryStatus.MATCHED, DeliveryStatus.STARTED})
UNDER_WAY = frozenset({DeliveryStatus.PENDING, DeliveryStatus.SENT})


def outcome_of(
    statuses: Iterable[str], *, is_routed: bool, correlation_status: str, is_buffered: bool
) -> tuple[EventOutcome, str]:
    """The outcome and a sentence that says why. Pure; the order of the questions is the order of what matters more."""
    found = set(statuses)
    if not is_routed:
        return EventOutcome.RECEIVED, "stored, not routed yet"
    if found & REACHED:
        if DeliveryStatus.DEAD in found:
            return EventOutcome.PARTLY_DELIVERED, "something matched or started, and a delivery is dead"
        return EventOutcome.DELIVERED, ""
    if found & UNDER_WAY:
        return EventOutcome.ROUTING, "a delivery is under way"
    if DeliveryStatus.DEAD in found:
        return EventOutcome.DEAD, "every attempt of a delivery failed; see the dead-letter inbox"
    if found == {DeliveryStatus.DISCARDED}:
        return EventOutcome.DISCARDED, "discarded by an operator"
    if correlation_status == CorrelationStatus.MISSING and not found:
        return EventOutcome.UNCORRELATED, "no correlation key was found, and no definition is started by this event"
    if is_buffered:
        return EventOutcome.BUFFERED, "nothing waits for it yet; a wait that opens within the buffer time finds it"
    if found:
        return EventOutcome.UNMATCHED, "nothing took it: " + ", ".join(sorted(found))
    return EventOutcome.UNMATCHED, "nothing waited for it, and no definition is started by it"


@contextmanager
def deliveries_changing(events: QuerySet[Event]) -> Iterator[list[Event]]:
    """The events, locked, while their deliveries are made or changed; afterwards their outcomes are written.

    Cost: three statements beside the caller's own, however many events.
    """
    with transaction.atomic():
        # Without the key: a run that is started by the event shares the event's key, and shall not wait.
        # Without what is large and not asked for here.
        locked = list(events.defer("payload", "decision_trace").select_for_update(no_key=True).order_by("id"))
        yield locked
        write_outcomes(locked)


def write_outcomes(locked: list[Event]) -> None:
    """Write the present outcome of events that the caller's transaction holds."""
    statuses: dict[uuid.UUID, list[str]] = {}
    ids = [event.id for event in locked]
    for event_id, status in EventDelivery.objects.filter(event_id__in=ids).values_list("event_id", "status"):
        statuses.setdefault(event_id, []).append(status)
    changed = [event for event in locked if event.occupies_id and set_outcome(event, statuses.get(event.id, ()))]
    update_rows(changed, ["outcome", "outcome_reason"])


def set_outcome(event: Event, statuses: Iterable[str]) -> bool:
    """Set the outcome that follows from these statuses of its deliveries; True when it is another than before."""
    outcome, reason = outcome_of(
        statuses,
        is_routed=event.routed_at is not None,
        correlation_status=event.correlation_status,
        is_buffered=event.buffered_until is not None and timezone.now() < event.buffered_until,
    )
    if (event.outcome, event.outcome_reason) == (outcome, reason):
        return False
    event.outcome, event.outcome_reason = outcome, reason
    return True

"""The outcome of an event, computed from its deliveries (PRODUCT 5.5), and written to the event's row."""

import uuid
from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from workflows.models import Event, EventDelivery
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


@transaction.atomic
def refresh_outcomes(event_ids: Iterable[uuid.UUID]) -> None:
    """Write the present outcome of these events. Call it after their deliveries were changed, in the same transaction.

    Cost: three statements for any number of events, and one more for each that changed.
    """
    wanted = sorted(set(event_ids))
    if not wanted:
        return
    # Locked in one order, so that two refreshes of the same events see each other's deliveries; without the key, so that
    # a delivery that is being inserted elsewhere (its foreign key shares the event's key) and this never wait for another.
    events = list(Event.objects.select_for_update(no_key=True).filter(id__in=wanted, occupies_id=True).order_by("id"))
    statuses: dict[uuid.UUID, list[str]] = {}
    for event_id, status in EventDelivery.objects.filter(event_id__in=wanted).values_list("event_id", "status"):
        statuses.setdefault(event_id, []).append(status)
    now = timezone.now()
    for event in events:
        outcome, reason = outcome_of(
            statuses.get(event.id, []),
            is_routed=event.routed_at is not None,
            correlation_status=event.correlation_status,
            is_buffered=event.buffered_until is not None and now < event.buffered_until,
        )
        if (event.outcome, event.outcome_reason) != (outcome, reason):
            event.outcome, event.outcome_reason = outcome, reason
            event.save(update_fields=["outcome", "outcome_reason"])

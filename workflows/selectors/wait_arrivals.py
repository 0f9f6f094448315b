"""The event that has arrived for an open wait, although the run still waits.

Source: docs/reference/screens.md#run-page
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import JSONObject

from workflows.event_outcomes import IN_PROGRESS
from workflows.models import Event, EventDelivery, RunWait
from workflows.selectors.near_misses import NEAR_MISS_SPAN
from workflows.statuses import DeliveryStatus, EventOutcome

# A delivery in progress can still end the wait. After it, a dead one explains more than an event that did not match.
EXPLAINING = (*IN_PROGRESS, DeliveryStatus.DEAD, DeliveryStatus.FILTERED)


@dataclass(frozen=True)
class Arrival:
    """An event with the type and the key of an open wait. `delivery` is None if the event is not routed yet."""

    event_id: uuid.UUID
    received_at: datetime
    delivery: EventDelivery | None = None

    @property
    def is_dead(self) -> bool:
        return self.delivery is not None and self.delivery.status == DeliveryStatus.DEAD

    @property
    def is_filtered(self) -> bool:
        """Return True if the wait did not accept the event. The run needs another event then."""
        return self.delivery is not None and self.delivery.status == DeliveryStatus.FILTERED

    @property
    def is_sent(self) -> bool:
        """Return True if Temporal has the event, and the run has not decided about it yet."""
        return self.delivery is not None and self.delivery.status == DeliveryStatus.SENT


def unrouted_event() -> Subquery:
    """Return the annotation of a wait with the newest stored event for it that is not routed yet."""
    events = Event.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        keys__tenant_id=OuterRef("tenant_id"),
        keys__event_type=OuterRef("event_name"),
        keys__key=OuterRef("correlation_key"),
        keys__received_at__gte=OuterRef("opened_at") - NEAR_MISS_SPAN,
        routed_at__isnull=True,
    ).exclude(outcome=EventOutcome.REJECTED)
    facts = JSONObject(id=F("id"), received_at=F("received_at"))
    return Subquery(events.order_by("-received_at").values(facts=facts)[:1])


def wait_arrival(wait: RunWait, deliveries: Sequence[EventDelivery]) -> Arrival | None:
    """Return the event that explains best why an open wait is still open, or None.

    `deliveries` are those of `wait_deliveries`. An event in progress comes first, then a dead letter, then an event
    that the wait did not accept. Within each group, the newest event comes first.
    """
    found = [delivery for delivery in deliveries if delivery.status in EXPLAINING]
    best = min(found, key=lambda delivery: EXPLAINING.index(DeliveryStatus(delivery.status)), default=None)
    unrouted = getattr(wait, "unrouted_event", None)
    if unrouted is not None and (best is None or best.status not in IN_PROGRESS):
        return Arrival(uuid.UUID(unrouted["id"]), datetime.fromisoformat(unrouted["received_at"]))
    return Arrival(best.event_id, best.event.received_at, best) if best is not None else None

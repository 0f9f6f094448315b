"""From stored events to their deliveries: one for each candidate wait and each trigger (docs/reference/events.md#routing).

It looks for waits in a new statement after the event's own commit; a wait that opens looks for events after its own
commit; so whichever of the two comes first, one of the two looks finds the other. Events are claimed by their row's lock:
two workers never route one, and a killed one gives it back.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ingress.dispatch.plan import EventPlan, plan_event_routes
from workflows.backoff import backoff_seconds
from workflows.event_outcomes import set_outcome
from workflows.models import Definition, Event, EventDelivery
from workflows.models.statements import update_rows
from workflows.services.wait_lookback import new_wait_delivery
from workflows.statuses import DeliveryKind, DeliveryStatus

logger = logging.getLogger(__name__)

BATCH = 100
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 2, 300
_ROUTED = ["routed_at", "buffered_until", "decision_trace", "routing_attempts", "outcome", "outcome_reason"]


def event_route(event_id: uuid.UUID) -> list[uuid.UUID]:
    """The deliveries of this event that are pending, oldest first.

    Idempotency: an event that is routed already makes no new delivery.
    """
    _route_events(Event.objects.filter(id=event_id, routed_at__isnull=True))
    pending = EventDelivery.objects.filter(event_id=event_id, status=DeliveryStatus.PENDING)
    return list(pending.order_by("created_at", "id").values_list("id", flat=True))


def events_route_due(*, tenant_id: uuid.UUID) -> int:
    """Route the events of this tenant that are due, oldest first; the number of those that were looked at.

    A fault with one leaves the others their turn: it is tried again later, by itself.
    """
    due = Event.objects.filter(tenant_id=tenant_id, routed_at__isnull=True, route_at__lte=timezone.now()).order_by(
        "route_at", "id"
    )
    try:
        return _route_events(due[:BATCH])
    except Exception:
        logger.exception("a batch of events of tenant %s was not routed; each is tried by itself", tenant_id)
    ids = list(due.values_list("id", flat=True)[:BATCH])
    for event_id in ids:
        try:
            event_route(event_id)
        except Exception as error:
            logger.exception("the event %s was not routed", event_id)
            _route_later(event_id, error)
    return len(ids)


def _route_events(unrouted: QuerySet[Event]) -> int:
    with transaction.atomic():
        # Without the key: a wait that looks at this moment inserts its delivery, and shall not be waited for.
        claimed = list(unrouted.select_for_update(skip_locked=True, no_key=True))
        if not claimed:
            return 0
        plans = plan_event_routes(claimed)
        statuses = _make_deliveries(plans)
        now = timezone.now()
        for plan in plans:
            event = plan.event
            event.routed_at = now
            # Time that the event spent unrouted (broker or worker down) is not its sender's.
            event.buffered_until = now + plan.buffer if plan.buffer else None
            event.decision_trace = {**event.decision_trace, **plan.as_trace()}
            event.routing_attempts += 1
            set_outcome(event, statuses[event.id])
        update_rows(claimed, _ROUTED)
    return len(claimed)


def _make_deliveries(plans: Sequence[EventPlan]) -> dict[uuid.UUID, list[str]]:
    """The statuses of all deliveries of these events. A wait that looked first has made its own already."""
    statuses: dict[uuid.UUID, list[str]] = {plan.event.id: [] for plan in plans}
    existing = set()
    rows = EventDelivery.objects.filter(event_id__in=statuses)
    for event_id, wait_id, definition_id, status in rows.values_list("event_id", "wait_id", "definition_id", "status"):
        existing.add((event_id, wait_id or definition_id))
        statuses[event_id].append(status)
    now = timezone.now()
    new = []
    for plan in plans:
        event = plan.event
        targets = [(wait.id, new_wait_delivery(event, wait, at=now)) for wait in plan.waits]
        targets += [(definition.id, _trigger_delivery(event, definition)) for definition in plan.triggers]
        new += [delivery for target, delivery in targets if (event.id, target) not in existing]
    EventDelivery.objects.bulk_create(new)
    for delivery in new:
        statuses[delivery.event_id].append(delivery.status)
    return statuses


def _route_later(event_id: uuid.UUID, error: Exception) -> None:
    with transaction.atomic():
        event = Event.objects.select_for_update(no_key=True).filter(id=event_id, routed_at__isnull=True).first()
        if event is None:
            return
        event.routing_attempts += 1
        pause = backoff_seconds(
            event.routing_attempts, first=FIRST_BACKOFF_SECONDS, longest=MAX_BACKOFF_SECONDS, with_jitter=True
        )
        event.route_at = timezone.now() + timedelta(seconds=pause)
        event.outcome_reason = f"routing failed and is tried again: {type(error).__name__}: {error}"[:500]
        update_rows([event], ["routing_attempts", "route_at", "outcome_reason"])


def _trigger_delivery(event: Event, definition: Definition) -> EventDelivery:
    return EventDelivery(
        tenant_id=event.tenant_id,
        event=event,
        kind=DeliveryKind.TRIGGER,
        definition=definition,
        definition_version=definition.published_version,
        correlation_key=event.correlation_key,
    )

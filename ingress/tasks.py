"""Celery tasks of the ingress. Each does by id what is stored already, so a lost or repeated message changes nothing."""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models import Exists, OuterRef
from django.utils import timezone

from ingress.delivery import due_deliveries, event_deliver
from ingress.routing import event_route
from ingress.services import event_receive
from workflows.database_errors import is_of_the_data
from workflows.errors import InputInvalid, NotFound
from workflows.models import Event, EventDelivery, Tenant
from workflows.outcomes import refresh_outcomes
from workflows.queueing import DELIVER, ROUTE_EVENT
from workflows.services.run_sweep import sweep_unstarted_runs
from workflows.statuses import DeliveryStatus, EventOutcome, EventSource

logger = logging.getLogger(__name__)

SWEEP_AFTER = timedelta(seconds=5)
SWEEP_BUDGET_SECONDS = 20
SWEEP_BATCH = 500


@shared_task(
    name="ingress.consume_event",
    autoretry_for=(OperationalError, InterfaceError),  # a database that is down must not cost the event
    retry_backoff=1,
    retry_backoff_max=60,
    max_retries=None,
)
def consume_event(envelope: dict[str, Any]) -> dict[str, Any]:
    """A door for Celery producers: the envelope of the REST door, and the slug of the tenant under `tenant`.

    Errors: the task fails with what is wrong, and nothing is stored; the sender must act.
    """
    if not isinstance(envelope, dict):
        raise TypeError("ingress.consume_event takes one JSON object: {tenant, event_type, payload, ...}")
    value = dict(envelope)
    slug = value.pop("tenant", None)
    tenant = Tenant.objects.filter(slug=slug, is_active=True).first() if isinstance(slug, str) else None
    if tenant is None:
        raise NotFound(f"there is no tenant {slug!r}; the sender must name one under `tenant`", code="TENANT_NOT_FOUND")
    try:
        receipt = event_receive(tenant_id=tenant.id, value=value, source=EventSource.CELERY, sender="celery")
    except OperationalError as error:
        if is_of_the_data(error):  # trying again would never end
            raise InputInvalid(f"the event cannot be stored: {error}", code="EVENT_INVALID") from error
        raise
    return {"id": str(receipt.event.id), "event_id": receipt.event.event_id, "duplicate": receipt.is_duplicate}


@shared_task(name=ROUTE_EVENT)
def route_event(event_id: str) -> None:
    """Route a stored event, then make each of its deliveries."""
    for delivery_id in event_route(uuid.UUID(event_id)):
        event_deliver(delivery_id)


@shared_task(name=DELIVER)
def deliver(delivery_ids: list[str]) -> None:
    for delivery_id in delivery_ids:
        # An id whose insert met an existing delivery was never stored; that one has its own message.
        if EventDelivery.objects.filter(id=delivery_id).exists():
            event_deliver(uuid.UUID(delivery_id))


@shared_task(name="ingress.sweep_events")
def sweep_events() -> dict[str, int]:
    """Find what a crash or a broker that was down has left: events not routed, deliveries not made, buffers run out."""
    stop_at = time.monotonic() + SWEEP_BUDGET_SECONDS
    counts = {
        "settled": _swept("buffers", _settle_buffered),
        "launched": _swept("launches", sweep_unstarted_runs),
        "routed": _swept_each(_unrouted(), _route_and_deliver, stop_at),
        "delivered": _swept_each(due_deliveries(SWEEP_BATCH), event_deliver, stop_at),
    }
    if any(counts.values()):
        logger.info("sweep: %s", counts)
    return counts


def _route_and_deliver(event_id: uuid.UUID) -> None:
    for delivery_id in event_route(event_id):
        event_deliver(delivery_id)


def _swept(what: str, work: Callable[[], int]) -> int:
    """One part of a sweep. A fault in it is told and leaves the other parts, and the other tenants, their turn."""
    try:
        return work()
    except Exception:
        logger.exception("the sweep of %s failed", what)
        return 0


def _swept_each(ids: list[uuid.UUID], work: Callable[[uuid.UUID], Any], stop_at: float) -> int:
    done = 0
    for item in ids:
        if time.monotonic() > stop_at:
            break
        try:
            work(item)
            done += 1
        except Exception:
            logger.exception("the sweep of %s failed at %s", work.__name__, item)
    return done


def _unrouted() -> list[uuid.UUID]:
    return list(
        Event.objects.filter(
            outcome=EventOutcome.RECEIVED, routed_at__isnull=True, received_at__lt=timezone.now() - SWEEP_AFTER
        )
        .order_by("received_at")
        .values_list("id", flat=True)[:SWEEP_BATCH]
    )


def _settle_buffered() -> int:
    """Events whose buffer time is over, and that nothing took, become what they are."""
    pending = EventDelivery.objects.filter(event=OuterRef("pk"), status=DeliveryStatus.PENDING)
    over = list(
        Event.objects.filter(outcome=EventOutcome.BUFFERED, buffered_until__lt=timezone.now())
        .filter(~Exists(pending))
        .values_list("id", flat=True)[:SWEEP_BATCH]
    )
    refresh_outcomes(over)
    return len(over)

"""Celery tasks of the ingress: a door, the bell of a tenant, and the sweep. What they work on stands in the database, so a
lost or repeated message changes nothing."""

import logging
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from ingress.dispatch.work import Worked, events_work, tenants_with_work
from ingress.intake.receive import event_receive
from workflows.database_errors import is_of_the_data
from workflows.dispatch_notification import WORK_EVENTS, notification_received, notify_dispatcher
from workflows.errors import InputInvalid, NotFound, PortalError
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, Tenant
from workflows.services.bulk.work import bulk_sweep
from workflows.services.runs.unstarted import sweep_unstarted_runs
from workflows.statuses import EventOutcome, EventSource
from workflows.tenancy import system_scope

logger = logging.getLogger(__name__)

SWEEP_BUDGET_SECONDS = settings.SWEEP_INTERVAL_SECONDS / 2  # so that sweeps leave the workers to the bells
SWEEP_BATCH = 500


@shared_task(
    name="ingress.consume_event",
    # Whatever is not the sender's fault must not cost the event: a database that is down, a fault of ours.
    autoretry_for=(Exception,),
    dont_autoretry_for=(TypeError, PortalError),
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
    except DatabaseError as error:
        if is_of_the_data(error):  # trying again would never end
            raise InputInvalid(f"the event cannot be stored: {error}", code="EVENT_INVALID") from error
        raise
    return {"id": str(receipt.event.id), "event_id": receipt.event.event_id, "duplicate": receipt.is_duplicate}


@shared_task(name=WORK_EVENTS)
def work_events(tenant_id: str) -> None:
    """The bell of a tenant: route and deliver what is due for it, and ring again when a slice was not enough."""
    notification_received(tenant_id)  # before the look: what is committed after it rings again
    if events_work(tenant_id=uuid.UUID(tenant_id)).has_more:
        notify_dispatcher(tenant_id)


@shared_task(name="ingress.sweep_events")
def sweep_events() -> dict[str, int]:
    """Find what a crash, or a broker that was down, has left: events not routed, deliveries not made, buffers run out.

    Each tenant with work is rung for, so that it has its turn among the bells however many are flooded; and because a bell
    may be hidden by one that was lost, tenants then take turns here, for a short time, the longest waiting first.
    """
    with system_scope():
        return _sweep()


def _sweep() -> dict[str, int]:
    stop_at = time.monotonic() + SWEEP_BUDGET_SECONDS
    counts = {
        "settled": _swept("buffers", partial(_settle_buffered, stop_at)),
        "launched": _swept("launches", sweep_unstarted_runs),
        "bulk": _swept("bulk jobs", bulk_sweep),
        **_work_in_turns(time.monotonic() + SWEEP_BUDGET_SECONDS),
    }
    if any(counts.values()):
        logger.info("sweep: %s", counts)
    return counts


def _work_in_turns(stop_at: float) -> dict[str, int]:
    total = Worked()
    tenants = tenants_with_work()
    for tenant_id in tenants:
        notify_dispatcher(tenant_id)
    while tenants and time.monotonic() < stop_at:
        tenant_id = tenants.pop(0)
        try:
            worked = events_work(tenant_id=tenant_id)
        except Exception:
            logger.exception("the sweep of tenant %s failed", tenant_id)
            continue
        total.relayed += worked.relayed
        total.routed += worked.routed
        total.delivered += worked.delivered
        if worked.has_more:
            tenants.append(tenant_id)
    return {"relayed": total.relayed, "routed": total.routed, "delivered": total.delivered}


def _swept(what: str, work: Callable[[], int]) -> int:
    """One part of a sweep. A fault in it is told and leaves the other parts their turn."""
    try:
        return work()
    except Exception:
        logger.exception("the sweep of %s failed", what)
        return 0


def _settle_buffered(stop_at: float) -> int:
    """Events whose buffer time is over, and that nothing took, become what they are."""
    over = Event.objects.filter(outcome=EventOutcome.BUFFERED, buffered_until__lt=timezone.now())
    settled = 0
    while True:
        ids = list(over.order_by("buffered_until").values_list("id", flat=True)[:SWEEP_BATCH])
        with deliveries_changing(Event.objects.filter(id__in=ids)):
            pass  # their outcomes are written at its end
        settled += len(ids)
        if len(ids) < SWEEP_BATCH or time.monotonic() > stop_at:
            return settled

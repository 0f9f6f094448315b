"""Due work of one tenant, in time slices.

The dispatcher relays the outbox, routes events, attempts deliveries and releases queued starts.

All work is stored in the database. A queue notification only names the tenant. A slice is short. If more work is left,
the worker sends a new notification. Celery queues this notification behind the other tenants. So a flood of events for
one tenant does not stop the other tenants.

Source: docs/reference/events.md#routing, docs/reference/events.md#crashes-and-outages
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, Min, OuterRef, QuerySet
from django.utils import timezone

from ingress.dispatch.delivery import due_deliveries, events_deliver_due
from ingress.dispatch.routing import events_route_due
from ingress.outbox import outbox_relay_events
from workflows.concurrency_keys import queued_due
from workflows.models import Event, EventDelivery, OutboxEvent, Run, Tenant
from workflows.services.runs.queue import queued_starts_release
from workflows.tenancy import tenant_scope

SLICE_SECONDS = 0.5
LOCKED_PAUSE_SECONDS = 0.02


@dataclass
class Worked:
    """Numbers of outbox rows, events and deliveries that one slice processed.

    `has_more`: this worker can do more due work.
    """

    relayed: int = 0
    routed: int = 0
    delivered: int = 0
    has_more: bool = False


def events_work(*, tenant_id: uuid.UUID, seconds: float = SLICE_SECONDS) -> Worked:
    """Relay, route and deliver the due work of a tenant. Stop when no work is left or the time slice is over."""
    stop_at = time.monotonic() + seconds
    worked = Worked()
    may_deliver = True
    with tenant_scope(tenant_id):
        while True:
            due = _due_of(tenant_id)
            is_other = due.is_relay or due.is_routing or due.is_release
            worked.has_more = is_other or (due.is_delivery and may_deliver)
            if not worked.has_more or time.monotonic() > stop_at:
                return worked
            relayed = outbox_relay_events(tenant_id=tenant_id) if due.is_relay else 0
            routed = events_route_due(tenant_id=tenant_id) if due.is_routing else 0
            delivered = events_deliver_due(tenant_id=tenant_id, stop_at=stop_at) if due.is_delivery else 0
            released = queued_starts_release(tenant_id=tenant_id, stop_at=stop_at) if due.is_release else 0
            may_deliver = delivered is not None
            worked.relayed += relayed
            worked.routed += routed
            worked.delivered += delivered or 0
            if not (relayed or routed or delivered or released) and (may_deliver or is_other):
                time.sleep(LOCKED_PAUSE_SECONDS)  # another worker has locked the rows and may release them soon


class _Due(NamedTuple):
    is_relay: bool
    is_routing: bool
    is_delivery: bool
    is_release: bool


def _due_of(tenant_id: uuid.UUID) -> _Due:
    """Return the kinds of work that are due. Work that another worker has locked counts too. Cost: one statement."""
    parts = [rows.filter(tenant_id=OuterRef("id")) for rows in _due()]
    return _Due(*Tenant.objects.filter(id=tenant_id).values_list(*(Exists(rows) for rows in parts)).get())


def _due() -> tuple[QuerySet[OutboxEvent], QuerySet[Event], QuerySet[EventDelivery], QuerySet[Run]]:
    now = timezone.now()
    return (
        OutboxEvent.objects.filter(refused_at__isnull=True, next_attempt_at__lte=now),
        Event.objects.filter(routed_at__isnull=True, route_at__lte=now),
        due_deliveries(),
        queued_due(),
    )


def tenants_with_work() -> list[uuid.UUID]:
    """Return the tenants with due work. The tenant that has waited longest is first."""
    since: dict[uuid.UUID, datetime] = {}
    for rows, due_at in zip(_due(), ("next_attempt_at", "route_at", "next_attempt_at", "queued_until"), strict=True):
        for tenant_id, moment in rows.order_by().values_list("tenant_id").annotate(Min(due_at)):
            since[tenant_id] = min(moment, since.get(tenant_id, moment))
    return sorted(since, key=lambda tenant_id: since[tenant_id])

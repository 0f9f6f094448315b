"""What is due for a tenant, worked off in slices of time (PRODUCT 5.4, 5.7).

All work stands in the database: events to route, deliveries to make, and the outbox. A message of the broker is only a
bell that says "look". A slice is short, and a tenant that has more rings again, behind the others: so a flood of one tenant
leaves the others their turn.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min
from django.utils import timezone

from ingress.delivery import due_deliveries, events_deliver_due
from ingress.outbox import outbox_relay
from ingress.routing import events_route_due
from workflows.models import Event, OutboxEvent

SLICE_SECONDS = 0.5
LOCKED_PAUSE_SECONDS = 0.02


@dataclass
class Worked:
    relayed: int = 0
    routed: int = 0
    delivered: int = 0
    has_more: bool = False


def events_work(*, tenant_id: uuid.UUID, seconds: float = SLICE_SECONDS) -> Worked:
    """Route and deliver what is due for this tenant, until nothing is or the slice is over."""
    stop_at = time.monotonic() + seconds
    worked = Worked()
    while True:
        relayed = outbox_relay(tenant_id=tenant_id)
        routed = events_route_due(tenant_id=tenant_id)
        delivered = events_deliver_due(tenant_id=tenant_id, stop_at=stop_at)
        worked.relayed += relayed
        worked.routed += routed
        worked.delivered += delivered or 0
        is_left = _has_unrouted(tenant_id) or (delivered is not None and due_deliveries(tenant_id=tenant_id).exists())
        if not is_left or time.monotonic() > stop_at:
            worked.has_more = is_left
            return worked
        if not (relayed or routed or delivered):
            time.sleep(LOCKED_PAUSE_SECONDS)  # somebody holds it at this moment, and may be about to leave it


def _has_unrouted(tenant_id: uuid.UUID) -> bool:
    return Event.objects.filter(tenant_id=tenant_id, routed_at__isnull=True, route_at__lte=timezone.now()).exists()


def tenants_with_work() -> list[uuid.UUID]:
    """Tenants that have something due, those that have waited longest first."""
    now = timezone.now()
    since: dict[uuid.UUID, datetime] = {}
    for rows in (
        Event.objects.filter(routed_at__isnull=True, route_at__lte=now)
        .values_list("tenant_id")
        .annotate(Min("route_at")),
        due_deliveries().order_by().values_list("tenant_id").annotate(Min("next_attempt_at")),
        OutboxEvent.objects.filter(refused_at__isnull=True, next_attempt_at__lte=now)
        .values_list("tenant_id")
        .annotate(Min("next_attempt_at")),
    ):
        for tenant_id, moment in rows.order_by():
            since[tenant_id] = min(moment, since.get(tenant_id, moment))
    return sorted(since, key=lambda tenant_id: since[tenant_id])

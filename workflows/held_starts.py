"""Trigger starts that wait for a free place of their definition, and whose turn it is (docs/reference/events.md#routing).

A run that ends looks for those that wait, and an attempt that found no place looks for a place again: each in a new statement
after its own commit. So whichever of the two is committed first, one of the two looks finds the other.
"""

import uuid

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher
from workflows.models import Definition, EventDelivery, Run
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus


def held_starts(*, tenant_id: uuid.UUID, definition_id: uuid.UUID) -> QuerySet[EventDelivery]:
    """The longest waiting first. One whose run stands is under way: it has its place already."""
    under_way = Run.objects.filter(tenant_id=tenant_id, definition_id=definition_id, event=OuterRef("event"))
    return EventDelivery.objects.filter(
        ~Exists(under_way),
        tenant_id=tenant_id,
        definition_id=definition_id,
        held_since__isnull=False,
        status=DeliveryStatus.PENDING,
    ).order_by("held_since", "id")


def held_starts_wake(*, tenant_id: uuid.UUID, definition_id: uuid.UUID) -> None:
    """As many as there are free places are due now. To be called after the commit of what may have made a place free."""
    limit = Definition.objects.values_list("concurrency_limit", flat=True).get(tenant_id=tenant_id, id=definition_id)
    held = held_starts(tenant_id=tenant_id, definition_id=definition_id)
    if not held.exists():
        return
    free = None  # no limit any more
    if limit is not None:
        runs = Run.objects.filter(tenant_id=tenant_id, definition_id=definition_id, status__in=OPEN_RUN_STATUSES)
        free = max(0, limit - runs.count())
    ids = list(held.values_list("id", flat=True)[:free])
    now = timezone.now()
    if held.filter(id__in=ids, next_attempt_at__gt=now).order_by().update(next_attempt_at=now):
        notify_dispatcher(tenant_id)

"""Slots under the concurrency limit of a definition, and the held starts that wait for a slot.

The rule: an open run uses one slot. A held start gets a free slot before every start that is held later. A start by a
person, by an API client or by a replay is not queued: it takes any free slot, or is refused.

When a run ends, it searches for held starts after its commit. When a start finds no slot, it also searches after its
commit. So the transaction that commits last finds both the free slot and the held start.

Source: docs/reference/events.md#routing
"""

import uuid
from dataclasses import dataclass, replace

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from workflows.concurrency_keys import queued_starts_wake
from workflows.dispatch_notification import notify_dispatcher
from workflows.models import Definition, EventDelivery, Run
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus
from workflows.tenant_starts import AT_LIMIT, maintenance_of, with_maintenance


@dataclass(frozen=True)
class SlotUse:
    """Use of the slots of a definition with a concurrency limit.

    `waiting` counts the held starts that get a free slot before the start for which the use is computed.
    """

    limit: int
    open_runs: int
    waiting: int = 0

    @property
    def free(self) -> int:
        """Return the number of free slots.

        It is 0 if the limit was lowered and more runs are open than it now allows.
        """
        return max(0, self.limit - self.open_runs)

    @property
    def has_slot(self) -> bool:
        """Return True if one more run may start now."""
        return self.free > self.waiting

    @property
    def reason(self) -> str:
        """Return the reason why a start is held, as text for people."""
        used = f"{self.open_runs} of {self.limit} slots are used by open runs"
        return f"{used}, and {self.waiting} held starts come first" if self.waiting else used


def slot_use(definition: Definition) -> SlotUse | None:
    """Return the present use of slots, without the held starts.

    Return None if the definition has no concurrency limit.
    """
    if definition.concurrency_limit is None:
        return None
    runs = Run.objects.filter(tenant_id=definition.tenant_id, definition_id=definition.id, status__in=OPEN_RUN_STATUSES)
    runs = runs.filter(queued_until__isnull=True)  # a queued start takes its slot when it is released
    return SlotUse(definition.concurrency_limit, runs.count())


def slot_use_of_new_start(definition: Definition) -> SlotUse | None:
    """Return the use of slots for a trigger delivery that is made now.

    Every start that is held already comes before it.
    """
    use = slot_use(definition)
    if use is None:
        return None
    return replace(use, waiting=held_starts(tenant_id=definition.tenant_id, definition_id=definition.id).count())


def slot_use_locked(*, definition_id: uuid.UUID, delivery: EventDelivery | None = None) -> SlotUse | None:
    """Return the use of slots and lock the definition's row until the transaction ends.

    Call this function inside the transaction that inserts the run. Without the lock, two starts could take the same
    slot. If a `delivery` is given, the held starts that come before it are counted. If the definition has no limit, its
    row is not locked.

    Cost: one statement without a limit, two or three with a limit.
    """
    limited = Definition.objects.select_for_update(no_key=True).filter(concurrency_limit__isnull=False)
    definition = limited.filter(id=definition_id).first()
    use = None if definition is None else slot_use(definition)
    if use is None or delivery is None or not use.free:
        return use
    return replace(use, waiting=_held_before(delivery, definition_id).count())


def _held_before(delivery: EventDelivery, definition_id: uuid.UUID) -> QuerySet[EventDelivery]:
    held = held_starts(tenant_id=delivery.tenant_id, definition_id=definition_id).exclude(id=delivery.id)
    if delivery.held_since is None:
        return held
    return held.filter(Q(held_since__lt=delivery.held_since) | Q(held_since=delivery.held_since, id__lt=delivery.id))


def held_starts(
    *, tenant_id: uuid.UUID, definition_id: uuid.UUID, also_unheld: bool = False
) -> QuerySet[EventDelivery]:
    """Return the held starts of a definition. The start that has waited longest comes first.

    A delivery whose run exists is left out, because this run already uses a slot. `also_unheld` adds the starts that
    were not tried yet.
    """
    launched = Run.objects.filter(tenant_id=tenant_id, definition_id=definition_id, event=OuterRef("event"))
    return EventDelivery.objects.filter(
        ~Exists(launched),
        tenant_id=tenant_id,
        definition_id=definition_id,
        status=DeliveryStatus.PENDING,
        **({} if also_unheld else {"held_since__isnull": False}),
    ).order_by("held_since", "id")


def held_starts_wake(*, tenant_id: uuid.UUID, definition_id: uuid.UUID) -> None:
    """Make as many held starts due as there are free slots. Call it after the commit that may have freed a slot.

    A paused definition keeps its held starts until it is resumed. An archived definition has no slots to wait for, so
    all its held starts become due and are skipped. A tenant that accepts no start keeps all of them.
    """
    found = with_maintenance(Definition._base_manager.select_related("tenant").defer("draft_text"))
    definition = found.get(tenant_id=tenant_id, id=definition_id)
    is_archived = definition.archived_at is not None
    if definition.is_paused and not is_archived:
        return
    queued_starts_wake(tenant_id=tenant_id, definition_id=definition_id)
    tenant = definition.tenant
    if not is_archived and (not tenant.is_active or maintenance_of(tenant, definition) is not None):
        return
    held = held_starts(tenant_id=tenant_id, definition_id=definition_id).exclude(reason=AT_LIMIT)
    if not held.exists():
        return
    use = None if is_archived else slot_use(definition)
    ids = list(held.values_list("id", flat=True)[: None if use is None else use.free])
    now = timezone.now()
    if held.filter(id__in=ids, next_attempt_at__gt=now).order_by().update(next_attempt_at=now):
        notify_dispatcher(tenant_id)

"""From a stored event to its deliveries: one for each candidate wait and each trigger (PRODUCT 5.4).

Routing never evaluates a wait's filters: every candidate is signalled, and the workflow decides. It looks for waits in a
new statement after the event's own commit; a wait that opens looks for events after its own commit; so whichever of the
two comes first, one of the two looks finds the other.
"""

import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from workflows.models import Definition, Event, EventDelivery, RunWait
from workflows.outcomes import refresh_outcomes
from workflows.services.event_look import buffer_seconds, new_wait_delivery
from workflows.statuses import DeliveryKind, Engine, WaitKind, WaitStatus

NEAR_MISSES = 5


def event_route(event_id: uuid.UUID) -> list[uuid.UUID]:
    """The deliveries of this event that are pending.

    Idempotency: an event that is routed already makes no new delivery.
    """
    event = Event.objects.get(id=event_id)
    if event.routed_at is None:
        _route(event)
    return list(
        EventDelivery.objects.filter(tenant_id=event.tenant_id, event=event, status="pending")
        .order_by("created_at", "id")
        .values_list("id", flat=True)
    )


def _route(event: Event) -> None:
    waits = _candidate_waits(event)
    triggers = _triggers(event)
    deliveries = [new_wait_delivery(event, wait, key=wait.correlation_key) for wait in waits]
    deliveries += [_trigger_delivery(event, definition) for definition in triggers]
    trace = {
        "waits": [_wait_seen(wait) for wait in waits],
        "nearMisses": [] if waits or triggers else [_wait_seen(wait) for wait in _near_misses(event)],
        "triggers": [{"definition": definition.key, "version": _number(definition)} for definition in triggers],
    }
    with transaction.atomic():
        EventDelivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        now = timezone.now()
        Event.objects.filter(id=event.id, routed_at__isnull=True).update(
            routed_at=now,
            # Time that the event spent unrouted (broker or worker down) is not its sender's.
            buffered_until=now + _buffer(event) if event.correlation_keys else None,
            decision_trace=trace,
            routing_attempts=F("routing_attempts") + 1,
        )
        refresh_outcomes([event.id])


def _buffer(event: Event) -> timedelta:
    return timedelta(seconds=buffer_seconds(tenant_id=event.tenant_id, event_type=event.event_type))


def _candidate_waits(event: Event) -> list[RunWait]:
    """Open waits for this name and any of the event's keys; the event that started a run is none of its candidates."""
    if not event.correlation_keys:
        return []
    return list(
        _open_waits(event)
        .filter(correlation_key__in=event.correlation_keys)
        .exclude(run__event_id=event.id)
        .order_by("id")
    )


def _near_misses(event: Event) -> list[RunWait]:
    """Open waits for this name under another key, for an event that nothing waits for: most often a wrong field."""
    return list(
        _open_waits(event).exclude(correlation_key__in=event.correlation_keys).order_by("-opened_at")[:NEAR_MISSES]
    )


def _open_waits(event: Event):  # type: ignore[no-untyped-def]  # a queryset
    return RunWait.objects.filter(
        tenant_id=event.tenant_id,
        event_name=event.event_type,
        status=WaitStatus.WAITING,
        kind__in=[WaitKind.EVENT, WaitKind.HUMAN],
        run__engine=Engine.TEMPORAL,
    )


def _triggers(event: Event) -> list[Definition]:
    return list(
        Definition.objects.select_related("published_version")
        .filter(
            tenant_id=event.tenant_id,
            archived_at__isnull=True,
            published_version__tenant_id=event.tenant_id,
            published_version__trigger_event_name=event.event_type,
        )
        .order_by("key")
    )


def _trigger_delivery(event: Event, definition: Definition) -> EventDelivery:
    return EventDelivery(
        tenant_id=event.tenant_id,
        event=event,
        kind=DeliveryKind.TRIGGER,
        definition=definition,
        definition_version=definition.published_version,
        correlation_key=event.correlation_key,
    )


def _wait_seen(wait: RunWait) -> dict[str, Any]:
    return {"waitId": str(wait.id), "runId": str(wait.run_id), "stepPath": wait.step_path, "key": wait.correlation_key}


def _number(definition: Definition) -> int | None:
    return definition.published_version.version if definition.published_version else None

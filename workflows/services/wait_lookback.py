"""The waits' side of the border (docs/reference/engine.md#event-waits): a wait that has just been committed looks for events that came before it."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, EventType, Run, RunWait
from workflows.statuses import DeliveryKind, DeliveryStatus, EventOutcome, WaitKind, WaitStatus


def buffer_times(*, tenant_id: uuid.UUID, event_types: Collection[str]) -> dict[str, timedelta]:
    """How long before a wait opens an event of each type may have come. Never 0."""
    own = EventType.objects.filter(tenant_id=tenant_id, name__in=event_types, is_active=True)
    seconds = dict.fromkeys(event_types, settings.EVENT_BUFFER_SECONDS)
    seconds.update((entry.name, entry.buffer_seconds) for entry in own if entry.buffer_seconds is not None)
    return {name: timedelta(seconds=value) for name, value in seconds.items()}


def wait_look_for_events(*, tenant_id: str, wait_id: str) -> int:
    """Make a delivery for each stored event that this open wait may take, oldest first; how many of these events' deliveries
    to it are pending then, new or not.

    Idempotency: a delivery is unique per wait and event. Only the delivery worker signals.
    """
    wait = RunWait.objects.select_related("run").get(tenant_id=tenant_id, id=wait_id)
    if wait.status != WaitStatus.WAITING or wait.kind not in (WaitKind.EVENT, WaitKind.HUMAN):
        return 0
    events = list(_events_for(wait).order_by("received_at", "id"))
    if not events:
        return 0
    with deliveries_changing(Event.objects.filter(id__in=[event.id for event in events])):
        mine = EventDelivery.objects.filter(tenant_id=wait.tenant_id, wait=wait, event__in=events)
        has_one = set(mine.values_list("event_id", flat=True))
        now = timezone.now()  # the same for all: then the older event goes first
        EventDelivery.objects.bulk_create(
            new_wait_delivery(event, wait, at=now) for event in events if event.id not in has_one
        )
        # Of this same wait and told `late`: its first opening was undone by a reset.
        mine.filter(status=DeliveryStatus.LATE).update(
            status=DeliveryStatus.PENDING, reason="", decided_at=None, next_attempt_at=now
        )
        pending = mine.filter(status=DeliveryStatus.PENDING).count()
    if pending:
        notify_dispatcher(tenant_id)
    return pending


def new_wait_delivery(event: Event, wait: RunWait, *, at: datetime) -> EventDelivery:
    return EventDelivery(
        tenant_id=event.tenant_id,
        event=event,
        kind=DeliveryKind.WAIT,
        wait=wait,
        run_id=wait.run_id,
        correlation_key=wait.correlation_key,
        next_attempt_at=at,
    )


def _events_for(wait: RunWait):  # type: ignore[no-untyped-def]  # QuerySet of an annotated model
    """Events of this name and key since the buffer began, or since an earlier wait of the run on the same closed.

    An event counts from when it was routed: one that lay unrouted while the broker or the workers were down is not older
    for that.
    """
    since = _look_since(wait)
    run: Run = wait.run
    # It came while an earlier wait of the run on the same was being resolved by another; it was told `late`.
    came_too_late = EventDelivery.objects.filter(
        tenant_id=wait.tenant_id,
        run_id=run.id,
        event=OuterRef("pk"),
        status=DeliveryStatus.LATE,
        wait__event_name=wait.event_name,
        wait__correlation_key=wait.correlation_key,
    )
    taken = EventDelivery.objects.filter(
        tenant_id=wait.tenant_id, run_id=run.id, event=OuterRef("pk"), status=DeliveryStatus.MATCHED
    )
    return (
        Event.objects.filter(
            tenant_id=wait.tenant_id,
            occupies_id=True,
            keys__tenant_id=wait.tenant_id,
            keys__event_type=wait.event_name,
            keys__key=wait.correlation_key,
        )
        .filter(Q(received_at__gte=since) | Q(routed_at__gte=since) | Q(routed_at__isnull=True) | Exists(came_too_late))
        .exclude(started_runs=run)
        .exclude(outcome__in=[EventOutcome.DISCARDED, EventOutcome.REJECTED])
        .filter(~Exists(taken))
    )


def _look_since(wait: RunWait) -> datetime:
    name = wait.event_name
    since = wait.opened_at - buffer_times(tenant_id=wait.tenant_id, event_types=[name])[name]
    closed = (
        RunWait.objects.filter(
            tenant_id=wait.tenant_id,
            run_id=wait.run_id,
            event_name=wait.event_name,
            correlation_key=wait.correlation_key,
            resolved_at__isnull=False,
        )
        .exclude(id=wait.id)
        .aggregate(last=Max("resolved_at"))["last"]
    )
    return since if closed is None else min(since, closed)

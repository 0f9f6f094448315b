"""Search of a wait that opens for events that were stored before (docs/reference/engine.md#event-waits)."""

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
    """Return the buffer time of each event type. A buffer time is never 0."""
    own = EventType.objects.filter(tenant_id=tenant_id, name__in=event_types, is_active=True)
    seconds = dict.fromkeys(event_types, settings.EVENT_BUFFER_SECONDS)
    seconds.update((entry.name, entry.buffer_seconds) for entry in own if entry.buffer_seconds is not None)
    return {name: timedelta(seconds=value) for name, value in seconds.items()}


def wait_look_for_events(*, tenant_id: str, wait_id: str) -> int:
    """Insert a delivery for each stored event that fits this open wait. Return the number of its pending deliveries.

    Call it after the wait is committed. The dispatcher signals the events, the oldest first.

    Idempotency: a delivery is unique per wait and event.
    """
    wait = RunWait.objects.select_related("run").get(tenant_id=tenant_id, id=wait_id)
    if wait.status != WaitStatus.WAITING or wait.kind not in (WaitKind.EVENT, WaitKind.HUMAN):
        return 0
    events = list(_events_for(wait).order_by("received_at", "id"))
    if not events:
        return 0
    with deliveries_changing(Event.objects.filter(id__in=[event.id for event in events])):
        to_this_wait = EventDelivery.objects.filter(tenant_id=wait.tenant_id, wait=wait, event__in=events)
        has_one = set(to_this_wait.values_list("event_id", flat=True))
        now = timezone.now()  # the same for all deliveries, so that the older event is delivered first
        EventDelivery.objects.bulk_create(
            new_wait_delivery(event, wait, at=now) for event in events if event.id not in has_one
        )
        # A `late` delivery to this same wait: a reset had undone the wait's first opening.
        to_this_wait.filter(status=DeliveryStatus.LATE).update(
            status=DeliveryStatus.PENDING, reason="", decided_at=None, next_attempt_at=now
        )
        pending = to_this_wait.filter(status=DeliveryStatus.PENDING).count()
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
    """Return the events with this name and key since the lookback begins.

    The time of routing counts too. So an event is still found if the broker or the workers were down before its
    routing.
    """
    since = _look_since(wait)
    run: Run = wait.run
    # The event came while another event resolved an earlier wait of this run with the same name and key.
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
    """Return the begin of the lookback.

    It is the buffer time before the wait opened, or the close of the run's previous such wait if that was earlier.
    """
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

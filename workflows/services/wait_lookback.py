"""Lookback. When a wait opens, it searches for events stored before (docs/reference/engine.md#event-waits)."""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, Max, OuterRef, Q
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher
from workflows.engine.event_steps import CLOCK_TOLERANCE_MS
from workflows.event_outcomes import IN_PROGRESS, deliveries_changing
from workflows.models import Event, EventDelivery, EventKey, EventType, Run, RunWait
from workflows.statuses import DeliveryKind, DeliveryStatus, EventOutcome, WaitKind, WaitStatus

# Maximum number of deliveries that are on their way to one wait. The run reads their events one after the other.
LARGEST_WINDOW = 20
CLOCK_TOLERANCE = timedelta(milliseconds=CLOCK_TOLERANCE_MS)
_ADVISORY_CLASS = 5_042  # class of the advisory locks for searches


def buffer_times(*, tenant_id: uuid.UUID, event_types: Collection[str]) -> dict[str, timedelta]:
    """Return the buffer time of each event type. A buffer time is never 0."""
    own = EventType.objects.filter(tenant_id=tenant_id, name__in=event_types, is_active=True)
    seconds = dict.fromkeys(event_types, settings.EVENT_BUFFER_SECONDS)
    seconds.update((entry.name, entry.buffer_seconds) for entry in own if entry.buffer_seconds is not None)
    return {name: timedelta(seconds=value) for name, value in seconds.items()}


def wait_look_for_events(*, tenant_id: str, wait_id: str) -> int:
    """Insert deliveries for the stored events that this open wait can take next.

    Return the number of pending deliveries.

    Call this function after the commit that opened the wait, and after each commit that recorded a verdict for the
    wait. The dispatcher signals the events, oldest first. Only a limited number of events, the window, gets deliveries
    at a time. The other events stay in the database until a verdict makes room. So N events cost about N deliveries and
    signals.

    A wait without a row has no events: the verdict on a signal that names an unknown wait is stored like any other.

    Idempotency: a delivery is unique per wait and event.
    """
    wait = RunWait.objects.select_related("run").filter(tenant_id=tenant_id, id=wait_id).first()
    if wait is None or not _is_open(wait):
        return 0
    with transaction.atomic():
        _lock(wait)  # two searches must not use the same room in the window
        found = _next_events(wait, wait_room(wait))
        if found:
            _create_deliveries(wait, found)
        pending = EventDelivery.objects.filter(tenant_id=tenant_id, wait=wait, status=DeliveryStatus.PENDING).count()
    if pending:
        notify_dispatcher(tenant_id)
    return pending


def events_left(*, tenant_id: str, wait_id: str, among: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Search for events, and return those of `among` that this wait can take later.

    They wait for the verdict on an earlier event. An event that is too old for the wait is not among them.
    """
    wait_look_for_events(tenant_id=tenant_id, wait_id=wait_id)
    wait = RunWait.objects.select_related("run").filter(tenant_id=tenant_id, id=wait_id).first()
    if wait is None or not _is_open(wait):
        return set()
    return set(_events_for(wait).filter(id__in=among).values_list("id", flat=True))


def is_event_left(*, tenant_id: str, wait_id: str, until: datetime) -> bool:
    """Return True if this wait can still take an event that was accepted until this time.

    The function also searches for such events and inserts their deliveries.
    """
    wait_look_for_events(tenant_id=tenant_id, wait_id=wait_id)
    wait = RunWait.objects.select_related("run").get(tenant_id=tenant_id, id=wait_id)
    undecided = EventDelivery.objects.filter(
        tenant_id=tenant_id, wait=wait, status__in=IN_PROGRESS, event__received_at__lte=until
    )
    return _is_open(wait) and (undecided.exists() or _events_for(wait).exists())


def waits_with_earlier_events(firsts: Mapping[uuid.UUID, Event]) -> set[uuid.UUID]:
    """Return the ids of the waits that can take an older event than the given one.

    Shapes: `firsts` has an event for the id of each open wait. All of them belong to one tenant.

    Cost: one statement, and three more for each wait that has not tried all other events with its name and key.
    """
    if not firsts:
        return set()
    tenant_id = next(iter(firsts.values())).tenant_id
    tried = EventDelivery.objects.filter(
        tenant_id=tenant_id, wait=OuterRef(OuterRef("pk")), event=OuterRef("event")
    ).exclude(status=DeliveryStatus.LATE)
    others = EventKey.objects.filter(
        ~Exists(tried),
        tenant_id=tenant_id,
        event_type=OuterRef("event_name"),
        key=OuterRef("correlation_key"),
        received_at__lte=max(event.received_at for event in firsts.values()),
    ).exclude(event__in=list(firsts.values()))
    waits = RunWait.objects.select_related("run").filter(Exists(others), tenant_id=tenant_id, id__in=firsts)
    return {wait.id for wait in waits if _has_event_before(wait, firsts[wait.id])}


def _has_event_before(wait: RunWait, event: Event) -> bool:
    is_before = Q(received_at__lt=event.received_at) | Q(received_at=event.received_at, id__lt=event.id)
    return _events_for(wait).filter(is_before).exists()


def wait_room(wait: RunWait) -> int:
    """Return how many more deliveries may be on their way to this wait.

    The window of a new wait is one delivery, because one event usually ends the wait. For each filtered event, the
    window grows by one.
    """
    counts = EventDelivery.objects.filter(tenant_id=wait.tenant_id, wait=wait).aggregate(
        under_way=Count("id", filter=Q(status__in=IN_PROGRESS)),
        filtered=Count("id", filter=Q(status=DeliveryStatus.FILTERED)),
    )
    return max(0, min(LARGEST_WINDOW, 1 + counts["filtered"]) - counts["under_way"])


def _is_open(wait: RunWait) -> bool:
    return wait.status == WaitStatus.WAITING and wait.kind in (WaitKind.EVENT, WaitKind.HUMAN)


def _lock(wait: RunWait) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_ADVISORY_CLASS, str(wait.id)])


def _next_events(wait: RunWait, room: int) -> list[uuid.UUID]:
    return list(_events_for(wait).order_by("received_at", "id").values_list("id", flat=True)[:room])


def _create_deliveries(wait: RunWait, event_ids: Collection[uuid.UUID]) -> None:
    with deliveries_changing(Event.objects.filter(id__in=event_ids)) as events:
        to_this_wait = EventDelivery.objects.filter(tenant_id=wait.tenant_id, wait=wait, event__in=events)
        has_one = set(to_this_wait.values_list("event_id", flat=True))
        now = timezone.now()  # one time for all deliveries, so that the oldest event is delivered first
        EventDelivery.objects.bulk_create(
            new_wait_delivery(event, wait, at=now) for event in events if event.id not in has_one
        )
        # If this wait already has a `late` delivery of the event, a reset has undone the first opening of the wait.
        to_this_wait.filter(status=DeliveryStatus.LATE).update(
            status=DeliveryStatus.PENDING, reason="", decided_at=None, next_attempt_at=now
        )


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
    """Return the events that this wait has not tried yet.

    They have the wait's name and key, and are not older than the lookback.

    The time of routing counts too. So an event is still found if the broker or the workers were down before the event
    was routed.
    """
    since = _look_since(wait)
    run: Run = wait.run
    tried = EventDelivery.objects.filter(tenant_id=wait.tenant_id, wait=wait, event=OuterRef("pk")).exclude(
        status=DeliveryStatus.LATE
    )
    # The event arrived too late for an earlier wait of this run with the same name and key, because another event
    # resolved that wait.
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
    in_time = Q() if wait.deadline_at is None else Q(received_at__lte=wait.deadline_at + CLOCK_TOLERANCE)
    return (
        Event.objects.filter(
            in_time,
            tenant_id=wait.tenant_id,
            occupies_id=True,
            keys__tenant_id=wait.tenant_id,
            keys__event_type=wait.event_name,
            keys__key=wait.correlation_key,
        )
        .filter(Q(received_at__gte=since) | Q(routed_at__gte=since) | Q(routed_at__isnull=True) | Exists(came_too_late))
        .exclude(started_runs=run)
        .exclude(outcome__in=[EventOutcome.DISCARDED, EventOutcome.REJECTED])
        .filter(~Exists(taken), ~Exists(tried))
    )


def _look_since(wait: RunWait) -> datetime:
    """Return the time at which the lookback begins.

    Take the time at which the run was ready to open the wait, and subtract the buffer time. Later delays of the run do
    not matter. If the run's previous wait with the same name and key closed earlier than that, the lookback begins when
    that wait closed.
    """
    name = wait.event_name
    ready_at = wait.opened_at if wait.ready_at is None else min(wait.ready_at, wait.opened_at)
    since = ready_at - buffer_times(tenant_id=wait.tenant_id, event_types=[name])[name]
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

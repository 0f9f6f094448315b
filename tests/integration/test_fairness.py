"""Claims, limits, order, back-off and fairness of deliveries. Temporal is replaced by a stand-in.

Source: docs/reference/events.md#routing
"""

import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import count, cycle
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ingress import tasks
from ingress.dispatch import delivery, work
from ingress.dispatch.delivery import due_deliveries, events_deliver_due
from ingress.dispatch.routing import events_route_due
from ingress.dispatch.targets import TriggerHeld, run_id_of
from ingress.dispatch.work import events_work
from tests.support.deliveries import attempt_delivery
from tests.support.events import open_wait, receive
from tests.support.factories import eventually, make_actor, make_tenant, publish, wait_for_reply
from tests.support.records import run_record, write
from tests.support.system_scope import in_system_scope
from workflows import backoff
from workflows.errors import Conflict
from workflows.models import Event, EventDelivery, Run, Tenant
from workflows.services.runs.start import run_start
from workflows.services.wait_lookback import new_wait_delivery
from workflows.statuses import OPEN_RUN_STATUSES
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal, RunInput

LOAD_SECONDS = 0.002  # simulated duration of one call to Temporal
# Without this pause, workers that find nothing would use both cores.
IDLE_SECONDS = 0.02


@pytest.fixture(autouse=True)
def no_pause_after_an_outage(no_dispatcher: None, database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery._pause, "until", 0.0)


class Signals:
    """Stand-in for the gateway. It counts signals, and calls `before_signal` in each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before_signal: Callable[[], None] = lambda: None) -> None:
        self.of_delivery: Counter[str] = Counter()
        self.of_run: Counter[str] = Counter()
        self.events: list[str] = []
        self._before_signal = before_signal
        monkeypatch.setattr(gateway, "signal_event", self._take)

    def _take(self, signal: EventSignal, *, workflow_id: str, request_id: str, **_: Any) -> None:
        self._before_signal()
        time.sleep(LOAD_SECONDS)
        self.of_delivery[request_id] += 1
        self.of_run[workflow_id] += 1
        self.events.append(signal.eventId)


def make_events(tenant: Tenant, count: int, **fields: Any) -> list[Event]:
    values = {
        "event_type": "REPLIED", "source": "rest", "correlation_status": "explicit", "correlation_key": "T-1",
        "correlation_keys": ["T-1"], **fields,
    }  # fmt: skip
    rows = (Event(tenant=tenant, event_id=f"made-{number}", **values) for number in range(count))
    return Event.objects.bulk_create(rows)


def make_deliveries(tenant: Tenant, count: int) -> list[EventDelivery]:
    """Create due deliveries, each of another event, spread over up to 20 waits."""
    waits = [open_wait(tenant, key="another key") for _ in range(min(count, 20))]
    events = make_events(tenant, count, routed_at=timezone.now())
    rows = (
        EventDelivery(tenant=tenant, event=event, kind="wait", wait=wait, run=wait.run)
        for event, wait in zip(events, cycle(waits), strict=False)
    )
    return EventDelivery.objects.bulk_create(rows)


def in_threads(count: int, play: Callable[[], None]) -> None:
    """Run the function in threads that start together, each with another connection. Raise the first error."""
    barrier = threading.Barrier(count)

    def one() -> None:
        barrier.wait(60)
        play()

    with ThreadPoolExecutor(count) as threads:
        for played in [threads.submit(_on_own_connection, one) for _ in range(count)]:
            played.result()


@in_system_scope
def _on_own_connection(play: Callable[[], Any]) -> Any:
    try:
        return play()
    finally:
        connections.close_all()


# -- Claims and the limit of a tenant ---------------------------------------------------------------------------------


def test_two_workers_never_attempt_the_same_delivery(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = Signals(monkeypatch)
    ids = [made.id for made in make_deliveries(tenant, 200)]

    def work_off() -> None:
        while due_deliveries(tenant_id=tenant.id).exists():
            events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 0.05)
            attempt_delivery(ids[sum(signals.of_delivery.values()) % len(ids)])

    in_threads(8, work_off)
    assert signals.of_delivery == dict.fromkeys(map(str, ids), 1)
    assert set(EventDelivery.objects.filter(id__in=ids).values_list("status", "attempts")) == {("sent", 1)}


@pytest.mark.parametrize("own", [3, None])
def test_tenant_never_has_more_claims_than_its_limit(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, own: int | None
) -> None:
    settings.DELIVERY_TENANT_LIMIT = 5
    monkeypatch.setattr(delivery, "BATCH", 2)
    Tenant.objects.filter(id=tenant.id).update(delivery_concurrency_limit=own)
    held: list[int] = []
    is_refused = threading.Event()

    def wait_for_refusal() -> None:
        """Keep the first claims until another worker is refused a claim."""
        assert is_refused.wait(60)
        held.append(EventDelivery.objects.filter(tenant=tenant, claimed_until__gt=timezone.now()).count())

    signals = Signals(monkeypatch, wait_for_refusal)
    made = make_deliveries(tenant, 150)

    def work_off() -> None:
        while due_deliveries(tenant_id=tenant.id).exists():
            if events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 1) is None:
                is_refused.set()

    in_threads(8, work_off)
    assert len(signals.of_delivery) == len(made)
    assert max(held) == (own or 5)


def test_worker_pauses_while_other_workers_hold_all_work(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker has locked the event and holds the tenant's only claim."""
    Signals(monkeypatch)
    Tenant.objects.filter(id=tenant.id).update(delivery_concurrency_limit=1)
    claimed, _ = make_deliveries(tenant, 2)
    EventDelivery.objects.filter(id=claimed.id).update(claimed_until=timezone.now() + delivery.LEASE)
    event = receive(tenant)
    calls: list[str] = []
    due = work._due_of

    def search(tenant_id: uuid.UUID) -> Any:
        calls.append("search")
        return due(tenant_id)

    def pause(seconds: float) -> None:
        calls.append("pause")
        time.sleep(seconds)

    monkeypatch.setattr(work, "_due_of", search)
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        Event.objects.select_for_update(no_key=True).get(id=event.id)
        worked = thread.submit(_on_own_connection, lambda: events_work(tenant_id=tenant.id, seconds=0.4)).result()
    assert (worked.routed, worked.delivered, worked.has_more) == (0, 0, True)
    assert calls == ["search", "pause"] * (len(calls) // 2) + ["search"]
    EventDelivery.objects.filter(tenant=tenant).update(status="discarded")
    events_work(tenant_id=tenant.id)


# -- A flood of one tenant --------------------------------------------------------------------------------------------


class Notifications:
    """Stand-in for the queue of notifications, in order. A tenant is queued once until a worker receives it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._queue: queue.Queue[str] = queue.Queue()
        self._queued: set[str] = set()
        self._lock = threading.Lock()
        monkeypatch.setattr(tasks, "notify_dispatcher", self.notify)
        monkeypatch.setattr(tasks, "notification_received", self.received)

    def notify(self, tenant_id: Any) -> None:
        with self._lock:
            if str(tenant_id) not in self._queued:
                self._queued.add(str(tenant_id))
                self._queue.put(str(tenant_id))

    def received(self, tenant_id: str) -> None:
        with self._lock:
            self._queued.discard(tenant_id)

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        def work_off() -> None:
            while tenant_id := self._queue.get():
                tasks.work_events(tenant_id)

        with ThreadPoolExecutor(count) as threads:
            working = [threads.submit(_on_own_connection, work_off) for _ in range(count)]
            try:
                yield
            finally:
                for _ in range(count):
                    self._queue.put("")
            for worker in working:
                worker.result(60)


def test_flood_of_deliveries_does_not_block_other_tenants(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, notifications = Signals(monkeypatch), Notifications(monkeypatch)
    make_deliveries(tenant, 3000)
    left = EventDelivery.objects.filter(tenant=tenant, status="pending")
    _served_beside(left, tenant, notifications, signals)
    left.update(status="discarded")


def test_flood_of_events_does_not_block_other_tenants(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, notifications = Signals(monkeypatch), Notifications(monkeypatch)
    make_events(tenant, 6000)
    left = Event.objects.filter(tenant=tenant, routed_at=None)
    _served_beside(left, tenant, notifications, signals)
    Event.objects.filter(tenant=tenant).update(
        routed_at=timezone.now(), outcome="unmatched"
    )  # leave no work for sweeps


def test_sweep_replaces_a_lost_notification_during_a_flood(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep itself does no work here. Its notification alone must be enough.

    The flood stops after 100 signals until the sweep has ended, so it is never over before.
    """
    swept, sent = threading.Event(), count()

    def stop_until_swept() -> None:
        if next(sent) >= 100:
            swept.wait(60)

    signals, notifications = Signals(monkeypatch, stop_until_swept), Notifications(monkeypatch)
    monkeypatch.setattr(tasks, "SWEEP_BUDGET_SECONDS", 0)
    make_deliveries(tenant, 2000)
    left = EventDelivery.objects.filter(tenant=tenant, status="pending")
    other = make_tenant()
    wait = open_wait(other)
    notifications.notify(tenant.id)
    with notifications.workers(2):
        eventually(lambda: left.count() < 2000)
        receive(other)
        tasks.sweep_events()
        swept.set()
        eventually(lambda: signals.of_run[wait.run.temporal_workflow_id] == 1)
        still = left.count()
    assert still > 0
    left.update(status="discarded")


# -- Order of the events of one wait ----------------------------------------------------------------------------------


def events_for_one_wait(tenant: Any, count: int) -> list[EventDelivery]:
    """Return pending deliveries of several events to one wait, the oldest first."""
    wait = open_wait(tenant)
    make_events(tenant, count)
    while Event.objects.filter(tenant=tenant, routed_at=None).exists():
        events_route_due(tenant_id=tenant.id)
    # As if the window of the wait had room for all events.
    others = Event.objects.filter(tenant=tenant, deliveries=None)
    EventDelivery.objects.bulk_create(new_wait_delivery(event, wait, at=timezone.now()) for event in others)
    made = EventDelivery.objects.filter(wait=wait).select_related("event").order_by("event__received_at")
    made.update(next_attempt_at=timezone.now())  # one lookback writes them with the same time
    return list(made)


def test_workers_deliver_the_events_of_one_wait_in_order(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = events_for_one_wait(tenant, 90)
    signals = Signals(monkeypatch)
    in_threads(4, lambda: events_work(tenant_id=tenant.id, seconds=60))
    eventually(lambda: not due_deliveries(tenant=tenant).exists() and len(signals.events) == 90)
    assert signals.events == [row.event.event_id for row in made]


def test_later_events_wait_for_an_event_without_response_from_temporal(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = events_for_one_wait(tenant, 3)
    signals = Signals(monkeypatch)
    take = gateway.signal_event
    errors = iter([gateway.TemporalUnreachable("unavailable"), gateway.TemporalBusy("busy")])

    def signal_event(*args: Any, **kwargs: Any) -> None:
        for error in errors:
            raise error
        take(*args, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", signal_event)
    for _ in range(2):
        attempted_at = timezone.now()
        assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
        # The pause is only 0.1 s, so a slow test could find the deliveries due again. It compares their times instead.
        (next_at,) = set(EventDelivery.objects.filter(tenant=tenant).values_list("next_attempt_at", flat=True))
        assert next_at > attempted_at
        EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=F("next_attempt_at") - timedelta(minutes=1))
        monkeypatch.setattr(delivery._pause, "until", 0.0)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60) == 3
    assert signals.events == [row.event.event_id for row in made]


def test_later_events_do_not_wait_for_a_refused_event(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = events_for_one_wait(tenant, 3)
    signals = Signals(monkeypatch)
    take = gateway.signal_event

    def signal_event(signal: EventSignal, **kwargs: Any) -> None:
        if signal.eventId == made[0].event.event_id:
            raise gateway.TemporalRefused("no")
        take(signal, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", signal_event)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60) == 3
    assert signals.events == [row.event.event_id for row in made[1:]]


def _served_beside(left: QuerySet[Any], flooding: Tenant, notifications: Notifications, signals: Signals) -> None:
    """Check that an event of another tenant is delivered while two workers process the flood."""
    other, many = make_tenant(), left.count()
    wait = open_wait(other)
    notifications.notify(flooding.id)
    with notifications.workers(2):
        eventually(lambda: left.count() < many)
        notifications.notify(flooding.id)  # now both workers process it
        began = time.monotonic()
        receive(other)
        notifications.notify(other.id)
        eventually(lambda: signals.of_run[wait.run.temporal_workflow_id] == 1)
        seconds, still = time.monotonic() - began, left.count()
    print(f"delivered after {seconds:.2f} s; {still} of {many} of the flooding tenant are left")
    assert still > 0


# -- Concurrency limits -----------------------------------------------------------------------------------------------


class Starts:
    """Stand-in for starts: started runs in order, and the number of open runs at each start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tenant: Tenant, limit: int) -> None:
        self.version = publish(tenant, wait_for_reply(), trigger={"type": "event", "eventName": "REPLIED"})
        self.version.definition.concurrency_limit = limit
        self.version.definition.save()
        self.tenant, self.limit = tenant, limit
        self.ids: list[uuid.UUID] = []
        self.open: list[int] = []
        monkeypatch.setattr(gateway, "start_run", self._take)
        monkeypatch.setattr(delivery, "HELD_RETRY_SECONDS", 600)  # only a freed slot starts the next one
        self._is_over = threading.Event()

    def _take(self, run: RunInput, **_: Any) -> str:
        self.open.append(Run.objects.filter(tenant=self.tenant, status__in=OPEN_RUN_STATUSES).count())
        self.ids.append(uuid.UUID(run.run_id))
        return f"first-{run.run_id}"

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        def work_off() -> None:
            while not self._is_over.wait(IDLE_SECONDS):
                events_work(tenant_id=self.tenant.id, seconds=0.1)

        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(in_threads, count, work_off)
            try:
                yield
            finally:
                self._is_over.set()
            working.result()

    def held(self) -> list[EventDelivery]:
        """Return the held starts, the longest waiting first."""
        pending = EventDelivery.objects.filter(tenant=self.tenant, status="pending", held_since__isnull=False)
        return list(pending.order_by("held_since", "id"))

    def started(self) -> int:
        return EventDelivery.objects.filter(tenant=self.tenant, status="started").count()

    def end(self, run_id: uuid.UUID) -> None:
        run = Run.objects.get(id=run_id)
        assert write(run, run_record(1, "SUCCEEDED"))


def test_concurrent_manual_starts_never_use_the_same_slot(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, tenant, limit=2)
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    actor, refused = make_actor(tenant), list[str]()

    def start() -> None:
        try:
            run_start(actor=actor, definition_key=starts.version.definition.key, payload={})
        except Conflict as error:
            refused.append(error.code)

    in_threads(8, start)
    assert (len(starts.ids), refused) == (2, ["DEFINITION_CONCURRENCY_LIMIT"] * 6)
    assert Run.objects.filter(tenant=tenant).count() == 2


def test_held_starts_are_started_in_order(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, tenant, limit=4)
    for _ in range(30):
        receive(tenant, workflow_correlation_key=None)
    with starts.workers(6):
        eventually(lambda: len(starts.held()) == 26, what="26 wait for a free slot")
        in_turn = [run_id_of(row.event_id, row.definition_id) for row in starts.held() if row.definition_id]
        for number in range(26):
            starts.end(starts.ids[number])
            expected = 5 + number
            eventually(lambda n=expected: starts.started() == n, what="the held start has a run")  # type: ignore[misc]
    assert starts.ids[4:] == in_turn
    assert max(starts.open) == 4
    assert len(set(starts.ids)) == len(starts.ids) == 30


def test_slots_that_become_free_together_are_all_used(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, tenant, limit=6)
    for _ in range(12):
        receive(tenant, workflow_correlation_key=None)
    with starts.workers(3):
        eventually(lambda: len(starts.held()) == 6, what="6 wait for a free slot")
        ending = iter(starts.ids[:6])
        in_threads(6, lambda: starts.end(next(ending)))
        eventually(lambda: starts.started() == 12, what="all have started")
    assert max(starts.open) <= 6


def _held(tenant: Tenant, monkeypatch: pytest.MonkeyPatch, *, limit: int, events: int) -> Starts:
    """Use all slots of a definition, and hold the other starts."""
    starts = Starts(monkeypatch, tenant, limit)
    for _ in range(events):
        receive(tenant, workflow_correlation_key=None)
    events_work(tenant_id=tenant.id, seconds=20)
    assert (len(starts.ids), len(starts.held())) == (limit, events - limit)
    return starts


def test_each_free_slot_wakes_one_held_start(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = _held(tenant, monkeypatch, limit=2, events=5)
    for run_id in starts.ids:
        starts.end(run_id)
    now = timezone.now()
    assert [row.next_attempt_at <= now for row in starts.held()] == [True, True, False]


def test_start_in_progress_uses_one_slot(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = _held(tenant, monkeypatch, limit=2, events=4)
    first, second = starts.held()
    for run_id in starts.ids:
        starts.end(run_id)
    EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
    meanwhile: list[str] = []
    take = gateway.start_run

    def start_run(run: RunInput, **others: Any) -> str:
        if len(starts.ids) == 2:  # the first held start: its run row exists, and Temporal is called now
            taken = take(run, **others)
            meanwhile.append(attempt_delivery(second.id))
            return taken
        return take(run, **others)

    monkeypatch.setattr(gateway, "start_run", start_run)
    assert attempt_delivery(first.id) == "started"
    assert meanwhile == ["started"]


def test_slot_freed_during_an_attempt_is_used(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = _held(tenant, monkeypatch, limit=1, events=1)
    start = delivery.event_start_run

    def start_and_end(row: EventDelivery) -> tuple[str, str]:
        try:
            return start(row)
        except TriggerHeld:
            starts.end(starts.ids[0])
            raise

    monkeypatch.setattr(delivery, "event_start_run", start_and_end)
    receive(tenant, workflow_correlation_key=None)
    events_work(tenant_id=tenant.id, seconds=20)
    assert starts.started() == 2


# -- Backoff and outages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shortest", "longest"])
def test_backoff_doubles_up_to_its_limit(monkeypatch: pytest.MonkeyPatch, settings: Any, end: str) -> None:
    settings.DELIVERY_BACKOFF_SECONDS = 2
    monkeypatch.setattr(backoff.random, "uniform", min if end == "shortest" else max)
    part = 0.5 if end == "shortest" else 1
    waits = [delivery._backoff(attempt) / part for attempt in range(1, 13)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert delivery._backoff(10**6) / part == 300


def test_backoff_spreads_deliveries_that_failed_together() -> None:
    waits = [delivery._backoff(5) for _ in range(200)]
    whole = configured.DELIVERY_BACKOFF_SECONDS * 16
    assert all(whole / 2 <= wait <= whole for wait in waits)
    assert len(set(waits)) > 150
    assert max(waits) - min(waits) > whole / 4


@pytest.mark.parametrize("error", [gateway.TemporalUnreachable, gateway.TemporalTimeout])
def test_outage_does_not_count_as_a_failure(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, error: type[Exception]
) -> None:
    settings.DELIVERY_MAX_ATTEMPTS = 3
    (made,) = make_deliveries(tenant, 1)

    def fail(*_: Any, **__: Any) -> None:
        raise error("unavailable")

    monkeypatch.setattr(gateway, "signal_event", fail)
    for _ in range(8):
        EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
        assert attempt_delivery(made.id) == "pending"
    made.refresh_from_db()
    assert (made.attempts, made.failures, made.reason) == (8, 0, "Temporal did not respond: unavailable")
    assert made.next_attempt_at > timezone.now()
    Signals(monkeypatch)
    EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
    assert attempt_delivery(made.id) == "sent"


def test_busy_run_delays_no_other_and_is_retried_by_notifications(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, delays = Signals(monkeypatch), list[float]()
    first, second = make_deliveries(tenant, 2)
    take = gateway.signal_event

    def busy_once(*args: Any, **kwargs: Any) -> None:
        if kwargs["request_id"] == str(first.id) and len(delays) < 3:
            raise gateway.TemporalBusy("continues as new")
        take(*args, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", busy_once)
    monkeypatch.setattr(delivery, "notify_dispatcher", lambda _tenant, *, after: delays.append(after))
    while EventDelivery.objects.filter(tenant=tenant, status="pending").exists():
        EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
        assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    first.refresh_from_db()
    assert signals.of_delivery == {str(first.id): 1, str(second.id): 1}
    assert (first.status, first.attempts, first.failures) == ("sent", 4, 0)
    assert first.attempt_log[0]["reason"] == "the run is busy: continues as new"
    assert delays == [0.05, 0.1, 0.2]


def test_pause_grows_only_with_failures_in_a_row(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = make_deliveries(tenant, 1)
    errors = [
        TriggerHeld("full"),
        gateway.TemporalUnreachable("unavailable"),
        gateway.TemporalUnreachable("unavailable"),
        TriggerHeld("full"),
        gateway.TemporalUnreachable("unavailable"),
    ]
    waited, errors_left = [], iter(errors)
    backoff = delivery._backoff
    monkeypatch.setattr(delivery, "_backoff", lambda number: (waited.append(number), backoff(number))[1])

    def fail(*_: Any, **__: Any) -> None:
        raise next(errors_left)

    monkeypatch.setattr(gateway, "signal_event", fail)
    for _ in errors:
        EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
        attempt_delivery(made.id)
    assert waited == [1, 2, 1]


def test_outage_stops_the_attempts_of_all_deliveries(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(None)
        raise gateway.TemporalUnreachable("unavailable")

    monkeypatch.setattr(gateway, "signal_event", fail)
    make_deliveries(tenant, 30)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60) == 1
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60) is None
    assert len(calls) == 1
    rows = EventDelivery.objects.filter(tenant=tenant, status="pending", claimed_until=None, failures=0)
    assert sorted(rows.values_list("attempts", flat=True)) == [0] * 29 + [1]
    monkeypatch.setattr(delivery._pause, "until", 0.0)
    Signals(monkeypatch)
    rows.update(next_attempt_at=timezone.now())
    assert events_work(tenant_id=tenant.id, seconds=20).delivered == 30

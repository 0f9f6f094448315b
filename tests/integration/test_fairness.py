"""Who has the next turn: claims, limits, floods, backoff (docs/reference/events.md#routing). Temporal is a stand-in that says what a test wants."""

import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
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
from tests.support.scopes import as_system
from workflows import backoff
from workflows.errors import Conflict
from workflows.models import Event, EventDelivery, Run, Tenant
from workflows.services.runs.start import run_start
from workflows.statuses import OPEN_RUN_STATUSES
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal, RunInput

LOAD_SECONDS = 0.002  # of one call to Temporal, for the load of it


@pytest.fixture(autouse=True)
def temporal_was_never_away(unheard: None, database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery._pause, "until", 0.0)


class Signals:
    """What was sent to whom; `look` is called in each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look: Callable[[], None] = lambda: None) -> None:
        self.of_delivery: Counter[str] = Counter()
        self.of_run: Counter[str] = Counter()
        self.events: list[str] = []
        self._look = look
        monkeypatch.setattr(gateway, "signal_event", self._take)

    def _take(self, signal: EventSignal, *, workflow_id: str, request_id: str, **_: Any) -> None:
        self._look()
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
    """Due ones, each of an event of its own, in turn for one of a few waits."""
    waits = [open_wait(tenant, key="none of theirs") for _ in range(min(count, 20))]
    events = make_events(tenant, count, routed_at=timezone.now())
    rows = (
        EventDelivery(tenant=tenant, event=event, kind="wait", wait=wait, run=wait.run)
        for event, wait in zip(events, cycle(waits), strict=False)
    )
    return EventDelivery.objects.bulk_create(rows)


def in_threads(count: int, play: Callable[[], None]) -> None:
    """All begin at once, each on a connection of its own; the first error is raised."""
    barrier = threading.Barrier(count)

    def one() -> None:
        barrier.wait(10)
        play()

    with ThreadPoolExecutor(count) as threads:
        for played in [threads.submit(_on_its_own_connection, one) for _ in range(count)]:
            played.result()


@as_system
def _on_its_own_connection(play: Callable[[], Any]) -> Any:
    try:
        return play()
    finally:
        connections.close_all()


# -- Claims and the limit of a tenant ----------------------------------------------------------------------------------


def test_no_two_workers_make_one_attempt(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_tenant_never_has_more_under_way_than_it_may(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, own: int | None
) -> None:
    settings.DELIVERY_TENANT_LIMIT = 5
    monkeypatch.setattr(delivery, "BATCH", 2)
    Tenant.objects.filter(id=tenant.id).update(delivery_concurrency_limit=own)
    held: list[int] = []
    is_refused = threading.Event()

    def look() -> None:
        """The first ones keep their claims until another worker is refused one."""
        assert is_refused.wait(20)
        held.append(EventDelivery.objects.filter(tenant=tenant, claimed_until__gt=timezone.now()).count())

    signals = Signals(monkeypatch, look)
    made = make_deliveries(tenant, 150)

    def work_off() -> None:
        while due_deliveries(tenant_id=tenant.id).exists():
            if events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 1) is None:
                is_refused.set()

    in_threads(8, work_off)
    assert len(signals.of_delivery) == len(made)
    assert max(held) == (own or 5)


def test_a_worker_that_can_do_nothing_does_not_spin(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker holds the event's lock, and the tenant's claims."""
    Signals(monkeypatch)
    Tenant.objects.filter(id=tenant.id).update(delivery_concurrency_limit=1)
    claimed, _ = make_deliveries(tenant, 2)
    EventDelivery.objects.filter(id=claimed.id).update(claimed_until=timezone.now() + delivery.LEASE)
    event = receive(tenant)
    calls: list[str] = []
    due = work._due_of

    def look(tenant_id: uuid.UUID) -> Any:
        calls.append("look")
        return due(tenant_id)

    def pause(seconds: float) -> None:
        calls.append("pause")
        time.sleep(seconds)

    monkeypatch.setattr(work, "_due_of", look)
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        Event.objects.select_for_update(no_key=True).get(id=event.id)
        worked = thread.submit(_on_its_own_connection, lambda: events_work(tenant_id=tenant.id, seconds=0.4)).result()
    assert (worked.routed, worked.delivered, worked.has_more) == (0, 0, True)
    assert calls == ["look", "pause"] * (len(calls) // 2) + ["look"]
    EventDelivery.objects.filter(tenant=tenant).update(status="discarded")
    events_work(tenant_id=tenant.id)


# -- A flood of one tenant ---------------------------------------------------------------------------------------------


class Bells:
    """The queue of the workers, in the order of the rings; a tenant that waits in it already is not put there again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._queue: queue.Queue[str] = queue.Queue()
        self._rung: set[str] = set()
        self._lock = threading.Lock()
        monkeypatch.setattr(tasks, "notify_dispatcher", self.ring)
        monkeypatch.setattr(tasks, "notification_received", self.answered)

    def ring(self, tenant_id: Any) -> None:
        with self._lock:
            if str(tenant_id) not in self._rung:
                self._rung.add(str(tenant_id))
                self._queue.put(str(tenant_id))

    def answered(self, tenant_id: str) -> None:
        with self._lock:
            self._rung.discard(tenant_id)

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        def work_off() -> None:
            while tenant_id := self._queue.get():
                tasks.work_events(tenant_id)

        with ThreadPoolExecutor(count) as threads:
            working = [threads.submit(_on_its_own_connection, work_off) for _ in range(count)]
            try:
                yield
            finally:
                for _ in range(count):
                    self._queue.put("")
            for worker in working:
                worker.result(20)


def test_a_flood_of_deliveries_leaves_others_their_turn(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, bells = Signals(monkeypatch), Bells(monkeypatch)
    make_deliveries(tenant, 3000)
    left = EventDelivery.objects.filter(tenant=tenant, status="pending")
    _served_beside(left, tenant, bells, signals)
    left.update(status="discarded")


def test_a_flood_of_events_leaves_others_their_turn(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, bells = Signals(monkeypatch), Bells(monkeypatch)
    make_events(tenant, 6000)
    left = Event.objects.filter(tenant=tenant, routed_at=None)
    _served_beside(left, tenant, bells, signals)
    Event.objects.filter(tenant=tenant).update(routed_at=timezone.now(), outcome="unmatched")  # no sweep's work


def test_a_bell_that_was_lost_is_rung_by_the_sweep_beside_a_flood(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tenants are flooded, the sweep's own turns are not what the others wait for."""
    signals, bells = Signals(monkeypatch), Bells(monkeypatch)
    monkeypatch.setattr(tasks, "SWEEP_BUDGET_SECONDS", 0)
    make_deliveries(tenant, 2000)
    left = EventDelivery.objects.filter(tenant=tenant, status="pending")
    other = make_tenant()
    wait = open_wait(other)
    bells.ring(tenant.id)
    with bells.workers(2):
        eventually(lambda: left.count() < 2000)
        receive(other)
        tasks.sweep_events()
        eventually(lambda: signals.of_run[wait.run.temporal_workflow_id] == 1)
        still = left.count()
    assert still > 0
    left.update(status="discarded")


# -- The order of one wait's events ------------------------------------------------------------------------------------


def events_for_one_wait(tenant: Any, count: int) -> list[EventDelivery]:
    """Pending deliveries of so many events to one wait, the oldest first."""
    wait = open_wait(tenant)
    make_events(tenant, count)
    while Event.objects.filter(tenant=tenant, routed_at=None).exists():
        events_route_due(tenant_id=tenant.id)
    made = EventDelivery.objects.filter(wait=wait).select_related("event").order_by("event__received_at")
    made.update(next_attempt_at=timezone.now())  # as one look writes them
    return list(made)


def test_workers_that_share_a_wait_try_its_events_oldest_first(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = events_for_one_wait(tenant, 90)
    signals = Signals(monkeypatch)
    in_threads(4, lambda: events_work(tenant_id=tenant.id, seconds=5))
    eventually(lambda: not due_deliveries(tenant=tenant).exists() and len(signals.events) == 90)
    assert signals.events == [row.event.event_id for row in made]


def test_an_event_that_temporal_did_not_answer_is_not_passed_by_later_ones(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = events_for_one_wait(tenant, 3)
    signals = Signals(monkeypatch)
    take, answers = gateway.signal_event, iter([gateway.TemporalUnreachable("away"), gateway.TemporalBusy("busy")])

    def answer(*args: Any, **kwargs: Any) -> None:
        for error in answers:
            raise error
        take(*args, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", answer)
    for _ in range(2):
        assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5)
        assert not due_deliveries(tenant=tenant).exists()
        EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=F("next_attempt_at") - timedelta(minutes=1))
        monkeypatch.setattr(delivery._pause, "until", 0.0)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5) == 3
    assert signals.events == [row.event.event_id for row in made]


def test_an_event_that_temporal_refused_holds_nobody_up(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = events_for_one_wait(tenant, 3)
    signals = Signals(monkeypatch)
    take = gateway.signal_event

    def answer(signal: EventSignal, **kwargs: Any) -> None:
        if signal.eventId == made[0].event.event_id:
            raise gateway.TemporalRefused("no")
        take(signal, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", answer)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5) == 3
    assert signals.events == [row.event.event_id for row in made[1:]]


def _served_beside(left: QuerySet[Any], flooding: Tenant, bells: Bells, signals: Signals) -> None:
    """An event of another tenant is delivered soon, while two workers have the flood in hand."""
    other, many = make_tenant(), left.count()
    wait = open_wait(other)
    bells.ring(flooding.id)
    with bells.workers(2):
        eventually(lambda: left.count() < many)
        bells.ring(flooding.id)  # so that both workers have it in hand
        began = time.monotonic()
        receive(other)
        bells.ring(other.id)
        eventually(lambda: signals.of_run[wait.run.temporal_workflow_id] == 1)
        seconds, still = time.monotonic() - began, left.count()
    print(f"served after {seconds:.2f} s; of another tenant's {many} {still} are left")
    assert still > 0


# -- The limit of a definition -----------------------------------------------------------------------------------------


class Starts:
    """The runs that were started, in their order, and how many were open at each start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tenant: Tenant, limit: int) -> None:
        self.version = publish(tenant, wait_for_reply(), trigger={"type": "event", "eventName": "REPLIED"})
        self.version.definition.concurrency_limit = limit
        self.version.definition.save()
        self.tenant, self.limit = tenant, limit
        self.ids: list[uuid.UUID] = []
        self.open: list[int] = []
        monkeypatch.setattr(gateway, "start_run", self._take)
        monkeypatch.setattr(delivery, "HELD_RETRY_SECONDS", 600)  # only a free place brings the next one its turn
        self._is_over = threading.Event()

    def _take(self, run: RunInput, **_: Any) -> str:
        self.open.append(Run.objects.filter(tenant=self.tenant, status__in=OPEN_RUN_STATUSES).count())
        self.ids.append(uuid.UUID(run.run_id))
        return f"first-{run.run_id}"

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        def work_off() -> None:
            while not self._is_over.is_set():
                events_work(tenant_id=self.tenant.id, seconds=0.1)

        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(in_threads, count, work_off)
            try:
                yield
            finally:
                self._is_over.set()
            working.result()

    def held(self) -> list[EventDelivery]:
        """Those that wait for a free place, the longest first."""
        pending = EventDelivery.objects.filter(tenant=self.tenant, status="pending", held_since__isnull=False)
        return list(pending.order_by("held_since", "id"))

    def started(self) -> int:
        return EventDelivery.objects.filter(tenant=self.tenant, status="started").count()

    def end(self, run_id: uuid.UUID) -> None:
        run = Run.objects.get(id=run_id)
        assert write(run, run_record(1, "SUCCEEDED"))


def test_people_who_start_at_once_never_take_one_place(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_starts_over_the_limit_of_a_definition_have_their_turn_in_order(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch, tenant, limit=4)
    for _ in range(30):
        receive(tenant, workflow_correlation_key=None)
    with starts.workers(6):
        eventually(lambda: len(starts.held()) == 26, what="26 wait for a free slot")
        in_turn = [run_id_of(row.event_id, row.definition_id) for row in starts.held() if row.definition_id]
        for number in range(26):
            starts.end(starts.ids[number])
            eventually(lambda n=number: starts.started() == 5 + n, what="the next has its turn")  # type: ignore[misc]
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
        eventually(lambda: starts.started() == 12, seconds=5, what="all have their turn")
    assert max(starts.open) <= 6


def _held(tenant: Tenant, monkeypatch: pytest.MonkeyPatch, *, limit: int, events: int) -> Starts:
    """As many runs are open as may be; the other events wait."""
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


def test_a_start_under_way_takes_one_place(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = _held(tenant, monkeypatch, limit=2, events=4)
    first, second = starts.held()
    for run_id in starts.ids:
        starts.end(run_id)
    EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
    meanwhile: list[str] = []
    take = gateway.start_run

    def start_run(run: RunInput, **others: Any) -> str:
        if len(starts.ids) == 2:  # the first of those that waited: its row stands, Temporal is asked now
            taken = take(run, **others)
            meanwhile.append(attempt_delivery(second.id))
            return taken
        return take(run, **others)

    monkeypatch.setattr(gateway, "start_run", start_run)
    assert attempt_delivery(first.id) == "started"
    assert meanwhile == ["started"]


def test_a_place_that_becomes_free_during_the_attempt_is_taken(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
    events_work(tenant_id=tenant.id, seconds=2)
    assert starts.started() == 2


# -- Backoff and outages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shortest", "longest"])
def test_the_backoff_doubles_up_to_its_limit(monkeypatch: pytest.MonkeyPatch, settings: Any, end: str) -> None:
    settings.DELIVERY_BACKOFF_SECONDS = 2
    monkeypatch.setattr(backoff.random, "uniform", min if end == "shortest" else max)
    part = 0.5 if end == "shortest" else 1
    waits = [delivery._backoff(attempt) / part for attempt in range(1, 13)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert delivery._backoff(10**6) / part == 300


def test_those_that_failed_together_come_back_apart() -> None:
    waits = [delivery._backoff(5) for _ in range(200)]
    whole = configured.DELIVERY_BACKOFF_SECONDS * 16
    assert all(whole / 2 <= wait <= whole for wait in waits)
    assert len(set(waits)) > 150
    assert max(waits) - min(waits) > whole / 4


@pytest.mark.parametrize("fault", [gateway.TemporalUnreachable, gateway.TemporalTimeout])
def test_an_outage_never_uses_up_attempts(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, fault: type[Exception]
) -> None:
    settings.DELIVERY_MAX_ATTEMPTS = 3
    (made,) = make_deliveries(tenant, 1)

    def fail(*_: Any, **__: Any) -> None:
        raise fault("away")

    monkeypatch.setattr(gateway, "signal_event", fail)
    for _ in range(8):
        EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
        assert attempt_delivery(made.id) == "pending"
    made.refresh_from_db()
    assert (made.attempts, made.failures, made.reason) == (8, 0, "Temporal did not respond: away")
    assert made.next_attempt_at > timezone.now()
    Signals(monkeypatch)
    EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
    assert attempt_delivery(made.id) == "sent"


def test_a_run_that_is_busy_delays_nobody_else_and_is_rung_for(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals, rung = Signals(monkeypatch), list[float]()
    first, second = make_deliveries(tenant, 2)
    take = gateway.signal_event

    def busy_once(*args: Any, **kwargs: Any) -> None:
        if kwargs["request_id"] == str(first.id) and len(rung) < 3:
            raise gateway.TemporalBusy("goes on in a new execution")
        take(*args, **kwargs)

    monkeypatch.setattr(gateway, "signal_event", busy_once)
    monkeypatch.setattr(delivery, "notify_dispatcher", lambda _tenant, *, after: rung.append(after))
    while EventDelivery.objects.filter(tenant=tenant, status="pending").exists():
        EventDelivery.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
        assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5)
    first.refresh_from_db()
    assert signals.of_delivery == {str(first.id): 1, str(second.id): 1}
    assert (first.status, first.attempts, first.failures) == ("sent", 4, 0)
    assert first.attempt_log[0]["reason"] == "the run is busy: goes on in a new execution"
    assert rung == [0.05, 0.1, 0.2]


def test_only_failures_in_a_row_make_the_pause_longer(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = make_deliveries(tenant, 1)
    answers = [TriggerHeld("full"), gateway.TemporalUnreachable("away"), gateway.TemporalUnreachable("away"),
               TriggerHeld("full"), gateway.TemporalUnreachable("away")]  # fmt: skip
    waited, asked = [], iter(answers)
    backoff = delivery._backoff
    monkeypatch.setattr(delivery, "_backoff", lambda number: (waited.append(number), backoff(number))[1])

    def fail(*_: Any, **__: Any) -> None:
        raise next(asked)

    monkeypatch.setattr(gateway, "signal_event", fail)
    for _ in answers:
        EventDelivery.objects.filter(id=made.id).update(next_attempt_at=timezone.now())
        attempt_delivery(made.id)
    assert waited == [1, 2, 1]


def test_in_an_outage_one_asks_for_all(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []

    def fail(*_: Any, **__: Any) -> None:
        asked.append(None)
        raise gateway.TemporalUnreachable("away")

    monkeypatch.setattr(gateway, "signal_event", fail)
    make_deliveries(tenant, 30)
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5) == 1
    assert events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 5) is None
    assert len(asked) == 1
    rows = EventDelivery.objects.filter(tenant=tenant, status="pending", claimed_until=None, failures=0)
    assert sorted(rows.values_list("attempts", flat=True)) == [0] * 29 + [1]
    monkeypatch.setattr(delivery._pause, "until", 0.0)
    Signals(monkeypatch)
    rows.update(next_attempt_at=timezone.now())
    assert events_work(tenant_id=tenant.id, seconds=20).delivered == 30

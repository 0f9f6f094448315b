"""No event is lost, delivered twice or delivered to another tenant when it meets a wait.

Source: docs/reference/engine.md#event-waits
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from ingress.dispatch.routing import event_route
from ingress.intake.receive import events_receive
from portal.devstack.servers import Servers
from tests.support.events import REPLY, open_wait, receive
from tests.support.factories import eventually, make_run, make_tenant
from tests.support.race_orders import PROGRAM_ORDER, STEPS, Order, action_orders, step_orders
from tests.support.race_scenario import Race, RecordedSignals, analyze_tables, insert_runs, race_errors
from tests.support.race_scheduler import RaceScheduler, race_scheduler
from tests.support.racing_runs import RacingRuns
from tests.support.random_races import RandomRaces
from tests.support.records import wait_record, write
from tests.support.stream_driver import StreamDriver
from tests.support.system_scope import in_system_scope
from tests.support.tenant_driver import TenantDriver
from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.models.fields import new_id
from workflows.projections import batches
from workflows.services import wait_lookback
from workflows.services.wait_lookback import new_wait_delivery, wait_look_for_events
from workflows.statuses import EventSource


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> RecordedSignals:
    return RecordedSignals().install(monkeypatch)


@pytest.fixture
def scheduler(database: None, no_dispatcher: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[RaceScheduler]:
    with race_scheduler(monkeypatch) as made:
        yield made


# -- Every order -------------------------------------------------------------------------------------------------------


def test_every_order_of_commits_searches_and_signal(
    tenant: Any, scheduler: RaceScheduler, signals: RecordedSignals
) -> None:
    orders = action_orders()
    assert len(orders) == 10
    assert play_all(tenant, scheduler, signals, orders * 3) == []


@pytest.mark.parametrize("part", range(4))
def test_every_order_of_steps_within_a_search(
    tenant: Any, scheduler: RaceScheduler, signals: RecordedSignals, part: int
) -> None:
    """Interleave routing, lookback, delivery and verdict between their steps: find, lock, commit, signal, settle."""
    orders = list(step_orders())
    assert len(orders) == len(set(orders)) == 565
    assert play_all(tenant, scheduler, signals, orders[part::4]) == []


def play_all(
    tenant: Any, scheduler: RaceScheduler, signals: RecordedSignals, orders: list[Order], meet: type[Race] = Race
) -> list[tuple[Order, str]]:
    """Play each order. Return the orders after which something is wrong, with the fault."""
    found: list[tuple[Order, str]] = []
    for number, (order, run) in enumerate(zip(orders, insert_runs(tenant, len(orders)), strict=True)):
        if number == 20:
            analyze_tables()
        signals.sent.clear()
        meeting = meet(scheduler, run, f"key-{number}")
        plays = {side: play for side, play in meeting.sides().items() if side in sides_of(order)}
        raised = scheduler.run(order, plays)
        wrong = [f"{type(error).__name__}: {error}" for error in raised] + race_errors(meeting, order, signals)
        found += [(order, what) for what in wrong]
    return found


def sides_of(order: Order) -> set[str]:
    return {side for side, steps in STEPS.items() if set(steps) & set(order)}


# -- Wrong designs fail ------------------------------------------------------------------------------------------------


class RoutedBeforeCommit(Race):
    """Wrong design: routing searches for waits within the transaction that stores the event."""

    def receive_event(self) -> None:
        with transaction.atomic():
            self.store_event()
            self.scheduler.wait_for_turn("W?")
            self.route()
            self.scheduler.wait_for_turn("E")


class LookedBackBeforeCommit(Race):
    """Wrong design: the wait searches for events within the transaction that stores the wait."""

    def open_wait(self) -> None:
        with transaction.atomic():
            self.store_wait()
            self.scheduler.wait_for_turn("E?")
            self.lookback()
            self.scheduler.wait_for_turn("W")


@pytest.mark.parametrize(
    ("meet", "buffer", "before", "loses"),
    [
        (RoutedBeforeCommit, 60, (("W?", "E"), ("W", "E?")), ("W?", "W", "E?", "E")),
        (LookedBackBeforeCommit, 60, (("E", "W?"), ("E?", "W")), ("E?", "E", "W?", "W")),
        (Race, 0, PROGRAM_ORDER, ("E", "W?", "W", "E?")),
    ],
    ids=["routed before commit", "looked back before commit", "no buffer"],
)
def test_other_order_of_commit_and_search_loses_events(
    tenant: Any,
    scheduler: RaceScheduler,
    signals: RecordedSignals,
    settings: Any,
    meet: type[Race],
    buffer: float,
    before: Any,
    loses: Order,
) -> None:
    settings.EVENT_BUFFER_SECONDS = buffer
    orders = action_orders(("E", "W?", "W", "E?"), before)
    assert len(orders) == 6
    found = play_all(tenant, scheduler, signals, orders, meet)
    assert {order for order, what in found if what.startswith("deliveries: []")} == {loses}


def test_lookback_without_the_lock_conflicts_with_routing(
    tenant: Any, scheduler: RaceScheduler, signals: RecordedSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def without_lock(events: Any) -> Iterator[list[Event]]:
        with transaction.atomic():
            yield list(events)
            scheduler.wait_for_turn("lookback done")

    monkeypatch.setattr(wait_lookback, "deliveries_changing", without_lock)
    between = ("W?", "event locked", "routed")
    orders = [order for order in step_orders() if has_in_order(order, *between)][:6]
    found = play_all(tenant, scheduler, signals, orders)
    assert any(what.startswith("IntegrityError") for _, what in found), found


def has_in_order(order: Order, *steps: str) -> bool:
    places = [order.index(step) for step in steps if step in order]
    return len(places) == len(steps) and places == sorted(places)


# -- Locks in one order ------------------------------------------------------------------------------------------------


def blocked_by_me() -> int:
    """Return the number of database backends that wait, directly or not, for a lock of this thread's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE waiting (pid) AS (SELECT pg_backend_pid() UNION SELECT locks.pid FROM waiting "
            "JOIN pg_locks AS locks ON NOT locks.granted AND waiting.pid = ANY(pg_blocking_pids(locks.pid))) "
            "SELECT count(*) - 1 FROM waiting"
        )
        return int(cursor.fetchone()[0])


@in_system_scope
def on_own_connection(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call the function on a database connection of its own, and close the connection."""
    try:
        return call(*arguments, **named)
    finally:
        connections.close_all()


def test_two_batches_with_the_same_events_in_different_order(tenant: Any, no_dispatcher: None) -> None:
    """Both wait for a transaction that holds the event in the middle. Afterwards they do not block each other."""

    def receive_events(*ids: str) -> list[Any]:
        values = [{**REPLY, "event_id": event_id} for event_id in ids]
        return events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST)

    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            receive(tenant, event_id="m")
            batches = [threads.submit(on_own_connection, receive_events, *ids) for ids in ("amz", "zma")]
            eventually(lambda: blocked_by_me() == 2, what="both wait for that transaction")
        receipts = [receipt for batch in batches for receipt in batch.result()]
    assert sorted(receipt.is_duplicate for receipt in receipts) == [False, False, True, True, True, True]


def test_reset_and_lookback_that_lock_the_same_events(
    tenant: Any, no_dispatcher: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset takes one event back and has a verdict on an older one. The lookback meets them."""
    run, wait_id = make_run(tenant), str(new_id())
    older, newer = (receive(tenant, event_type="E", workflow_correlation_key="k") for _ in range(2))

    def verdict(seq: int, event: Event, word: str) -> dict[str, Any]:
        about = {"waitId": wait_id, "eventId": event.event_id, "verdict": word, "reason": ""}
        return {"kind": "verdict", "seq": seq, "at": 1_700_000_000_000 + seq, **about}

    write(run, wait_record(2, "WAITING", wait_id))
    for event in (older, newer):
        event_route(event.id)
    wait = RunWait.objects.get(id=wait_id)
    new_wait_delivery(newer, wait, at=wait.opened_at).save()  # as if the wait had room for two
    write(run, verdict(3, newer, "matched"), wait_record(4, "RESOLVED", wait_id), verdict(5, older, "late"))
    other = open_wait(tenant, key="k", name="E")
    took_back = threading.Event()
    record_reset = batches.record_reset

    def reset_and_wait(*arguments: Any, **named: Any) -> None:
        record_reset(*arguments, **named)
        took_back.set()
        eventually(blocked_by_me, what="the lookback waits for the event that was taken back")

    monkeypatch.setattr(batches, "record_reset", reset_and_wait)
    with ThreadPoolExecutor(2) as threads:
        again = (verdict(3, older, "matched"), wait_record(4, "RESOLVED", wait_id))
        writing = threads.submit(on_own_connection, write, run, *again, epoch="epoch-2", current="epoch-2")
        assert took_back.wait(60)
        looking = threads.submit(
            on_own_connection, wait_look_for_events, tenant_id=str(tenant.id), wait_id=str(other.id)
        )
        assert (writing.result(), looking.result()) == (True, 1)  # a wait has one event under way
    statuses = dict(EventDelivery.objects.filter(wait_id=wait_id).values_list("event", "status"))
    assert statuses[older.id] == "matched"
    assert statuses[newer.id] in ("late", "pending")  # the reset took it back


# -- At random ---------------------------------------------------------------------------------------------------------

# Number of groups by size. A group has as many events as waits: 368 pairs in each of three tenants.
SIZES = {1: 24, 2: 6, 4: 3, 8: 2, 12: 1}


@pytest.mark.timeout(600)  # it needs mostly CPU time
def test_random_pairs_of_event_and_wait(no_dispatcher: None, database: None, signals: RecordedSignals) -> None:
    trials = RandomRaces([make_tenant() for _ in range(3)], SIZES, signals=signals, seed=6)
    began = time.monotonic()
    trials.run(actors=6, workers=2)
    race_errors = trials.errors()
    print(f"{time.monotonic() - began:.1f} s: {dict(trials.counts)}")
    assert {kind: found[:5] for kind, found in race_errors.items() if found} == {}
    assert trials.counts["pairs"] == trials.counts["deliveries"] == trials.counts["signals"] == 1_104


def test_pairs_are_lost_without_the_buffer_time(
    no_dispatcher: None, database: None, signals: RecordedSignals, settings: Any
) -> None:
    settings.EVENT_BUFFER_SECONDS = 0
    trials = RandomRaces([make_tenant() for _ in range(2)], {1: 20, 4: 5}, signals=signals, seed=7)
    trials.run(actors=6, workers=2)
    race_errors = trials.errors()
    assert race_errors["lost"]
    assert not race_errors["without cause"]


# -- On a real Temporal ------------------------------------------------------------------------------------------------


def test_runs_whose_event_arrives_while_their_wait_opens(
    driver: TenantDriver, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers = [driver, TenantDriver(make_tenant(), servers)]
    tenants = {one.tenant.id: one.tenant.slug for one in drivers}
    runs, events = Run.objects.filter(tenant__in=tenants), Event.objects.filter(tenant__in=tenants)
    with closing(StreamDriver(servers.redis_url, driver.tenant.slug)) as stream:
        scattered = RacingRuns(drivers, stream, count=40, seconds=6, seed=8)
        with scattered.running(monkeypatch):
            eventually(lambda: runs.filter(status="SUCCEEDED").count() == 80, what="every run has ended")
            eventually(lambda: events.filter(outcome="delivered").count() == 80, what="every event is delivered")
    print(f"80 runs; sent at and through: {dict(scattered.sent)}")

    deliveries = EventDelivery.objects.filter(tenant__in=tenants)
    assert set(deliveries.values_list("status", "failures")) == {("matched", 0)}
    assert deliveries.count() == events.count() == runs.count() == 80
    assert set(runs.values_list("event_count", "state", "step_count")) == {(1, "AFTER", 2)}
    waits = RunWait.objects.filter(tenant__in=tenants).select_related("event")
    assert len(waits) == 80
    for wait in waits:
        assert wait.event is not None
        assert (wait.status, wait.event.tenant_id) == ("RESOLVED", wait.tenant_id)
        assert wait.event.payload == {"ticketId": wait.correlation_key, "tenant": tenants[wait.tenant_id]}

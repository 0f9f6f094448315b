"""Scheduler that runs the sides of a race in real threads and in a given order of steps.

A side stops before each of its steps. The scheduler lets one step run. It continues when every side has stopped again,
has ended, or waits for a database lock of a side that has stopped. So each order is followed exactly, without sleeps.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from ingress.dispatch import delivery, routing
from tests.support.race_orders import STEPS, Order
from workflows.models import RunWait
from workflows.services import wait_lookback
from workflows.tenancy import Scope, enter_scope

TIMEOUT_SECONDS = 60
_thread = threading.local()


class OrderNotFollowed(Exception):
    """The sides did not take the steps in the given order."""


class RaceScheduler:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads = {side: ThreadPoolExecutor(1, thread_name_prefix=side) for side in STEPS}
        self._backends = {side: thread.submit(_connect, side).result() for side, thread in self._threads.items()}
        self._steps: frozenset[str] = frozenset()
        self._allowed: set[str] = set()
        self._stopped_at: dict[str, str] = {}
        self._running: dict[str, Future[Any]] = {}

    def close(self) -> None:
        for thread in self._threads.values():
            thread.submit(connections.close_all).result()
            thread.shutdown()

    def run(self, order: Order, sides: dict[str, Callable[[], Any]]) -> list[Exception]:
        """Run the functions of the sides in this order of steps. After the last step, the sides run freely.

        Return the exceptions of the sides, and OrderNotFollowed if a step was not reached.
        """
        self._steps, self._allowed = frozenset(order), set()
        self._running = {side: self._threads[side].submit(function) for side, function in sides.items()}
        for future in self._running.values():
            future.add_done_callback(self._wake)
        failures: list[Exception] = []
        try:
            self._wait_until_all_stopped()
            for step in order:
                self._allow(step)
        except OrderNotFollowed as error:
            failures.append(error)
        finally:
            with self._changed:
                self._steps = frozenset()
                self._changed.notify_all()
        raised = [future.exception(TIMEOUT_SECONDS) for future in self._running.values()]
        return [*(error for error in raised if isinstance(error, Exception)), *failures]

    def wait_for_turn(self, step: str) -> None:
        """Stop this side until the scheduler allows the step. Return at once in other threads, and for other steps."""
        side = getattr(_thread, "side", None)
        with self._changed:
            if side is None or step not in self._steps:
                return
            self._stopped_at[side] = step
            self._changed.notify_all()
            is_allowed = self._changed.wait_for(lambda: step in self._allowed or not self._steps, TIMEOUT_SECONDS)
            self._stopped_at.pop(side, None)
            if not is_allowed:
                raise OrderNotFollowed(f"the step {step} of {side} was not allowed within {TIMEOUT_SECONDS} s")

    def _allow(self, step: str) -> None:
        with self._changed:
            side = next((side for side, stopped_at in self._stopped_at.items() if stopped_at == step), None)
            if side is None:
                raise OrderNotFollowed(f"no side has stopped before {step}; the sides stopped at {self._stopped_at}")
            del self._stopped_at[side]
            self._allowed.add(step)
            self._changed.notify_all()
        self._wait_until_all_stopped()

    def _wait_until_all_stopped(self) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            with self._changed:
                self._changed.wait_for(lambda: not self._moving(), 0.01)
                moving = self._moving()
            if not moving or self._wait_for_locks(moving):
                return
        raise OrderNotFollowed(f"{moving} did not stop within {TIMEOUT_SECONDS} s")

    def _moving(self) -> list[str]:
        return [side for side, future in self._running.items() if not future.done() and side not in self._stopped_at]

    def _wait_for_locks(self, sides: list[str]) -> bool:
        """Return True if each side waits for a lock. There is no deadlock, so a stopped side holds the lock."""
        with connection.cursor() as cursor:
            pids = [self._backends[side] for side in sides]
            cursor.execute("SELECT bool_and(cardinality(pg_blocking_pids(pid)) > 0) FROM unnest(%s) AS pid", [pids])
            return bool(cursor.fetchone()[0])

    def _wake(self, _: Any) -> None:
        with self._changed:
            self._changed.notify_all()


def _connect(side: str) -> int:
    """Prepare the thread of a side, and return the process id of its database connection."""
    _thread.side = side
    enter_scope(Scope(is_system=True))  # the scope stays for the life of the thread
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


@contextmanager
def race_scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[RaceScheduler]:
    """Return a scheduler, and make routing, lookback and delivery stop before the steps of STEPS."""
    scheduler = RaceScheduler()
    _insert_stops(scheduler, monkeypatch)
    try:
        yield scheduler
    finally:
        scheduler.close()


def _insert_stops(scheduler: RaceScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, write, find = routing.plan_event_routes, routing.update_rows, wait_lookback._next_events

    def plan_event_routes(events: Any) -> Any:
        scheduler.wait_for_turn("waits found")
        return plan(events)

    def update_rows(*arguments: Any) -> None:
        scheduler.wait_for_turn("routed")
        write(*arguments)

    def next_events(wait: RunWait, room: int) -> list[uuid.UUID]:
        found = find(wait, room)
        if found:
            scheduler.wait_for_turn("event locked")
        return found

    def stop_around_lock(before: str, before_commit: str, module: Any) -> None:
        changing = module.deliveries_changing

        @contextmanager
        def deliveries_changing(events: Any) -> Iterator[Any]:
            if before:
                scheduler.wait_for_turn(before)
            with changing(events) as locked:
                yield locked
                scheduler.wait_for_turn(before_commit)

        monkeypatch.setattr(module, "deliveries_changing", deliveries_changing)

    monkeypatch.setattr(routing, "plan_event_routes", plan_event_routes)
    monkeypatch.setattr(routing, "update_rows", update_rows)
    monkeypatch.setattr(wait_lookback, "_next_events", next_events)
    stop_around_lock("", "lookback done", wait_lookback)
    stop_around_lock("recording", "recorded", delivery)

"""The two sides of the border on a stage: real functions in real threads, which go on only when they are told to.

A side stops at a gate before each of its steps. `Stage.make` lets one step happen, and returns when every side stands at a
gate again, has ended, or waits for a lock of the database that a standing side holds. So an order of steps is followed to
the letter, without a sleep and without a guess.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection, connections

from ingress.dispatch import delivery, routing
from ingress.dispatch.routing import event_route
from ingress.dispatch.work import events_work
from ingress.intake.receive import event_receive
from tests.support.border_orders import SPLIT, Order
from tests.support.deliveries import attempt_delivery
from tests.support.factories import make_run
from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.models.fields import new_id
from workflows.projections.batches import record_batch
from workflows.projections.transaction import projection_writer
from workflows.services import wait_lookback
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import EventSource
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal
from workflows.tenancy import Scope, enter_scope

NAME = "REPLIED"
PATIENCE_SECONDS = 20
_here = threading.local()


class Astray(Exception):
    """The sides did not follow the order."""


class Stage:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads = {side: ThreadPoolExecutor(1, thread_name_prefix=side) for side in SPLIT}
        self._backends = {side: thread.submit(_enter, side).result() for side, thread in self._threads.items()}
        self._steps: frozenset[str] = frozenset()
        self._made: set[str] = set()
        self._at: dict[str, str] = {}
        self._plays: dict[str, Future[Any]] = {}

    def close(self) -> None:
        for thread in self._threads.values():
            thread.submit(connections.close_all).result()
            thread.shutdown()

    def follow(self, order: Order, plays: dict[str, Callable[[], Any]]) -> list[Exception]:
        """What the sides have raised, or that they did not follow. What is left of them after the last step happens as it
        comes."""
        self._steps, self._made = frozenset(order), set()
        self._plays = {side: self._threads[side].submit(play) for side, play in plays.items()}
        for play in self._plays.values():
            play.add_done_callback(self._tell)
        astray: list[Exception] = []
        try:
            self._wait_until_still()
            for step in order:
                self._make(step)
        except Astray as error:
            astray.append(error)
        finally:
            with self._changed:
                self._steps = frozenset()
                self._changed.notify_all()
        raised = [play.exception(PATIENCE_SECONDS) for play in self._plays.values()]
        return [*(error for error in raised if isinstance(error, Exception)), *astray]

    def gate(self, step: str) -> None:
        """Called by a side before a step; at once for other threads, and for a step that is not directed."""
        side = getattr(_here, "side", None)
        with self._changed:
            if side is None or step not in self._steps:
                return
            self._at[side] = step
            self._changed.notify_all()
            may_go = self._changed.wait_for(lambda: step in self._made or not self._steps, PATIENCE_SECONDS)
            self._at.pop(side, None)
            if not may_go:
                raise Astray(f"{side} was not told to make {step}")

    def _make(self, step: str) -> None:
        with self._changed:
            side = next((side for side, at in self._at.items() if at == step), None)
            if side is None:
                raise Astray(f"nobody is about to make {step}; the sides stand at {self._at}")
            del self._at[side]
            self._made.add(step)
            self._changed.notify_all()
        self._wait_until_still()

    def _wait_until_still(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self._changed:
                self._changed.wait_for(lambda: not self._moving(), 0.01)
                moving = self._moving()
            if not moving or self._are_locked_out(moving):
                return
        raise Astray(f"{moving} do not come to a gate")

    def _moving(self) -> list[str]:
        return [side for side, play in self._plays.items() if not play.done() and side not in self._at]

    def _are_locked_out(self, sides: list[str]) -> bool:
        """Each of them waits for another; as they wait for no circle, in the end for one that stands."""
        with connection.cursor() as cursor:
            pids = [self._backends[side] for side in sides]
            cursor.execute("SELECT bool_and(cardinality(pg_blocking_pids(pid)) > 0) FROM unnest(%s) AS pid", [pids])
            return bool(cursor.fetchone()[0])

    def _tell(self, _: Any) -> None:
        with self._changed:
            self._changed.notify_all()


def _enter(side: str) -> int:
    _here.side = side
    enter_scope(Scope(is_system=True))  # of this thread, for its whole life
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


@contextmanager
def open_stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage, whose gates stand at the seams of the real functions."""
    stage = Stage()
    _set_gates(stage, monkeypatch)
    try:
        yield stage
    finally:
        stage.close()


def _set_gates(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, write, find = routing.plan_event_routes, routing.update_rows, wait_lookback._events_for

    def plan_event_routes(events: Any) -> Any:
        stage.gate("waits found")
        return plan(events)

    def update_rows(*arguments: Any) -> None:
        stage.gate("routed")
        write(*arguments)

    def events_for(wait: RunWait) -> Any:
        found = _Found(find(wait).order_by("received_at", "id"))
        if found:
            stage.gate("event locked")
        return found

    def held_until(begin: str, end: str, module: Any) -> None:
        changing = module.deliveries_changing

        @contextmanager
        def deliveries_changing(events: Any) -> Iterator[Any]:
            if begin:
                stage.gate(begin)
            with changing(events) as locked:
                yield locked
                stage.gate(end)

        monkeypatch.setattr(module, "deliveries_changing", deliveries_changing)

    monkeypatch.setattr(routing, "plan_event_routes", plan_event_routes)
    monkeypatch.setattr(routing, "update_rows", update_rows)
    monkeypatch.setattr(wait_lookback, "_events_for", events_for)
    held_until("", "looked", wait_lookback)
    held_until("settling", "settled", delivery)


class _Found(list[Event]):
    """What a look has found, read before its gate."""

    def order_by(self, *_: str) -> "_Found":
        return self


@dataclass
class Signals:
    """Stands where Temporal is: it takes every signal."""

    sent: list[tuple[str, EventSignal]] = field(default_factory=list)

    def take(self, monkeypatch: pytest.MonkeyPatch) -> "Signals":
        def signal_event(signal: EventSignal, *, workflow_id: str, **_: Any) -> None:
            self.sent.append((workflow_id, signal))

        monkeypatch.setattr(gateway, "signal_event", signal_event)
        monkeypatch.setattr(delivery._pause, "until", 0.0)
        return self


@dataclass
class Meeting:
    """An event and the one wait that it is for."""

    stage: Stage
    run: Run
    key: str
    wait_id: str = field(default_factory=lambda: str(new_id()))
    opened_ms: int = 0
    event_pk: uuid.UUID | None = None

    def plays(self) -> dict[str, Callable[[], Any]]:
        return {
            "event": self.event_comes,
            "wait": self.wait_opens,
            "sender": self.signal_is_sent,
            "run": self.verdict_comes,
        }

    def event_comes(self) -> None:
        self.stage.gate("E")
        self.store_event()
        self.stage.gate("W?")
        self.route()

    def wait_opens(self) -> None:
        self.stage.gate("W")
        self.store_wait()
        self.stage.gate("E?")
        self.look()

    def signal_is_sent(self) -> None:
        self.stage.gate("S")
        attempt_delivery(EventDelivery.objects.values_list("id", flat=True).get(wait_id=self.wait_id))

    def verdict_comes(self) -> None:
        """The workflow has taken the event."""
        self.stage.gate("verdict")
        verdict = {"kind": "verdict", "waitId": self.wait_id, "eventId": self.key, "verdict": "matched", "reason": ""}
        self._record(self._wait("RESOLVED", seq=2) | {"eventId": self.key}, verdict | {"seq": 3, "at": _now_ms()})

    def store_event(self) -> None:
        value = {"event_type": NAME, "payload": {}, "event_id": self.key, "workflow_correlation_key": self.key}
        self.event_pk = event_receive(tenant_id=self.run.tenant_id, value=value, source=EventSource.REST).event.id

    def route(self) -> None:
        assert self.event_pk is not None
        event_route(self.event_pk)

    def store_wait(self) -> None:
        self.opened_ms = _now_ms()
        self._record(self._wait("WAITING", seq=1))

    def look(self) -> None:
        wait_look_for_events(tenant_id=str(self.run.tenant_id), wait_id=self.wait_id)

    def _wait(self, status: str, *, seq: int) -> dict[str, Any]:
        return {
            "kind": "wait", "seq": seq, "at": _now_ms(), "id": self.wait_id, "path": "root.steps[0]", "stepId": "w",
            "iteration": "", "waitKind": "event", "status": status, "openedAt": self.opened_ms, "eventName": NAME,
            "key": self.key,
        }  # fmt: skip

    def _record(self, *records: dict[str, Any]) -> None:
        written = record_batch(
            list(records), tenant_id=str(self.run.tenant_id), run_id=str(self.run.id), epoch="epoch",
            first_run_id="epoch", current_epoch=lambda: "epoch",
        )  # fmt: skip
        assert written


def make_runs(tenant: Any, count: int) -> list[Run]:
    """Rows of runs, made by the bulk."""
    like = make_run(tenant)
    fields = {f.attname: getattr(like, f.attname) for f in Run._meta.concrete_fields if f.name != "id"}
    name = like.temporal_workflow_id
    with projection_writer("test"):
        return Run.objects.bulk_create(
            Run(**fields | {"temporal_workflow_id": f"{name}-{number}"}) for number in range(count)
        )


def analyze() -> None:
    """As autovacuum does within a minute; without statistics the look goes through every event of the tenant."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE")


def _now_ms() -> int:
    """Rounded up: an event that came before is before it in milliseconds too."""
    return int(time.time() * 1000) + 1


def faults(meeting: Meeting, order: Order, signals: Signals) -> list[str]:
    """What is wrong after a worker has done what was left to do; nothing, when the border holds."""
    while events_work(tenant_id=meeting.run.tenant_id).has_more:
        pass
    event = Event.objects.get(id=meeting.event_pk)
    rows = list(EventDelivery.objects.filter(event=event).values_list("wait_id", "run_id", "status"))
    sent = [(to, signal.waitId, signal.eventId) for to, signal in signals.sent if signal.eventId == event.event_id]
    is_decided = "verdict" in order
    expected = {
        "deliveries": [(uuid.UUID(meeting.wait_id), meeting.run.id, "matched" if is_decided else "sent")],
        "signals": [(meeting.run.temporal_workflow_id, meeting.wait_id, meeting.key)],
        "outcome": "delivered" if is_decided else "routing",
        "is routed": True,
    }
    found = {
        "deliveries": rows,
        "signals": sent,
        "outcome": str(event.outcome),
        "is routed": event.routed_at is not None,
    }
    return [f"{name}: {found[name]}, not {expected[name]}" for name in expected if found[name] != expected[name]]

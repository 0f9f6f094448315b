"""Race between an event and the wait that it is for: the four sides, and a check of the result."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections

from ingress.dispatch import delivery
from ingress.dispatch.routing import event_route
from ingress.dispatch.work import events_work
from ingress.intake.receive import event_receive
from tests.support.deliveries import attempt_delivery
from tests.support.factories import make_run
from tests.support.race_orders import Order
from tests.support.race_scheduler import RaceScheduler
from workflows.models import Event, EventDelivery, Run, Tenant
from workflows.models.fields import new_id
from workflows.projections.batches import record_batch
from workflows.projections.transaction import projection_writer
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import EventSource
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal

EVENT_TYPE = "REPLIED"


@dataclass
class RecordedSignals:
    """Replacement for Temporal that accepts every signal and records it."""

    sent: list[tuple[str, EventSignal]] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "RecordedSignals":
        def signal_event(signal: EventSignal, *, workflow_id: str, **_: Any) -> None:
            self.sent.append((workflow_id, signal))

        monkeypatch.setattr(gateway, "signal_event", signal_event)
        monkeypatch.setattr(delivery._pause, "until", 0.0)
        return self


@dataclass
class Race:
    """An event and the one wait that it is for. Each side waits for its turn before each step."""

    scheduler: RaceScheduler
    run: Run
    key: str
    wait_id: str = field(default_factory=lambda: str(new_id()))
    opened_ms: int = 0
    event_pk: uuid.UUID | None = None

    def sides(self) -> dict[str, Callable[[], Any]]:
        return {
            "event": self.receive_event,
            "wait": self.open_wait,
            "sender": self.send_signal,
            "run": self.write_verdict,
        }

    def receive_event(self) -> None:
        self.scheduler.wait_for_turn("E")
        self.store_event()
        self.scheduler.wait_for_turn("W?")
        self.route()

    def open_wait(self) -> None:
        self.scheduler.wait_for_turn("W")
        self.store_wait()
        self.scheduler.wait_for_turn("E?")
        self.lookback()

    def send_signal(self) -> None:
        self.scheduler.wait_for_turn("S")
        attempt_delivery(EventDelivery.objects.values_list("id", flat=True).get(wait_id=self.wait_id))

    def write_verdict(self) -> None:
        """Write the records of a run that the event resumed."""
        self.scheduler.wait_for_turn("verdict")
        verdict = {"kind": "verdict", "waitId": self.wait_id, "eventId": self.key, "verdict": "matched", "reason": ""}
        self._record(self._wait("RESOLVED", seq=2) | {"eventId": self.key}, verdict | {"seq": 3, "at": _now_ms()})

    def store_event(self) -> None:
        value = {"event_type": EVENT_TYPE, "payload": {}, "event_id": self.key, "workflow_correlation_key": self.key}
        self.event_pk = event_receive(tenant_id=self.run.tenant_id, value=value, source=EventSource.REST).event.id

    def route(self) -> None:
        assert self.event_pk is not None
        event_route(self.event_pk)

    def store_wait(self) -> None:
        self.opened_ms = _now_ms()
        self._record(self._wait("WAITING", seq=1))

    def lookback(self) -> None:
        wait_look_for_events(tenant_id=str(self.run.tenant_id), wait_id=self.wait_id)

    def _wait(self, status: str, *, seq: int) -> dict[str, Any]:
        return {
            "kind": "wait", "seq": seq, "at": _now_ms(), "id": self.wait_id, "path": "root.steps[0]", "stepId": "w",
            "iteration": "", "waitKind": "event", "status": status, "openedAt": self.opened_ms, "eventName": EVENT_TYPE,
            "key": self.key,
        }  # fmt: skip

    def _record(self, *records: dict[str, Any]) -> None:
        is_written = record_batch(
            list(records), tenant_id=str(self.run.tenant_id), run_id=str(self.run.id), epoch="epoch",
            first_run_id="epoch", current_epoch=lambda: "epoch",
        )  # fmt: skip
        assert is_written


def insert_runs(tenant: Tenant, count: int) -> list[Run]:
    """Insert rows of runs with one statement."""
    template = make_run(tenant)
    fields = {f.attname: getattr(template, f.attname) for f in Run._meta.concrete_fields if f.name != "id"}
    name = template.temporal_workflow_id
    with projection_writer("test"):
        return Run.objects.bulk_create(
            Run(**fields | {"temporal_workflow_id": f"{name}-{number}"}) for number in range(count)
        )


def analyze_tables() -> None:
    """Update the planner's statistics, as autovacuum does within a minute.

    Without them, a lookback reads all events of the tenant.
    """
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE")


def _now_ms() -> int:
    """Return the time in milliseconds, rounded up. An earlier event then has an earlier time in milliseconds too."""
    return int(time.time() * 1000) + 1


def race_errors(race: Race, order: Order, signals: RecordedSignals) -> list[str]:
    """Run the dispatcher until no work is left, and return the differences from the expected result."""
    while events_work(tenant_id=race.run.tenant_id).has_more:
        pass
    event = Event.objects.get(id=race.event_pk)
    rows = list(EventDelivery.objects.filter(event=event).values_list("wait_id", "run_id", "status"))
    sent = [(to, signal.waitId, signal.eventId) for to, signal in signals.sent if signal.eventId == event.event_id]
    is_decided = "verdict" in order
    expected = {
        "deliveries": [(uuid.UUID(race.wait_id), race.run.id, "matched" if is_decided else "sent")],
        "signals": [(race.run.temporal_workflow_id, race.wait_id, race.key)],
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

"""Senders that never give up, on all doors, of events of every kind; and what must have become of each in the end."""

import http.client
import itertools
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings

from ingress.publish import publish_event
from portal.celery import app
from tests.support.factories import expr, publish
from workflows.models import DataStoreEntry, Event, EventDelivery, EventType, OutboxEvent, Run, Tenant
from workflows.services.runs.start import run_start

DOORS = ("rest", "task", "stream", "outbox")
# What is accepted at these is stored, or in a row; at the others it stands in Redis first.
KEEPING_DOORS = {"rest", "outbox"}
KEYS_OF_A_RUN, RUNS_AT_ONCE = 6, 4
SENDERS = 4
PATIENCE_SECONDS = 60
GIVING_UP = 0.2  # of the events that nobody waits for

# What an event is for, and what it must have come to: outcome, deliveries, runs that it started, effects.
ENDS: dict[str, tuple[str, list[str], int, int]] = {
    "wait": ("delivered", ["matched"], 0, 1),
    "trigger": ("delivered", ["started"], 1, 1),
    "nobody": ("unmatched", [], 0, 0),
    "keyless": ("uncorrelated", [], 0, 0),
}


@dataclass
class Sent:
    event_id: str
    purpose: str
    event_type: str
    payload: dict[str, Any]
    key: str = ""
    for_points: set[str] = field(default_factory=set)
    accepted_at: set[str] = field(default_factory=set)
    gives_up: bool = False  # its sender sends it once, and never learns whether it was stored
    row_id: str = ""  # as the REST door has answered

    def body(self) -> dict[str, Any]:
        body = {"event_id": self.event_id, "event_type": self.event_type, "payload": self.payload}
        return {**body, "workflow_correlation_key": self.key} if self.key else body


class Load:
    """Events of one tenant. REST has senders of its own; all else is done by the thread that calls."""

    def __init__(self, tenant: Tenant, actor: Any, *, token: str, port: int, plan: dict[str, Any], seed: int) -> None:
        self.tenant, self.actor, self.plan = tenant, actor, plan
        self.random = random.Random(seed)
        self.redis: Any = redis.Redis.from_url(settings.REDIS_URL)
        self.broker = app.connection_for_write(settings.REDIS_URL)
        self.sent: dict[str, Sent] = {}
        self.bad_entries: dict[str, str] = {}  # entries that can never be events, and the points that they were for
        self.loops: list[Run] = []
        self.keys: list[str] = []  # of runs that wait, or will wait, for an event each
        self.answers: Counter[str] = Counter()
        self.slowest_answer = 0.0
        self.faults: list[str] = []
        self.under_way = ""
        self._numbers = itertools.count(1)
        self._posts: queue.Queue[Sent | None] = queue.Queue()
        self._port, self._token = port, token
        self._senders = [threading.Thread(target=self._post_all, daemon=True) for _ in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def prepare(self) -> None:
        """A definition that waits for one event after another, one that an event starts, and a short buffer for the rest."""

        def count(key: str) -> dict[str, Any]:
            mapping = {"namespace": "effects", "key": expr(key)}
            return {"id": "count", "type": "action.call", "config": {"actionId": "store.increment", "version": 1, "inputMapping": mapping}}  # fmt: skip

        wait = {"id": "wait", "type": "event.wait", "config": {"eventName": "WAITED", "correlationKey": expr("item")}}
        loop = {"id": "each", "type": "control.forEach", "items": expr("payload.keys"), "itemVar": "key", "body": [wait, count("item")]}  # fmt: skip
        publish(self.tenant, loop, key="loop")
        publish(self.tenant, count("payload.key"), key="start", trigger={"type": "event", "eventName": "STARTED"})
        EventType.objects.create(tenant=self.tenant, name="WAITED", buffer_seconds=3600)
        EventType.objects.create(tenant=self.tenant, name="NOBODY", buffer_seconds=1)

    def start_runs(self) -> None:
        """Runs that wait for events, and the keys of these, in an order in which all runs get on."""
        keys = [[f"W-{next(self._numbers)}" for _ in range(KEYS_OF_A_RUN)] for _ in range(RUNS_AT_ONCE)]
        for of_run in keys:
            run_id, _ = run_start(actor=self.actor, definition_key="loop", payload={"keys": of_run})
            self.loops.append(Run.objects.get(id=run_id))
        self.keys += [key for turn in zip(*keys, strict=True) for key in turn]

    # -- Sending -------------------------------------------------------------------------------------------------------

    def feed(self, needs: str = "any", *, point: str = "") -> None:
        """One event through `needs` (a door), or for it (a purpose), or any, which may lead to the point."""
        if needs == "bad entry":
            entry = {"event_type": "X", "tenant": "nobody-at-all", "payload_json": "{}"}
            self.bad_entries[self.redis.xadd(self.plan["stream"], entry).decode()] = point
            return
        door = needs if needs in DOORS else self.random.choice(DOORS)
        event = self._event(needs if needs in (*ENDS, "again") else self._any_purpose())
        event.for_points.add(point)
        if event.purpose == "nobody" and door == "rest" and not event.accepted_at:
            event.gives_up = self.random.random() < GIVING_UP
        self.send(event, door)

    def feed_rest_of_waits(self) -> None:
        while self.keys:
            self.send(self._event("wait"), self.random.choice(DOORS))

    def sweep(self) -> None:
        """As beat does it."""
        app.send_task("ingress.sweep_events", queue=self.plan["queue"], connection=self.broker, expires=10)

    def backlog(self) -> int:
        return self._posts.qsize() + int(self.redis.llen(self.plan["queue"]))

    def send(self, event: Sent, door: str) -> None:
        match door:
            case "rest":
                self._posts.put(event)
                return
            case "task":
                envelope = {**event.body(), "tenant": self.tenant.slug}
                app.send_task(
                    "ingress.consume_event", args=[envelope], queue=self.plan["queue"], connection=self.broker
                )
            case "stream":
                fields = {**event.body(), "tenant": self.tenant.slug, "payload_json": json.dumps(event.payload)}
                del fields["payload"]
                self.redis.xadd(self.plan["stream"], fields)
            case "outbox":
                key = event.key or None
                publish_event(event.event_type, event.payload, tenant=self.tenant.slug, event_id=event.event_id, correlation_key=key)  # fmt: skip
        event.accepted_at.add(door)

    def _any_purpose(self) -> str:
        return self.random.choices(("nobody", "keyless", "again", "wait", "trigger"), (55, 15, 25, 3, 2))[0]

    def _event(self, purpose: str) -> Sent:
        if purpose == "again":
            repeatable = [event for event in self.sent.values() if not event.gives_up]
            if repeatable:
                return self.random.choice(repeatable)
        number = next(self._numbers)
        key = f"K-{number}"
        match purpose:
            case "wait":
                if not self.keys:
                    self.start_runs()
                key = self.keys.pop(0)
                event = Sent(f"e-{key}", "wait", "WAITED", {"n": number}, key)
            case "trigger":
                event = Sent(f"e-{key}", "trigger", "STARTED", {"key": key}, key)
            case "keyless":
                event = Sent(f"e-{key}", "keyless", "NOBODY", {"n": number})
            case _:
                event = Sent(f"e-{key}", "nobody", "NOBODY", {"n": number}, key)
        self.sent[event.event_id] = event
        return event

    # -- The REST door -------------------------------------------------------------------------------------------------

    def _post_all(self) -> None:
        while (event := self._posts.get()) is not None:
            try:
                self._post(event)
            except Exception as error:  # noqa: BLE001  told to the test
                self.faults.append(f"{event.event_id}: {error!r}")

    def _post(self, event: Sent) -> None:
        """Until it is accepted: a connection that broke may have done it or not, and the event id makes it one."""
        first_id = event.row_id
        began = time.monotonic()
        while (found := self._answer(event)) is None:
            self.answers["none"] += 1
            if event.gives_up:
                return
            if time.monotonic() > began + PATIENCE_SECONDS:
                raise TimeoutError("nobody answers")
        self.slowest_answer = max(self.slowest_answer, time.monotonic() - began)
        status, answer = found
        self.answers[str(status)] += 1
        is_repeat = bool(answer.get("duplicate"))
        if status != (200 if is_repeat else 202) or answer["event_id"] != event.event_id:
            self.faults.append(f"{event.event_id} is answered {status} {answer}")
        elif first_id and (first_id != answer["id"] or not is_repeat):
            self.faults.append(f"{event.event_id} was {first_id}, and sent again it is answered {status} {answer}")
        event.row_id = answer["id"]
        event.accepted_at.add("rest")

    def _answer(self, event: Sent) -> tuple[int, dict[str, Any]] | None:
        """None: none came, or one that was cut off."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("POST", "/api/v1/events", json.dumps(event.body()), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    # -- What has become of it -----------------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Nothing is under way any more; `under_way` names what is."""
        missing = {event_id: self.sent[event_id].accepted_at for event_id in self.missing()}
        looks: dict[str, Callable[[], bool]] = {
            "senders": lambda: all(event.accepted_at or event.gives_up for event in self.sent.values()),
            "events in the outbox": lambda: not OutboxEvent.objects.filter(tenant=self.tenant).exists(),
            f"accepted and not stored: {missing}": lambda: not missing,
            "events": lambda: not self._events().filter(outcome__in=["received", "routing", "buffered"]).exists(),
            "deliveries": lambda: not EventDelivery.objects.filter(tenant=self.tenant, status__in=["pending", "sent"]).exists(),
            "runs": lambda: not Run.objects.filter(tenant=self.tenant).exclude(status="SUCCEEDED").exists(),
            "entries": self.is_read,
            "messages": lambda: not self.redis.exists("unacked"),
        }  # fmt: skip
        self.under_way = next((what for what, look in looks.items() if not look()), "")
        return not self.under_way

    def is_taken_in(self) -> bool:
        """Nothing waits at a door any more."""
        waiting = (
            self.backlog(),
            self.redis.exists("unacked"),
            OutboxEvent.objects.filter(tenant=self.tenant).exists(),
        )
        return not any(waiting) and self.is_read()

    def missing(self) -> set[str]:
        """Events that were accepted at some door and are not stored."""
        accepted = {event.event_id for event in self.sent.values() if event.accepted_at}
        return accepted - set(self._events().values_list("event_id", flat=True))

    @staticmethod
    def is_kept(event: Sent) -> bool:
        return bool(event.accepted_at & KEEPING_DOORS)

    def _events(self) -> Any:
        return Event.objects.filter(tenant=self.tenant)

    def is_read(self) -> bool:
        """The consumer has had every entry, and has acknowledged it."""
        try:
            (group,) = self.redis.xinfo_groups(self.plan["stream"]) or (None,)
            last = self.redis.xinfo_stream(self.plan["stream"])["last-generated-id"]
        except redis.ResponseError:  # no stream
            return False
        return group is not None and group["last-delivered-id"] == last and not group["pending"]

    def events_for(self, point: str) -> set[str]:
        entries = {entry_id for entry_id, of_point in self.bad_entries.items() if of_point == point}
        return entries | {event.event_id for event in self.sent.values() if point in event.for_points}

    def wrongs(self) -> dict[str, str]:
        """What is not as it must be, by the event's id. An event that is not stored is wrong unless its sender gave up."""
        found: dict[str, str] = {}
        outcomes = dict(self._events().values_list("event_id", "outcome"))
        deliveries: dict[str, list[str]] = {}
        for event_id, status in EventDelivery.objects.filter(tenant=self.tenant).values_list(
            "event__event_id", "status"
        ):
            deliveries.setdefault(event_id, []).append(status)
        runs = Counter(
            Run.objects.filter(tenant=self.tenant, event__isnull=False).values_list("event__event_id", flat=True)
        )
        effects = dict(
            DataStoreEntry.objects.filter(tenant=self.tenant, namespace="effects").values_list("key", "value")
        )
        for event in self.sent.values():
            outcome = outcomes.pop(event.event_id, "lost")
            end = (outcome, deliveries.get(event.event_id, []), runs[event.event_id], effects.pop(event.key, 0))
            if end != ENDS[event.purpose] and not (event.gives_up and outcome == "lost"):
                found[event.event_id] = f"is {end}, must be {ENDS[event.purpose]}"
        found |= dict.fromkeys(outcomes, "was never sent") | dict.fromkeys(effects, "is an effect of nothing")
        dead = {fields[b"entry_id"].decode() for _, fields in self.redis.xrange(self.plan["dead"])}
        found |= dict.fromkeys(dead ^ set(self.bad_entries), "is a dead letter, or should be one")
        for run in Run.objects.filter(id__in=[run.id for run in self.loops]):
            if (run.status, run.event_count) != ("SUCCEEDED", KEYS_OF_A_RUN):
                found[str(run.id)] = f"is {run.status} after {run.event_count} events"
        return found

    def close(self) -> None:
        for _ in self._senders:
            self._posts.put(None)
        for sender in self._senders:
            sender.join(PATIENCE_SECONDS)
        self.broker.release()
        self.redis.close()

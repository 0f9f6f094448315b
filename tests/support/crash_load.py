"""Load for the crash tests: senders of events through all entry points, and a check of the result of every event."""

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

ENTRY_POINTS = ("rest", "task", "stream", "outbox")
# These entry points store what they accept in the database. The others store it in Redis first.
DATABASE_ENTRY_POINTS = {"rest", "outbox"}
KEYS_PER_RUN, RUNS_AT_ONCE = 6, 4
SENDERS = 4
UNSETTLED = ("received", "routing", "held", "buffered")
TIMEOUT_SECONDS = 60
SENT_ONCE = 0.2  # share of the unmatched REST events whose sender does not repeat a failed request

# Purposes of events, with the expected result: outcome, statuses of the deliveries, runs started, effects.
EXPECTED: dict[str, tuple[str, list[str], int, int]] = {
    "wait": ("delivered", ["matched"], 0, 1),
    "trigger": ("delivered", ["started"], 1, 1),
    "unmatched": ("unmatched", [], 0, 0),
    "keyless": ("uncorrelated", [], 0, 0),
}


@dataclass
class SentEvent:
    event_id: str
    purpose: str
    event_type: str
    payload: dict[str, Any]
    key: str = ""
    for_points: set[str] = field(default_factory=set)
    accepted_at: set[str] = field(default_factory=set)
    is_sent_once: bool = False  # the sender does not learn if the event was stored
    row_id: str = ""  # from the REST response

    def body(self) -> dict[str, Any]:
        body = {"event_id": self.event_id, "event_type": self.event_type, "payload": self.payload}
        return {**body, "workflow_correlation_key": self.key} if self.key else body


class Load:
    """Events of one tenant. Sender threads post the REST events. The calling thread sends all other events."""

    def __init__(self, tenant: Tenant, actor: Any, *, token: str, port: int, plan: dict[str, Any], seed: int) -> None:
        self.tenant, self.actor, self.plan = tenant, actor, plan
        self.random = random.Random(seed)
        self.redis: Any = redis.Redis.from_url(settings.REDIS_URL)
        self.broker = app.connection_for_write(settings.REDIS_URL)
        self.sent: dict[str, SentEvent] = {}
        self.bad_entries: dict[str, str] = {}  # crash points of the stream entries that can never become events
        self.loops: list[Run] = []
        self.keys: list[str] = []  # correlation keys of waits that are open or will open
        self.responses: Counter[str] = Counter()
        self.slowest_response = 0.0
        self.sender_errors: list[str] = []
        self.in_progress = ""
        self._numbers = itertools.count(1)
        self._posts: queue.Queue[SentEvent | None] = queue.Queue()
        self._port, self._token = port, token
        self._senders = [threading.Thread(target=self._post_all, daemon=True) for _ in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def prepare(self) -> None:
        """Publish a definition with many waits and one that an event starts, and set a short buffer time."""

        def count(key: str) -> dict[str, Any]:
            config = {
                "actionId": "store.increment",
                "version": 1,
                "inputMapping": {"namespace": "effects", "key": expr(key)},
            }
            return {"id": "count", "type": "action.call", "config": config}

        wait = {"id": "wait", "type": "event.wait", "config": {"eventName": "WAITED", "correlationKey": expr("item")}}
        loop = {
            "id": "each", "type": "control.forEach", "items": expr("payload.keys"), "itemVar": "key",
            "body": [wait, count("item")],
        }  # fmt: skip
        publish(self.tenant, loop, key="loop")
        publish(self.tenant, count("payload.key"), key="start", trigger={"type": "event", "eventName": "STARTED"})
        EventType.objects.create(tenant=self.tenant, name="WAITED", buffer_seconds=3600)
        EventType.objects.create(tenant=self.tenant, name="UNMATCHED", buffer_seconds=1)

    def start_runs(self) -> None:
        """Start runs that wait for events, and add their keys in an order that lets all runs advance together."""
        keys = [[f"W-{next(self._numbers)}" for _ in range(KEYS_PER_RUN)] for _ in range(RUNS_AT_ONCE)]
        for keys_of_run in keys:
            run_id, _ = run_start(actor=self.actor, definition_key="loop", payload={"keys": keys_of_run})
            self.loops.append(Run.objects.get(id=run_id))
        self.keys += [key for turn in zip(*keys, strict=True) for key in turn]

    # -- Send ----------------------------------------------------------------------------------------------------------

    def feed(self, needs: str = "any", *, point: str = "") -> None:
        """Send one event that can lead to the crash point. `needs` is an entry point, a purpose, or "any"."""
        if needs == "bad entry":
            entry = {"event_type": "X", "tenant": "no-such-tenant", "payload_json": "{}"}
            self.bad_entries[self.redis.xadd(self.plan["stream"], entry).decode()] = point
            return
        entry_point = needs if needs in ENTRY_POINTS else self.random.choice(ENTRY_POINTS)
        event = self._event(needs if needs in (*EXPECTED, "again") else self._any_purpose())
        event.for_points.add(point)
        if event.purpose == "unmatched" and entry_point == "rest" and not event.accepted_at:
            event.is_sent_once = self.random.random() < SENT_ONCE
        self.send(event, entry_point)

    def feed_remaining_waits(self) -> None:
        while self.keys:
            self.send(self._event("wait"), self.random.choice(ENTRY_POINTS))

    def sweep(self) -> None:
        """Start a sweep, as Celery beat does."""
        app.send_task("ingress.sweep_events", queue=self.plan["queue"], connection=self.broker, expires=10)

    def backlog(self) -> int:
        return self._posts.qsize() + int(self.redis.llen(self.plan["queue"]))

    def send(self, event: SentEvent, entry_point: str) -> None:
        match entry_point:
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
                publish_event(
                    event.event_type, event.payload, tenant=self.tenant.slug, event_id=event.event_id,
                    correlation_key=event.key or None,
                )  # fmt: skip
        event.accepted_at.add(entry_point)

    def _any_purpose(self) -> str:
        purposes = ("unmatched", "keyless", "again", "wait", "trigger")
        return self.random.choices(purposes, (55, 15, 25, 3, 2))[0]

    def _event(self, purpose: str) -> SentEvent:
        if purpose == "again":
            repeatable = [event for event in self.sent.values() if not event.is_sent_once]
            if repeatable:
                return self.random.choice(repeatable)
        number = next(self._numbers)
        key = f"K-{number}"
        match purpose:
            case "wait":
                if not self.keys:
                    self.start_runs()
                key = self.keys.pop(0)
                event = SentEvent(f"e-{key}", "wait", "WAITED", {"n": number}, key)
            case "trigger":
                event = SentEvent(f"e-{key}", "trigger", "STARTED", {"key": key}, key)
            case "keyless":
                event = SentEvent(f"e-{key}", "keyless", "UNMATCHED", {"n": number})
            case _:
                event = SentEvent(f"e-{key}", "unmatched", "UNMATCHED", {"n": number}, key)
        self.sent[event.event_id] = event
        return event

    # -- REST senders --------------------------------------------------------------------------------------------------

    def _post_all(self) -> None:
        while (event := self._posts.get()) is not None:
            try:
                self._post(event)
            except Exception as error:  # noqa: BLE001  the test reports it
                self.sender_errors.append(f"{event.event_id}: {error!r}")

    def _post(self, event: SentEvent) -> None:
        """Post the event until a response arrives.

        After a broken connection, the portal may or may not have stored the event. The event id prevents a second row.
        """
        first_id = event.row_id
        began = time.monotonic()
        while (found := self._request(event)) is None:
            self.responses["none"] += 1
            if event.is_sent_once:
                return
            if time.monotonic() > began + TIMEOUT_SECONDS:
                raise TimeoutError(f"no web server responded within {TIMEOUT_SECONDS} s")
        self.slowest_response = max(self.slowest_response, time.monotonic() - began)
        status, body = found
        self.responses[str(status)] += 1
        is_repeat = bool(body.get("duplicate"))
        if status != (200 if is_repeat else 202) or body["event_id"] != event.event_id:
            self.sender_errors.append(f"{event.event_id}: the response is {status} {body}")
        elif first_id and (first_id != body["id"] or not is_repeat):
            self.sender_errors.append(f"{event.event_id}: first id {first_id}, but the repeat got {status} {body}")
        event.row_id = body["id"]
        event.accepted_at.add("rest")

    def _request(self, event: SentEvent) -> tuple[int, dict[str, Any]] | None:
        """Return status and body of the response, or None if the connection failed or the response was cut off."""
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

    # -- Check ---------------------------------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Return True if no work is in progress. Otherwise `in_progress` names the kind of work."""
        missing = {event_id: self.sent[event_id].accepted_at for event_id in self.missing()}
        deliveries = EventDelivery.objects.filter(tenant=self.tenant, status__in=["pending", "sent"])
        checks: dict[str, Callable[[], bool]] = {
            "senders": lambda: all(event.accepted_at or event.is_sent_once for event in self.sent.values()),
            "events in the outbox": lambda: not OutboxEvent.objects.filter(tenant=self.tenant).exists(),
            f"accepted and not stored: {missing}": lambda: not missing,
            "events": lambda: not self._events().filter(outcome__in=UNSETTLED).exists(),
            "deliveries": lambda: not deliveries.exists(),
            "runs": lambda: not Run.objects.filter(tenant=self.tenant).exclude(status="SUCCEEDED").exists(),
            "stream entries": self.is_consumed,
            "Celery messages": lambda: not self.redis.exists("unacked"),
        }
        self.in_progress = next((what for what, check in checks.items() if not check()), "")
        return not self.in_progress

    def is_taken_in(self) -> bool:
        """Return True if no event is left in the queue, the outbox or the stream."""
        waiting = (
            self.backlog(),
            self.redis.exists("unacked"),
            OutboxEvent.objects.filter(tenant=self.tenant).exists(),
        )
        return not any(waiting) and self.is_consumed()

    def missing(self) -> set[str]:
        """Return the ids of the events that an entry point accepted and that are not stored."""
        accepted = {event.event_id for event in self.sent.values() if event.accepted_at}
        return accepted - set(self._events().values_list("event_id", flat=True))

    @staticmethod
    def is_in_database(event: SentEvent) -> bool:
        """Return True if an entry point accepted the event that stores it in the database at once."""
        return bool(event.accepted_at & DATABASE_ENTRY_POINTS)

    def _events(self) -> Any:
        return Event.objects.filter(tenant=self.tenant)

    def is_consumed(self) -> bool:
        """Return True if the consumer has acknowledged every stream entry."""
        try:
            (group,) = self.redis.xinfo_groups(self.plan["stream"]) or (None,)
            last = self.redis.xinfo_stream(self.plan["stream"])["last-generated-id"]
        except redis.ResponseError:  # the stream does not exist
            return False
        return group is not None and group["last-delivered-id"] == last and not group["pending"]

    def events_for(self, point: str) -> set[str]:
        entries = {entry_id for entry_id, of_point in self.bad_entries.items() if of_point == point}
        return entries | {event.event_id for event in self.sent.values() if point in event.for_points}

    def result_errors(self) -> dict[str, str]:
        """Return the differences from the expected results, by event id, stream entry id or run id.

        An event that is not stored is an error, unless its sender sent it only once.
        """
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
            result = (outcome, deliveries.get(event.event_id, []), runs[event.event_id], effects.pop(event.key, 0))
            if result != EXPECTED[event.purpose] and not (event.is_sent_once and outcome == "lost"):
                found[event.event_id] = f"result {result}, expected {EXPECTED[event.purpose]}"
        found |= dict.fromkeys(outcomes, "was never sent") | dict.fromkeys(effects, "is an effect without an event")
        dead = {fields[b"entry_id"].decode() for _, fields in self.redis.xrange(self.plan["dead"])}
        found |= dict.fromkeys(dead - set(self.bad_entries), "is a dead letter, but the entry is valid")
        found |= dict.fromkeys(set(self.bad_entries) - dead, "is no dead letter, but the entry is invalid")
        for run in Run.objects.filter(id__in=[run.id for run in self.loops]):
            if (run.status, run.event_count) != ("SUCCEEDED", KEYS_PER_RUN):
                found[str(run.id)] = f"has the status {run.status} after {run.event_count} events"
        return found

    def close(self) -> None:
        for _ in self._senders:
            self._posts.put(None)
        for sender in self._senders:
            sender.join(TIMEOUT_SECONDS)
        self.broker.release()
        self.redis.close()

"""Senders of the kill trial. They keep their own record of what was sent when, and when it was accepted."""

import heapq
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import django.db
import redis
from django.conf import settings
from kombu.exceptions import OperationalError

from ingress.publish import publish_event
from portal.celery import app
from tests.support.factories import expr, make_tenant, make_token, publish
from workflows.models import HumanTask
from workflows.statuses import OPEN_TASK_STATUSES
from workflows.tenancy import system_scope

ENTRY_POINTS = ("rest", "rest", "task", "stream", "outbox")
QUOTE_SECONDS = (5, 15, 40)
SENDERS = 8
RETRY_SECONDS = 1.0
REPEATED = 0.1  # share of the events that are sent a second time, through any entry point
TURN_SECONDS = 0.05
# A task is not open for a minute after a completion whose outcome is unknown.
RETRIED = {
    "TEMPORAL_UNAVAILABLE", "DATABASE_UNAVAILABLE", "IDEMPOTENCY_IN_FLIGHT", "TASK_BEING_DECIDED", "TASK_NOT_OPEN",
    "NOT_CARRIED_OUT", "REQUEST_GIVEN_UP",
}  # fmt: skip


@dataclass
class Sent:
    """One event, with the times (seconds since 1970) at which its first sending began and was accepted."""

    event_id: str
    event_type: str
    key: str
    began: float = 0.0
    entry_points: list[str] = field(default_factory=list)
    responded: float = 0.0


@dataclass
class Case:
    """One business case: `order`, `quote`, `review`, `lone` or `keyless`, with its events by event type."""

    key: str
    kind: str
    start: str = ""
    timeout_seconds: int = 0
    refusals: int = 0  # of the requests to complete the task
    events: dict[str, Sent] = field(default_factory=dict)


class Traffic:
    def __init__(self, chance: random.Random, *, port: int, rate: float) -> None:
        self.random, self.rate = chance, rate
        self.tenant = make_tenant("Kill trial")
        self.cases: dict[str, Case] = {}
        self.sent: dict[str, Sent] = {}
        self.responses: Counter[str] = Counter()
        self.errors: list[str] = []
        self.tasks_completed: set[str] = set()
        self._port, self._token = port, make_token(self.tenant)
        self._redis: Any = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5)
        self._numbers = itertools.count(1)
        self._due: list[tuple[float, int, Callable[[], bool]]] = []
        self._lock = threading.RLock()  # a finished future calls `_check` at once, in the same thread
        self._pool = ThreadPoolExecutor(SENDERS)
        self._next_case = time.monotonic()
        self._running = 0
        self._publish()

    def _publish(self) -> None:
        def wait(name: str, **config: Any) -> dict[str, Any]:
            config = {"eventName": name, "correlationKey": expr("payload.id"), **config}
            return {"id": f"wait_{name.lower()}", "type": "event.wait", "config": config}

        def count(what: str) -> dict[str, Any]:
            key = expr(f"'{what} ' & payload.id")
            config = {"actionId": "store.increment", "version": 1, "inputMapping": {"namespace": "effects", "key": key}}
            return {"id": f"count_{what}", "type": "action.call", "config": config}

        def trigger(name: str) -> dict[str, Any]:
            return {"type": "event", "eventName": name}

        steps = [wait("PAID"), count("paid"), wait("SHIPPED"), count("shipped")]
        publish(self.tenant, *steps, key="order", trigger=trigger("ORDER"))
        for seconds in QUOTE_SECONDS:
            tried = [wait("ANSWER", timeoutMs=1000 * seconds), count("answered")]
            step = {"id": "ask", "type": "control.tryCatch", "try": tried, "catch": [count("expired")]}
            publish(self.tenant, step, key=f"quote_{seconds}", trigger=trigger(f"QUOTE_{seconds}"))
        task = {
            "taskType": "review", "title": "Review",
            "completeOn": {"eventName": "REVIEWED", "correlationKey": expr("payload.id")},
        }  # fmt: skip
        human = {"id": "review", "type": "human.task", "config": task}
        publish(self.tenant, human, count("reviewed"), key="review", trigger=trigger("REVIEW"))

    # -- Plan ----------------------------------------------------------------------------------------------------------

    def turn(self, *, is_ending: bool = False) -> None:
        """Start due work for a moment. A turn that is ending begins no new case."""
        while not is_ending and time.monotonic() >= self._next_case:
            self._next_case += self.random.expovariate(self.rate)
            self._plan_case()
        with self._lock:
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, work = heapq.heappop(self._due)
                self._running += 1
                self._pool.submit(self._work, work).add_done_callback(self._check)
        time.sleep(TURN_SECONDS)

    def is_done(self) -> bool:
        with self._lock:
            return not self._due and not self._running

    def close(self) -> None:
        self._pool.shutdown()
        self._redis.close()

    def _plan_case(self) -> None:
        kind = self.random.choices(("order", "quote", "review", "lone", "keyless"), (40, 30, 20, 7, 3))[0]
        case = Case(f"C-{next(self._numbers)}", kind)
        self.cases[case.key] = case
        after = self.random.expovariate
        match kind:
            case "order":
                self._plan_start(case, "ORDER")
                paid = self.random.uniform(-3, 0) if self.random.random() < 0.15 else after(1 / 8)
                self._plan_event(case, "PAID", paid)
                self._plan_event(case, "SHIPPED", max(paid, 0) + after(1 / 8))
            case "quote":
                case.timeout_seconds = self.random.choice(QUOTE_SECONDS)
                self._plan_start(case, f"QUOTE_{case.timeout_seconds}")
                if self.random.random() < 0.85:
                    self._plan_event(case, "ANSWER", case.timeout_seconds * self.random.uniform(0.2, 1.6))
            case "review":
                self._plan_start(case, "REVIEW")
                if self.random.random() < 0.5:
                    self._plan_event(case, "REVIEWED", after(1 / 8))
                else:
                    self._put(3 + after(1 / 8), partial(self._complete_task, case))
            case _:
                self._plan_event(case, kind.upper(), 0)

    def _plan_start(self, case: Case, event_type: str) -> None:
        case.start = event_type
        self._plan_event(case, event_type, 0)

    def _plan_event(self, case: Case, event_type: str, after: float) -> None:
        """Plan an event `after` seconds from the start of the case. A start waits 3 s, so others can be earlier."""
        key = "" if case.kind == "keyless" else case.key
        event = Sent(f"{case.key}-{event_type}", event_type, key)
        case.events[event_type] = self.sent[event.event_id] = event
        self._put(3 + after, partial(self._send, case, event, self.random.choice(ENTRY_POINTS)))
        if self.random.random() < REPEATED:
            later = 3 + after + self.random.expovariate(1 / 5)
            self._put(later, partial(self._send, case, event, self.random.choice(ENTRY_POINTS)))

    def _put(self, after: float, work: Callable[[], bool]) -> None:
        with self._lock:
            heapq.heappush(self._due, (time.monotonic() + after, next(self._numbers), work))

    def _work(self, work: Callable[[], bool]) -> None:
        try:
            with system_scope():
                is_done = work()
        except (django.db.OperationalError, django.db.InterfaceError):
            self.responses["database: none"] += 1
            django.db.connection.close()  # the next try opens a new connection
            is_done = False
        if not is_done:
            self._put(RETRY_SECONDS, work)

    def _check(self, done: Future[None]) -> None:
        with self._lock:
            self._running -= 1
            if (error := done.exception()) is not None:
                self.errors.append(repr(error))

    # -- Send ----------------------------------------------------------------------------------------------------------

    def _send(self, case: Case, event: Sent, entry_point: str) -> bool:
        """Send the event once. Return False if the sender must repeat it."""
        event.began = event.began or time.time()
        body: dict[str, Any] = {"event_id": event.event_id, "event_type": event.event_type, "payload": {"id": case.key}}
        if event.key:
            body["workflow_correlation_key"] = event.key
        try:
            is_sent = {"rest": self._post, "task": self._task, "stream": self._stream, "outbox": self._outbox}[
                entry_point
            ](event, body)
        except (OSError, http.client.HTTPException, redis.RedisError, OperationalError):
            self.responses[f"{entry_point}: none"] += 1
            return False
        if is_sent:
            event.entry_points.append(entry_point)
        return is_sent

    def _post(self, event: Sent, body: dict[str, Any]) -> bool:
        status, response = self._request("/events", body)
        self.responses[f"rest: {status}"] += 1
        if status in (200, 202):
            event.responded = event.responded or time.time()
            return True
        if status < 500:
            self.errors.append(f"{event.event_id}: {status} {response}")
            return True
        return False

    def _task(self, event: Sent, body: dict[str, Any]) -> bool:
        app.send_task("ingress.consume_event", args=[{**body, "tenant": self.tenant.slug}], retry=False)
        return True

    def _stream(self, event: Sent, body: dict[str, Any]) -> bool:
        fields = {**body, "tenant": self.tenant.slug, "payload_json": json.dumps(body["payload"])}
        del fields["payload"]
        self._redis.xadd(settings.EVENT_STREAM, fields)
        return True

    def _outbox(self, event: Sent, body: dict[str, Any]) -> bool:
        publish_event(
            event.event_type, body["payload"], tenant=self.tenant, event_id=event.event_id,
            correlation_key=event.key or None,
        )  # fmt: skip
        return True

    def _complete_task(self, case: Case) -> bool:
        """Complete the task of the case by the API. Return False if the sender must try again.

        A repeat after a lost response has the same idempotency key. A repeat after an error has a new key, because the
        portal repeats the outcome of a known key.
        """
        task = HumanTask.objects.filter(run__correlation_key=case.key, tenant=self.tenant).first()
        if task is None:
            return False
        if task.status not in OPEN_TASK_STATUSES:
            return True
        key = f"{case.key}-{case.refusals}"
        try:
            status, response = self._request(f"/tasks/{task.id}/complete", {"response": {}}, **{"Idempotency-Key": key})
        except (OSError, http.client.HTTPException):
            self.responses["task: none"] += 1
            return False
        code = response["error"]["code"] if "error" in response else ""
        self.responses[f"task: {status} {code}".strip()] += 1
        if status == 202:
            self.tasks_completed.add(case.key)
            return True
        if code not in RETRIED:
            self.errors.append(f"task of {case.key}: {status} {response}")
            return True
        case.refusals += code != "IDEMPOTENCY_IN_FLIGHT"
        return False

    def _request(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        """Errors: OSError, HTTPException if no complete response arrives."""
        headers |= {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("POST", f"/api/v1{path}", json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

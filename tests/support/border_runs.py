"""Runs whose event is sent about when their wait opens, through every door and more than once; on a real Temporal."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connections

from ingress.tasks import consume_event
from tests.support.api import Api
from tests.support.desk import Desk
from tests.support.factories import make_token, publish, wait_for_reply
from tests.support.scopes import as_system
from tests.support.streams import StreamDesk
from workflows.temporal.activities import records
from workflows.temporal.contracts import RecordsRequest

REPLIED = "TICKET_CUSTOMER_REPLIED"
DOORS = ("REST", "Celery", "stream")
# When the event is sent: about when its run is asked for; or when the activity that opens the wait begins, has committed
# the wait, or has looked.
MOMENTS = ("before", "opening", "committed", "looked")
CHAOS_SECONDS = 0.03


class Scattered:
    """`count` runs in each tenant, with the same keys and event ids in all of them."""

    def __init__(self, desks: list[Desk], stream: StreamDesk, *, count: int, seconds: float, seed: int) -> None:
        self.sent: Counter[str] = Counter()
        self._stream, self._count, self._seconds = stream, count, seconds
        self._random = random.Random(seed)
        self._desks = {str(desk.tenant.id): desk for desk in desks}
        self._apis = {desk: Api(make_token(desk.tenant)) for desk in desks}
        self._moments: dict[tuple[str, str], str] = {}
        self._made: list[Future[None]] = []
        for desk in desks:
            own = {"path": "tenant", "op": "=", "value": desk.tenant.slug}
            after = {"id": "after", "type": "state.set", "config": {"state": "AFTER"}}
            publish(desk.tenant, wait_for_reply(filters=[own]), after)

    @contextmanager
    def running(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The runs are asked for one after the other; the caller waits for their ends inside of the block."""
        plan = sorted(self._plan(), key=lambda planned: planned[0])
        began = time.monotonic()
        with _consuming(self._stream), ThreadPoolExecutor(6) as self._threads:
            self._watch(monkeypatch)
            for at, action in plan:
                time.sleep(max(0, began + at - time.monotonic()))
                self._made.append(self._threads.submit(_alone, action))
            yield
            for made in self._made:
                made.result()

    def _plan(self) -> Iterator[tuple[float, Callable[[], Any]]]:
        for tenant_id, desk in self._desks.items():
            for number in range(self._count):
                key = f"T-{number}"
                moment = self._moments[tenant_id, key] = MOMENTS[number % len(MOMENTS)]
                start = self._random.uniform(0.3, self._seconds)
                yield start, partial(desk.start, {"ticketId": key})
                if moment == "before":
                    yield start + self._random.uniform(-0.3, 0.2), partial(self._send, desk, key, moment)

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write, look = records._write, records.wait_look_for_events
        keys: dict[str, tuple[str, str]] = {}

        def write_and_tell(request: RecordsRequest) -> bool:
            opened = [row["key"] for row in request.records if row["kind"] == "wait" and row["id"] == request.wait_id]
            if request.wait_id and opened:
                keys[request.wait_id] = (request.tenant_id, opened[0])
                self._reached("opening", keys[request.wait_id])
            return write(request)

        def look_and_tell(*, tenant_id: str, wait_id: str) -> int:
            self._reached("committed", keys[wait_id])
            found = look(tenant_id=tenant_id, wait_id=wait_id)
            self._reached("looked", keys[wait_id])
            return found

        monkeypatch.setattr(records, "_write", write_and_tell)
        monkeypatch.setattr(records, "wait_look_for_events", look_and_tell)

    def _reached(self, moment: str, run: tuple[str, str]) -> None:
        if self._moments.get(run) == moment:
            send = partial(self._send, self._desks[run[0]], run[1], moment)
            self._made.append(self._threads.submit(_alone, send))

    def _send(self, desk: Desk, key: str, moment: str) -> None:
        for _ in range(self._random.choice((1, 1, 2, 3))):
            time.sleep(self._random.random() * CHAOS_SECONDS)
            door = self._random.choice(DOORS)
            self._send_through(door, desk, key)
            self.sent.update((moment, door))

    def _send_through(self, door: str, desk: Desk, key: str) -> None:
        payload, slug = {"ticketId": key, "tenant": desk.tenant.slug}, desk.tenant.slug
        value = {"event_type": REPLIED, "event_id": f"e-{key}", "payload": payload}
        if door == "REST":
            assert self._apis[desk].post("/events", value).status_code in (200, 202)
        elif door == "Celery":
            consume_event.delay({**value, "tenant": slug})
        else:
            text = json.dumps(payload)
            self._stream.add(
                slug, event_id=f"e-{key}", event_type=REPLIED, payload_json=text, workflow_correlation_key=None
            )


@contextmanager
def _consuming(stream: StreamDesk) -> Iterator[None]:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        consumed = thread.submit(_alone, stream.consumer(stop=stop).consume_events)
        try:
            yield
        finally:
            stop.set()
            consumed.result(20)


@as_system
def _alone(action: Callable[[], Any]) -> None:
    try:
        action()
    finally:
        connections.close_all()

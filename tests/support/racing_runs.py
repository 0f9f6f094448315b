"""Runs on a real Temporal whose event arrives at about the time when their wait opens.

Events arrive through every entry point, and some arrive more than once.
"""

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
from tests.support.factories import make_token, publish, wait_for_reply
from tests.support.stream_driver import StreamDriver
from tests.support.system_scope import in_system_scope
from tests.support.tenant_driver import TenantDriver
from workflows.temporal.activities import records
from workflows.temporal.contracts import RecordsRequest

REPLIED = "TICKET_CUSTOMER_REPLIED"
ENTRY_POINTS = ("REST", "Celery", "stream")
# The event is sent at about the time of the start request ("before"), or when the activity that opens the wait begins
# ("opening"), has committed the wait ("committed"), or has finished the lookback ("lookback done").
MOMENTS = ("before", "opening", "committed", "lookback done")
MAX_DELAY_SECONDS = 0.03


class RacingRuns:
    """`count` runs in each tenant. All tenants have the same correlation keys and event ids."""

    def __init__(
        self, drivers: list[TenantDriver], stream: StreamDriver, *, count: int, seconds: float, seed: int
    ) -> None:
        self.sent: Counter[str] = Counter()
        self._stream, self._count, self._seconds = stream, count, seconds
        self._random = random.Random(seed)
        self._drivers = {str(driver.tenant.id): driver for driver in drivers}
        self._apis = {driver: Api(make_token(driver.tenant)) for driver in drivers}
        self._moments: dict[tuple[str, str], str] = {}
        self._futures: list[Future[None]] = []
        for driver in drivers:
            own = {"path": "tenant", "op": "=", "value": driver.tenant.slug}
            after = {"id": "after", "type": "state.set", "config": {"state": "AFTER"}}
            publish(driver.tenant, wait_for_reply(filters=[own]), after)

    @contextmanager
    def running(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Start the runs one after the other. The caller waits inside the block for the ends of the runs."""
        plan = sorted(self._plan(), key=lambda planned: planned[0])
        began = time.monotonic()
        with _consuming(self._stream), ThreadPoolExecutor(6) as self._threads:
            self._watch(monkeypatch)
            for at, action in plan:
                time.sleep(max(0, began + at - time.monotonic()))
                self._futures.append(self._threads.submit(_with_own_connections, action))
            yield
            for future in self._futures:
                future.result()

    def _plan(self) -> Iterator[tuple[float, Callable[[], Any]]]:
        for tenant_id, driver in self._drivers.items():
            for number in range(self._count):
                key = f"T-{number}"
                moment = self._moments[tenant_id, key] = MOMENTS[number % len(MOMENTS)]
                start = self._random.uniform(0.3, self._seconds)
                yield start, partial(driver.start, {"ticketId": key})
                if moment == "before":
                    yield start + self._random.uniform(-0.3, 0.2), partial(self._send, driver, key, moment)

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Call `_reached` at the moments of the activity that opens a wait."""
        write, lookback = records._write, records.wait_look_for_events
        keys: dict[str, tuple[str, str]] = {}

        def watched_write(request: RecordsRequest) -> bool:
            opened = [row["key"] for row in request.records if row["kind"] == "wait" and row["id"] == request.wait_id]
            if request.wait_id and opened:
                keys[request.wait_id] = (request.tenant_id, opened[0])
                self._reached("opening", keys[request.wait_id])
            return write(request)

        def watched_lookback(*, tenant_id: str, wait_id: str) -> int:
            self._reached("committed", keys[wait_id])
            found = lookback(tenant_id=tenant_id, wait_id=wait_id)
            self._reached("lookback done", keys[wait_id])
            return found

        monkeypatch.setattr(records, "_write", watched_write)
        monkeypatch.setattr(records, "wait_look_for_events", watched_lookback)

    def _reached(self, moment: str, run: tuple[str, str]) -> None:
        if self._moments.get(run) == moment:
            send = partial(self._send, self._drivers[run[0]], run[1], moment)
            self._futures.append(self._threads.submit(_with_own_connections, send))

    def _send(self, driver: TenantDriver, key: str, moment: str) -> None:
        for _ in range(self._random.choice((1, 1, 2, 3))):
            time.sleep(self._random.random() * MAX_DELAY_SECONDS)
            entry_point = self._random.choice(ENTRY_POINTS)
            self._send_through(entry_point, driver, key)
            self.sent.update((moment, entry_point))

    def _send_through(self, entry_point: str, driver: TenantDriver, key: str) -> None:
        payload, slug = {"ticketId": key, "tenant": driver.tenant.slug}, driver.tenant.slug
        value = {"event_type": REPLIED, "event_id": f"e-{key}", "payload": payload}
        if entry_point == "REST":
            assert self._apis[driver].post("/events", value).status_code in (200, 202)
        elif entry_point == "Celery":
            consume_event.delay({**value, "tenant": slug})
        else:
            text = json.dumps(payload)
            self._stream.add(
                slug, event_id=f"e-{key}", event_type=REPLIED, payload_json=text, workflow_correlation_key=None
            )


@contextmanager
def _consuming(stream: StreamDriver) -> Iterator[None]:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        consumed = thread.submit(_with_own_connections, stream.consumer(stop=stop).consume_events)
        try:
            yield
        finally:
            stop.set()
            consumed.result(60)


@in_system_scope
def _with_own_connections(action: Callable[[], Any]) -> None:
    try:
        action()
    finally:
        connections.close_all()

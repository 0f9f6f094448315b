"""The bell: nobody waits for the broker, many rings are one message, and no work stays behind (docs/reference/events.md#crashes-and-outages)."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import transaction
from kombu.exceptions import OperationalError

from portal.devstack.child import PROJECT
from portal.devstack.servers import Servers
from tests.support.api import Api
from tests.support.broker_gate import BrokerGate
from tests.support.events import open_wait, receive
from tests.support.factories import eventually, make_token
from workflows import dispatch_notification
from workflows.dispatch_notification import (
    notification_received,
    notifications_are_sent,
    notify_dispatcher,
    notify_dispatcher_on_commit,
)
from workflows.models import Event
from workflows.services.wait_lookback import wait_look_for_events

QUICK_SECONDS = 2.0
DOWN, UP = "the broker takes no bells", "the broker takes bells again"


class Queue:
    """A queue of the test's own, that no worker hears."""

    def __init__(self, name: str, client: "redis.Redis[bytes]") -> None:
        self.name, self.redis = name, client

    def tenants(self) -> list[str]:
        """Whom the messages are for, oldest first."""
        return [self._tenant(message) for message in reversed(self.redis.lrange(self.name, 0, -1))]

    def take(self) -> str | None:
        found = self.redis.brpop([self.name], timeout=0.05)
        return self._tenant(found[1]) if found else None

    def key(self, tenant: str) -> str:
        return f"pointsman:bell:{self.name}:{tenant}"

    @staticmethod
    def _tenant(message: bytes) -> str:
        envelope = json.loads(message)
        assert envelope["headers"]["task"] == "ingress.work_events"
        return str(envelope["headers"]["argsrepr"].strip("(),'"))


@pytest.fixture
def queue(servers: Servers, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Rings go to this queue, from a bell without a past and with short pauses."""
    name = f"bell-{uuid.uuid4().hex[:8]}"
    settings.CELERY_TASK_DEFAULT_QUEUE = name
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(dispatch_notification, "_notifier", dispatch_notification._Notifier())
    with redis.Redis.from_url(servers.redis_url) as client:
        yield Queue(name, client)


@pytest.fixture
def gate(queue: Queue, servers: Servers, settings: Any) -> Iterator[BrokerGate]:
    """The portal reaches Redis only through it."""
    with BrokerGate(servers.redis_url) as gate:
        settings.REDIS_URL = gate.url
        yield gate


def idle() -> None:
    eventually(notifications_are_sent, what="all rings were handed over")


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def some_tenants(count: int = 3) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


# -- Faults of the broker --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "refuse"])
def test_nobody_waits_for_a_broker_that_is_down(
    queue: Queue, gate: BrokerGate, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    tenants = some_tenants()
    getattr(gate, fault)()
    began = time.monotonic()
    for _ in range(500):
        for tenant in tenants:
            notify_dispatcher(tenant)
    assert time.monotonic() - began < QUICK_SECONDS
    eventually(lambda: told(caplog, DOWN), what="the breaker is open")
    gate.open()
    idle()
    assert sorted(queue.tenants()) == sorted(tenants)
    assert (told(caplog, DOWN), told(caplog, UP)) == (1, 1)


def test_a_broker_that_is_down_is_left_alone(
    queue: Queue, gate: BrokerGate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 600.0)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 600.0)
    gate.hang()
    notify_dispatcher(uuid.uuid4())
    eventually(lambda: told(caplog, DOWN), what="the breaker is open")
    accepted = gate.accepted
    for tenant in some_tenants(200):
        notify_dispatcher(tenant)
    began = time.monotonic()
    dispatch_notification._notifier.wait_until_idle(60)  # a process that ends now does not wait
    assert time.monotonic() - began < 30
    assert (gate.accepted, notifications_are_sent()) == (accepted, False)


def test_the_pauses_grow_to_a_limit_and_begin_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 30.0)
    bell, door = dispatch_notification._Notifier(), dispatch_notification.Target("q", "task", "t")

    def pause_after_a_failure() -> int:
        bell._failed(door, OSError("down"))
        return round(bell._pause())

    assert [pause_after_a_failure() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    bell._succeeded()
    assert pause_after_a_failure() == 1


def test_an_event_is_taken_while_the_broker_hangs(tenant: Any, queue: Queue, gate: BrokerGate) -> None:
    api = Api(make_token(tenant))
    gate.hang()
    for number in range(3):
        began = time.monotonic()
        body = {"event_type": "E", "payload": {}, "workflow_correlation_key": "k", "event_id": f"e-{number}"}
        assert api.post("/events", body).status_code == 202
        assert time.monotonic() - began < QUICK_SECONDS
    assert Event.objects.filter(tenant=tenant).count() == 3
    gate.open()
    idle()
    assert queue.tenants() == [str(tenant.id)]


def test_a_message_that_was_not_taken_leaves_no_key(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the rings of ten seconds would be taken for answered."""
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 600)
    real, (tenant,) = dispatch_notification._Line._connection, some_tenants(1)
    keys = []

    def failing(line: Any) -> Any:
        keys.append(queue.redis.exists(queue.key(tenant)))
        if len(keys) < 3:
            raise OperationalError("no")
        return real(line)

    monkeypatch.setattr(dispatch_notification._Line, "_connection", failing)
    notify_dispatcher(tenant)
    idle()
    assert (queue.tenants(), keys) == ([tenant], [1, 1, 1])


def test_a_broker_that_hangs_between_key_and_message_delays_it_until_the_key_expires(
    queue: Queue, gate: BrokerGate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 1)
    (tenant,) = some_tenants(1)
    gate.hang_at(b"LPUSH")
    notify_dispatcher(tenant)
    eventually(lambda: gate.hangs and told(caplog, DOWN), what="the message was given up")
    eventually(lambda: not queue.redis.exists(queue.key(tenant)), what="the key has expired")
    assert queue.tenants() == []
    gate.open()
    idle()
    assert queue.tenants() == [tenant]


def test_a_worker_whose_redis_is_down_goes_on(queue: Queue, gate: BrokerGate, caplog: pytest.LogCaptureFixture) -> None:
    gate.refuse()
    notification_received(uuid.uuid4())
    assert told(caplog, "was not deleted")


def test_more_tenants_than_the_set_holds_are_left_to_the_sweep(
    queue: Queue, gate: BrokerGate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "MOST_WAITING", 2)
    gate.hang()
    first, *others = some_tenants(6)
    notify_dispatcher(first)
    eventually(lambda: told(caplog, DOWN), what="the breaker is open")
    for tenant in [*others, first]:
        notify_dispatcher(tenant)
    gate.open()
    idle()
    assert first in queue.tenants()
    assert (len(queue.tenants()), told(caplog, "the sweep finds the others")) == (2, 1)


def test_a_bug_does_not_end_the_bell(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, (bad, good) = dispatch_notification._Line.send, some_tenants(2)

    def failing(line: Any, door: dispatch_notification.Door) -> None:
        if door.id == bad:
            raise ZeroDivisionError("a bug")
        real(line, door)

    monkeypatch.setattr(dispatch_notification._Line, "send", failing)
    notify_dispatcher(bad)
    eventually(lambda: told(caplog, "ringing failed"), what="the bug was met")
    notify_dispatcher(good)
    eventually(lambda: queue.tenants() == [good], what="the other tenant was rung")
    monkeypatch.setattr(dispatch_notification._Line, "send", real)
    idle()
    assert queue.tenants() == [good, bad]


# -- One message for many rings --------------------------------------------------------------------------------------


def test_many_rings_are_one_message_until_it_is_answered(queue: Queue) -> None:
    one, other = some_tenants(2)
    for _ in range(20):
        for _ in range(25):
            notify_dispatcher(one)
        idle()  # so the thread, too, meets a ring that was not answered
    notify_dispatcher(other)
    idle()
    assert queue.tenants() == [one, other]
    notification_received(one)
    notify_dispatcher(one)
    notify_dispatcher(other)
    idle()
    assert queue.tenants() == [one, other, one]
    assert 0 < queue.redis.ttl(queue.key(one)) <= dispatch_notification.KEY_SECONDS


def test_a_ring_for_later_waits_for_its_time_and_holds_nobody_up(queue: Queue) -> None:
    first, second, third = some_tenants()
    notify_dispatcher(first, after=600)
    notify_dispatcher(second, after=0.05)
    notify_dispatcher(third)
    eventually(lambda: queue.tenants() == [third, second], what="those whose time has come")
    assert notifications_are_sent()  # a process that ends does not wait for the one that is for later
    notify_dispatcher(first)
    eventually(lambda: queue.tenants() == [third, second, first], what="a ring for now is one of its own")
    for tenant in (second, third):
        notification_received(tenant)
    for after in (0.02, 0.2, 600):
        notify_dispatcher(third, after=after)
    eventually(lambda: queue.tenants()[3:] == [third], what="the first of several times")
    notification_received(third)
    eventually(lambda: queue.tenants()[3:] == [third, third], what="and the second")


def test_a_ring_within_a_transaction_waits_for_its_end(tenant: Any, queue: Queue) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        notify_dispatcher_on_commit(tenant.id)
        raise ZeroDivisionError
    with transaction.atomic():
        notify_dispatcher_on_commit(tenant.id)
        idle()
        assert queue.tenants() == []
    idle()
    assert queue.tenants() == [str(tenant.id)]


def test_a_wait_that_finds_an_event_rings(tenant: Any, queue: Queue) -> None:
    receive(tenant)
    idle()
    notification_received(tenant.id)
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(open_wait(tenant).id)) == 1
    idle()
    assert queue.tenants() == [str(tenant.id)] * 2


def test_work_that_is_committed_before_a_ring_is_never_left_behind(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each round senders commit and ring at once, while workers answer and look; no later ring helps, and no expiry.

    All dawdle between two steps, so that every order of them comes up.
    """
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 600)
    (tenant,), client = some_tenants(1), queue.redis
    work, done, senders = f"{queue.name}:work", f"{queue.name}:done", 4
    is_over, chance, real_send = threading.Event(), random.Random(1), dispatch_notification._Line.send

    def dawdle() -> None:
        time.sleep(chance.random() * 0.004)

    def slow_send(line: Any, door: dispatch_notification.Door) -> None:
        real_send(line, door)
        dawdle()

    def send(round_number: int, number: int) -> None:
        dawdle()
        client.sadd(work, f"{round_number}/{number}")
        notify_dispatcher(tenant)

    def answer() -> None:
        while not is_over.is_set():
            if queue.take():
                notification_received(tenant)
                dawdle()
                found = client.smembers(work)
                if found:
                    client.srem(work, *found)
                    client.sadd(done, *found)

    monkeypatch.setattr(dispatch_notification._Line, "send", slow_send)
    workers = [threading.Thread(target=answer) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        with ThreadPoolExecutor(senders) as pool:
            for round_number in range(100):
                list(pool.map(partial(send, round_number), range(senders)))
                expected = senders * (round_number + 1)
                eventually(
                    lambda expected=expected: client.scard(done) == expected, seconds=20, what=f"round {round_number}"
                )
    finally:
        is_over.set()
        for worker in workers:
            worker.join()
    assert client.scard(work) == 0


# -- What Redis forgets ----------------------------------------------------------------------------------------------


def test_a_redis_that_forgot_everything_is_rung_anew(queue: Queue) -> None:
    (tenant,) = some_tenants(1)
    notify_dispatcher(tenant)
    idle()
    queue.redis.delete(queue.key(tenant), queue.name, f"_kombu.binding.{queue.name}")
    notify_dispatcher(tenant)
    idle()
    assert queue.tenants() == [tenant]


def test_a_lost_message_hides_its_tenant_only_until_the_key_expires(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 1)
    (tenant,) = some_tenants(1)
    notify_dispatcher(tenant)
    idle()
    queue.redis.delete(queue.name)

    def rung() -> bool:
        notify_dispatcher(tenant)
        idle()
        return queue.tenants() == [tenant]

    eventually(rung, seconds=10, what="a ring after the key had expired")


# -- Processes -------------------------------------------------------------------------------------------------------

SCRIPT_START = """
import os, sys, time
import django
django.setup()
from workflows.dispatch_notification import notifications_are_sent, notify_dispatcher

def idle():
    deadline = time.monotonic() + 20
    while not notifications_are_sent():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""


def run(queue: Queue, body: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT_START + body, *arguments],
        cwd=PROJECT,
        env={**os.environ, "CELERY_QUEUE": queue.name, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_that_ends_hands_over_what_it_has(queue: Queue) -> None:
    """More than one thread's start can send, so without a moment at the end most would be gone."""
    tenants = some_tenants(50)
    ended = run(queue, "for tenant in sys.argv[1:]: notify_dispatcher(tenant)", *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert queue.tenants() == tenants


def test_a_process_ends_though_its_broker_hangs(queue: Queue, gate: BrokerGate) -> None:
    gate.hang()
    ended = run(queue, "notify_dispatcher(sys.argv[1]); print('rung')", *some_tenants(1), REDIS_URL=gate.url)
    assert (ended.returncode, ended.stdout) == (0, "rung\n")


def test_the_child_of_a_fork_has_a_bell_of_its_own(queue: Queue, tmp_path: Path) -> None:
    """As with a web server that forks its workers: the parent has rung before."""
    body = """
parent, child, again, late = sys.argv[1:]
notify_dispatcher(parent)
idle()
pid = os.fork()
if pid == 0:
    notify_dispatcher(child)
    sys.exit(0)  # as gunicorn's workers end
assert os.waitpid(pid, 0)[1] == 0
notify_dispatcher(again)
idle()
notify_dispatcher(late)
"""
    tenants = some_tenants(4)
    ended = run(queue, body, *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert queue.tenants() == tenants


def test_a_fork_may_come_while_another_thread_rings(queue: Queue) -> None:
    body = """
import signal, threading
from workflows import dispatch_notification
held, over = threading.Event(), threading.Event()

def hold():
    with dispatch_notification._notifier._changed:
        held.set()
        over.wait()

threading.Thread(target=hold).start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    notify_dispatcher(sys.argv[1])
    idle()
    os._exit(0)
status = os.waitpid(pid, 0)[1]
over.set()
assert status == 0, status
"""
    tenants = some_tenants(1)
    ended = run(queue, body, *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert queue.tenants() == tenants

"""Queue notifications: callers never wait, many calls send one message, and no work is left behind.

Source: docs/reference/events.md#crashes-and-outages
"""

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
from typing import Any

import pytest
import redis
from django.db import transaction
from kombu.exceptions import OperationalError

from portal.devstack.child import PROJECT
from portal.devstack.servers import Servers
from tests.support.api import Api
from tests.support.broker_proxy import BrokerProxy
from tests.support.events import open_wait, receive
from tests.support.factories import eventually, make_token
from workflows import dispatch_notification
from workflows.dispatch_notification import (
    notification_received,
    notifications_are_sent,
    notify_dispatcher,
    notify_dispatcher_on_commit,
)
from workflows.models import Event, Tenant
from workflows.services.wait_lookback import wait_look_for_events

QUICK_SECONDS = 10.0  # one call that waits for the broker costs 1.5 s
DOWN = "the broker does not accept queue notifications"
UP = "the broker accepts queue notifications again"


class Queue:
    """Queue of one test, without a worker."""

    def __init__(self, name: str, client: "redis.Redis[bytes]") -> None:
        self.name, self.redis = name, client

    def tenants(self) -> list[str]:
        """Return the tenants of the messages, oldest first."""
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


class OwnNotifier(dispatch_notification._Notifier):
    """Notifier of one test. It ignores the tenants of earlier tests.

    The workers in threads of this process still notify the dispatcher about runs of these tenants.
    """

    def __init__(self, others: set[str]) -> None:
        super().__init__()
        self._others = others

    def add(self, target: dispatch_notification.Target, at: float) -> None:
        if target.id not in self._others:
            super().add(target, at)


@pytest.fixture
def queue(tenant: Any, servers: Servers, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Return the queue to which a new notifier with short pauses sends."""
    name = f"queue-{uuid.uuid4().hex[:8]}"
    settings.CELERY_TASK_DEFAULT_QUEUE = name
    others = {str(each) for each in Tenant.objects.exclude(id=tenant.id).values_list("id", flat=True)}
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(dispatch_notification, "_notifier", OwnNotifier(others))
    with redis.Redis.from_url(servers.redis_url) as client:
        yield Queue(name, client)


@pytest.fixture
def program_queue(servers: Servers) -> Iterator[Queue]:
    """Return the queue of a program that the test starts. No thread of this process sends to it."""
    with redis.Redis.from_url(servers.redis_url) as client:
        yield Queue(f"queue-{uuid.uuid4().hex[:8]}", client)


@pytest.fixture
def proxy(queue: Queue, servers: Servers, settings: Any) -> Iterator[BrokerProxy]:
    """Return a proxy through which the portal reaches Redis."""
    with BrokerProxy(servers.redis_url) as proxy:
        settings.REDIS_URL = proxy.url
        yield proxy


def idle() -> None:
    eventually(notifications_are_sent, what="all notifications are sent")


def logged(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def some_tenants(count: int = 3) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


# -- Broker outages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", ["hang", "refuse"])
def test_callers_do_not_wait_for_an_unavailable_broker(
    queue: Queue, proxy: BrokerProxy, caplog: pytest.LogCaptureFixture, outage: str
) -> None:
    tenants = some_tenants()
    getattr(proxy, outage)()
    began = time.monotonic()
    for _ in range(500):
        for tenant in tenants:
            notify_dispatcher(tenant)
    assert time.monotonic() - began < QUICK_SECONDS
    eventually(lambda: logged(caplog, DOWN), what="the circuit breaker is open")
    proxy.restore()
    idle()
    assert sorted(queue.tenants()) == sorted(tenants)
    assert (logged(caplog, DOWN), logged(caplog, UP)) == (1, 1)


def test_open_circuit_breaker_makes_no_connections(
    queue: Queue, proxy: BrokerProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 600.0)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 600.0)
    proxy.hang()
    notify_dispatcher(uuid.uuid4())
    eventually(lambda: logged(caplog, DOWN), what="the circuit breaker is open")
    accepted = proxy.accepted
    for tenant in some_tenants(200):
        notify_dispatcher(tenant)
    began = time.monotonic()
    dispatch_notification._notifier.wait_until_idle(60)  # a process that ends now must not wait
    assert time.monotonic() - began < 30
    assert (proxy.accepted, notifications_are_sent()) == (accepted, False)


def test_pauses_double_up_to_a_limit_and_start_again_after_a_success(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_notification, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(dispatch_notification, "LONGEST_PAUSE_SECONDS", 30.0)
    notifier, target = dispatch_notification._Notifier(), dispatch_notification.Target("q", "task", "t")

    def pause_after_a_failure() -> int:
        notifier._failed(target, OSError("down"))
        return round(notifier._pause())

    assert [pause_after_a_failure() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    notifier._succeeded()
    assert pause_after_a_failure() == 1


def test_events_are_accepted_while_the_broker_hangs(
    tenant: Any, queue: Queue, proxy: BrokerProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, real, senders = Api(make_token(tenant)), dispatch_notification._Line.redis, set()

    def connecting(line: Any) -> Any:
        senders.add(threading.current_thread().name)
        return real(line)

    monkeypatch.setattr(dispatch_notification._Line, "redis", connecting)
    proxy.hang()
    for number in range(3):
        body = {"event_type": "E", "payload": {}, "workflow_correlation_key": "k", "event_id": f"e-{number}"}
        assert api.post("/events", body).status_code == 202
    assert Event.objects.filter(tenant=tenant).count() == 3
    proxy.restore()
    idle()
    assert (queue.tenants(), senders) == ([str(tenant.id)], {"dispatch-notification"})


def test_message_that_was_not_accepted_leaves_no_key(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without a message would suppress notifications for ten seconds."""
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


def test_broker_that_hangs_between_key_and_message_delays_it_until_the_key_expires(
    queue: Queue, proxy: BrokerProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 1)
    (tenant,) = some_tenants(1)
    proxy.hang_at(b"LPUSH")
    notify_dispatcher(tenant)
    eventually(lambda: proxy.hangs and logged(caplog, DOWN), what="the message was given up")
    eventually(lambda: not queue.redis.exists(queue.key(tenant)), what="the key has expired")
    assert queue.tenants() == []
    proxy.restore()
    idle()
    assert queue.tenants() == [tenant]


def test_worker_continues_when_the_key_cannot_be_deleted(
    queue: Queue, proxy: BrokerProxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.refuse()
    notification_received(uuid.uuid4())
    assert logged(caplog, "was not deleted")


def test_tenants_beyond_the_limit_of_the_set_are_left_to_the_sweep(
    queue: Queue, proxy: BrokerProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch_notification, "MOST_WAITING", 2)
    proxy.hang()
    first, *others = some_tenants(6)
    notify_dispatcher(first)
    eventually(lambda: logged(caplog, DOWN), what="the circuit breaker is open")
    for tenant in [*others, first]:
        notify_dispatcher(tenant)
    proxy.restore()
    idle()
    assert first in queue.tenants()
    assert (len(queue.tenants()), logged(caplog, "no more are kept, and the sweep finds the work")) == (2, 1)


def test_bug_does_not_end_the_thread(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, (bad, good) = dispatch_notification._Line.send, some_tenants(2)

    def failing(line: Any, target: dispatch_notification.Target) -> None:
        if target.id == bad:
            raise ZeroDivisionError("a bug")
        real(line, target)

    monkeypatch.setattr(dispatch_notification._Line, "send", failing)
    notify_dispatcher(bad)
    eventually(lambda: logged(caplog, "the notification of"), what="the bug occurred")
    notify_dispatcher(good)
    eventually(lambda: queue.tenants() == [good], what="the other tenant was notified")
    monkeypatch.setattr(dispatch_notification._Line, "send", real)
    idle()
    assert queue.tenants() == [good, bad]


# -- One message for many calls ---------------------------------------------------------------------------------------


def test_many_calls_send_one_message_until_it_is_received(queue: Queue) -> None:
    one, other = some_tenants(2)
    for _ in range(20):
        for _ in range(25):
            notify_dispatcher(one)
        idle()  # the thread now meets a key that no worker has deleted
    notify_dispatcher(other)
    idle()
    assert queue.tenants() == [one, other]
    notification_received(one)
    notify_dispatcher(one)
    notify_dispatcher(other)
    idle()
    assert queue.tenants() == [one, other, one]
    assert 0 < queue.redis.ttl(queue.key(one)) <= dispatch_notification.KEY_SECONDS


def test_delayed_notification_is_sent_at_its_time_and_delays_no_other(queue: Queue) -> None:
    first, second, third = some_tenants()
    notify_dispatcher(first, after=600)
    notify_dispatcher(second, after=0.05)
    notify_dispatcher(third)
    eventually(lambda: queue.tenants() == [third, second], what="the due notifications")
    assert notifications_are_sent()  # a process that ends does not wait for delayed notifications
    notify_dispatcher(first)
    eventually(
        lambda: queue.tenants() == [third, second, first], what="an immediate notification beside the delayed one"
    )
    for tenant in (second, third):
        notification_received(tenant)
    for after in (0.02, 0.2, 600):
        notify_dispatcher(third, after=after)
    eventually(lambda: queue.tenants()[3:] == [third], what="the first of several times")
    notification_received(third)
    eventually(lambda: queue.tenants()[3:] == [third, third], what="and the second")


def test_notification_on_commit_waits_for_the_commit(tenant: Any, queue: Queue) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        notify_dispatcher_on_commit(tenant.id)
        raise ZeroDivisionError
    with transaction.atomic():
        notify_dispatcher_on_commit(tenant.id)
        idle()
        assert queue.tenants() == []
    idle()
    assert queue.tenants() == [str(tenant.id)]


def test_lookback_that_finds_an_event_notifies_the_dispatcher(tenant: Any, queue: Queue) -> None:
    receive(tenant)
    idle()
    notification_received(tenant.id)
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(open_wait(tenant).id)) == 1
    idle()
    assert queue.tenants() == [str(tenant.id)] * 2


def test_work_committed_before_a_notification_is_never_left_behind(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Senders commit and notify in each round, while workers receive and search. No later call or expiry helps.

    Random pauses between the steps produce every order of them.
    """
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 600)
    (tenant,), client = some_tenants(1), queue.redis
    work, done, senders = f"{queue.name}:work", f"{queue.name}:done", 4
    is_over, chance, real_send = threading.Event(), random.Random(1), dispatch_notification._Line.send

    def random_pause() -> None:
        time.sleep(chance.random() * 0.004)

    def slow_send(line: Any, target: dispatch_notification.Target) -> None:
        real_send(line, target)
        random_pause()

    def send(round_number: int, number: int) -> None:
        random_pause()
        client.sadd(work, f"{round_number}/{number}")
        notify_dispatcher(tenant)

    def receive_and_search() -> None:
        while not is_over.is_set():
            if queue.take():
                notification_received(tenant)
                random_pause()
                found = client.smembers(work)
                if found:
                    client.srem(work, *found)
                    client.sadd(done, *found)

    monkeypatch.setattr(dispatch_notification._Line, "send", slow_send)
    workers = [threading.Thread(target=receive_and_search) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        with ThreadPoolExecutor(senders) as pool:
            for round_number in range(100):
                list(pool.map(partial(send, round_number), range(senders)))
                expected = senders * (round_number + 1)
                eventually(lambda expected=expected: client.scard(done) == expected, what=f"round {round_number}")
    finally:
        is_over.set()
        for worker in workers:
            worker.join()
    assert client.scard(work) == 0


# -- Lost data of Redis -----------------------------------------------------------------------------------------------


def test_notification_is_sent_again_after_redis_lost_its_data(queue: Queue) -> None:
    (tenant,) = some_tenants(1)
    notify_dispatcher(tenant)
    idle()
    queue.redis.delete(queue.key(tenant), queue.name, f"_kombu.binding.{queue.name}")
    notify_dispatcher(tenant)
    idle()
    assert queue.tenants() == [tenant]


def test_lost_message_suppresses_notifications_only_until_the_key_expires(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_notification, "KEY_SECONDS", 1)
    (tenant,) = some_tenants(1)
    notify_dispatcher(tenant)
    idle()
    queue.redis.delete(queue.name)

    def is_notified() -> bool:
        notify_dispatcher(tenant)
        idle()
        return queue.tenants() == [tenant]

    eventually(is_notified, what="a message after the key has expired")


# -- Processes --------------------------------------------------------------------------------------------------------

SCRIPT_START = """
import os, sys, time
import django
django.setup()
from workflows.dispatch_notification import notifications_are_sent, notify_dispatcher

def idle():
    deadline = time.monotonic() + 50
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


def test_process_sends_its_notifications_before_it_ends(program_queue: Queue) -> None:
    """The thread needs more time than the process lives. Without the wait at the end, most would be lost."""
    tenants = some_tenants(50)
    ended = run(program_queue, "for tenant in sys.argv[1:]: notify_dispatcher(tenant)", *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert program_queue.tenants() == tenants


def test_process_ends_while_the_broker_hangs(queue: Queue, proxy: BrokerProxy) -> None:
    proxy.hang()
    ended = run(queue, "notify_dispatcher(sys.argv[1]); print('notified')", *some_tenants(1), REDIS_URL=proxy.url)
    assert (ended.returncode, ended.stdout) == (0, "notified\n")


def test_web_server_sends_its_notifications_before_it_ends(program_queue: Queue) -> None:
    body = """
import os, signal, threading, urllib.request
from portal.web.server import WebServer

def application(environ, start_response):
    for tenant in sys.argv[1:]:
        notify_dispatcher(tenant)
    os.kill(os.getpid(), signal.SIGTERM)
    start_response("200 OK", [])
    return [b""]

server = WebServer(application, host="127.0.0.1", port=0, threads=1, request_seconds=30)
threading.Thread(target=urllib.request.urlopen, args=server.addresses()).start()
server.run()
"""
    tenants = some_tenants(50)
    ended = run(program_queue, body, *tenants)
    assert (ended.returncode, "Error" in ended.stderr) == (0, False), ended.stderr
    assert program_queue.tenants() == tenants


def test_child_of_a_fork_has_its_own_notifier(program_queue: Queue) -> None:
    """A process that forks may have sent notifications before."""
    body = """
parent, child, again, late = sys.argv[1:]
notify_dispatcher(parent)
idle()
pid = os.fork()
if pid == 0:
    notify_dispatcher(child)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
notify_dispatcher(again)
idle()
notify_dispatcher(late)
"""
    tenants = some_tenants(4)
    ended = run(program_queue, body, *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert program_queue.tenants() == tenants


def test_fork_is_safe_while_another_thread_notifies(program_queue: Queue) -> None:
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
    ended = run(program_queue, body, *tenants)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert program_queue.tenants() == tenants

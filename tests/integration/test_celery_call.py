"""Action `celery.call` with another Celery application, whose worker runs in its own process on the session's Redis.

Source: docs/reference/engine.md#actions
"""

import contextlib
import dataclasses
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection, transaction

from portal.devstack.child import PROJECT, command_tied_to
from portal.devstack.servers import Servers, embedded_servers
from tests.support.factories import eventually, make_run, make_tenant
from tests.support.system_scope import in_system_scope
from workflows.actions import celery_client
from workflows.actions.celery_call import CeleryCallInput, CeleryCallOutput, celery_call
from workflows.actions.ledger import Owner, invocation_claim
from workflows.actions.registry import ActionContext, ActionFailed, find_action
from workflows.models import DataStoreEntry
from workflows.temporal.activities.execution import execute, validated_input


class Foreign:
    """The other application, and its traces in Redis."""

    def __init__(self, queue: str, client: "redis.Redis[bytes]") -> None:
        self.queue, self.redis = queue, client
        self.unserved_queue = f"{queue}-unserved"

    def runs(self, key: str) -> int:
        """Return the number of task runs that were counted under the key."""
        return int(self.redis.get(key) or 0)

    def waiting(self) -> int:
        """Return the number of messages in the queue that no worker consumes."""
        return int(self.redis.llen(self.unserved_queue))

    def store_result(self, task_id: str, content: bytes) -> None:
        self.redis.set(f"celery-task-meta-{task_id}", content)


@pytest.fixture(scope="module")
def foreign(servers: Servers) -> Iterator[Foreign]:
    queue = f"foreign-{uuid.uuid4().hex[:8]}"
    command = [
        sys.executable, "-m", "celery", "-A", "tests.support.foreign_celery", "worker", "--pool", "threads",
        "--concurrency", "4", "-Q", queue, "-l", "WARNING", "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    with redis.Redis.from_url(servers.redis_url) as client:
        process = subprocess.Popen(
            command_tied_to(os.getpid(), signal.SIGTERM, command, python=sys.executable),
            cwd=PROJECT,
            env={**os.environ, "FOREIGN_REDIS_URL": servers.redis_url, "FOREIGN_QUEUE": queue},
        )
        try:
            eventually(lambda: client.get(f"{queue}:ready"), what="the foreign worker is ready")
            yield Foreign(queue, client)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.CELERY_CALL_TASKS = ["foreign.*"]


@pytest.fixture
def key(foreign: Foreign) -> Iterator[str]:
    """Return a name in Redis for one test. The gate with this name is opened at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    foreign.redis.rpush(f"{name}:open", "1", "1")


@pytest.fixture
def context(tenant: Any) -> ActionContext:
    return ActionContext(tenant.id, make_run(tenant).id, "root.steps[0]", "run/root.steps[0]", 600)


def call(context: ActionContext, **value: Any) -> CeleryCallOutput:
    return celery_call(CeleryCallInput.model_validate(value), context)


@in_system_scope
def in_a_thread(context: ActionContext, **value: Any) -> CeleryCallOutput:
    try:
        return call(context, **value)
    finally:
        connection.close()


def failed(context: ActionContext, **value: Any) -> ActionFailed:
    with pytest.raises(ActionFailed) as caught:
        call(context, **value)
    return caught.value


def codes(error: ActionFailed) -> tuple[str, str | None]:
    return str(error.category), error.code


UNKNOWN = ("ActionError", "ACTION_OUTCOME_UNKNOWN")
UNAVAILABLE = ("TransientError", "CELERY_UNAVAILABLE")


def test_task_gets_its_arguments_and_returns_its_result(foreign: Foreign, context: ActionContext, key: str) -> None:
    output = call(context, task="foreign.count", args=[key], kwargs={"step": 5}, queue=foreign.queue)
    assert output.result == {"n": 5}


def test_repeated_activity_runs_the_task_once(tenant: Any, foreign: Foreign, key: str) -> None:
    action, run = find_action("celery.call", 1), make_run(tenant)
    assert action is not None
    value = {"task": "foreign.count", "args": [key], "queue": foreign.queue}
    claim_of = {"tenant_id": tenant.id, "run_id": run.id, "step_path": "root.steps[0]", "iteration": "", "key": "k"}
    with transaction.atomic():
        claim = invocation_claim(action, **claim_of, value=value, owner=Owner("a", 1))
    context = ActionContext(tenant.id, run.id, "root.steps[0]", "k", action.timeout_seconds)
    output = execute(action, claim, validated_input(action, value), context)
    assert (sorted(output), output["result"]) == (["result", "taskId"], {"n": 1})
    with transaction.atomic():
        again = invocation_claim(action, **claim_of, value=value, owner=Owner("b", 1))
    assert (again.execute, again.invocation.output) == (False, output)


def test_times_and_decimals_become_texts(foreign: Foreign, context: ActionContext) -> None:
    output = call(context, task="foreign.times", queue=foreign.queue)
    assert output.result == {"at": "2026-01-02T03:04:05Z", "price": "1.10", "list": [None, 1.5]}


# -- Failures ---------------------------------------------------------------------------------------------------------


def test_failed_task_has_its_exception_and_a_retry_runs_it_again(
    foreign: Foreign, context: ActionContext, key: str
) -> None:
    value = {"task": "foreign.fail_once", "args": [key], "queue": foreign.queue}
    error = failed(context, **value)
    assert codes(error) == ("ActionError", "CELERY_TASK_FAILED")
    assert f"LookupError: no such order: {key}, 7" in error.message
    output = call(context, **value)
    assert (output.result, foreign.runs(key)) == ("done", 2)
    assert output.task_id != error.details["taskId"]
    assert (call(context, **value), foreign.runs(key)) == (output, 2)


def test_unknown_task_is_a_failure(foreign: Foreign, context: ActionContext) -> None:
    error = failed(context, task="foreign.none", queue=foreign.queue)
    assert (error.code, "NotRegistered" in error.message) == ("CELERY_TASK_FAILED", True)


def test_result_that_is_not_json_is_refused_without_another_run(foreign: Foreign, context: ActionContext) -> None:
    for _ in range(2):
        error = failed(context, task="foreign.no_number", queue=foreign.queue)
        assert codes(error) == ("ValidationError", "CELERY_RESULT_INVALID")


@pytest.mark.parametrize(
    ("stored", "code", "text"),
    [
        (pickle.dumps({"status": "SUCCESS", "result": 1}), "CELERY_RESULT_INVALID", "not JSON"),
        (b"[]", "CELERY_RESULT_INVALID", "not JSON"),
        (b'{"status": "REVOKED", "result": {"exc_type": "TaskRevokedError", "exc_message": ["revoked"]}}',
         "CELERY_TASK_FAILED", "TaskRevokedError: revoked"),
        (b'{"status": "FAILURE", "result": {"exc_type": "system", "exc_module": "os", "exc_message": ["exit 1"]}}',
         "CELERY_TASK_FAILED", "system: exit 1"),
        (b'{"status": "FAILURE", "result": {"exc_type": "E", "exc_message": ["a\\u0000\\ud800"]}}',
         "CELERY_TASK_FAILED", "E: a\ufffd?"),
    ],
    ids=["pickle", "list", "revoked", "no exception", "not storable"],
)  # fmt: skip
def test_entry_of_the_backend_is_only_read(
    foreign: Foreign, context: ActionContext, stored: bytes, code: str, text: str
) -> None:
    value = {"task": "foreign.count", "queue": foreign.unserved_queue, "timeoutSeconds": 0.01}
    foreign.store_result(failed(context, **value).details["taskId"], stored)
    error = failed(context, **value)
    assert (error.code, text in error.message) == (code, True)


# -- Permitted tasks and queues ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "task", "passes"),
    [
        ([], "foreign.count", False), (["foreign.count"], "foreign.count", True),
        (["foreign.count"], "foreign.counts", False),
        (["a.b", "foreign.*"], "foreign.count", True), (["foreign.*"], "foreign", False),
        (["foreign.*"], "foreigner.count", False),
        (["foreign.c.*"], "foreign.count", False),
    ],
)  # fmt: skip
def test_only_permitted_tasks_are_sent(
    foreign: Foreign, context: ActionContext, settings: Any, tasks: list[str], task: str, passes: bool
) -> None:
    settings.CELERY_CALL_TASKS = tasks
    before = foreign.waiting()
    error = failed(context, task=task, queue=foreign.unserved_queue, timeoutSeconds=0.01)
    assert foreign.waiting() - before == passes
    if not passes:
        assert codes(error) == ("ValidationError", "CELERY_TASK_NOT_ALLOWED")
        assert "CELERY_CALL_TASKS" in error.message


def test_queue_of_the_portal_is_refused(foreign: Foreign, context: ActionContext) -> None:
    error = failed(context, task="foreign.count")
    assert codes(error) == ("ValidationError", "CELERY_QUEUE_NOT_ALLOWED")
    assert ("`queue`" in error.message, "CELERY_QUEUE" in error.message) == (True, True)


# -- One run per key --------------------------------------------------------------------------------------------------


def test_repeated_execution_returns_the_first_result(foreign: Foreign, context: ActionContext, key: str) -> None:
    value = {"task": "foreign.count", "args": [key], "queue": foreign.queue, "isIdempotent": True}
    outputs = [call(context, **value) for _ in range(3)]
    assert (outputs, foreign.runs(key)) == ([outputs[0]] * 3, 1)


def test_idempotency_key_belongs_to_one_tenant(foreign: Foreign, context: ActionContext, key: str) -> None:
    other = dataclasses.replace(context, tenant_id=make_tenant().id)
    value = {"task": "foreign.count", "args": [key], "queue": foreign.queue}
    assert [call(context, **value).result, call(other, **value).result] == [{"n": 1}, {"n": 2}]


def test_outcome_is_unknown_after_the_timeout_and_a_later_execution_gets_the_result(
    foreign: Foreign, context: ActionContext, key: str
) -> None:
    value = {"task": "foreign.gate", "args": [key], "queue": foreign.queue}
    started = time.monotonic()
    error = failed(context, **value, timeoutSeconds=0.5)
    assert 0.5 <= time.monotonic() - started < 30
    assert (codes(error), "0.5 s" in error.message) == (UNKNOWN, True)
    foreign.redis.rpush(f"{key}:open", "1")
    output = call(context, **value)
    assert (output.result, output.task_id, foreign.runs(key)) == ("through", error.details["taskId"], 1)


def test_execution_after_a_lost_one_waits_for_the_same_task(foreign: Foreign, context: ActionContext, key: str) -> None:
    value = {"task": "foreign.gate", "args": [key], "queue": foreign.queue}
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(in_a_thread, context, **value)
        eventually(lambda: foreign.runs(key) == 1, what="the task runs")
        assert codes(failed(context, **value, timeoutSeconds=0.3)) == UNKNOWN
        # It uses the same queue, so all earlier messages have been consumed by then.
        other = dataclasses.replace(context, idempotency_key="other")
        call(other, task="foreign.count", args=[f"{key}:other"], queue=foreign.queue)
        assert foreign.runs(key) == 1
        foreign.redis.rpush(f"{key}:open", "1")
        assert lost.result(30).result == "through"


def test_lost_execution_without_a_result_is_unknown_and_sends_nothing(foreign: Foreign, context: ActionContext) -> None:
    before = foreign.waiting()
    value = {"task": "foreign.count", "queue": foreign.unserved_queue, "timeoutSeconds": 0.2}
    errors = [failed(context, **value) for _ in range(3)]
    assert [codes(error) for error in errors] == [UNKNOWN] * 3
    assert foreign.waiting() - before == 1


def test_idempotent_task_is_sent_again_after_a_timeout(foreign: Foreign, context: ActionContext) -> None:
    before = foreign.waiting()
    value = {"task": "foreign.count", "queue": foreign.unserved_queue, "timeoutSeconds": 0.2, "isIdempotent": True}
    errors = [failed(context, **value) for _ in range(2)]
    assert [codes(error) for error in errors] == [("TimeoutError", "CELERY_TASK_TIMEOUT")] * 2
    assert foreign.waiting() - before == 2
    assert errors[0].details == errors[1].details


# -- Outages ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the response time to half a second, so that tests of outages are short."""
    monkeypatch.setattr(celery_client, "ANSWER_SECONDS", 0.5)


@pytest.fixture
def hung_redis(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a Redis that accepts connections and does not respond."""
    with embedded_servers(tmp_path, postgres=False, temporal=False) as own:
        os.kill(own.redis.pid, signal.SIGSTOP)
        try:
            yield own.redis_url
        finally:
            os.kill(own.redis.pid, signal.SIGCONT)


@pytest.mark.parametrize("what", ["CELERY_CALL_BROKER_URL", "CELERY_CALL_RESULT_BACKEND"])
def test_hung_server_is_a_transient_failure_and_nothing_is_sent(
    foreign: Foreign, context: ActionContext, key: str, hung_redis: str, impatient: None, settings: Any, what: str
) -> None:
    own = getattr(settings, what)
    setattr(settings, what, hung_redis)
    value = {"task": "foreign.count", "args": [key], "queue": foreign.queue}
    started = time.monotonic()
    error = failed(context, **value)
    assert (codes(error), "not sent" in error.message) == (UNAVAILABLE, True)
    assert time.monotonic() - started < 30
    setattr(settings, what, own)
    assert call(context, **value).result == {"n": 1}  # nothing was sent, so the next execution may send


@contextlib.contextmanager
def silent_listener(*, listening: bool) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_server_that_is_no_broker_is_a_transient_failure(
    foreign: Foreign, context: ActionContext, impatient: None, settings: Any, scheme: str, listening: bool
) -> None:
    with silent_listener(listening=listening) as port:
        settings.CELERY_CALL_BROKER_URL = f"{scheme}://127.0.0.1:{port}/"
        started = time.monotonic()
        error = failed(context, task="foreign.count", queue=foreign.queue)
    assert (codes(error), "not sent" in error.message) == (UNAVAILABLE, True)
    assert time.monotonic() - started < 30


class MutingProxy:
    """Proxy in front of Redis. On a mute connection requests arrive, but responses are dropped."""

    def __init__(self, target: str, *, mute_at: bytes = b"") -> None:
        """Start the proxy. A connection that sends `mute_at` is mute from then on."""
        self._target, self._mute_at = redis.connection.parse_url(target), mute_at
        self.is_mute, self.has_muted = threading.Event(), threading.Event()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server, mute = socket.create_connection((self._target["host"], self._target["port"])), threading.Event()
            threading.Thread(target=self._requests, args=(client, server, mute), daemon=True).start()
            threading.Thread(target=self._answers, args=(server, client, mute), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with server, contextlib.suppress(OSError):  # the other end has closed the connection
            while content := client.recv(65_536):
                if self._mute_at and self._mute_at in content:
                    mute.set()
                    self.has_muted.set()
                server.sendall(content)

    def _answers(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with client, contextlib.suppress(OSError):
            while content := server.recv(65_536):
                if not (mute.is_set() or self.is_mute.is_set()):
                    client.sendall(content)

    def close(self) -> None:
        self._listener.close()


def test_message_with_a_lost_confirmation_is_not_sent_twice(
    foreign: Foreign, context: ActionContext, servers: Servers, impatient: None, settings: Any
) -> None:
    proxy, before = MutingProxy(servers.redis_url, mute_at=b"LPUSH"), foreign.waiting()
    settings.CELERY_CALL_BROKER_URL = proxy.url
    value = {"task": "foreign.count", "queue": foreign.unserved_queue, "timeoutSeconds": 0.2}
    try:
        error = failed(context, **value)
    finally:
        proxy.close()
    assert (codes(error), "broker" in error.message) == (UNKNOWN, True)
    assert proxy.has_muted.is_set()
    settings.CELERY_CALL_BROKER_URL = servers.redis_url
    assert codes(failed(context, **value)) == UNKNOWN
    assert foreign.waiting() - before == 1


def test_action_waits_for_a_backend_that_is_silent_for_a_while(
    foreign: Foreign, context: ActionContext, servers: Servers, key: str, impatient: None, settings: Any
) -> None:
    proxy = MutingProxy(servers.redis_url)
    settings.CELERY_CALL_RESULT_BACKEND = proxy.url

    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(in_a_thread, context, task="foreign.gate", args=[key], queue=foreign.queue)
            eventually(lambda: foreign.runs(key) == 1, what="the task runs")
            proxy.is_mute.set()
            seen = proxy.connections
            eventually(lambda: proxy.connections >= seen + 2, what="searches that were abandoned")
            foreign.redis.rpush(f"{key}:open", "1")
            proxy.is_mute.clear()
            assert waiting.result(30).result == "through"
    finally:
        proxy.close()


def test_mark_records_the_sent_task(foreign: Foreign, context: ActionContext, tenant: Any) -> None:
    error = failed(context, task="foreign.count", queue=foreign.unserved_queue, timeoutSeconds=0.01)
    mark = DataStoreEntry.objects.get(tenant=tenant, namespace="_celery.call")
    assert mark.value == {
        "task": "foreign.count", "taskId": error.details["taskId"], "round": 0, "ended": False,
    }  # fmt: skip

"""Celery loses no message: unsafe settings are refused, and messages of killed processes are delivered again.

Source: docs/reference/events.md#crashes-and-outages
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import get_commands, load_command_class
from django.db import connections
from kombu.transport import TRANSPORT_ALIASES

from portal.celery import app
from portal.checks import RULES, worker_problems
from portal.devstack.child import PROJECT
from portal.devstack.servers import Servers
from tests.support.factories import eventually

# -- The checks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def bound_tasks() -> None:
    """Bind the tasks to the original configuration. A task reads its options only once."""
    app.loader.import_default_modules()
    app.finalize(auto=True)


@pytest.fixture
def conf() -> Iterator[Any]:
    """Return the configuration of Celery, and restore it after the test."""
    before = dict(app.conf.changes)
    yield app.conf
    app.conf.changes.clear()
    app.conf.changes.update(before)


def check_ids() -> list[str | None]:
    return [message.id for message in run_checks()]


def test_present_settings_pass() -> None:
    assert check_ids() == []


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("task_acks_late", False, "portal.E001"),
        ("task_reject_on_worker_lost", None, "portal.E004"),
        ("task_acks_on_timeout", True, "portal.E005"),
        ("task_acks_on_timeout", None, "portal.E005"),
        ("worker_prefetch_multiplier", 4, "portal.E006"),
        ("worker_prefetch_multiplier", 0, "portal.E006"),
        ("task_publish_retry", True, "portal.E007"),
        ("task_always_eager", True, "portal.E008"),
        ("task_soft_time_limit", 60, "portal.E015"),
    ],
)
def test_setting_that_can_lose_messages_is_refused(conf: Any, name: str, value: Any, check: str) -> None:
    conf[name] = value
    assert check_ids() == [check]


@pytest.mark.parametrize("value", [None, 0])
def test_tasks_must_have_a_time_limit(conf: Any, value: Any) -> None:
    conf["task_time_limit"] = value
    assert set(check_ids()) == {"portal.E014", "portal.E017"}


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("visibility_timeout", 180, "portal.E002"),  # 120 s for a task and 60 s for a countdown
        ("socket_timeout", None, "portal.E010"),
        ("socket_timeout", 60, "portal.E010"),
        ("socket_connect_timeout", None, "portal.E010"),
        ("unacked_restore_interval", 60, "portal.E011"),
        ("unacked_restore_throttle", 10, "portal.E011"),
        ("unacked_mutex_expire", 300, "portal.E012"),
        ("ack_emulation", False, "portal.E013"),
    ],
)
def test_transport_option_that_can_lose_messages_is_refused(conf: Any, name: str, value: Any, check: str) -> None:
    conf["broker_transport_options"] = {**conf.broker_transport_options, name: value}
    assert check_ids() == [check]


def test_defaults_of_celery_are_refused(conf: Any) -> None:
    """Removing the options from the settings does not avoid the checks."""
    conf["broker_transport_options"] = {}
    assert set(check_ids()) == {"portal.E002", "portal.E010", "portal.E011", "portal.E012"}


@pytest.mark.parametrize("variable", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1/0", "amqp://guest:secret@127.0.0.1:1//"])
def test_broker_that_differs_from_the_notifications_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    """Celery reads these variables itself and ignores the settings."""
    monkeypatch.setenv(variable, url)
    (problem,) = run_checks()
    assert problem.id == "portal.E009"
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("acks_late", False, "acks_late must be True"),
        ("reject_on_worker_lost", False, "reject_on_worker_lost must be True"),
        ("acks_on_timeout", True, "acks_on_timeout must be False"),
        ("time_limit", 600, "time_limit"),
        ("soft_time_limit", 5, "soft_time_limit"),
    ],
)
def test_unsafe_option_of_a_single_task_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, words: str
) -> None:
    monkeypatch.setattr(app.tasks["ingress.consume_event"], name, value)
    (problem,) = run_checks()
    assert problem.id == "portal.E016"
    assert "ingress.consume_event" in str(problem)
    assert words in str(problem)


@pytest.mark.parametrize("options", ["-c role=x", "-c role=x -c statement_timeout=120000", "-c statement_timeout=0"])
def test_database_without_a_safe_statement_timeout_is_refused(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "options", options)
    assert check_ids() == ["portal.E017"]


def test_transport_of_kombu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORT_ALIASES, "rediss", "kombu.transport.redis:Transport")
    assert check_ids() == ["portal.E020"]


def test_pool_with_persistent_connections_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "pool", True)
    monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", 300)
    assert check_ids() == ["portal.E003"]


def test_unsafe_worker_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(**changes: Any) -> list[str | None]:
        own = {"prefetch_multiplier": 1, "time_limit": 120, "soft_time_limit": None, "pool_cls": "prefork", **changes}
        return [problem.id for problem in worker_problems(SimpleNamespace(app=app, **own))]

    assert found() == found(time_limit=60) == []
    for changes in ({"prefetch_multiplier": 4}, {"time_limit": 121}, {"time_limit": None}, {"soft_time_limit": 5}):
        assert found(**changes) == ["portal.E019"], changes
    two = {"one": None, "two": None}
    with monkeypatch.context() as patch:
        patch.setattr(app.amqp.queues, "_consume_from", two)
        assert found() == ["portal.E021"]
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "pool", True)
    assert found() == ["portal.E018"]
    assert found(pool_cls="celery.concurrency.prefork:TaskPool") == ["portal.E018"]
    assert found(pool_cls="celery.concurrency.thread:TaskPool") == []


def test_every_check_is_documented() -> None:
    text = (PROJECT / "docs" / "developers.md").read_text(encoding="utf-8")
    checks = (PROJECT / "portal" / "checks.py").read_text(encoding="utf-8")
    numbers = [number for number in range(1, 100) if f'"portal.E{number:03}"' in checks]
    assert len(numbers) > len(RULES)
    assert [number for number in numbers if f"`E{number:03}`" not in text] == []


@pytest.mark.parametrize("name", ["temporal_worker", "consume_events"])
def test_long_running_commands_run_the_checks_first(name: str) -> None:
    assert load_command_class(get_commands()[name], name).requires_system_checks == "__all__"


def test_statements_have_a_timeout_and_migrations_have_none(database: None) -> None:
    def timeout_of(alias: str) -> str:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    try:
        assert (timeout_of("default"), timeout_of("owner")) == ("30s", "0")
    finally:
        connections["owner"].close()


# -- Processes that do not start --------------------------------------------------------------------------------------

WORKER = ["-m", "celery", "-A", "portal", "worker", "-c", "1", "-l", "WARNING", "--without-mingle", "--without-gossip"]
BEAT = ["-m", "celery", "-A", "portal", "beat", "-l", "WARNING", "--pidfile="]
LOSSY = {"CELERY_TASK_ACKS_LATE": False}


def environment(changes: dict[str, Any], **variables: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.support.changed_settings",
        "CHANGED_SETTINGS": json.dumps(changes),
        **variables,
    }


@pytest.mark.parametrize(
    ("command", "changes", "variables", "check"),
    [
        (WORKER, LOSSY, {"CELERY_SKIP_CHECKS": "true"}, "portal.E001"),
        (BEAT, LOSSY, {}, "portal.E001"),
        (WORKER, {}, {"DATABASE_POOL": "true"}, "portal.E018"),
        ([*WORKER, "--time-limit", "600"], {}, {}, "portal.E019"),
        (["manage.py", "temporal_worker"], {}, {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}, "portal.E009"),
    ],
    ids=["worker that skips checks", "beat", "pool", "command line", "temporal worker"],
)
def test_process_that_could_lose_messages_does_not_start(
    tmp_path: Path, command: list[str], changes: dict[str, Any], variables: dict[str, str], check: str
) -> None:
    if command is BEAT:
        command = [*command, "-s", str(tmp_path / "schedule")]
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT, env=environment(changes, CELERY_QUEUE=f"no-loss-{uuid.uuid4().hex[:8]}", **variables),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert check in ended.stderr


# -- Processes that are killed ----------------------------------------------------------------------------------------

VISIBILITY_SECONDS = 3


class Broker:
    """Broker in a separate Redis database, because a worker restores the messages of all workers in its database."""

    def __init__(self, url: str) -> None:
        self.url, self.queue = url, f"no-loss-{uuid.uuid4().hex[:8]}"
        self.redis = redis.Redis.from_url(url)

    def send(self, task: str, *arguments: Any, **options: Any) -> None:
        with app.connection_for_write(self.url) as connection:
            app.send_task(task, args=arguments, queue=self.queue, connection=connection, **options)

    def begun(self, key: str) -> list[int]:
        """Return the process ids of all starts of the task, in order."""
        return [int(pid) for pid in self.redis.lrange(f"{key}:begun", 0, -1)]

    def begins(self, key: str, times: int) -> int:
        """Wait for the start with this number. Return its process id."""
        eventually(lambda: len(self.begun(key)) >= times, what=f"{key} has begun {times} times")
        return self.begun(key)[times - 1]

    def ends(self, key: str) -> None:
        """Let the task end. Wait until it is done and no message is left, not even of a repeat."""
        self.redis.rpush(f"{key}:open", "1")
        eventually(lambda: self.redis.llen(f"{key}:done"), what=f"{key} is done")
        eventually(self._is_empty, what="all messages are acknowledged")

    def _is_empty(self) -> bool:
        pipe = self.redis.pipeline()  # one transaction: a message is in one of the two
        pipe.hlen("unacked").llen(self.queue)
        return pipe.execute() == [0, 0]


@pytest.fixture(scope="module")
def broker(servers: Servers) -> Iterator[Broker]:
    """Return the broker of the worker that all tests of the module share."""
    broker = Broker(servers.redis_url.removesuffix("/0") + "/1")
    with broker.redis:
        yield broker


@pytest.fixture
def own_broker(servers: Servers) -> Iterator[Broker]:
    broker = Broker(servers.redis_url.removesuffix("/0") + "/2")
    with broker.redis:
        yield broker


@contextmanager
def celery_worker(broker: Broker, log: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the prefork worker in its own process group, with a visibility timeout of three seconds."""
    changes = {
        "CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": VISIBILITY_SECONDS, "unacked_restore_interval": 0.5},
        "SILENCED_SYSTEM_CHECKS": ["portal.E002"],
    }
    command = [
        sys.executable,
        *WORKER,
        "-I",
        "tests.support.message_loss_tasks",
        "-n",
        f"{uuid.uuid4().hex}@localhost",
        *options,
    ]
    variables = environment(changes, REDIS_URL=broker.url, CELERY_QUEUE=broker.queue)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with celery_worker(broker, tmp_path_factory.mktemp("worker") / "log"):
        yield


@pytest.fixture
def key() -> str:
    return f"hold-{uuid.uuid4().hex[:8]}"


def test_message_of_a_killed_child_is_delivered_again(broker: Broker, worker: None, key: str) -> None:
    broker.send("tests.hold", key)
    first = broker.begins(key, 1)
    os.kill(first, signal.SIGKILL)
    assert broker.begins(key, 2) != first
    broker.ends(key)


def test_task_killed_at_its_time_limit_is_delivered_again(broker: Broker, worker: None, key: str) -> None:
    broker.send("tests.hold", key, time_limit=1)
    first = broker.begins(key, 1)
    assert broker.begins(key, 2) != first
    broker.ends(key)


def test_task_whose_retry_cannot_be_sent_is_delivered_again(broker: Broker, worker: None, key: str) -> None:
    broker.send("tests.retry", key)
    broker.ends(key)
    assert len(broker.begun(key)) == 2


def test_messages_of_a_killed_worker_are_delivered_again(own_broker: Broker, key: str, tmp_path: Path) -> None:
    """Another worker receives them after the visibility timeout."""
    own_broker.send("tests.hold", key)
    with celery_worker(own_broker, tmp_path / "log") as process:
        first = own_broker.begins(key, 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert own_broker.redis.hlen("unacked") == 1
    with celery_worker(own_broker, tmp_path / "log"):
        assert own_broker.begins(key, 2) != first
        own_broker.ends(key)


@pytest.mark.parametrize("use", ["restore_unacked", "ack"])
def test_closed_channel_raises_an_error_after_which_the_worker_connects_again(own_broker: Broker, use: str) -> None:
    """Celery uses a closed channel if Redis restarts while a message is unacknowledged."""
    with app.connection_for_read(own_broker.url) as connection:
        channel = connection.default_channel
        channel._disconnect_pools()
        channel.connection.client, transport = None, channel.connection
        try:
            with pytest.raises(connection.connection_errors, match="channel is closed"):
                getattr(channel.qos, use)(*(["tag"] if use == "ack" else []))
        finally:
            transport.client = connection


def test_child_sends_its_notifications_before_it_ends(own_broker: Broker, key: str, tmp_path: Path) -> None:
    with celery_worker(own_broker, tmp_path / "log", "--max-tasks-per-child", "1"):
        own_broker.send("tests.ring", f"{key}:tenants", 20)
        eventually(lambda: own_broker.redis.llen(f"{key}:tenants") == 20, what="all notifications are sent")

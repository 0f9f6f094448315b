"""System checks with stable ids: what must be so that no work is lost, whoever edits the settings.

They look at what Celery really works with, which its own environment variables (CELERY_BROKER_URL) and command line can
change. `manage.py` commands refuse to start on them; the Celery worker and beat do so too (`portal/celery.py`).
"""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from kombu.transport import resolve_transport

from portal import broker

RESTORE_SECONDS = 30
MUTEX_SECONDS = 60
SOCKET_SECONDS = 10

# (id, whether Celery's configuration is right, what to set). One rule for each setting.
Rule = tuple[str, Callable[[Any], bool], str]
RULES: list[Rule] = [
    (
        "portal.E001",
        lambda conf: conf.task_acks_late is True,
        "CELERY_TASK_ACKS_LATE must be True: a message is gone at the start of its task otherwise",
    ),
    (
        "portal.E004",
        lambda conf: conf.task_reject_on_worker_lost is True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST must be True: the message of a killed child is acknowledged otherwise",
    ),
    (
        "portal.E005",
        lambda conf: conf.task_acks_on_timeout is False,
        "CELERY_TASK_ACKS_ON_TIMEOUT must be False: the message of a task that hung is acknowledged otherwise",
    ),
    (
        "portal.E006",
        lambda conf: conf.worker_prefetch_multiplier == 1,
        "CELERY_WORKER_PREFETCH_MULTIPLIER must be 1: else messages wait at a busy worker past their visibility timeout",
    ),
    (
        "portal.E007",
        lambda conf: conf.task_publish_retry is False,
        "CELERY_TASK_PUBLISH_RETRY must be False: a process would wait for a broker that is down",
    ),
    (
        "portal.E008",
        lambda conf: conf.task_always_eager is False,
        "CELERY_TASK_ALWAYS_EAGER must be False: tasks would run inside of their senders, without a message to keep",
    ),
    (
        "portal.E009",
        lambda conf: {conf.broker_url, conf.broker_read_url, conf.broker_write_url} == {settings.REDIS_URL},
        "the broker must be the Redis of REDIS_URL, where the bell rings: unset CELERY_BROKER_URL,"
        " CELERY_BROKER_READ_URL and CELERY_BROKER_WRITE_URL, in the environment too",
    ),
    (
        "portal.E010",
        lambda conf: all(
            0 < (conf.broker_transport_options.get(name) or 0) <= SOCKET_SECONDS
            for name in ("socket_timeout", "socket_connect_timeout")
        ),
        "CELERY_BROKER_TRANSPORT_OPTIONS must set socket_timeout and socket_connect_timeout,"
        f" at most {SOCKET_SECONDS} s: a process waits for ever for a broker that hangs otherwise",
    ),
    (
        "portal.E011",
        lambda conf: _restore_seconds(conf.broker_transport_options) <= RESTORE_SECONDS,
        "CELERY_BROKER_TRANSPORT_OPTIONS: unacked_restore_interval times unacked_restore_throttle must be at most"
        f" {RESTORE_SECONDS} s: so much later come the messages of a killed worker back",
    ),
    (
        "portal.E012",
        lambda conf: conf.broker_transport_options.get("unacked_mutex_expire", 300) <= MUTEX_SECONDS,
        f"CELERY_BROKER_TRANSPORT_OPTIONS must set unacked_mutex_expire to at most {MUTEX_SECONDS} s: a worker that is"
        " killed while it restores messages keeps all others from it for so long",
    ),
    (
        "portal.E013",
        lambda conf: conf.broker_transport_options.get("ack_emulation", True) is True,
        "CELERY_BROKER_TRANSPORT_OPTIONS must not switch off ack_emulation: Redis forgets a message once it is read then",
    ),
    (
        "portal.E014",
        lambda conf: bool(conf.task_time_limit),
        "CELERY_TASK_TIME_LIMIT must be set: a task that hangs keeps its child for ever otherwise",
    ),
    (
        "portal.E015",
        lambda conf: not conf.task_soft_time_limit,
        "CELERY_TASK_SOFT_TIME_LIMIT must not be set: it ends a task with an error, and its message is acknowledged",
    ),
    (
        "portal.E020",
        lambda _conf: all(resolve_transport(scheme) is broker.Transport for scheme in ("redis", "rediss")),
        "kombu must read redis:// with portal.broker.Transport: its own loses the message of a worker that is killed"
        " while it takes it",
    ),
]


def _restore_seconds(options: dict[str, Any]) -> float:
    return float(options.get("unacked_restore_interval", 10) * options.get("unacked_restore_throttle", 10))


@register()
def celery_loses_nothing(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    from portal.celery import app

    problems: list[CheckMessage] = [Error(message, id=id) for id, is_right, message in RULES if not is_right(app.conf)]
    tasks = list(_own_tasks(app))
    longest = (app.conf.task_time_limit or 0) + max((_longest_countdown(task) for task in tasks), default=0)
    if app.conf.broker_transport_options.get("visibility_timeout", 0) <= longest:
        problems.append(
            Error(
                "CELERY_BROKER_TRANSPORT_OPTIONS: visibility_timeout must be above the longest task and the longest"
                f" countdown together, {longest} s: else tasks run twice at once",
                id="portal.E002",
            )
        )
    problems += [
        Error(f"{task.name}: {wrong}; leave it to the settings", id="portal.E016")
        for task in tasks
        for wrong in _own_ways(task, app.conf)
    ]
    return problems


def _own_tasks(app: Any) -> Iterator[Any]:
    for module in ("ingress.tasks", "workflows.tasks"):
        import_module(module)  # a web process has not done it
    return (task for name, task in app.tasks.items() if not name.startswith("celery."))


def _longest_countdown(task: Any) -> float:
    return float(getattr(task, "retry_backoff_max", 600)) if getattr(task, "autoretry_for", None) else 0


def _own_ways(task: Any, conf: Any) -> Iterator[str]:
    """Options of a task that put it outside of the rules above."""
    for name, right in (("acks_late", True), ("reject_on_worker_lost", True), ("acks_on_timeout", False)):
        if getattr(task, name) is not right and getattr(conf, f"task_{name}") is right:
            yield f"{name} must be {right}"
    if conf.task_time_limit and (task.time_limit or 0) > conf.task_time_limit:
        yield "its time_limit is above CELERY_TASK_TIME_LIMIT"
    if task.soft_time_limit and not conf.task_soft_time_limit:
        yield "it has a soft_time_limit, which acknowledges its message"


@register()
def database_does_not_hang(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A statement ends before the task that waits for it is killed."""
    from portal.celery import app

    found = re.search(r"statement_timeout=(\d+)", settings.DATABASES["default"].get("OPTIONS", {}).get("options", ""))
    seconds = int(found[1]) / 1000 if found else 0
    if 0 < seconds < (app.conf.task_time_limit or 0):
        return []
    return [
        Error(
            "DATABASES['default'] must set a statement_timeout below CELERY_TASK_TIME_LIMIT: a task that waits for a lock"
            " is killed otherwise, where it would fail and be tried again",
            id="portal.E017",
        )
    ]


@register()
def pool_has_no_persistent_connections(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.DATABASES["default"].get("CONN_MAX_AGE") and _has_pool():
        return [Error("CONN_MAX_AGE must be 0 with a pool", id="portal.E003")]
    return []


def _has_pool() -> bool:
    return bool(settings.DATABASES["default"].get("OPTIONS", {}).get("pool"))


def worker_problems(worker: Any) -> list[CheckMessage]:
    """What a Celery worker's own command line or environment makes wrong. Not a system check: only a worker knows."""
    problems: list[CheckMessage] = []
    pool = worker.pool_cls if isinstance(worker.pool_cls, str) else worker.pool_cls.__module__
    if "prefork" in pool and _has_pool():
        problems.append(
            Error(
                "DATABASE_POOL must be off for a Celery worker: its children are forked, and the pool is closed after"
                " every task",
                id="portal.E018",
            )
        )
    if len(worker.app.amqp.queues.consume_from) != 1:
        problems.append(
            Error(
                "a worker listens to one queue (--queues): messages of several are popped, and one that is being taken"
                " is lost with the worker",
                id="portal.E021",
            )
        )
    limit = worker.app.conf.task_time_limit
    if worker.prefetch_multiplier != 1 or worker.soft_time_limit or not worker.time_limit or worker.time_limit > limit:
        problems.append(
            Error(
                "the worker's command line must not set --prefetch-multiplier or --soft-time-limit, nor a --time-limit"
                f" above CELERY_TASK_TIME_LIMIT ({limit} s)",
                id="portal.E019",
            )
        )
    return problems

"""System checks with stable ids. They refuse settings with which Celery or the database could lose work.

The checks read Celery's effective configuration, because Celery's own environment variables (CELERY_BROKER_URL) and its
command line can override the settings. `manage.py` commands, the Celery worker and beat do not start if a check fails
(`portal/celery.py`).
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

# One rule for each setting: check id, a function that checks Celery's configuration, and the error message.
Rule = tuple[str, Callable[[Any], bool], str]
RULES: list[Rule] = [
    (
        "portal.E001",
        lambda conf: conf.task_acks_late is True,
        "CELERY_TASK_ACKS_LATE must be True. Otherwise a message is deleted when its task starts.",
    ),
    (
        "portal.E004",
        lambda conf: conf.task_reject_on_worker_lost is True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST must be True. Otherwise the message of a killed child process is"
        " acknowledged.",
    ),
    (
        "portal.E005",
        lambda conf: conf.task_acks_on_timeout is False,
        "CELERY_TASK_ACKS_ON_TIMEOUT must be False. Otherwise the message of a task that hangs is acknowledged.",
    ),
    (
        "portal.E006",
        lambda conf: conf.worker_prefetch_multiplier == 1,
        "CELERY_WORKER_PREFETCH_MULTIPLIER must be 1. Otherwise messages wait in a busy worker longer than their"
        " visibility timeout.",
    ),
    (
        "portal.E007",
        lambda conf: conf.task_publish_retry is False,
        "CELERY_TASK_PUBLISH_RETRY must be False. Otherwise a process blocks while the broker is down.",
    ),
    (
        "portal.E008",
        lambda conf: conf.task_always_eager is False,
        "CELERY_TASK_ALWAYS_EAGER must be False. Otherwise tasks run in the sending process, without a message.",
    ),
    (
        "portal.E009",
        lambda conf: {conf.broker_url, conf.broker_read_url, conf.broker_write_url} == {settings.REDIS_URL},
        "The broker must be the Redis of REDIS_URL, because queue notifications are sent to it. Unset"
        " CELERY_BROKER_URL, CELERY_BROKER_READ_URL and CELERY_BROKER_WRITE_URL, also in the environment.",
    ),
    (
        "portal.E010",
        lambda conf: all(
            0 < (conf.broker_transport_options.get(name) or 0) <= SOCKET_SECONDS
            for name in ("socket_timeout", "socket_connect_timeout")
        ),
        "CELERY_BROKER_TRANSPORT_OPTIONS must set socket_timeout and socket_connect_timeout to at most"
        f" {SOCKET_SECONDS} s. Otherwise a process waits without limit for a broker that hangs.",
    ),
    (
        "portal.E011",
        lambda conf: _restore_seconds(conf.broker_transport_options) <= RESTORE_SECONDS,
        "CELERY_BROKER_TRANSPORT_OPTIONS: unacked_restore_interval * unacked_restore_throttle must be at most"
        f" {RESTORE_SECONDS} s. The messages of a killed worker return with this delay.",
    ),
    (
        "portal.E012",
        lambda conf: conf.broker_transport_options.get("unacked_mutex_expire", 300) <= MUTEX_SECONDS,
        f"CELERY_BROKER_TRANSPORT_OPTIONS must set unacked_mutex_expire to at most {MUTEX_SECONDS} s. If a worker is"
        " killed while it restores messages, no other worker can restore messages for this time.",
    ),
    (
        "portal.E013",
        lambda conf: conf.broker_transport_options.get("ack_emulation", True) is True,
        "CELERY_BROKER_TRANSPORT_OPTIONS must not switch off ack_emulation. Otherwise Redis deletes a message when it"
        " is read.",
    ),
    (
        "portal.E014",
        lambda conf: bool(conf.task_time_limit),
        "CELERY_TASK_TIME_LIMIT must be set. Otherwise a task that hangs blocks its child process without limit.",
    ),
    (
        "portal.E015",
        lambda conf: not conf.task_soft_time_limit,
        "CELERY_TASK_SOFT_TIME_LIMIT must not be set. It ends a task with an error, and the message is acknowledged.",
    ),
    (
        "portal.E020",
        lambda _conf: all(resolve_transport(scheme) is broker.Transport for scheme in ("redis", "rediss")),
        "kombu must use portal.broker.Transport for redis:// and rediss://. kombu's own transport loses a message if"
        " the"
        " worker is killed while it receives the message.",
    ),
]


def _restore_seconds(options: dict[str, Any]) -> float:
    return float(options.get("unacked_restore_interval", 10) * options.get("unacked_restore_throttle", 10))


@register()
def celery_loses_nothing(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check Celery's configuration, and the options of each task."""
    from portal.celery import app

    problems: list[CheckMessage] = [Error(message, id=id) for id, is_right, message in RULES if not is_right(app.conf)]
    tasks = list(_own_tasks(app))
    longest = (app.conf.task_time_limit or 0) + max((_longest_countdown(task) for task in tasks), default=0)
    if app.conf.broker_transport_options.get("visibility_timeout", 0) <= longest:
        problems.append(
            Error(
                "CELERY_BROKER_TRANSPORT_OPTIONS: visibility_timeout must be more than the longest task plus the"
                " longest"
                f" countdown ({longest} s). Otherwise a task can run twice at the same time.",
                id="portal.E002",
            )
        )
    problems += [
        Error(f"{task.name}: {wrong}. Remove the option from the task; the settings apply then.", id="portal.E016")
        for task in tasks
        for wrong in _wrong_options(task, app.conf)
    ]
    return problems


def _own_tasks(app: Any) -> Iterator[Any]:
    for module in ("ingress.tasks", "workflows.tasks"):
        import_module(module)  # a web process has not imported this module yet
    return (task for name, task in app.tasks.items() if not name.startswith("celery."))


def _longest_countdown(task: Any) -> float:
    return float(getattr(task, "retry_backoff_max", 600)) if getattr(task, "autoretry_for", None) else 0


def _wrong_options(task: Any, conf: Any) -> Iterator[str]:
    """Yield the options of a task that break the rules above."""
    for name, right in (("acks_late", True), ("reject_on_worker_lost", True), ("acks_on_timeout", False)):
        if getattr(task, name) is not right and getattr(conf, f"task_{name}") is right:
            yield f"{name} must be {right}"
    if conf.task_time_limit and (task.time_limit or 0) > conf.task_time_limit:
        yield "time_limit is higher than CELERY_TASK_TIME_LIMIT"
    if task.soft_time_limit and not conf.task_soft_time_limit:
        yield "soft_time_limit must not be set, because it acknowledges the message"


@register()
def database_does_not_hang(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check the time limit of statements. A statement must end before Celery kills the task that waits for it."""
    from portal.celery import app

    found = re.search(r"statement_timeout=(\d+)", settings.DATABASES["default"].get("OPTIONS", {}).get("options", ""))
    seconds = int(found[1]) / 1000 if found else 0
    if 0 < seconds < (app.conf.task_time_limit or 0):
        return []
    return [
        Error(
            "DATABASES['default'] must set a statement_timeout below CELERY_TASK_TIME_LIMIT. Then a task that waits"
            " for a"
            " lock fails and is retried. Otherwise it is killed.",
            id="portal.E017",
        )
    ]


@register()
def pool_has_no_persistent_connections(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that persistent connections are off if a connection pool is used."""
    if settings.DATABASES["default"].get("CONN_MAX_AGE") and _has_pool():
        return [
            Error(
                "CONN_MAX_AGE must be 0 with a connection pool, because the pool keeps the connections.",
                id="portal.E003",
            )
        ]
    return []


def _has_pool() -> bool:
    return bool(settings.DATABASES["default"].get("OPTIONS", {}).get("pool"))


def worker_problems(worker: Any) -> list[CheckMessage]:
    """Return the errors in the command line and environment of a Celery worker.

    System checks cannot see these values.
    """
    problems: list[CheckMessage] = []
    pool = worker.pool_cls if isinstance(worker.pool_cls, str) else worker.pool_cls.__module__
    if "prefork" in pool and _has_pool():
        problems.append(
            Error(
                "DATABASE_POOL must be off for a Celery worker. A forked child closes its pool after every task.",
                id="portal.E018",
            )
        )
    if len(worker.app.amqp.queues.consume_from) != 1:
        problems.append(
            Error(
                "A worker must read exactly one queue (--queues). With several queues, a message is lost if the"
                " worker is"
                " killed while it receives the message.",
                id="portal.E021",
            )
        )
    limit = worker.app.conf.task_time_limit
    if worker.prefetch_multiplier != 1 or worker.soft_time_limit or not worker.time_limit or worker.time_limit > limit:
        problems.append(
            Error(
                "The worker's command line must not set --prefetch-multiplier or --soft-time-limit, or a --time-limit"
                " above"
                f" CELERY_TASK_TIME_LIMIT ({limit} s). These options can lose messages.",
                id="portal.E019",
            )
        )
    return problems

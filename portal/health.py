"""Health pages: `/healthz` checks the process, `/readyz` also checks its servers, and `/metrics` counts problems.

Source: docs/reference/api.md#health
"""

from collections.abc import Callable

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from portal.broker import dead_list
from portal.celery_workers import CeleryState, celery_state, redis_client
from workflows.selectors.counts import problem_counts
from workflows.temporal import gateway

OLD_MESSAGE_SECONDS = 30
NO_CELERY_WORKER = (
    "no Celery worker is alive; events are stored but not delivered, and bulk jobs do not start; start a worker with "
    "`celery -A portal worker`"
)
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200. A response shows that the process itself works. Nothing else is checked."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Return status 200 if all checks pass, otherwise 503. The body has the result of each check."""
    checks = health_checks()
    is_ready = all(result == "ok" for result in checks.values())
    body = {"status": "ok" if is_ready else "not ready", "checks": checks, "warnings": health_warnings()}
    return JsonResponse(body, status=200 if is_ready else 503)


def health_warnings() -> list[str]:
    """Return problems that do not stop the portal.

    They are actions that no worker has, runs that Temporal cannot move, Celery without a worker or with old messages,
    and entries in the Celery dead list.
    """
    return [*_database_warnings(), *_celery_warnings(), *_dead_list_warnings()]


def _celery_warnings() -> list[str]:
    """Return warnings, because the web process works without Celery: it stores events, which are delivered later."""
    state = _celery_state()
    if state is None:
        return []
    age = state.oldest_seconds or 0.0
    old = [f"the oldest Celery message has waited for {age:.0f} s"] if age > OLD_MESSAGE_SECONDS else []
    return old if state.workers else [NO_CELERY_WORKER, *old]


def _celery_state() -> CeleryState | None:
    try:
        return celery_state()
    except (redis.RedisError, OSError):
        return None  # the check of the broker reports the outage


def _database_warnings() -> list[str]:
    try:
        problems = problem_counts()
    except (DatabaseError, ImproperlyConfigured):
        return []  # the check of the database reports the problem
    warnings = [f"no worker has {action}" for action in problems.missing_actions]
    if problems.stuck_runs:
        warnings.append(f"Temporal cannot move {problems.stuck_runs} runs; the run pages name the cause")
    return warnings


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the numbers of problems that the reconciler and the workers have found, in Prometheus' text format.

    The numbers cover all tenants, and no label names a tenant. The status is 503 if the database does not respond. If
    Redis does not respond, its numbers are left out.
    """
    try:
        problems = problem_counts()
    except DatabaseError as error:
        return HttpResponse(f"# the database does not respond: {error}\n", status=503, content_type=METRICS_TYPE)
    values = {
        "pointsman_stuck_runs": ("Open runs that Temporal cannot move.", problems.stuck_runs),
        "pointsman_drifted_runs": ("Open runs with drift, which the reconciler cannot repair.", problems.marked_runs),
        "pointsman_unknown_commands": ("Commands whose outcome is unknown.", problems.unknown_commands),
        "pointsman_missing_actions": (
            "Actions that runs wait for and that no worker has.",
            len(problems.missing_actions),
        ),
        "pointsman_oldest_starting_run_seconds": (
            "Age of the oldest run that has no record yet.",
            round(problems.oldest_starting_seconds, 1),
        ),
    }
    dead = _dead_entry_count()
    if dead is not None:
        values["pointsman_dead_celery_entries"] = ("Entries of the Celery queue that are not messages.", dead)
    state = _celery_state()
    if state is not None:
        values["pointsman_celery_workers"] = ("Celery workers that are alive.", state.workers)
        values["pointsman_oldest_celery_message_seconds"] = (
            "Age of the oldest message that waits for a Celery worker.",
            round(state.oldest_seconds or 0.0, 1),
        )
    lines = [f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n" for name, (text, value) in values.items()]
    return HttpResponse("".join(lines), content_type=METRICS_TYPE)


def _dead_list_warnings() -> list[str]:
    count = _dead_entry_count()
    if not count:
        return []
    name = dead_list(settings.CELERY_TASK_DEFAULT_QUEUE)
    return [f"entries of the Redis list {name}, which are no Celery messages: {count}; the log of the worker says why"]


def _dead_entry_count() -> int | None:
    """Return the number of entries of the Celery queue that are not messages, or None if Redis does not respond."""
    try:
        with redis_client() as client:
            return int(client.llen(dead_list(settings.CELERY_TASK_DEFAULT_QUEUE)))
    except redis.RedisError:
        return None  # the check of the broker reports the outage


def health_checks() -> dict[str, str]:
    """Return `ok` or the problem for each server that the portal needs. Cost: one call to each server."""
    return {name: _result_of(check) for name, check in CHECKS.items()}


def _result_of(check: Callable[[], str]) -> str:
    try:
        return check()
    except (DatabaseError, redis.RedisError, gateway.TemporalError, OSError) as error:
        return f"down: {str(error)[:200]}"
    except ImproperlyConfigured as error:
        return str(error)


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _broker() -> str:
    with redis_client() as client:
        client.ping()
    return "ok"


def _temporal() -> str:
    gateway.check_reachable()
    return "ok"


def _worker() -> str:
    pollers = gateway.count_pollers()
    return "ok" if pollers else f"no Temporal worker polls the task queue {settings.TEMPORAL_TASK_QUEUE}"


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "broker": _broker,
    "temporal": _temporal,
    "worker": _worker,
}

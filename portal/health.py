"""`/healthz`: the process answers. `/readyz`: what it needs answers too (docs/reference/api.md#health)."""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from workflows.temporal import gateway


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when all checks hold, else 503; each check says `ok` or what is wrong."""
    checks = health_checks()
    is_ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "not ready", "checks": checks}, status=200 if is_ready else 503
    )


def health_checks() -> dict[str, str]:
    """`ok`, or what is wrong, for each server that the portal needs. Cost: a call to each, at most a few seconds."""
    return {name: _answer(check) for name, check in CHECKS.items()}


def _answer(check: Callable[[], str]) -> str:
    try:
        return check()
    except (DatabaseError, redis.RedisError, gateway.TemporalError, OSError) as error:
        return f"down: {str(error)[:200]}"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _broker() -> str:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
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

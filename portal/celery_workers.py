"""Celery workers that are alive, the messages that wait for them, and the last sweep. Reading all is one call to Redis.

Each worker records the time of its heartbeat in a sorted set. Celery's `inspect ping` is not used, because its caller
must wait for the full timeout: it does not know how many workers will respond. The times are those of Redis, so the
clocks of the hosts need not agree.

A message carries the time at which the portal sent it. Messages of other producers have no such time.

Source: docs/reference/screens.md#dashboard
"""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

# Celery sends a heartbeat every 2 s. A worker that has recorded none for this time has ended, or cannot reach Redis.
LIVE_SECONDS = 15
SENT_AT = "sentAt"
# Messages at the end of the queue that are searched for a time of sending.
SEARCHED = 5


@dataclass(frozen=True)
class CeleryState:
    """Number of live workers, and of waiting messages.

    Units: `oldest_seconds` is the age of the oldest waiting message in seconds. It is None if no message waits, or if
    the oldest ones come from other producers. `swept_seconds` is the time since the last sweep in seconds. It is None
    if Redis knows of no sweep.
    """

    workers: int
    messages: int
    oldest_seconds: float | None
    swept_seconds: float | None


def redis_client() -> redis.Redis:
    """Return a client of the broker that waits at most 2 s for a response."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def worker_record(hostname: str) -> None:
    """Record that this worker is alive. An outage of Redis is logged, and the next heartbeat tries again."""
    try:
        with redis_client() as client:
            now = client.time()[0]
            with client.pipeline() as pipe:
                pipe.zadd(_key(), {hostname: now})
                pipe.zremrangebyscore(_key(), "-inf", now - LIVE_SECONDS)
                pipe.expire(_key(), LIVE_SECONDS).execute()
    except (redis.RedisError, OSError) as error:
        logger.warning("the heartbeat of this worker was not recorded: %s; the next heartbeat tries again", error)


def sweep_record() -> None:
    """Record that a sweep has ended. An outage of Redis is logged, and the next sweep tries again."""
    try:
        with redis_client() as client:
            client.set(_key("sweep"), client.time()[0])
    except (redis.RedisError, OSError) as error:
        logger.warning("the end of this sweep was not recorded: %s; the next sweep tries again", error)


def message_stamp(headers: dict[str, Any] | None) -> None:
    """Add the time of sending to the headers of a message, so that its age is known while it waits."""
    if headers is not None:
        headers[SENT_AT] = time.time()


def celery_state() -> CeleryState:
    """Return the live workers and the waiting messages. Errors: RedisError, OSError if Redis does not respond."""
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    with redis_client() as client:
        now = client.time()[0]
        with client.pipeline() as pipe:
            pipe.zcount(_key(), now - LIVE_SECONDS, "+inf")
            pipe.llen(queue)
            pipe.lrange(queue, -SEARCHED, -1)
            pipe.get(_key("sweep"))
            workers, messages, oldest, swept_at = pipe.execute()
    times = [at for at in map(_sent_at, oldest) if at is not None]
    age = max(0.0, time.time() - min(times)) if times else None
    return CeleryState(int(workers), int(messages), age, None if swept_at is None else max(0.0, now - float(swept_at)))


def _sent_at(entry: bytes) -> float | None:
    """Return the time at which the portal sent a message, or None for a message of another producer."""
    try:
        at = json.loads(entry)["headers"][SENT_AT]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return float(at) if isinstance(at, int | float) else None


def _key(name: str = "workers") -> str:
    return f"pointsman:{name}:{settings.CELERY_TASK_DEFAULT_QUEUE}"

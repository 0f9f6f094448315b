"""Tasks that a test holds at a point: `celery -A portal worker -I tests.support.no_loss_tasks`, in a process of its own."""

import os
import uuid
from typing import Any

import redis
from celery import shared_task
from django.conf import settings

HOLD_SECONDS = 60


def _client() -> "redis.Redis[bytes]":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=None)


@shared_task(name="tests.hold")
def hold(key: str) -> None:
    """Tells its process, and ends when something was pushed to `<key>:open`."""
    client = _client()
    client.rpush(f"{key}:begun", os.getpid())
    if client.blpop([f"{key}:open"], timeout=HOLD_SECONDS) is None:
        raise TimeoutError("nobody has opened")
    client.rpush(f"{key}:open", "1")  # for a repeat
    client.rpush(f"{key}:done", os.getpid())


@shared_task(name="tests.retry", bind=True)
def retry(self: Any, key: str) -> None:
    """The first time it cannot send the message of its retry."""
    client = _client()
    if client.rpush(f"{key}:begun", os.getpid()) == 1:
        raise self.retry(countdown=0, serializer="no such serializer")
    client.rpush(f"{key}:done", os.getpid())


@shared_task(name="tests.ring")
def notify_dispatcher(queue: str, count: int) -> None:
    """Many rings, the last thing that its process does."""
    from workflows import dispatch_notification

    settings.CELERY_TASK_DEFAULT_QUEUE = queue
    for _ in range(count):
        dispatch_notification.notify_dispatcher(uuid.uuid4())

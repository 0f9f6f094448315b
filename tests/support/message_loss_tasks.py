"""Celery tasks for the tests of message loss: `celery -A portal worker -I tests.support.message_loss_tasks`.

The worker runs in a process of its own, and the test controls the tasks through Redis lists.
"""

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
    """Push the process id to `<key>:begun`, wait for a value in `<key>:open`, then push the id to `<key>:done`."""
    client = _client()
    client.rpush(f"{key}:begun", os.getpid())
    if client.blpop([f"{key}:open"], timeout=HOLD_SECONDS) is None:
        raise TimeoutError(f"the test pushed nothing to {key}:open within {HOLD_SECONDS} s")
    client.rpush(f"{key}:open", "1")  # for a second delivery of the same message
    client.rpush(f"{key}:done", os.getpid())


@shared_task(name="tests.retry", bind=True)
def retry(self: Any, key: str) -> None:
    """Retry once with a message that cannot be sent. The next execution ends."""
    client = _client()
    if client.rpush(f"{key}:begun", os.getpid()) == 1:
        raise self.retry(countdown=0, serializer="no such serializer")
    client.rpush(f"{key}:done", os.getpid())


@shared_task(name="tests.ring")
def notify_dispatcher(queue: str, count: int) -> None:
    """Send queue notifications for `count` tenants. This is the last work of the process before it exits."""
    from workflows import dispatch_notification

    settings.CELERY_TASK_DEFAULT_QUEUE = queue
    for _ in range(count):
        dispatch_notification.notify_dispatcher(uuid.uuid4())

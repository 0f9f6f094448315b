"""Queues of Celery that belong to one test."""

from types import SimpleNamespace

import pytest
from django.conf import settings

from portal import celery_workers


def celery_state_reads(queue: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let `celery_state` and `worker_record` use this queue. Return its name.

    A test cannot change the setting for this: the workers in threads of this process notify the dispatcher about runs
    of earlier tests, and their messages would arrive in the same queue.
    """
    names = SimpleNamespace(CELERY_TASK_DEFAULT_QUEUE=queue, REDIS_URL=settings.REDIS_URL)
    monkeypatch.setattr(celery_workers, "settings", names)
    return queue

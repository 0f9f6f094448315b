"""Handing work to Celery after it was stored. The broker may be down: the sweeper is the recovery, not a retry here."""

import logging
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

ROUTE_EVENT = "ingress.route_event"
DELIVER = "ingress.deliver"


def enqueue(task: str, *args: Any) -> bool:
    """Send one message, once, without a retry. False: the broker did not take it, and the sweeper will find the work."""
    try:
        current_app.send_task(
            task, args=args, queue=settings.CELERY_TASK_DEFAULT_QUEUE, ignore_result=True, retry=False
        )
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("the broker did not take %s: %s; the sweeper will do it", task, error)
        return False
    return True


def enqueue_on_commit(task: str, *args: Any) -> None:
    transaction.on_commit(lambda: enqueue(task, *args))

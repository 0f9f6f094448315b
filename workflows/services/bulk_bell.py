"""Telling a Celery worker that a bulk job has work. A message may be lost: the sweep finds running jobs that nobody works on.

From a request it is sent by a thread, so that nobody waits for the broker.
"""

import logging
import threading
import uuid

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

WORK_BULK = "workflows.work_bulk"

# One attempt with short timeouts, on a connection of its own: a pooled one would be shared with the children of a fork.
_TRANSPORT = {"socket_connect_timeout": 0.5, "socket_timeout": 1.0, "max_retries": 0}
_FAULTS = (OperationalError, RedisError, OSError)


def bulk_ring(job_id: uuid.UUID) -> None:
    """Never waits for the broker, never fails for it. To be called after the commit."""
    try:
        threading.Thread(target=bulk_send, args=(job_id,), name="bulk-bell").start()
    except RuntimeError as error:  # no more threads, or the interpreter is about to end
        logger.warning("job %s was not rung for: %s; the sweep finds it", job_id, error)


def bulk_send(job_id: uuid.UUID, seconds: float = 0) -> None:
    """One message, to be taken after so many seconds."""
    try:
        with current_app.connection_for_write(settings.REDIS_URL, transport_options=_TRANSPORT) as connection:
            current_app.send_task(
                WORK_BULK,
                args=(str(job_id),),
                queue=settings.CELERY_TASK_DEFAULT_QUEUE,
                countdown=seconds or None,
                connection=connection,
                ignore_result=True,
                retry=False,
                add_to_parent=False,
            )
    except _FAULTS as error:
        logger.warning("the broker took no message for job %s: %s; the sweep finds it", job_id, error)

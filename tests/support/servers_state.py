"""States of Temporal and Redis as the pages read them, without the servers."""

from datetime import timedelta

from django.utils import timezone

from portal.celery_workers import CeleryState
from portal.pages.system_health import Servers
from workflows.temporal.task_queues import TaskQueueState


def servers(
    *,
    polled: tuple[float, float] | None = (1, 1),
    queues: tuple[TaskQueueState, TaskQueueState] | None = None,
    workers: int | None = 1,
) -> Servers:
    """Return the state of servers that work, except for what is given.

    `polled`: seconds since the last poll of each task queue, or None if Temporal does not respond. `queues` replaces
    it. `workers`: number of Celery workers, or None if Redis does not respond.
    """
    if queues is None and polled is not None:
        queues = _polled(polled[0]), _polled(polled[1])
    celery = None if workers is None else CeleryState(workers, 0, None, swept_seconds=3.0)
    return Servers(queues, "" if queues else "refused", celery, "" if celery else "refused")


def _polled(seconds: float) -> TaskQueueState:
    at = timezone.now() - timedelta(seconds=seconds)
    return TaskQueueState(pollers=1, polled_at=at, backlog=0, backlog_age_seconds=0.0)

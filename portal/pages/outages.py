"""Outages that stop the open runs of all tenants. The page of an open run shows them in its answer box.

Source: docs/reference/screens.md#run-page
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from portal.pages.system_health import (
    QUIET_POLL_SECONDS,
    START_CELERY,
    START_REDIS,
    START_TEMPORAL,
    START_WORKER,
    Servers,
    servers,
)
from workflows.temporal.task_queues import TaskQueueState


@dataclass(frozen=True)
class Outage:
    """A part of the system that does not work.

    `problem` and `to_do` are sentences. `stops_runs`: no run progresses. Otherwise only events and starts wait.
    `since`: the last poll, or the time since which a task waits. It is None if Temporal knows neither.
    """

    problem: str
    to_do: str
    stops_runs: bool
    since: datetime | None = None


def outages() -> list[Outage]:
    """Return the outages, those of Temporal first. The state of the servers is kept as for the system health."""
    found = servers()
    return [*_of_temporal(found), *_of_celery(found)]


def _of_temporal(found: Servers) -> Iterator[Outage]:
    if found.queues is None:
        yield Outage(f"Temporal does not respond: {found.temporal_problem}.", START_TEMPORAL, True)
        return
    # A worker polls both queues. The first queue without one is named.
    for queue, tasks in zip(found.queues, ("workflow tasks", "activities"), strict=True):
        quiet = timezone.now() - timedelta(seconds=QUIET_POLL_SECONDS)
        if not queue.pollers or queue.polled_at is None or queue.polled_at < quiet:
            where = f"the task queue {settings.TEMPORAL_TASK_QUEUE} for {tasks}"
            yield Outage(f"No Temporal worker polls {where}.", START_WORKER, True, _quiet_since(queue))
            return


def _quiet_since(queue: TaskQueueState) -> datetime | None:
    if queue.polled_at is not None or not queue.backlog:
        return queue.polled_at
    return timezone.now() - timedelta(seconds=queue.backlog_age_seconds)


def _of_celery(found: Servers) -> Iterator[Outage]:
    if found.celery is None:
        yield Outage(f"Redis does not respond: {found.broker_problem}.", START_REDIS, False)
    elif not found.celery.workers:
        yield Outage("No Celery worker is running.", START_CELERY, False)

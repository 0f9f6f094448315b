"""State of the task queues in Temporal: pollers and backlog (docs/architecture.md#packages)."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from workflows.temporal.connection import call_repeatable


@dataclass(frozen=True)
class TaskQueueState:
    """One task queue: its pollers, the time of the last poll, and the tasks that no worker has taken yet.

    A worker that has stopped is still a poller for a few minutes, because the server remembers it for this time.
    """

    pollers: int
    polled_at: datetime | None
    backlog: int
    backlog_age_seconds: float


def describe_task_queues(*, seconds: float) -> tuple[TaskQueueState, TaskQueueState]:
    """Return the state of the queue of workflow tasks and of the queue of activities.

    Errors: TemporalTimeout after `seconds`; TemporalUnreachable.
    """
    workflow_tasks, activities = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY

    async def work(client: Client) -> tuple[TaskQueueState, TaskQueueState]:
        return await asyncio.gather(_describe(client, workflow_tasks, seconds), _describe(client, activities, seconds))

    return call_repeatable(work)


async def _describe(client: Client, kind: TaskQueueType.ValueType, seconds: float) -> TaskQueueState:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=settings.TEMPORAL_TASK_QUEUE),
        task_queue_type=kind,
        report_stats=True,
    )
    response = await client.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=seconds))
    polls = [poller.last_access_time.ToDatetime(tzinfo=UTC) for poller in response.pollers]
    return TaskQueueState(
        pollers=len(response.pollers),
        polled_at=max(polls, default=None),
        backlog=response.stats.approximate_backlog_count,
        backlog_age_seconds=response.stats.approximate_backlog_age.ToTimedelta().total_seconds(),
    )

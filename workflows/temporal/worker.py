"""The Temporal worker of this portal: its workflows, activities and limits."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from temporalio.client import Client
from temporalio.worker import Worker

from workflows.temporal.activities.action import run_action_activity
from workflows.temporal.activities.children import launch_child_activity
from workflows.temporal.activities.records import (
    open_wait_activity,
    search_events_activity,
    write_records_activity,
)
from workflows.temporal.activities.schedules import fire_schedule_activity
from workflows.temporal.interceptors import DatabaseScopeInterceptor
from workflows.temporal.run_workflow import RunWorkflow
from workflows.temporal.sandbox import workflow_runner
from workflows.temporal.schedule_workflow import ScheduleWorkflow

ACTIVITIES: list[Callable[..., Any]] = [
    run_action_activity,
    launch_child_activity,
    open_wait_activity,
    search_events_activity,
    write_records_activity,
    fire_schedule_activity,
]
# If more workflow tasks run at once than there are cores, each task takes longer than the deadlock detector allows.
MAX_WORKFLOW_TASKS = 4


def build_worker(client: Client, executor: ThreadPoolExecutor, *, task_queue: str) -> Worker:
    """Build a worker.

    `executor` needs TEMPORAL_ACTIVITY_THREADS threads, so that each running activity has a thread.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[RunWorkflow, ScheduleWorkflow],
        activities=ACTIVITIES,
        activity_executor=executor,
        max_concurrent_activities=settings.TEMPORAL_ACTIVITY_THREADS,
        max_concurrent_workflow_tasks=MAX_WORKFLOW_TASKS,
        workflow_runner=workflow_runner(),
        interceptors=[DatabaseScopeInterceptor()],
        # After a worker was killed, the server waits for this time before it gives the task to another worker.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=settings.TEMPORAL_DRAIN_SECONDS),
    )

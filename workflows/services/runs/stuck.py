"""Runs that Temporal cannot move, because their workflow task fails or times out again and again.

Temporal repeats a failed workflow task until it succeeds. So the run neither advances nor reacts to events or to a
cancel, and its rows stay as they are.

Source: docs/reference/authority.md#stuck-runs
"""

from dataclasses import dataclass

from django.utils import timezone

from workflows.temporal import gateway
from workflows.temporal.task_failures import StuckTask, read_last_task_failure

# A task can fail once or twice for a passing reason, for example while workers are replaced.
STUCK_FROM_ATTEMPT = 3
CANNOT_MOVE = "Temporal cannot move this run"


@dataclass(frozen=True)
class PendingTaskReport:
    """The pending workflow task of a run, with the cause of its last failure.

    `task` is None if no workflow task is pending. `stuck` is None if Temporal can move the run.
    """

    task: gateway.PendingTask | None = None
    stuck: StuckTask | None = None


def pending_task_report(execution: gateway.Execution, *, workflow_id: str) -> PendingTaskReport:
    """Return the pending workflow task, and why Temporal cannot move the run.

    Errors: TemporalError.
    Cost: one call if the task has failed several times, otherwise none.
    """
    task = execution.pending_task
    if task is None or task.attempt < STUCK_FROM_ATTEMPT:
        return PendingTaskReport(task)
    failure = read_last_task_failure(workflow_id=workflow_id, run_id=execution.run_id)
    if failure is None:
        cause = "unknown: the end of the history contains no failure of a workflow task"
        return PendingTaskReport(task, StuckTask(task.scheduled_at or timezone.now(), task.attempt, cause))
    cause = f"{failure.cause}: {failure.message}" if failure.message else failure.cause
    return PendingTaskReport(task, StuckTask(failure.at, task.attempt, cause))


def stuck_text(stuck: StuckTask) -> str:
    """Return a sentence for people."""
    return (
        f"{CANNOT_MOVE}: its workflow task is at attempt {stuck.attempts} and has failed or timed out since"
        f" {stuck.since:%Y-%m-%d %H:%M:%S} UTC. Last cause: {stuck.cause}"
    )

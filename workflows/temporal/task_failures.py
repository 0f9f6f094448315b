"""The last failure of a workflow task, read from the end of the history.

Temporal writes only the first failure of a task into the history. It repeats the task without further events. The
number of attempts is in the description of the workflow (`gateway.describe_run`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client

from workflows.temporal import connection
from workflows.temporal.codec import PayloadDamaged, PayloadKeyUnknown

# Number of events that are read, from the end of the history. Events that arrive after the failure are signals, updates
# and ends of activities.
PAGE = 200
MAX_MESSAGE_LENGTH = 300
FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
TIMED_OUT = EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT


@dataclass(frozen=True)
class TaskFailure:
    """Failure of a workflow task.

    `cause` is Temporal's term for the cause, for example `NON_DETERMINISTIC_ERROR`. `message` is the first line of the
    worker's message. It is empty after a timeout.
    """

    at: datetime
    cause: str
    message: str = ""


@dataclass(frozen=True)
class StuckTask:
    """Workflow task that failed or timed out in several attempts in a row, so that Temporal cannot move the run.

    `since`: time of the first attempt. `cause`: cause of the last failure, for people. It contains no payload.
    """

    since: datetime
    attempts: int
    cause: str


def read_last_task_failure(*, workflow_id: str, run_id: str) -> TaskFailure | None:
    """Return the last failure of a workflow task. Return None if the end of the history has none.

    Errors: TemporalNotFound; other TemporalErrors.
    Cost: one call.
    """

    async def work(client: Client) -> TaskFailure | None:
        response = await client.workflow_service.get_workflow_execution_history_reverse(
            GetWorkflowExecutionHistoryReverseRequest(
                namespace=client.namespace,
                execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                maximum_page_size=PAGE,
            ),
            timeout=connection.timeout(),
        )
        failed = (event for event in response.history.events if event.event_type in (FAILED, TIMED_OUT))
        event = next(failed, None)
        return None if event is None else await _failure_of(client, event)

    return connection.call_repeatable(work)


async def _failure_of(client: Client, event: HistoryEvent) -> TaskFailure:
    at = event.event_time.ToDatetime(tzinfo=UTC)
    if event.event_type == TIMED_OUT:
        kind = TimeoutType.Name(event.workflow_task_timed_out_event_attributes.timeout_type)
        return TaskFailure(at, f"TIMED_OUT_{kind.removeprefix('TIMEOUT_TYPE_')}")
    failed = event.workflow_task_failed_event_attributes
    cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
    try:
        message = str(await client.data_converter.decode_failure(failed.failure))
    except (PayloadKeyUnknown, PayloadDamaged) as error:
        message = f"the message cannot be decrypted: {error}"
    # Further lines can contain values of a payload, for example those of a validation error.
    return TaskFailure(at, cause, message.partition("\n")[0][:MAX_MESSAGE_LENGTH])

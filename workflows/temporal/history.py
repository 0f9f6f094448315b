"""The history of one execution in Temporal, decoded: requests and results of its activities, resets, and its close.

Rule: this module only decodes the history and leaves nothing out. `run_history` derives the projection records.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from workflows.temporal import connection, contracts
from workflows.temporal.codec import PayloadDamaged, PayloadKeyUnknown

ActivityOutcome = Literal["open", "completed", "failed", "canceled"]

PAGE = 500
INPUTS: dict[str, type] = {
    contracts.ACTIVITY_RUN_ACTION: contracts.ActionRequest,
    contracts.ACTIVITY_LAUNCH_CHILD: contracts.ChildRequest,
    contracts.ACTIVITY_OPEN_WAIT: contracts.RecordsRequest,
    contracts.ACTIVITY_WRITE_RECORDS: contracts.RecordsRequest,
    contracts.ACTIVITY_SEARCH_EVENTS: contracts.RecordsRequest,
}
RESULTS: dict[str, type] = {
    contracts.ACTIVITY_RUN_ACTION: contracts.ActionReply,
    contracts.ACTIVITY_LAUNCH_CHILD: contracts.ChildLaunch,
}
ENDED: dict[EventType.ValueType, ActivityOutcome] = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "completed",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "failed",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "failed",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "canceled",
}
CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "COMPLETED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "FAILED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "CANCELED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "TERMINATED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "TIMED_OUT",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "CONTINUED_AS_NEW",
}


class HistoryUnreadable(Exception):
    """The history exists but cannot be decoded.

    An operator must act: a payload key is missing, or the workflow was not started by this portal.
    """


@dataclass
class RecordedActivity:
    """One activity as the history records it."""

    event_id: int
    activity: str
    request: Any
    outcome: ActivityOutcome = "open"
    result: Any = None
    failure_type: str = ""
    was_picked_up: bool = False
    ended_event_id: int = 0
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Reset:
    """Reset in a history. Events before `event_id` are from execution `base`; later events are from execution `new`."""

    event_id: int
    base: str
    new: str


@dataclass(frozen=True)
class Close:
    """Close of an execution. `error`: the error with which the workflow failed. `message`: Temporal's own text."""

    status: str
    at: datetime
    error: dict[str, Any] | None = None
    message: str = ""
    continued_as: str = ""


@dataclass
class ExecutionHistory:
    """History of one execution. The key of `activities` is the id of the event that scheduled the activity."""

    run_id: str
    first_run_id: str
    continued_from: str
    started_at: datetime
    run: contracts.RunInput
    origin: dict[str, Any]
    activities: dict[int, RecordedActivity] = field(default_factory=dict)
    resets: list[Reset] = field(default_factory=list)
    updates: set[str] = field(default_factory=set)
    close: Close | None = None
    events: int = 0


def read_history(*, workflow_id: str, run_id: str) -> ExecutionHistory:
    """Read and decode the history of one execution.

    Errors: TemporalNotFound if Temporal has deleted it; other TemporalErrors; HistoryUnreadable.
    Cost: one call for each 500 events.
    """
    history: ExecutionHistory | None = None
    token = b""
    while True:
        history, token = _next_page(workflow_id, run_id, history, token)
        if not token:
            return history


def _next_page(
    workflow_id: str, run_id: str, history: ExecutionHistory | None, token: bytes
) -> tuple[ExecutionHistory, bytes]:
    async def work(client: Client) -> tuple[ExecutionHistory, bytes]:
        page = await client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=client.namespace,
                execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                maximum_page_size=PAGE,
                next_page_token=token,
            ),
            timeout=connection.timeout(),
        )
        events = list(page.history.events)
        so_far = history or await _started(client, run_id, events.pop(0))
        for event in events:
            await _add_event(client, so_far, event)
            so_far.events = event.event_id
        return so_far, page.next_page_token

    try:
        return connection.call_repeatable(work)
    except (PayloadKeyUnknown, PayloadDamaged, TypeError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise HistoryUnreadable(f"the history of {run_id} cannot be read: {type(error).__name__}: {error}") from error


async def _started(client: Client, run_id: str, event: HistoryEvent) -> ExecutionHistory:
    started: WorkflowExecutionStartedEventAttributes = event.workflow_execution_started_event_attributes
    if started.workflow_type.name != contracts.RUN_WORKFLOW:
        raise ValueError(f"it is a workflow of type {started.workflow_type.name!r}, not {contracts.RUN_WORKFLOW!r}")
    origin = started.memo.fields.get(contracts.MEMO_ORIGIN)
    return ExecutionHistory(
        run_id=run_id,
        first_run_id=started.first_execution_run_id,
        continued_from=started.continued_execution_run_id,
        started_at=_time(event),
        run=await _decoded(client, started.input, contracts.RunInput),
        origin=(await client.data_converter.decode([origin]))[0] if origin is not None else {},
    )


async def _add_event(client: Client, history: ExecutionHistory, event: HistoryEvent) -> None:
    kind = event.event_type
    if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        scheduled = event.activity_task_scheduled_event_attributes
        request_type = INPUTS.get(scheduled.activity_type.name)
        if request_type is not None:
            request = await _decoded(client, scheduled.input, request_type)
            history.activities[event.event_id] = RecordedActivity(event.event_id, scheduled.activity_type.name, request)
    elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
        activity = history.activities.get(event.activity_task_started_event_attributes.scheduled_event_id)
        if activity is not None:
            activity.was_picked_up = True
    elif kind in ENDED:
        await _end_activity(client, history, event)
    elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
        failed = event.workflow_task_failed_event_attributes
        if failed.new_run_id:
            history.resets.append(Reset(event.event_id, failed.base_run_id, failed.new_run_id))
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
        accepted = event.workflow_execution_update_accepted_event_attributes
        history.updates.add(accepted.accepted_request.meta.update_id)
    elif kind in CLOSED:
        history.close = await _closed(client, event)


async def _end_activity(client: Client, history: ExecutionHistory, event: HistoryEvent) -> None:
    attributes: Any = getattr(event, str(event.WhichOneof("attributes")))
    activity = history.activities.get(attributes.scheduled_event_id)
    if activity is None:
        return
    activity.outcome = ENDED[event.event_type]
    activity.ended_at, activity.ended_event_id = _time(event), event.event_id
    if activity.outcome == "completed" and activity.activity in RESULTS:
        activity.result = await _decoded(client, attributes.result, RESULTS[activity.activity])
    elif activity.outcome == "failed":
        activity.failure_type = attributes.failure.application_failure_info.type


async def _closed(client: Client, event: HistoryEvent) -> Close:
    status, at = CLOSED[event.event_type], _time(event)
    if status == "FAILED":
        return await _failed(client, event.workflow_execution_failed_event_attributes.failure, at)
    if status == "TERMINATED":
        return Close(status, at, message=event.workflow_execution_terminated_event_attributes.reason)
    if status == "CONTINUED_AS_NEW":
        following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return Close(status, at, continued_as=following)
    return Close(status, at)


async def _failed(client: Client, failure: Failure, at: datetime) -> Close:
    error = await client.data_converter.decode_failure(failure)
    details = error.details if isinstance(error, ApplicationError) else ()
    own = details[0] if details and isinstance(details[0], dict) else None
    return Close("FAILED", at, error=own, message=str(error))


async def _decoded(client: Client, payloads: Payloads, wanted: type) -> Any:
    values = await client.data_converter.decode(payloads.payloads, [wanted])
    return values[0]


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)

"""Calls to Temporal about one run, and the errors of every call (docs/architecture.md#packages).

The modules `updates`, `history` and `listing` hold the other calls. All calls use the client of `connection`. Modules
outside this package import the error classes from here.

Errors:

- TemporalUnreachable: the call was not delivered.
- TemporalTimeout: the outcome of the call is unknown.
- TemporalNotFound: the workflow is unknown or has ended.
- TemporalInvalid: Temporal can never accept the request.
- TemporalRefused: Temporal refused the call for another reason.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from temporalio.api.common.v1 import Memo, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import TaskQueueType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetSystemInfoRequest,
    QueryWorkflowRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus

from workflows.temporal import contracts
from workflows.temporal.connection import call, call_repeatable, encoded, timeout
from workflows.temporal.rpc_errors import (
    TemporalAlreadyStarted,
    TemporalBusy,
    TemporalError,
    TemporalInvalid,
    TemporalNotFound,
    TemporalRefused,
    TemporalTimeout,
    TemporalUnreachable,
    UpdateRejected,
)

__all__ = [
    "Execution", "PendingTask", "TemporalAlreadyStarted", "TemporalBusy", "TemporalError", "TemporalInvalid",
    "TemporalNotFound", "TemporalRefused", "TemporalTimeout", "TemporalUnreachable", "UpdateRejected", "cancel_run",
    "check_reachable", "count_pollers", "describe_run", "query_run", "signal_event", "start_run", "terminate_run",
]  # fmt: skip


@dataclass(frozen=True)
class PendingTask:
    """The workflow task that Temporal has scheduled and that no worker has completed.

    `attempt` is 1 if the task has not failed or timed out.
    """

    attempt: int
    scheduled_at: datetime | None


@dataclass(frozen=True)
class Execution:
    """Description of a workflow's current execution, as Temporal reports it."""

    run_id: str
    first_run_id: str
    status: str
    history_events: int
    history_bytes: int
    started_at: datetime | None
    closed_at: datetime | None
    cancel_requested: bool = False
    pending_task: PendingTask | None = None


def start_run(run: contracts.RunInput, *, workflow_id: str, origin: dict[str, Any] | None = None) -> str:
    """Start the run's workflow and return Temporal's run id.

    `origin` is stored as the workflow's memo. It has facts of the run row that the workflow does not need.

    Idempotency: the run's id is the request id. While the workflow is open, a second start returns the run id of the
    first start. After the end of the workflow, a second start raises TemporalAlreadyStarted.
    """

    async def work(client: Client) -> str:
        payloads = await encoded(client, run)
        memo = (await encoded(client, origin)).payloads[0]
        response = await client.workflow_service.start_workflow_execution(
            StartWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_id=workflow_id,
                workflow_type=WorkflowType(name=contracts.RUN_WORKFLOW),
                task_queue=TaskQueue(name=settings.TEMPORAL_TASK_QUEUE),
                input=payloads,
                identity=client.identity,
                request_id=run.run_id,
                memo=Memo(fields={contracts.MEMO_ORIGIN: memo}),
                workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
                workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
            ),
            timeout=timeout(),
        )
        return response.run_id

    return call(work)


def signal_event(signal: contracts.EventSignal, *, workflow_id: str, request_id: str) -> None:
    """Signal an event to the run's workflow.

    Idempotency: within one execution, Temporal accepts one signal for each request id. The engine checks event ids too.
    """

    async def work(client: Client) -> None:
        payloads = await encoded(client, signal)
        await client.workflow_service.signal_workflow_execution(
            SignalWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                signal_name=contracts.SIGNAL_EVENT,
                input=payloads,
                identity=client.identity,
                request_id=request_id,
            ),
            timeout=timeout(),
        )

    call(work)


def cancel_run(*, workflow_id: str, first_run_id: str, reason: str, request_id: str) -> None:
    """Request the cancellation of this run's workflow. A later workflow with the same id is not affected."""

    async def work(client: Client) -> None:
        await client.workflow_service.request_cancel_workflow_execution(
            RequestCancelWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                first_execution_run_id=first_run_id,
                identity=client.identity,
                request_id=request_id,
                reason=reason,
            ),
            timeout=timeout(),
        )

    call(work)


def terminate_run(*, workflow_id: str, first_run_id: str, reason: str) -> None:
    """Terminate this run's workflow at once. A later workflow with the same id is not affected."""

    async def work(client: Client) -> None:
        await client.workflow_service.terminate_workflow_execution(
            TerminateWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                first_execution_run_id=first_run_id,
                identity=client.identity,
                reason=reason,
            ),
            timeout=timeout(),
        )

    call(work)


def describe_run(*, workflow_id: str) -> Execution:
    async def work(client: Client) -> Execution:
        response = await client.workflow_service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(
                namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
            ),
            timeout=timeout(),
        )
        info = response.workflow_execution_info
        return Execution(
            run_id=info.execution.run_id,
            first_run_id=info.first_run_id,
            status=WorkflowExecutionStatus(info.status).name,
            history_events=info.history_length,
            history_bytes=info.history_size_bytes,
            started_at=info.start_time.ToDatetime(tzinfo=UTC) if info.HasField("start_time") else None,
            closed_at=info.close_time.ToDatetime(tzinfo=UTC) if info.HasField("close_time") else None,
            cancel_requested=response.workflow_extended_info.cancel_requested,
            pending_task=_pending_task(response),
        )

    return call_repeatable(work)


def _pending_task(response: DescribeWorkflowExecutionResponse) -> PendingTask | None:
    if not response.HasField("pending_workflow_task"):
        return None
    task = response.pending_workflow_task
    scheduled_at = task.scheduled_time.ToDatetime(tzinfo=UTC) if task.HasField("scheduled_time") else None
    return PendingTask(max(1, task.attempt), scheduled_at)


def query_run(query: str, *, workflow_id: str) -> Any:
    """Send a query to the workflow and return its result. A worker must be running.

    Errors: TemporalTimeout if no worker responds; TemporalNotFound.
    """

    async def work(client: Client) -> Any:
        response = await client.workflow_service.query_workflow(
            QueryWorkflowRequest(
                namespace=client.namespace,
                execution=WorkflowExecution(workflow_id=workflow_id),
                query=WorkflowQuery(query_type=query),
            ),
            timeout=timeout(),
        )
        values = await client.data_converter.decode(response.query_result.payloads)
        return values[0] if values else None

    return call_repeatable(work)


def check_reachable() -> None:
    """Check that Temporal responds. Errors: TemporalUnreachable or TemporalTimeout if it does not."""

    async def work(client: Client) -> None:
        await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timeout())

    call_repeatable(work)


def count_pollers() -> int:
    """Return the number of workers that poll our task queue.

    A worker that has stopped is still counted for a few minutes, because the server remembers it for this time.
    """

    async def work(client: Client) -> int:
        response = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=settings.TEMPORAL_TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=timeout(),
        )
        return len(response.pollers)

    return call_repeatable(work)

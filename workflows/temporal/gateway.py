"""Calls to Temporal, and nothing else, over the one Temporal client of the process (docs/architecture.md#packages, docs/architecture.md#principles).

`updates.py`, `history.py` and `listing.py` hold more calls, and go through `call` here; nobody else reaches the client.

One client per process, in a loop thread of its own, connected on first use and made anew after a fork. Every call has a
timeout and is sent once: the SDK's own retries would hold a request up for ten seconds when Temporal is down, and whoever
calls here has a retry of its own (a delivery), or a person who is told (a cancel).

Errors: `TemporalUnreachable` when the call was never delivered, `TemporalTimeout` when nobody knows whether it was,
`TemporalNotFound` when the workflow is not there or has ended, `TemporalInvalid` when it can never be taken,
`TemporalRefused` for any other answer.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from temporalio.api.common.v1 import Memo, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import (
    ResourceExhaustedCause,
    TaskQueueType,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
    GetSystemInfoRequest,
    QueryWorkflowRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from workflows.temporal import contracts
from workflows.temporal.converter import DATA_CONVERTER

Answer = TypeVar("Answer")
IDENTITY = "pointsman-portal"


class TemporalError(Exception):
    """Temporal's words are the message."""


class TemporalUnreachable(TemporalError):
    """The call was not delivered. An operator must see to Temporal."""


class TemporalBusy(TemporalUnreachable):
    """This one run takes no call at this moment, e.g. while it goes on in a new execution. Nothing was done; try again soon."""


class TemporalTimeout(TemporalError):
    """The call may or may not have been carried out."""


class TemporalNotFound(TemporalError):
    """No such workflow, or it has ended."""


class TemporalRefused(TemporalError):
    """Temporal answered, and did not do it."""


class TemporalInvalid(TemporalRefused):
    """What was sent can never be taken: too large, or not to be encoded. Sending it again does not help."""


class UpdateRejected(TemporalRefused):
    """The workflow's own validator said no; `code` and the message are its words."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)


class TemporalAlreadyStarted(TemporalRefused):
    """A workflow of this id runs or has run."""


@dataclass(frozen=True)
class Execution:
    """What Temporal says of a workflow now."""

    run_id: str
    first_run_id: str
    status: str
    history_events: int
    history_bytes: int
    started_at: datetime | None
    closed_at: datetime | None
    cancel_requested: bool = False


def temporal_tls() -> TLSConfig | bool:
    """The TLS settings of every client and worker of this portal."""
    files = (settings.TEMPORAL_TLS_CA, settings.TEMPORAL_TLS_CERT, settings.TEMPORAL_TLS_KEY)
    if any(files):
        ca, cert, key = (path.read_bytes() if path else None for path in files)
        return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)
    return bool(settings.TEMPORAL_TLS or settings.TEMPORAL_API_KEY)


async def connect_client() -> Client:
    return await Client.connect(
        settings.TEMPORAL_ADDRESS,
        namespace=settings.TEMPORAL_NAMESPACE,
        data_converter=DATA_CONVERTER,
        tls=temporal_tls(),
        api_key=settings.TEMPORAL_API_KEY or None,
        identity=f"{IDENTITY}@{os.getpid()}",
    )


class _Connection:
    """The process's client and the thread whose loop it lives in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._address: tuple[str, str] | None = None

    def call(self, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """`work` with the client, from any thread.

        Errors: the TemporalError that fits; never a raw RPC error.
        """
        loop = self._running_loop()
        limit = settings.TEMPORAL_RPC_TIMEOUT_SECONDS
        future = asyncio.run_coroutine_threadsafe(self._work(work), loop)
        try:
            return future.result(timeout=2 * limit + 1)
        except TimeoutError as error:
            future.cancel()
            raise TemporalTimeout("no answer in time") from error

    async def _work(self, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        try:
            return await work(await self._connected())
        except RPCError as error:
            raise _translated(error) from error

    async def _connected(self) -> Client:
        address = (settings.TEMPORAL_ADDRESS, settings.TEMPORAL_NAMESPACE)
        if self._client is None or self._address != address:
            try:
                self._client = await asyncio.wait_for(connect_client(), settings.TEMPORAL_RPC_TIMEOUT_SECONDS)
            except (RuntimeError, TimeoutError) as error:
                raise TemporalUnreachable(str(error) or "no connection in time") from error
            self._address = address
        return self._client

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._client, self._pid = asyncio.new_event_loop(), None, os.getpid()
                threading.Thread(target=self._loop.run_forever, name="temporal-gateway", daemon=True).start()
            return self._loop


def _translated(error: RPCError) -> TemporalError:
    words = error.message
    if error.status == RPCStatusCode.NOT_FOUND and not _is_of_the_namespace(error):
        return TemporalNotFound(words)
    if error.status == RPCStatusCode.ALREADY_EXISTS:
        return TemporalAlreadyStarted(words)
    if error.status == RPCStatusCode.UNAVAILABLE and "connect error" in words:
        return TemporalUnreachable(words)
    # The SDK reports its own deadline as CANCELLED; an UNAVAILABLE of an open connection may have been carried out.
    if error.status in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE):
        return TemporalTimeout(words)
    # A connection that breaks during the call is no answer of the server, though the SDK gives it a status as if it were.
    if any(sign in words for sign in _BROKEN_CONNECTION):
        return TemporalTimeout(words)
    if error.status == RPCStatusCode.RESOURCE_EXHAUSTED:  # one run's, or a rate limit of the server
        return TemporalBusy(words) if _is_of_one_run(error) else TemporalUnreachable(words)
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return TemporalInvalid(words)
    return TemporalRefused(f"{error.status.name}: {words}")


async def encoded(client: Client, value: Any) -> Payloads:
    try:
        return Payloads(payloads=await client.data_converter.encode([value]))
    except (TypeError, ValueError) as error:
        raise TemporalInvalid(f"the value cannot be encoded: {error}") from error


_BROKEN_CONNECTION = ("transport error", "h2 protocol error", "connection reset", "broken pipe")


def _is_of_one_run(error: RPCError) -> bool:
    """Or of the whole server."""
    for detail in error.grpc_status.details:
        failure = ResourceExhaustedFailure()
        if detail.Unpack(failure):
            return failure.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
    return False


def _is_of_the_namespace(error: RPCError) -> bool:
    """A namespace that is not there is a fault of the configuration, not the end of a run."""
    return any(detail.type_url.endswith("NamespaceNotFoundFailure") for detail in error.grpc_status.details)


_connection = _Connection()
# For the calls that stand beside (`updates`, `history`, `listing`): the same client, its errors told in the same way.
call = _connection.call


def timeout() -> timedelta:
    return timedelta(seconds=settings.TEMPORAL_RPC_TIMEOUT_SECONDS)


def start_run(run: contracts.RunInput, *, workflow_id: str, origin: dict[str, Any] | None = None) -> str:
    """Temporal's run id of the workflow, started now or before by the same request.

    `origin`: what the row knows of the run's beginning and the workflow does not need, kept beside it as a memo.
    Idempotency: the run's id is the request id; a second start of the same run gives the first one's id while it is open,
    and TemporalAlreadyStarted after its end.
    """

    async def work(client: Client) -> str:
        payloads = await encoded(client, run)
        memo = (await encoded(client, origin)).payloads[0]
        answer = await client.workflow_service.start_workflow_execution(
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
        return answer.run_id

    return _connection.call(work)


def signal_event(signal: contracts.EventSignal, *, workflow_id: str, request_id: str) -> None:
    """Idempotency: the server takes one signal of a request id (within one execution; the engine checks event ids too)."""

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

    _connection.call(work)


def cancel_run(*, workflow_id: str, first_run_id: str, reason: str, request_id: str) -> None:
    """Asks for the cancellation of the execution that this run began, never of a later one under the same id."""

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

    _connection.call(work)


def terminate_run(*, workflow_id: str, first_run_id: str, reason: str) -> None:
    """Ends the execution that this run began, at once, never a later one under the same id."""

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

    _connection.call(work)


def describe_run(*, workflow_id: str) -> Execution:
    async def work(client: Client) -> Execution:
        answer = await client.workflow_service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(
                namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
            ),
            timeout=timeout(),
        )
        info = answer.workflow_execution_info
        return Execution(
            run_id=info.execution.run_id,
            first_run_id=info.first_run_id,
            status=WorkflowExecutionStatus(info.status).name,
            history_events=info.history_length,
            history_bytes=info.history_size_bytes,
            started_at=info.start_time.ToDatetime(tzinfo=UTC) if info.HasField("start_time") else None,
            closed_at=info.close_time.ToDatetime(tzinfo=UTC) if info.HasField("close_time") else None,
            cancel_requested=answer.workflow_extended_info.cancel_requested,
        )

    return _connection.call(work)


def query_run(query: str, *, workflow_id: str) -> Any:
    """The answer of the workflow itself; a worker must run.

    Errors: TemporalTimeout when no worker answers; TemporalNotFound.
    """

    async def work(client: Client) -> Any:
        answer = await client.workflow_service.query_workflow(
            QueryWorkflowRequest(
                namespace=client.namespace,
                execution=WorkflowExecution(workflow_id=workflow_id),
                query=WorkflowQuery(query_type=query),
            ),
            timeout=timeout(),
        )
        values = await client.data_converter.decode(answer.query_result.payloads)
        return values[0] if values else None

    return _connection.call(work)


def check_reachable() -> None:
    """Errors: TemporalUnreachable or TemporalTimeout when Temporal does not answer."""

    async def work(client: Client) -> None:
        await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timeout())

    _connection.call(work)


def count_pollers() -> int:
    """Temporal workers that ask for workflow tasks of our queue (the server remembers them for a few minutes)."""

    async def work(client: Client) -> int:
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=settings.TEMPORAL_TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=timeout(),
        )
        return len(answer.pollers)

    return _connection.call(work)

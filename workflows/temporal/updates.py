"""Updates of a run's workflow: the response to a human task (docs/reference/engine.md#human-tasks)."""

import asyncio

from django.conf import settings
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage
from temporalio.api.update.v1 import Input, Meta, UpdateRef, WaitPolicy
from temporalio.api.update.v1 import Request as UpdateRequest
from temporalio.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest, UpdateWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from workflows.temporal import connection, contracts
from workflows.temporal.rpc_errors import (
    TemporalError,
    TemporalNotFound,
    TemporalRefused,
    TemporalTimeout,
    UpdateRejected,
)

RETRY_PAUSE_SECONDS = 0.3
RETRIED = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED)


def complete_task(response: contracts.TaskResponse, *, workflow_id: str, first_run_id: str, update_id: str) -> None:
    """Send the response to the workflow. Return when the workflow has accepted the response.

    Idempotency: within one execution, Temporal accepts one update for each id. The workflow accepts one response per
    task.
    Errors: UpdateRejected with the validator's code; TemporalNotFound if the run has ended; TemporalTimeout.
    """

    async def work(client: Client) -> None:
        request = await _update_request(client, response, workflow_id, first_run_id, update_id)
        deadline = asyncio.get_running_loop().time() + settings.TEMPORAL_RPC_TIMEOUT_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                result = await client.workflow_service.update_workflow_execution(request, timeout=connection.timeout())
            except RPCError as error:
                # The server responds with this error while the run continues in a new execution. Each repeated send has
                # the same update id.
                if error.status not in RETRIED or "connect error" in error.message:
                    raise
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
                continue
            if result.outcome.HasField("failure"):
                raise _rejected(await client.data_converter.decode_failure(result.outcome.failure))
            if result.outcome.HasField("success"):
                return
        raise TemporalTimeout("the run did not respond in time; check that a Temporal worker is running")

    connection.call(work)


async def _update_request(
    client: Client, response: contracts.TaskResponse, workflow_id: str, first_run_id: str, update_id: str
) -> UpdateWorkflowExecutionRequest:
    return UpdateWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id),
        first_execution_run_id=first_run_id,
        wait_policy=WaitPolicy(
            lifecycle_stage=UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
        ),
        request=UpdateRequest(
            meta=Meta(update_id=update_id, identity=client.identity),
            input=Input(name=contracts.UPDATE_COMPLETE_TASK, args=await connection.encoded(client, response)),
        ),
    )


def _rejected(failure: BaseException) -> TemporalError:
    if isinstance(failure, ApplicationError) and failure.type == contracts.UPDATE_REFUSED:
        detail = failure.details[0] if failure.details else {}
        return UpdateRejected(failure.message, str(detail.get("code", "")))
    return TemporalRefused(str(failure))


def update_is_known(*, workflow_id: str, update_id: str) -> bool:
    """Return True if the workflow has received this update, so that the update is waiting, accepted or completed.

    Errors: TemporalTimeout if no worker responds for the workflow.
    """

    async def work(client: Client) -> bool:
        await client.workflow_service.poll_workflow_execution_update(
            PollWorkflowExecutionUpdateRequest(
                namespace=client.namespace,
                update_ref=UpdateRef(
                    workflow_execution=WorkflowExecution(workflow_id=workflow_id), update_id=update_id
                ),
                identity=client.identity,
            ),
            timeout=connection.timeout(),
        )
        return True

    try:
        return connection.call(work)
    except TemporalNotFound:
        return False

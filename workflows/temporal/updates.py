"""Updates of a run's workflow: the response to a human task, asked and asked after (docs/reference/engine.md#human-tasks)."""

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

from workflows.temporal import contracts, gateway

UPDATE_PAUSE_SECONDS = 0.3
PASSING = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED)


def complete_task(response: contracts.TaskResponse, *, workflow_id: str, first_run_id: str, update_id: str) -> None:
    """The run has taken the response.

    Idempotency: one update of an id within one execution; the workflow takes one response of a task.
    Errors: UpdateRejected with the validator's code; TemporalNotFound when the run has ended.
    """

    async def work(client: Client) -> None:
        request = await _update_request(client, response, workflow_id, first_run_id, update_id)
        deadline = asyncio.get_running_loop().time() + settings.TEMPORAL_RPC_TIMEOUT_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                answer = await client.workflow_service.update_workflow_execution(request, timeout=gateway.timeout())
            except RPCError as error:
                # The server answers so while the run goes on in a new execution; the id makes one update of all sends.
                if error.status not in PASSING or "connect error" in error.message:
                    raise
                await asyncio.sleep(UPDATE_PAUSE_SECONDS)
                continue
            if answer.outcome.HasField("failure"):
                raise _rejected(await client.data_converter.decode_failure(answer.outcome.failure))
            if answer.outcome.HasField("success"):
                return
        raise gateway.TemporalTimeout("the run did not answer in time; does a worker run?")

    gateway.call(work)


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
            input=Input(name=contracts.UPDATE_COMPLETE_TASK, args=await gateway.encoded(client, response)),
        ),
    )


def _rejected(failure: BaseException) -> gateway.TemporalError:
    if isinstance(failure, ApplicationError) and failure.type == contracts.UPDATE_REFUSED:
        detail = failure.details[0] if failure.details else {}
        return gateway.UpdateRejected(failure.message, str(detail.get("code", "")))
    return gateway.TemporalRefused(str(failure))


def update_is_known(*, workflow_id: str, update_id: str) -> bool:
    """Whether the workflow has been asked for this update: it waits, was taken, or is done.

    Errors: TemporalTimeout when no worker answers for the workflow.
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
            timeout=gateway.timeout(),
        )
        return True

    try:
        return gateway.call(work)
    except gateway.TemporalNotFound:
        return False

"""Lists of executions, and the namespace's retention period.

Lists come from Temporal's visibility store, which is slightly out of date. Before you act on an execution from a list,
describe this execution. `closings` describes many.
"""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from workflows.temporal import connection, contracts
from workflows.temporal.rpc_errors import TemporalNotFound, translated

PAGE = 500
# Workflows that one call of `closings` describes, and requests that are on their way at the same time.
DESCRIBED, AT_ONCE = 100, 16


@dataclass(frozen=True)
class Listed:
    workflow_id: str
    run_id: str
    status: str
    started_at: datetime


def list_changed(*, since: datetime) -> Iterator[list[Listed]]:
    """Yield the executions of runs that were started or closed since this moment, in pages.

    Cost: one call for each 500 executions that are found. The number of open runs does not matter.
    """
    moment = since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    yield from _listed(
        f"WorkflowType = '{contracts.RUN_WORKFLOW}' AND ExecutionStatus != 'ContinuedAsNew'"
        f" AND (StartTime >= '{moment}' OR CloseTime >= '{moment}')"
    )


def list_runs() -> Iterator[list[Listed]]:
    """Yield every run that Temporal has, of all tenants, in pages."""
    yield from _listed(f"WorkflowType = '{contracts.RUN_WORKFLOW}' AND ExecutionStatus != 'ContinuedAsNew'")


def _listed(query: str) -> Iterator[list[Listed]]:
    token = b""
    while True:
        page, token = _page(query, token)
        yield page
        if not token:
            return


def _page(query: str, token: bytes) -> tuple[list[Listed], bytes]:
    async def work(client: Client) -> tuple[list[Listed], bytes]:
        response = await client.workflow_service.list_workflow_executions(
            ListWorkflowExecutionsRequest(
                namespace=client.namespace, page_size=PAGE, next_page_token=token, query=query
            ),
            timeout=connection.timeout(),
        )
        found = [
            Listed(
                workflow_id=info.execution.workflow_id,
                run_id=info.execution.run_id,
                status=WorkflowExecutionStatus(info.status).name,
                started_at=info.start_time.ToDatetime(tzinfo=UTC),
            )
            for info in response.executions
        ]
        return found, response.next_page_token

    return connection.call_repeatable(work)


def closings(workflow_ids: Collection[str]) -> dict[str, datetime | None]:
    """Return when the current executions of these workflows were closed. None: the workflow is open.

    Workflows that Temporal does not have (any more) are left out. The state is Temporal's own, not that of its
    visibility store.

    Errors: TemporalError if one workflow could not be described. Then nothing is known.
    Cost: one request for each workflow, AT_ONCE at the same time.
    """
    ids = list(workflow_ids)
    found: dict[str, datetime | None] = {}
    for first in range(0, len(ids), DESCRIBED):
        found.update(_closings(ids[first : first + DESCRIBED]))
    return found


def _closings(workflow_ids: list[str]) -> dict[str, datetime | None]:
    async def work(client: Client) -> dict[str, datetime | None]:
        gate = asyncio.Semaphore(AT_ONCE)
        found: dict[str, datetime | None] = {}

        async def describe(workflow_id: str) -> None:
            request = DescribeWorkflowExecutionRequest(
                namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
            )
            async with gate:
                try:
                    response = await client.workflow_service.describe_workflow_execution(
                        request, timeout=connection.timeout()
                    )
                except RPCError as error:
                    if isinstance(translated(error), TemporalNotFound):
                        return
                    raise
            info = response.workflow_execution_info
            found[workflow_id] = info.close_time.ToDatetime(tzinfo=UTC) if info.HasField("close_time") else None

        results = await asyncio.gather(*map(describe, workflow_ids), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error
        return found

    return connection.call_repeatable(work)


def namespace_retention() -> timedelta:
    """Return the time for which Temporal keeps a workflow after its end."""

    async def work(client: Client) -> timedelta:
        response = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=connection.timeout()
        )
        return response.config.workflow_execution_retention_ttl.ToTimedelta()

    return connection.call_repeatable(work)

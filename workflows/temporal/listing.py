"""Lists of executions, and the namespace's retention period.

Lists come from Temporal's visibility store, which is slightly out of date. Before you act on an execution from a list,
describe this execution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus

from workflows.temporal import connection, contracts

PAGE = 500


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

    return connection.read(work)


def namespace_retention() -> timedelta:
    """Return the time for which Temporal keeps a workflow after its end."""

    async def work(client: Client) -> timedelta:
        response = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=connection.timeout()
        )
        return response.config.workflow_execution_retention_ttl.ToTimedelta()

    return connection.read(work)

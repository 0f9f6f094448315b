"""What Temporal lists and knows beside one workflow: executions that have changed, and the namespace's retention.

Lists come from Temporal's visibility store, which is a moment behind: a candidate found here is looked at again with a
describe before anything follows from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus

from workflows.temporal import contracts, gateway

PAGE = 500


@dataclass(frozen=True)
class Listed:
    workflow_id: str
    run_id: str
    status: str
    started_at: datetime


def list_changed(*, since: datetime) -> Iterator[list[Listed]]:
    """Executions of runs that were started or ended since then, page by page.

    Cost: a call for each 500, however many runs are open.
    """
    moment = since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    yield from _listed(
        f"WorkflowType = '{contracts.RUN_WORKFLOW}' AND ExecutionStatus != 'ContinuedAsNew'"
        f" AND (StartTime >= '{moment}' OR CloseTime >= '{moment}')"
    )


def list_runs() -> Iterator[list[Listed]]:
    """Every run that Temporal has, of all tenants."""
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
        answer = await client.workflow_service.list_workflow_executions(
            ListWorkflowExecutionsRequest(
                namespace=client.namespace, page_size=PAGE, next_page_token=token, query=query
            ),
            timeout=gateway.timeout(),
        )
        found = [
            Listed(
                workflow_id=info.execution.workflow_id,
                run_id=info.execution.run_id,
                status=WorkflowExecutionStatus(info.status).name,
                started_at=info.start_time.ToDatetime(tzinfo=UTC),
            )
            for info in answer.executions
        ]
        return found, answer.next_page_token

    return gateway.call(work)


def namespace_retention() -> timedelta:
    """How long Temporal keeps a workflow after its end."""

    async def work(client: Client) -> timedelta:
        answer = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=gateway.timeout()
        )
        return answer.config.workflow_execution_retention_ttl.ToTimedelta()

    return gateway.call(work)

"""Description of a run for debugging. It has the run's row, Temporal's data, and the differences."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from workflows.models import Run
from workflows.statuses import OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL, WaitStatus
from workflows.temporal import contracts, gateway

Result = TypeVar("Result")


@dataclass(frozen=True)
class RunDescription:
    """Description of a run.

    `temporal` is None if Temporal does not know the workflow. `problems` lists the calls to Temporal that failed.
    """

    run: Run
    waits: list[dict[str, Any]]
    temporal: gateway.Execution | None
    summary: dict[str, Any] | None
    current_wait: dict[str, Any] | None
    differences: list[str]
    problems: list[str]


def run_describe(*, run_id: uuid.UUID) -> RunDescription | None:
    """Describe the run. Return None if it does not exist.

    Errors: none. If a call raises a TemporalError, `problems` has the error.

    Cost: two queries and three calls to Temporal. For two of these calls, a worker must be running.
    """
    run = Run.objects.filter(id=run_id).first()
    if run is None:
        return None
    open_waits = run.waits.filter(status=WaitStatus.WAITING)
    waits: list[dict[str, Any]] = [
        dict(wait) for wait in open_waits.values("id", "kind", "event_name", "correlation_key", "deadline_at")
    ]
    problems: list[str] = []
    execution = _try(problems, "describe", lambda: gateway.describe_run(workflow_id=run.temporal_workflow_id))
    summary = current_wait = None
    if execution is not None:
        summary = _try(problems, "summary", lambda: _query(run, contracts.QUERY_SUMMARY))
        current_wait = _try(problems, "current wait", lambda: _query(run, contracts.QUERY_CURRENT_WAIT))
    return RunDescription(
        run=run,
        waits=waits,
        temporal=execution,
        summary=summary,
        current_wait=current_wait,
        differences=list(_differences(run, waits, execution, summary, current_wait, is_wait_known=not problems)),
        problems=problems,
    )


def _query(run: Run, name: str) -> Any:
    return gateway.query_run(name, workflow_id=run.temporal_workflow_id)


def _try(problems: list[str], name: str, call: Callable[[], Result]) -> Result | None:
    try:
        return call()
    except gateway.TemporalError as error:
        problems.append(f"{name}: {type(error).__name__}: {error}")
        return None


def _differences(
    run: Run,
    waits: list[dict[str, Any]],
    execution: gateway.Execution | None,
    summary: dict[str, Any] | None,
    current_wait: dict[str, Any] | None,
    *,
    is_wait_known: bool,
) -> Iterator[str]:
    if execution is None:
        return
    ended = RUN_STATUS_OF_TEMPORAL.get(execution.status)
    is_same = run.status == ended if ended else run.status in OPEN_RUN_STATUSES
    if not is_same:
        yield f"status: {run.status} in the row, {execution.status} in Temporal"
    if run.projection_epoch and run.projection_epoch != execution.run_id:
        yield f"epoch: {run.projection_epoch} in the row, {execution.run_id} in Temporal"
    if summary is not None and ended is None and run.projection_seq > summary["seq"]:
        yield f"sequence number: {run.projection_seq} in the row, only {summary['seq']} in the workflow"
    if summary is not None and ended is None and run.current_step_path not in ("", summary["step"]):
        yield f"step: {run.current_step_path} in the row, {summary['step']} in the workflow"
    if not is_wait_known:
        return
    in_rows = {str(wait["id"]) for wait in waits}
    in_workflow = {current_wait["id"]} if current_wait and ended is None else set()
    for wait_id in in_rows - in_workflow:
        yield f"wait {wait_id}: open in the rows, not in the workflow"
    for wait_id in in_workflow - in_rows:
        yield f"wait {wait_id}: open in the workflow, not in the rows"

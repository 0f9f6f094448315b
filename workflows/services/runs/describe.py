"""A run as its row has it, as Temporal has it, and where the two differ: for whoever debugs one at night."""

import uuid
from dataclasses import dataclass
from typing import Any

from workflows.models import Run
from workflows.statuses import OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL, WaitStatus
from workflows.temporal import contracts, gateway


@dataclass(frozen=True)
class RunDescription:
    """`temporal` is None when Temporal knows no such workflow; `problems` say what could not be asked."""

    run: Run
    waits: list[dict[str, Any]]
    temporal: gateway.Execution | None
    summary: dict[str, Any] | None
    current_wait: dict[str, Any] | None
    differences: list[str]
    problems: list[str]


def run_describe(*, run_id: uuid.UUID) -> RunDescription | None:
    """None when there is no such run. Cost: two queries, and three calls to Temporal (two of them answered by a worker).

    Errors: none of Temporal's: they stand in `problems`.
    """
    run = Run.objects.filter(id=run_id).first()
    if run is None:
        return None
    open_waits = run.waits.filter(status=WaitStatus.WAITING)
    waits: list[dict[str, Any]] = [
        dict(wait) for wait in open_waits.values("id", "kind", "event_name", "correlation_key", "deadline_at")
    ]
    problems: list[str] = []
    execution = _asked(problems, "describe", lambda: gateway.describe_run(workflow_id=run.temporal_workflow_id))
    summary = current_wait = None
    if execution is not None:
        summary = _asked(problems, "summary", lambda: _query(run, contracts.QUERY_SUMMARY))
        current_wait = _asked(problems, "current wait", lambda: _query(run, contracts.QUERY_CURRENT_WAIT))
    is_asked = not problems
    return RunDescription(
        run=run,
        waits=waits,
        temporal=execution,
        summary=summary,
        current_wait=current_wait,
        differences=list(_differences(run, waits, execution, summary, current_wait if is_asked else None, is_asked)),
        problems=problems,
    )


def _query(run: Run, name: str) -> Any:
    return gateway.query_run(name, workflow_id=run.temporal_workflow_id)


def _asked(problems: list[str], what: str, ask: Any) -> Any:
    try:
        return ask()
    except gateway.TemporalError as error:
        problems.append(f"{what}: {type(error).__name__}: {error}")
        return None


def _differences(
    run: Run,
    waits: list[dict[str, Any]],
    execution: gateway.Execution | None,
    summary: dict[str, Any] | None,
    current_wait: dict[str, Any] | None,
    is_asked: bool,
) -> Any:
    if execution is None:
        return
    wanted = RUN_STATUS_OF_TEMPORAL.get(execution.status)
    is_same = run.status == wanted if wanted else run.status in OPEN_RUN_STATUSES
    if not is_same:
        yield f"status: the row says {run.status}, Temporal {execution.status}"
    if run.projection_epoch and run.projection_epoch != execution.run_id:
        yield f"epoch: the row is of execution {run.projection_epoch}, Temporal is at {execution.run_id}"
    if summary is not None and wanted is None and run.projection_seq > summary["seq"]:
        yield f"sequence: the row is at {run.projection_seq}, the workflow only at {summary['seq']}"
    if summary is not None and wanted is None and run.current_step_path not in ("", summary["step"]):
        yield f"step: the row says {run.current_step_path}, the workflow {summary['step']}"
    if not is_asked:
        return
    rows = {str(wait["id"]) for wait in waits}
    in_workflow = {current_wait["id"]} if current_wait and wanted is None else set()
    for wait_id in rows - in_workflow:
        yield f"wait {wait_id}: open in the rows, not in the workflow"
    for wait_id in in_workflow - rows:
        yield f"wait {wait_id}: open in the workflow, not in the rows"

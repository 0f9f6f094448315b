"""The step `control.callWorkflow`: a child run with its own Temporal workflow. Each attempt is a new child run.

The command carries the records that were gathered so far. The activity that inserts the child's row writes these
records. When the child run ends, it returns its scopes or its error. The error becomes a ChildWorkflowError, which the
author can catch.
"""

from typing import Any

from workflows.engine.attempts import attempt_failed
from workflows.engine.commands import RunChild
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.events import ChildDone
from workflows.engine.recording import record_run, record_step, restore_records, take_records
from workflows.engine.sizes import MAX_ACTION_INPUT_BYTES, MAX_ERROR_DETAIL_BYTES, json_size
from workflows.engine.state import AttemptState, Phase
from workflows.engine.turn import Flow, Turn

# Limit of starts for one attempt. After a reset, a child that was started before the reset still uses its run id. The
# attempt then starts its child again with the next id.
MAX_LAUNCHES = 50


def call_workflow(turn: Turn, step: Step) -> Flow:
    value = turn.resolve(step.config.get("inputMapping", {}), "inputMapping")
    size = json_size(value)
    if size > MAX_ACTION_INPUT_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"The input of the child run has {size} bytes. The limit is {MAX_ACTION_INPUT_BYTES} bytes. "
            "Pass less data, or a reference to the data.",
            code="INPUT_TOO_LARGE",
        )
    start_child(turn, step, value=value)
    return Flow.SUSPEND


def start_child(turn: Turn, step: Step, *, value: Any, launches: int = 1) -> None:
    state = turn.state
    state.phase = Phase.CHILD
    attempt = AttemptState(
        turn.now_ms,
        retry_wait_id=turn.new_wait_id(),
        command_id=turn.new_command_id(),
        input=value,
        child_run_id=turn.new_child_run_id(),
        launches=launches,
    )
    record_run(state, now_ms=turn.now_ms, status="RUNNING", step_path=step.path)
    record_step(
        state,
        step,
        now_ms=turn.now_ms,
        status="STARTED",
        started_ms=turn.now_ms,
        child_run_id=attempt.child_run_id,
    )
    attempt.records = take_records(state)
    state.attempt = attempt
    turn.commands.append(
        RunChild(
            id=attempt.command_id,
            step_id=step.id,
            step_path=step.path,
            child_run_id=attempt.child_run_id,
            workflow=step.config["workflowId"],
            version=step.config["workflowVersion"],
            input=value,
            records=attempt.records,
            ready_ms=state.ready_ms if turn.semantics >= 2 else 0,
        )
    )


def child_done(turn: Turn, step: Step, event: ChildDone) -> Flow:
    state, attempt = turn.state, turn.state.attempt
    assert attempt is not None
    if not event.is_projected:
        restore_records(state, attempt.records)
    if event.is_id_taken and attempt.launches < MAX_LAUNCHES:
        start_child(turn, step, value=attempt.input, launches=attempt.launches + 1)
        return Flow.SUSPEND
    if event.error is not None:
        error = event.error | {"nodePath": step.path}
        return attempt_failed(turn, step, error, is_recorded=False)
    scopes = event.scopes or {}
    seen = {"childRun": {"payload": {}, "vars": {}, "local": {}, "system": {}, "meta": {}, **scopes}}
    turn.assign(step.config.get("outputMapping") or {}, "outputMapping", seen)
    state.attempt = None
    turn.step_succeeded(step, started_ms=attempt.started_ms, child_run_id=attempt.child_run_id)
    return Flow.NEXT


def child_error(error: dict[str, Any] | None, *, child_run_id: str, ended: str, now_iso: str) -> dict[str, Any]:
    """Return the error object that the parent sees for a child run that did not succeed.

    It has the message and the code of the child's error. Its details contain the complete error of the child.
    """
    details: dict[str, Any] = {"childRunId": child_run_id, "status": ended}
    if error is not None:
        size = json_size(error)
        is_small = size <= MAX_ERROR_DETAIL_BYTES // 2
        details["error"] = error if is_small else {**error, "details": {"omittedBytes": size}}
    own = error or {"message": f"The child run ended as {ended}.", "code": f"CHILD_{ended}"}
    described = RunError(
        Category.CHILD_WORKFLOW,
        str(own.get("message", "")),
        code=own.get("code") or "CHILD_FAILED",
        details=details,
    ).as_object(node_path="", now_ms=0)
    return described | {"at": now_iso}

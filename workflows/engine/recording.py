"""Functions that add projection records to a run's state, each with the run's next sequence number."""

from typing import Any, Unpack

from workflows.engine.definition import Step
from workflows.engine.records import (
    FilterMismatch,
    Record,
    RunRecord,
    StepRecord,
    TaskFields,
    VerdictRecord,
    WaitRecord,
)
from workflows.engine.sizes import json_size
from workflows.engine.state import OpenWaitState, RunState

MAX_STATE_LENGTH = 200


def next_seq(state: RunState) -> int:
    state.seq += 1
    return state.seq


def _append(state: RunState, record: Record) -> None:
    state.records.append(record)
    state.record_bytes += json_size(record)


def record_run(
    state: RunState,
    *,
    now_ms: int,
    status: str,
    step_path: str,
    error: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
) -> None:
    record: RunRecord = {
        "kind": "run",
        "seq": next_seq(state),
        "at": now_ms,
        "status": status,
        "state": str(state.scope.meta.get("state") or "")[:MAX_STATE_LENGTH],
        "stepPath": step_path,
        "stepCount": state.step_count,
        "failedStepCount": state.failed_step_count,
        "eventCount": state.event_count,
    }
    if error is not None:
        record["error"] = error
    if output is not None:
        record["output"] = output
    _append(state, record)


def record_step(
    state: RunState,
    step: Step,
    *,
    now_ms: int,
    status: str,
    started_ms: int,
    error: dict[str, Any] | None = None,
    branch: str = "",
    child_run_id: str = "",
    next_attempt_ms: int | None = None,
) -> None:
    """Record one attempt of a step, with the iteration in which the run is now."""
    record: StepRecord = {
        "kind": "step",
        "seq": next_seq(state),
        "at": now_ms,
        "path": step.path,
        "iteration": state.scope.iteration,
        "attempt": state.attempt_number,
        "id": step.id,
        "type": step.type,
        "status": status,
        "startedAt": started_ms,
    }
    if step.name:
        record["name"] = step.name
    if branch:
        record["branch"] = branch
    if error is not None:
        record["error"] = error
    if child_run_id:
        record["childRunId"] = child_run_id
    if next_attempt_ms is not None:
        record["nextAttemptAt"] = next_attempt_ms
    _append(state, record)


def record_wait(state: RunState, wait: OpenWaitState, *, now_ms: int, status: str, event_id: str = "") -> None:
    record: WaitRecord = {
        "kind": "wait",
        "seq": next_seq(state),
        "at": now_ms,
        "id": wait.id,
        "path": wait.step_path,
        "stepId": wait.step_id,
        "iteration": wait.iteration,
        "waitKind": wait.kind,
        "status": status,
        "openedAt": wait.opened_ms,
    }
    if wait.deadline_ms is not None:
        record["deadlineAt"] = wait.deadline_ms
    if wait.event_name:
        record["eventName"], record["key"], record["filters"] = wait.event_name, wait.key, wait.filters
    if event_id:
        record["eventId"] = event_id
    if wait.ready_ms:
        record["readyAt"] = wait.ready_ms
    _append(state, record)


def record_task(
    state: RunState, wait: OpenWaitState, *, now_ms: int, status: str, **fields: Unpack[TaskFields]
) -> None:
    _append(
        state,
        {"kind": "task", "seq": next_seq(state), "at": now_ms, "id": wait.id, "status": status, **fields},
    )


def record_child_unstarted(state: RunState, child_run_id: str, *, now_ms: int) -> None:
    """Record that the child will not be started. Its row may or may not exist at this time."""
    _append(state, {"kind": "child", "seq": next_seq(state), "at": now_ms, "id": child_run_id, "status": "CANCELED"})


def record_verdict(
    state: RunState,
    *,
    now_ms: int,
    wait_id: str,
    event_id: str,
    verdict: str,
    reason: str = "",
    mismatch: FilterMismatch | None = None,
) -> None:
    record: VerdictRecord = {
        "kind": "verdict",
        "seq": next_seq(state),
        "at": now_ms,
        "waitId": wait_id,
        "eventId": event_id,
        "verdict": verdict,
        "reason": reason,
    }
    if mismatch is not None:
        record["mismatch"] = mismatch
    _append(state, record)


def take_records(state: RunState) -> list[Record]:
    """Move the gathered records out of the state. The caller puts them into the command that it builds."""
    records, state.records, state.record_bytes = state.records, [], 0
    return records


def restore_records(state: RunState, records: list[Record]) -> None:
    """Put records back into the state after their command was lost or canceled. The next command carries them.

    Idempotency: the lost command may have written the records already. A second write changes nothing.
    """
    state.records = [*records, *state.records]
    state.record_bytes += sum(map(json_size, records))

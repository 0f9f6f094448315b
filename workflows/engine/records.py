"""Projection records: what the portal's rows shall say, numbered in the order of the run.

A record is a JSON object `{"kind", "seq", "at", ...}` (`at` in epoch milliseconds). The writer changes a row only by a
record with a higher number than the row's own, so a record that comes twice or late changes nothing.

kinds: `run` (status, state, stepPath, error), `step` (one attempt), `wait`, `task` (a human task, under the id of its
wait), `verdict` (of a signalled event), `child` (a child run that was launched and never started).
"""

from typing import Any

from workflows.engine.definition import Step
from workflows.engine.sizes import json_size
from workflows.engine.state import OpenWaitState, RunState

Record = dict[str, Any]


def next_seq(state: RunState) -> int:
    state.seq += 1
    return state.seq


def _append(state: RunState, record: Record) -> None:
    state.records.append(record)
    state.record_bytes += json_size(record)


def record_run(
    state: RunState, *, now_ms: int, status: str, step_path: str, error: dict[str, Any] | None = None
) -> None:
    record: Record = {
        "kind": "run",
        "seq": next_seq(state),
        "at": now_ms,
        "status": status,
        "state": str(state.scope.meta.get("state") or "")[:200],
        "stepPath": step_path,
        "stepCount": state.step_count,
        "failedStepCount": state.failed_step_count,
        "eventCount": state.event_count,
    }
    if error is not None:
        record["error"] = error
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
    """One attempt, in the iteration that the run stands in."""
    record: Record = {
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
    record: Record = {
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
        record |= {"eventName": wait.event_name, "key": wait.key, "filters": wait.filters}
    if event_id:
        record["eventId"] = event_id
    _append(state, record)


def record_task(state: RunState, wait: OpenWaitState, *, now_ms: int, status: str, **fields: Any) -> None:
    """`fields`: what the task is when it opens, and the response with its author when it was completed."""
    _append(
        state,
        {"kind": "task", "seq": next_seq(state), "at": now_ms, "id": wait.id, "status": status, **fields},
    )


def record_child_unstarted(state: RunState, child_run_id: str, *, now_ms: int) -> None:
    """The child's row may stand already; nobody will start it now."""
    _append(state, {"kind": "child", "seq": next_seq(state), "at": now_ms, "id": child_run_id, "status": "CANCELED"})


def record_verdict(
    state: RunState, *, now_ms: int, wait_id: str, event_id: str, verdict: str, reason: str = ""
) -> None:
    _append(
        state,
        {
            "kind": "verdict",
            "seq": next_seq(state),
            "at": now_ms,
            "waitId": wait_id,
            "eventId": event_id,
            "verdict": verdict,
            "reason": reason,
        },
    )


def take_records(state: RunState) -> list[Record]:
    """The records gathered so far, which the caller's command now carries."""
    records, state.records, state.record_bytes = state.records, [], 0
    return records


def give_back_records(state: RunState, records: list[Record]) -> None:
    """Records whose carrier was lost or cancelled: they go with the next one. Written twice they change nothing."""
    state.records = [*records, *state.records]
    state.record_bytes += sum(map(json_size, records))

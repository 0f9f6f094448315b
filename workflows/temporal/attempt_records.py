"""Projection records that the activity of an action step writes itself: the start and the end of its attempt.

Rule: a record contains only values from the request and the result of the activity. So a rebuild can make the same
records from Temporal's history.
"""

from typing import Any

from workflows.engine.definition import RetryPolicy
from workflows.engine.records import Record, StepRecord, WaitRecord
from workflows.engine.retry import retry_delay_ms
from workflows.temporal import contracts


def start_record(request: contracts.ActionRequest) -> StepRecord:
    record = _step(request, request.start_seq, request.started_at_ms, "STARTED")
    record["input"] = request.input
    return record


def end_records(
    request: contracts.ActionRequest,
    *,
    now_ms: int,
    output: Any = None,
    error: dict[str, Any] | None = None,
    unknown: dict[str, Any] | None = None,
) -> list[Record]:
    """Return the records of the attempt's end. While an operator must still decide about the outcome, there are none.

    If the author's retry policy allows another attempt, a failed attempt becomes RETRY_SCHEDULED. The time until the
    next attempt is a wait of kind `retry`.
    """
    if unknown is not None:
        return []
    if error is None:
        succeeded = _step(request, request.end_seq, now_ms, "SUCCEEDED")
        succeeded["output"] = output
        return [succeeded]
    delay = retry_delay_ms(
        _policy(request.retry),
        attempt=request.attempt,
        category=error["category"],
        code=error.get("code"),
        seed=request.retry_seed,
    )
    failed = _step(request, request.end_seq, now_ms, "FAILED" if delay is None else "RETRY_SCHEDULED")
    failed["error"] = error
    if delay is None:
        return [failed]
    failed["nextAttemptAt"] = now_ms + delay
    return [failed, _retry_wait(request, now_ms, now_ms + delay)]


def _step(request: contracts.ActionRequest, seq: int, at_ms: int, status: str) -> StepRecord:
    return {
        "kind": "step",
        "seq": seq,
        "at": at_ms,
        "path": request.step_path,
        "iteration": request.iteration,
        "attempt": request.attempt,
        "id": request.step_id,
        "type": "action.call",
        "name": request.step_name,
        "status": status,
        "startedAt": request.started_at_ms,
        "actionId": request.action_id,
        "actionVersion": request.action_version,
    }


def _retry_wait(request: contracts.ActionRequest, now_ms: int, due_ms: int) -> WaitRecord:
    return {
        "kind": "wait",
        "seq": request.end_seq,
        "at": now_ms,
        "id": request.retry_wait_id,
        "path": request.step_path,
        "stepId": request.step_id,
        "iteration": request.iteration,
        "waitKind": "retry",
        "status": "WAITING",
        "openedAt": now_ms,
        "deadlineAt": due_ms,
    }


def _policy(rule: contracts.RetryRule | None) -> RetryPolicy | None:
    if rule is None:
        return None
    fields = {**vars(rule), "retry_on": None if rule.retry_on is None else tuple(rule.retry_on)}
    return RetryPolicy(**fields)

"""What the activity of an action step projects: the start and the end of its attempt.

Rule it keeps: nothing in a record but what the activity was given and gives back, so that a rebuild makes the same ones
of Temporal's history.
"""

from typing import Any

from workflows.engine.definition import RetryPolicy
from workflows.engine.records import Record
from workflows.engine.retry import retry_delay_ms
from workflows.temporal import contracts


def start_record(request: contracts.ActionRequest) -> Record:
    return _step(request, request.start_seq, request.started_at_ms, "STARTED") | {"input": request.input}


def end_records(
    request: contracts.ActionRequest, *, now_ms: int, output: Any = None, error: dict[str, Any] | None = None
) -> list[Record]:
    """The attempt's end; a failed one that the author's policy repeats is RETRY_SCHEDULED, with a wait of kind retry."""
    if error is None:
        return [_step(request, request.end_seq, now_ms, "SUCCEEDED") | {"output": output}]
    delay = retry_delay_ms(
        _policy(request.retry), attempt=request.attempt, category=error["category"], seed=request.retry_seed
    )
    if delay is None:
        return [_step(request, request.end_seq, now_ms, "FAILED") | {"error": error}]
    due_ms = now_ms + delay
    step = _step(request, request.end_seq, now_ms, "RETRY_SCHEDULED") | {"error": error, "nextAttemptAt": due_ms}
    return [step, _retry_wait(request, now_ms, due_ms)]


def _step(request: contracts.ActionRequest, seq: int, at_ms: int, status: str) -> Record:
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


def _retry_wait(request: contracts.ActionRequest, now_ms: int, due_ms: int) -> Record:
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

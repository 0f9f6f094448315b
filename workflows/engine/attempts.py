"""Attempts of a step: retry a failed attempt after a durable timer, or let the step fail.

The author's retry policy decides between the two. For an action, the activity writes the end of the attempt together
with the end of the action's effect. The engine writes the end of every other attempt. It also writes the end of an
attempt whose activity was lost.
"""

from typing import Any

from workflows.engine.commands import CancelAttempt, CancelTimer, StartTimer
from workflows.engine.control import fail, give_up
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.recording import record_child_unstarted, record_step, record_wait, restore_records
from workflows.engine.retry import retry_delay_ms
from workflows.engine.state import AttemptState, OpenWaitState, Phase
from workflows.engine.turn import Flow, Turn


def step_failed(turn: Turn, step: Step, error: RunError, *, started_ms: int) -> Flow:
    """Handle a step that failed inside the engine, before any activity or child run started.

    Retry the step if its retry policy allows another attempt.
    """
    if step.retry is None or error.category == Category.CORRUPTION:
        return fail(turn, step, error, started_ms=started_ms)
    turn.state.attempt = AttemptState(started_ms, retry_wait_id=turn.new_wait_id())
    described = error.as_object(node_path=step.path, now_ms=turn.now_ms)
    return attempt_failed(turn, step, described, is_recorded=False)


def attempt_failed(turn: Turn, step: Step, error: dict[str, Any], *, is_recorded: bool) -> Flow:
    """Schedule the next attempt under the author's retry policy, or fail the step if no attempt is left."""
    state, attempt = turn.state, turn.state.attempt
    assert attempt is not None
    delay = retry_delay_ms(
        step.retry,
        attempt=state.attempt_number,
        category=str(error["category"]),
        code=error.get("code"),
        seed=turn.execution_key(step),
    )
    due_ms = None if delay is None else turn.now_ms + delay
    if due_ms is not None:
        attempt.wait = _retry_wait(turn, step, attempt, due_ms)
    if not is_recorded:
        _record_end(turn, step, attempt, error)
    if attempt.wait is None:
        state.attempt = None
        return give_up(turn, step, error)
    state.phase, attempt.records = Phase.RETRY, []
    start_timer(turn, attempt.wait, f"attempt {state.attempt_number + 1} of {step.id}")
    if not is_recorded:
        state.verdict_write_id = state.verdict_write_id or turn.write_records()
    return Flow.SUSPEND


def _retry_wait(turn: Turn, step: Step, attempt: AttemptState, due_ms: int) -> OpenWaitState:
    return OpenWaitState(
        id=attempt.retry_wait_id,
        kind="retry",
        step_path=step.path,
        step_id=step.id,
        iteration=turn.state.scope.iteration,
        opened_ms=turn.now_ms,
        deadline_ms=due_ms,
    )


def _record_end(turn: Turn, step: Step, attempt: AttemptState, error: dict[str, Any]) -> None:
    is_last = attempt.wait is None
    record_step(
        turn.state,
        step,
        now_ms=turn.now_ms,
        status="FAILED" if is_last else "RETRY_SCHEDULED",
        started_ms=attempt.started_ms,
        error=error,
        child_run_id=attempt.child_run_id,
        next_attempt_ms=attempt.wait.deadline_ms if attempt.wait else None,
    )
    if attempt.wait is not None:
        record_wait(turn.state, attempt.wait, now_ms=turn.now_ms, status="WAITING")


def start_timer(turn: Turn, wait: OpenWaitState, summary: str) -> None:
    """Start the timer of a wait that has a deadline."""
    if wait.deadline_ms is not None:
        start_timer_at(turn, wait, wait.deadline_ms, summary)


def start_timer_at(turn: Turn, wait: OpenWaitState, due_ms: int, summary: str) -> None:
    wait.timer_id = turn.new_command_id()
    turn.commands.append(StartTimer(id=wait.timer_id, due_ms=due_ms, summary=summary))


def cancel_attempt(turn: Turn, step: Step) -> None:
    """Record the attempt of a canceled run as CANCELED, and cancel its activity, its child run or its timer."""
    state, attempt = turn.state, turn.state.attempt
    assert attempt is not None
    # The activity may be canceled before it has written these records, so they are written again here. A second write
    # of a record changes nothing.
    restore_records(state, attempt.records)
    if attempt.wait is not None and state.phase is Phase.RETRY:
        record_wait(state, attempt.wait, now_ms=turn.now_ms, status="CANCELED")
        turn.commands.append(CancelTimer(id=attempt.wait.timer_id))
    else:
        record_step(
            state,
            step,
            now_ms=turn.now_ms,
            status="CANCELED",
            started_ms=attempt.started_ms,
            child_run_id=attempt.child_run_id,
        )
        if attempt.child_run_id:
            record_child_unstarted(state, attempt.child_run_id, now_ms=turn.now_ms)
        turn.commands.append(CancelAttempt(id=attempt.command_id))
    state.attempt = None

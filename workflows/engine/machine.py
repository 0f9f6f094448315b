"""The engine: `advance(definition, state, event) -> (state, commands)`.

Theory of operation. A run walks blocks of steps; a stack of frames says where it stands, and a stack of loops beside it
holds what is local. Between two events it is in one phase: NEW, waiting for an ACTION, a CHILD, a RETRY timer, a business
event (EVENT_WAIT), a person (HUMAN_WAIT), a time (TIME_WAIT), for its own records to be written (FLUSH), PAUSED at a place
where it can go on in another execution, or ENDED; WALKING it is only inside of a turn. `TRANSITIONS` says, for a phase and
a kind of event, which function answers; `IN_ANY_PHASE` holds the few that are answered wherever the run stands. An event
that neither holds is stale (a timer of a wait that was resolved, the end of an action that was cancelled) and changes
nothing, except that a signalled event always gets a verdict. After an answer `_walk` runs steps until one suspends, the
turn has done as much as one workflow task has time for, or the run ends.

Errors never leave: a step that fails raises RunError, which `control` carries to where it lands. Cancellation closes what
is open, whatever the author's policies say.

The engine performs nothing: commands say what to do, records say what to project, and every id is derived from the run.
The state that is passed in is consumed: the caller goes on with the one that is returned.
"""

from collections.abc import Callable
from typing import Any

from workflows.engine.action_step import action_done, start_action
from workflows.engine.attempts import cancel_attempt, start_timer, step_failed
from workflows.engine.child_step import child_done, start_child
from workflows.engine.commands import Command
from workflows.engine.control import fail, leave_block, leave_frames
from workflows.engine.definition import Definition, Step
from workflows.engine.errors import Category, RunError
from workflows.engine.event_steps import close_wait, event_signalled, late, task_completed, wait_timed_out
from workflows.engine.events import (
    ActionDone,
    CancelRequested,
    ChildDone,
    EngineEvent,
    EventSignalled,
    PauseRequested,
    RecordsWritten,
    RunContinued,
    RunStarted,
    TaskCompleted,
    TimerFired,
)
from workflows.engine.records import record_step, record_task, record_wait
from workflows.engine.sizes import MAX_SCOPE_BYTES
from workflows.engine.state import SAFE_TO_CONTINUE, Phase, RunState
from workflows.engine.steps import HANDLERS
from workflows.engine.turn import Flow, Turn
from workflows.engine.wait_steps import resume_from_time

CARRIED_OUT_OUTSIDE = frozenset({"action.call", "control.callWorkflow"})
# A change of what the same definition and the same events lead to needs a new number; a run pins the one it began with.
SEMANTICS_VERSION = 1
# The expression contract is part of it: which one each semantics evaluates with.
CONTRACT_OF_SEMANTICS = {1: 1}


def advance(definition: Definition, state: RunState, event: EngineEvent) -> tuple[RunState, list[Command]]:
    """The state after `event`, and what is to be done now.

    Errors: none of the author's or the sender's making; an exception out of here is a bug, which the pump turns into
    EngineCorruption.
    """
    turn = Turn(definition, state, event.now_ms)
    answer = TRANSITIONS.get((state.phase, type(event))) or IN_ANY_PHASE.get(type(event))
    if answer is not None:
        flow = answer(turn, event)
        if flow is Flow.NEXT:
            turn.step_over()
        if flow in (Flow.NEXT, Flow.STAY):
            _walk(turn)
    return state, turn.commands


# -- Walking -------------------------------------------------------------------------------------------------------------


def _walk(turn: Turn) -> None:
    """Run steps until one suspends, the turn is full, or the run ends."""
    state = turn.state
    state.phase = Phase.WALKING
    while True:
        if not turn.has_room:
            state.phase, state.flush_id = Phase.FLUSH, turn.write_records()
            return
        if state.is_pausing:
            state.phase = Phase.PAUSED
            return
        step = turn.current_step()
        if step is not None:
            flow = _run_step(turn, step, attempt=1)
        elif len(state.frames) > 1:
            turn.begin_step()
            flow = leave_block(turn)
        else:
            state.frames.pop()
            turn.end("SUCCEEDED")
            return
        if flow is Flow.NEXT:
            turn.step_over()
        elif flow is not Flow.STAY:
            return


def _run_step(turn: Turn, step: Step, *, attempt: int) -> Flow:
    turn.begin_step()
    turn.state.attempt_number = attempt
    try:
        handler = HANDLERS.get(step.type)
        if handler is None:
            raise RunError(
                Category.CORRUPTION, f"this engine cannot run {step.type!r} steps", code="STEP_TYPE_NOT_SUPPORTED"
            )
        return handler(turn, step)
    except RunError as error:
        return step_failed(turn, step, error, started_ms=turn.now_ms)


def _resumed(turn: Turn, step: Step, body: Callable[[], Flow], *, started_ms: int) -> Flow:
    """The outcome of a step that was suspended; an error in what it puts into the scopes is its failure."""
    turn.begin_step()
    try:
        return body()
    except RunError as error:
        if step.type in CARRIED_OUT_OUTSIDE:
            return fail(turn, step, error, started_ms=started_ms)  # it has succeeded there; again would be the same
        return step_failed(turn, step, error, started_ms=started_ms)


# -- Answers -------------------------------------------------------------------------------------------------------------


def _begin(turn: Turn, _event: RunStarted) -> Flow:
    size = turn.state.scope.size_bound
    if size > MAX_SCOPE_BYTES:
        error = RunError(
            Category.VALIDATION,
            f"the run's input has {size} bytes; {MAX_SCOPE_BYTES} are allowed",
            code="SCOPE_TOO_LARGE",
        )
        turn.end("FAILED", error=error.as_object(node_path="", now_ms=turn.now_ms))
        return Flow.END
    return Flow.STAY


def _flushed(turn: Turn, event: RecordsWritten) -> Flow:
    return Flow.STAY if event.command_id == turn.state.flush_id else _verdicts_written(turn, event)


def _action_done(turn: Turn, event: ActionDone) -> Flow:
    attempt = turn.state.attempt
    if attempt is None or attempt.command_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resumed(turn, step, lambda: action_done(turn, step, event), started_ms=attempt.started_ms)


def _child_done(turn: Turn, event: ChildDone) -> Flow:
    attempt = turn.state.attempt
    if attempt is None or attempt.command_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resumed(turn, step, lambda: child_done(turn, step, event), started_ms=attempt.started_ms)


def _retry(turn: Turn, event: TimerFired) -> Flow:
    attempt = turn.state.attempt
    if attempt is None or attempt.wait is None or attempt.wait.timer_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    record_wait(turn.state, attempt.wait, now_ms=turn.now_ms, status="RESOLVED")
    if not attempt.command_id:
        turn.state.attempt = None
        return _run_step(turn, step, attempt=turn.state.attempt_number + 1)
    turn.state.attempt_number += 1
    if step.type == "control.callWorkflow":
        start_child(turn, step, value=attempt.input)
    else:
        start_action(turn, step, value=attempt.input, idempotency_key=attempt.idempotency_key)
    return Flow.SUSPEND


def _event_signalled(turn: Turn, event: EventSignalled) -> Flow:
    wait = turn.state.wait
    if wait is None:
        return late(turn, event, "the wait is closed")
    step = turn.step_of_wait()
    return _resumed(turn, step, lambda: event_signalled(turn, step, wait, event), started_ms=wait.opened_ms)


def _task_completed(turn: Turn, event: TaskCompleted) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.id != event.task_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resumed(turn, step, lambda: task_completed(turn, step, wait, event), started_ms=wait.opened_ms)


def _wait_timed_out(turn: Turn, event: TimerFired) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resumed(turn, step, lambda: wait_timed_out(turn, wait), started_ms=wait.opened_ms)


def _time_came(turn: Turn, event: TimerFired) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id or wait.deadline_ms is None:
        return Flow.SUSPEND
    step, due_ms = turn.step_of_wait(), wait.deadline_ms

    def resume() -> Flow:
        close_wait(turn, "RESOLVED", timer_fired=True)
        resume_from_time(turn, step, due_ms=due_ms, started_ms=wait.opened_ms)
        return Flow.NEXT

    return _resumed(turn, step, resume, started_ms=wait.opened_ms)


# -- Answers in any phase ------------------------------------------------------------------------------------------------


def _late(turn: Turn, event: EventSignalled) -> Flow:
    return late(turn, event, "the run does not wait for this any more")


def _verdicts_written(turn: Turn, event: RecordsWritten) -> Flow:
    """What was gathered while the write was under way goes with the next one."""
    state = turn.state
    if event.command_id == state.verdict_write_id:
        state.verdict_write_id = ""
        if state.records and not (state.is_pausing and state.phase in SAFE_TO_CONTINUE):
            state.verdict_write_id = turn.write_records()
    return Flow.SUSPEND


def _pause(turn: Turn, _event: PauseRequested) -> Flow:
    turn.state.is_pausing = turn.state.phase is not Phase.ENDED
    return Flow.SUSPEND


def _continue(turn: Turn, _event: RunContinued) -> Flow:
    """Go on where the execution before stopped: timers are set anew, they belonged to that one."""
    state = turn.state
    state.is_pausing = False
    if state.phase is Phase.PAUSED:
        return Flow.STAY
    wait = state.attempt.wait if state.attempt is not None and state.phase is Phase.RETRY else state.wait
    if wait is not None:
        start_timer(turn, wait, f"goes on: {wait.step_id}")
    if state.records:
        state.verdict_write_id = turn.write_records()
    return Flow.SUSPEND


def _cancel(turn: Turn, _event: CancelRequested) -> Flow:
    """End the run as CANCELED: nothing is left STARTED or WAITING, and no policy of the author holds it up."""
    if turn.state.phase is Phase.ENDED:
        return Flow.END
    step = turn.current_step()
    _close_what_is_open(turn)
    turn.end("CANCELED", step_path=step.path if step else "")
    return Flow.END


def _close_what_is_open(turn: Turn) -> None:
    state, step = turn.state, turn.current_step()
    if step is not None and state.wait is not None:
        record_step(state, step, now_ms=turn.now_ms, status="CANCELED", started_ms=state.wait.opened_ms)
        if state.wait.kind == "human":
            record_task(state, state.wait, now_ms=turn.now_ms, status="canceled")
        close_wait(turn, "CANCELED")
    if step is not None and state.attempt is not None:
        cancel_attempt(turn, step)
    leave_frames(turn, keep=1, status="CANCELED")


def end_as_corrupt(
    definition: Definition, state: RunState, *, now_ms: int, message: str
) -> tuple[RunState, list[Command]]:
    """End a run whose engine raised, or whose commands cannot be performed: what was open is closed, the run FAILED."""
    turn = Turn(definition, state, now_ms)
    _close_what_is_open(turn)
    error = RunError(Category.CORRUPTION, message).as_object(node_path="", now_ms=now_ms)
    turn.end("FAILED", error=error)
    return state, turn.commands


# The table: what a phase answers to. Anything else is stale.
TRANSITIONS: dict[tuple[Phase, type], Callable[[Turn, Any], Flow]] = {
    (Phase.NEW, RunStarted): _begin,
    (Phase.FLUSH, RecordsWritten): _flushed,
    (Phase.ACTION, ActionDone): _action_done,
    (Phase.CHILD, ChildDone): _child_done,
    (Phase.RETRY, TimerFired): _retry,
    (Phase.EVENT_WAIT, EventSignalled): _event_signalled,
    (Phase.EVENT_WAIT, TimerFired): _wait_timed_out,
    (Phase.HUMAN_WAIT, EventSignalled): _event_signalled,
    (Phase.HUMAN_WAIT, TaskCompleted): _task_completed,
    (Phase.HUMAN_WAIT, TimerFired): _wait_timed_out,
    (Phase.TIME_WAIT, TimerFired): _time_came,
}
IN_ANY_PHASE: dict[type, Callable[[Turn, Any], Flow]] = {
    CancelRequested: _cancel,
    EventSignalled: _late,
    RecordsWritten: _verdicts_written,
    PauseRequested: _pause,
    RunContinued: _continue,
}

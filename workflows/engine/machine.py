"""The engine: `advance(definition, state, event) -> (state, commands)`.

Theory of operation. A run executes blocks of steps. A stack of frames holds the position of the run. A stack of loops
holds the `local` scopes. Between two events the run is in one phase:

- NEW, or ENDED
- waiting: for an ACTION, a CHILD, a RETRY timer, an event (EVENT_WAIT), a person (HUMAN_WAIT) or a time (TIME_WAIT)
- FLUSH: the records of the run are being written
- PAUSED: the run can continue as new

WALKING exists only inside a turn. `TRANSITIONS` names the handler for a phase and a type of event. `IN_ANY_PHASE` names
the handlers that apply in every phase. If neither table names a handler, the event is stale. Examples are the timer of
a resolved wait and the end of a canceled action. A stale event changes nothing. A signalled event always gets a
verdict. After a handler, `_walk` runs steps until a step suspends, the turn reaches its limit of work, or the run ends.

Errors never leave the engine. A failed step raises RunError, and `control` finds the place that catches the error.
Cancellation closes all open work, regardless of the author's policies.

Rules:

- The engine performs nothing. Commands say what to do, records say what to project, and every id is derived from the
  run.
- `advance` changes the state that it receives. The caller must use only the returned state.
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
from workflows.engine.event_steps import (
    close_wait,
    deadline_reached,
    event_signalled,
    events_searched,
    late,
    task_completed,
)
from workflows.engine.events import (
    ActionDone,
    CancelRequested,
    ChildDone,
    EngineEvent,
    EventSignalled,
    EventsSearched,
    PauseRequested,
    RecordsWritten,
    RunContinued,
    RunStarted,
    TaskCompleted,
    TimerFired,
)
from workflows.engine.recording import record_step, record_task, record_wait
from workflows.engine.sizes import MAX_SCOPE_BYTES
from workflows.engine.state import SAFE_TO_CONTINUE, OpenWaitState, Phase, RunState
from workflows.engine.steps import HANDLERS
from workflows.engine.turn import Flow, Turn
from workflows.engine.wait_steps import resume_from_time

EXTERNAL_STEP_TYPES = frozenset({"action.call", "control.callWorkflow"})
# Increase this number with every change that gives another result for the same definition and events. A run keeps the
# version that it started with.
SEMANTICS_VERSION = 2
# Expression contract version for each semantics version.
CONTRACT_OF_SEMANTICS = {1: 1, 2: 2}
Observer = Callable[[Step, RunState], None]


def advance(
    definition: Definition, state: RunState, event: EngineEvent, observe: Observer | None = None
) -> tuple[RunState, list[Command]]:
    """Handle one event. Return the new state and the commands to perform.

    `observe` is called before the first attempt of each step. It must not change the state. Workflows never pass it.

    Errors: no definition and no event leads to an exception. If one is raised, it is a bug in this project, and the
    caller turns it into EngineCorruption.
    """
    turn = _turn(definition, state, event.now_ms)
    handler = TRANSITIONS.get((state.phase, type(event))) or IN_ANY_PHASE.get(type(event))
    if handler is not None:
        flow = handler(turn, event)
        if flow is Flow.NEXT:
            turn.step_over()
        if flow in (Flow.NEXT, Flow.STAY):
            _walk(turn, observe)
    return state, turn.commands


def _turn(definition: Definition, state: RunState, now_ms: int) -> Turn:
    semantics = int(state.scope.system.get("semanticsVersion", 1))
    return Turn(definition, state, now_ms, contract=CONTRACT_OF_SEMANTICS[semantics])


# -- Execution of steps ------------------------------------------------------------------------------------------------


def _walk(turn: Turn, observe: Observer | None) -> None:
    """Run steps until a step suspends, the turn reaches its limit of work, or the run ends."""
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
            if observe is not None:
                observe(step, state)
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
                Category.CORRUPTION,
                f"This version of the portal cannot run steps of type {step.type!r}. "
                "Update the Temporal workers, then start a new run.",
                code="STEP_TYPE_NOT_SUPPORTED",
            )
        return handler(turn, step)
    except RunError as error:
        return step_failed(turn, step, error, started_ms=turn.now_ms)


def _started_ms(turn: Turn, wait: OpenWaitState) -> int:
    """Return the time at which the waiting step started.

    If the wait decides about an unknown outcome, this is the time at which the earlier attempt started.
    """
    return wait.opened_ms if turn.state.attempt is None else turn.state.attempt.started_ms


def _resume(turn: Turn, step: Step, body: Callable[[], Flow], *, started_ms: int) -> Flow:
    """Resume a suspended step. If the result cannot be assigned to the scopes, the step fails."""
    turn.begin_step()
    try:
        return body()
    except RunError as error:
        if step.type in EXTERNAL_STEP_TYPES:
            # The action or the child run has already succeeded. A retry would repeat its effect and fail with the same
            # error.
            return fail(turn, step, error, started_ms=started_ms)
        return step_failed(turn, step, error, started_ms=started_ms)


# -- Handlers for one phase --------------------------------------------------------------------------------------------


def _begin(turn: Turn, event: RunStarted) -> Flow:
    turn.become_ready(event.accepted_ms or turn.now_ms)
    size = turn.state.scope.size_bound
    if size > MAX_SCOPE_BYTES:
        error = RunError(
            Category.VALIDATION,
            f"The input of the run has {size} bytes. The limit is {MAX_SCOPE_BYTES} bytes. "
            "Start the run with less data.",
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
    return _resume(turn, step, lambda: action_done(turn, step, event), started_ms=attempt.started_ms)


def _child_done(turn: Turn, event: ChildDone) -> Flow:
    attempt = turn.state.attempt
    if attempt is None or attempt.command_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resume(turn, step, lambda: child_done(turn, step, event), started_ms=attempt.started_ms)


def _retry(turn: Turn, event: TimerFired) -> Flow:
    attempt = turn.state.attempt
    if attempt is None or attempt.wait is None or attempt.wait.timer_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    turn.become_ready(attempt.wait.deadline_ms or 0)
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
    return _resume(turn, step, lambda: event_signalled(turn, step, wait, event), started_ms=_started_ms(turn, wait))


def _task_completed(turn: Turn, event: TaskCompleted) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.id != event.task_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resume(turn, step, lambda: task_completed(turn, step, wait, event), started_ms=_started_ms(turn, wait))


def _deadline_reached(turn: Turn, event: TimerFired) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resume(turn, step, lambda: deadline_reached(turn, wait), started_ms=_started_ms(turn, wait))


def _events_searched(turn: Turn, event: EventsSearched) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.look_id != event.command_id:
        return Flow.SUSPEND
    step = turn.step_of_wait()
    return _resume(turn, step, lambda: events_searched(turn, wait, event), started_ms=_started_ms(turn, wait))


def _time_reached(turn: Turn, event: TimerFired) -> Flow:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id or wait.deadline_ms is None:
        return Flow.SUSPEND
    step, due_ms = turn.step_of_wait(), wait.deadline_ms

    def resume() -> Flow:
        turn.become_ready(due_ms)
        close_wait(turn, "RESOLVED", timer_fired=True)
        resume_from_time(turn, step, due_ms=due_ms, started_ms=wait.opened_ms)
        return Flow.NEXT

    return _resume(turn, step, resume, started_ms=wait.opened_ms)


# -- Handlers for every phase ------------------------------------------------------------------------------------------


def _late(turn: Turn, event: EventSignalled) -> Flow:
    return late(turn, event, "the run no longer waits for this event")


def _verdicts_written(turn: Turn, event: RecordsWritten) -> Flow:
    """Note that a write of verdicts has ended. Write the records that were gathered during this write."""
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
    """Continue where the previous execution stopped.

    Start new timers, because the timers of the previous execution ended with it.
    """
    state = turn.state
    state.is_pausing = False
    if state.phase is Phase.PAUSED:
        return Flow.STAY
    wait = state.attempt.wait if state.attempt is not None and state.phase is Phase.RETRY else state.wait
    if wait is not None:
        start_timer(turn, wait, f"continued: {wait.step_id}")
    if state.records:
        state.verdict_write_id = turn.write_records()
    return Flow.SUSPEND


def _cancel(turn: Turn, _event: CancelRequested) -> Flow:
    """End the run as CANCELED. No row stays STARTED or WAITING, and no policy of the author delays the end."""
    if turn.state.phase is Phase.ENDED:
        return Flow.END
    step = turn.current_step()
    _close_open_work(turn)
    turn.end("CANCELED", step_path=step.path if step else "")
    return Flow.END


def _close_open_work(turn: Turn) -> None:
    state, step = turn.state, turn.current_step()
    if step is not None and state.wait is not None:
        if state.attempt is None:
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
    """End a run as FAILED after an exception in the engine, or after a command that cannot be performed.

    All open work of the run is closed.
    """
    turn = _turn(definition, state, now_ms)
    _close_open_work(turn)
    error = RunError(Category.CORRUPTION, message).as_object(node_path="", now_ms=now_ms)
    turn.end("FAILED", error=error)
    return state, turn.commands


# Handlers by phase and type of event. An event that is not listed for the phase is stale.
TRANSITIONS: dict[tuple[Phase, type], Callable[[Turn, Any], Flow]] = {
    (Phase.NEW, RunStarted): _begin,
    (Phase.FLUSH, RecordsWritten): _flushed,
    (Phase.ACTION, ActionDone): _action_done,
    (Phase.CHILD, ChildDone): _child_done,
    (Phase.RETRY, TimerFired): _retry,
    (Phase.EVENT_WAIT, EventSignalled): _event_signalled,
    (Phase.EVENT_WAIT, TimerFired): _deadline_reached,
    (Phase.EVENT_WAIT, EventsSearched): _events_searched,
    (Phase.HUMAN_WAIT, EventSignalled): _event_signalled,
    (Phase.HUMAN_WAIT, TaskCompleted): _task_completed,
    (Phase.HUMAN_WAIT, TimerFired): _deadline_reached,
    (Phase.HUMAN_WAIT, EventsSearched): _events_searched,
    (Phase.TIME_WAIT, TimerFired): _time_reached,
}
IN_ANY_PHASE: dict[type, Callable[[Turn, Any], Flow]] = {
    CancelRequested: _cancel,
    EventSignalled: _late,
    RecordsWritten: _verdicts_written,
    PauseRequested: _pause,
    RunContinued: _continue,
}

"""The engine: `advance(definition, state, event) -> (state, commands)`.

Theory of operation. A run walks blocks of steps; a stack of frames says where it stands. Between two events it is in one
phase: NEW, waiting for an ACTION, for a RETRY timer, for a business event (EVENT_WAIT), for a time (TIME_WAIT), for its
own records to be written (FLUSH), or ENDED; WALKING it is only inside of a turn. `TRANSITIONS` says, for a phase and a kind of event, which function answers;
an event that the table does not hold for the phase is stale (a timer of a wait that was resolved, the end of an action that
was cancelled) and changes nothing, except that a signalled event always gets a verdict. After each answer `_walk` runs
steps until one suspends or the run ends.

The engine performs nothing: commands say what to do, records say what to project, and every id is derived from the run.
The state that is passed in is consumed: the caller goes on with the one that is returned.
"""

from collections.abc import Callable
from typing import Any

from workflows.engine.commands import CancelAction, CancelTimer, Command, StartTimer, WriteRecords
from workflows.engine.definition import Definition, Step
from workflows.engine.errors import Category, RunError
from workflows.engine.events import (
    ActionDone,
    CancelRequested,
    EngineEvent,
    EventSignalled,
    RecordsWritten,
    RunStarted,
    TimerFired,
)
from workflows.engine.filters import first_mismatch
from workflows.engine.records import record_step, record_verdict, record_wait, take_records
from workflows.engine.retry import retry_delay_ms
from workflows.engine.scope import parse_target
from workflows.engine.state import ActionState, OpenWaitState, Phase, RunState
from workflows.engine.steps import HANDLERS, resume_from_time, retry_seed, start_action
from workflows.engine.turn import Enter, Flow, Outcome, Turn

# A change of what the same definition and the same events lead to needs a new number; a run pins the one it began with.
SEMANTICS_VERSION = 1
# The expression contract is part of it: which one each semantics evaluates with.
CONTRACT_OF_SEMANTICS = {1: 1}
MAX_GATHERED_RECORDS = 200


def advance(definition: Definition, state: RunState, event: EngineEvent) -> tuple[RunState, list[Command]]:
    """The state after `event`, and what is to be done now.

    Errors: none of the author's or the sender's making; an exception out of here is a bug, which the pump turns into
    EngineCorruption.
    """
    turn = Turn(definition, state, event.now_ms)
    answer = TRANSITIONS.get((state.phase, type(event)))
    if answer is not None:
        answer(turn, event)
    elif isinstance(event, CancelRequested) and state.phase is not Phase.ENDED:
        _cancel(turn)
    elif isinstance(event, EventSignalled):
        _late(turn, event, "the run does not wait for this any more")
    return state, turn.commands


# -- Walking ---------------------------------------------------------------------------------------------------------


def _walk(turn: Turn) -> None:
    """Run steps until one suspends, or the run ends."""
    turn.state.phase = Phase.WALKING
    while True:
        if len(turn.state.records) >= MAX_GATHERED_RECORDS:
            _flush(turn)
            return
        step = turn.current_step()
        if step is None:
            turn.end("SUCCEEDED")
            return
        if not _go_on(turn, _run_step(turn, step)):
            return


def _run_step(turn: Turn, step: Step) -> Outcome:
    try:
        handler = HANDLERS.get(step.type)
        if handler is None:
            raise RunError(
                Category.CORRUPTION, f"this engine cannot run {step.type!r} steps", code="STEP_TYPE_NOT_SUPPORTED"
            )
        return handler(turn, step)
    except RunError as error:
        return turn.fail(step, error, started_ms=turn.now_ms)


def _go_on(turn: Turn, outcome: Outcome) -> bool:
    """Move to what comes after a step; False when the turn is over."""
    if isinstance(outcome, Enter):
        turn.enter(outcome.block)
        return True
    if outcome is Flow.NEXT:
        turn.step_over()
        return True
    return False


def _flush(turn: Turn) -> None:
    turn.state.phase, turn.state.flush_id = Phase.FLUSH, turn.new_command_id()
    turn.commands.append(WriteRecords(id=turn.state.flush_id, records=take_records(turn.state)))


def _resume(turn: Turn, step: Step, body: Callable[[], None], *, started_ms: int) -> None:
    """Finish a step that was suspended, then walk on."""
    outcome: Outcome = Flow.NEXT
    try:
        body()
    except RunError as error:
        outcome = turn.fail(step, error, started_ms=started_ms)
    if _go_on(turn, outcome):
        _walk(turn)


# -- Answers to events -----------------------------------------------------------------------------------------------


def _begin(turn: Turn, _event: RunStarted) -> None:
    _walk(turn)


def _flushed(turn: Turn, event: RecordsWritten) -> None:
    if event.command_id == turn.state.flush_id:
        _walk(turn)


def _action_done(turn: Turn, event: ActionDone) -> None:
    state, action = turn.state, turn.state.action
    if action is None or action.command_id != event.command_id:
        return
    step = turn.step_of_wait()
    if not event.is_projected:
        _record_lost_attempt(turn, step, action, event)
    if event.error is not None:
        _action_failed(turn, step, event.error)
        return
    state.action = None
    state.step_count += 1

    def save() -> None:
        if "saveAs" in step.config:
            turn.put(parse_target(step.config["saveAs"]), event.output)

    _resume(turn, step, save, started_ms=action.started_ms)


def _record_lost_attempt(turn: Turn, step: Step, action: ActionState, event: ActionDone) -> None:
    state = turn.state
    state.records = [*action.records, *state.records]
    record_step(
        state,
        step,
        now_ms=turn.now_ms,
        status="FAILED",
        started_ms=action.started_ms,
        attempt=action.attempt,
        error=event.error,
    )


def _action_failed(turn: Turn, step: Step, error: dict[str, Any]) -> None:
    """Retry by the author's policy, else give up. The attempt itself has been projected by its activity."""
    state, action = turn.state, turn.state.action
    assert action is not None
    delay = retry_delay_ms(
        step.retry, attempt=action.attempt, category=str(error["category"]), seed=retry_seed(turn, step)
    )
    if delay is None:
        state.action = None
        if _go_on(turn, turn.give_up(step, error)):
            _walk(turn)
        return
    due_ms = turn.now_ms + delay
    action.wait = OpenWaitState(
        id=action.retry_wait_id,
        kind="retry",
        step_path=step.path,
        step_id=step.id,
        opened_ms=turn.now_ms,
        deadline_ms=due_ms,
        timer_id=turn.new_command_id(),
    )
    state.phase = Phase.RETRY
    turn.commands.append(
        StartTimer(id=action.wait.timer_id, due_ms=due_ms, summary=f"attempt {action.attempt + 1} of {step.id}")
    )


def _retry(turn: Turn, event: TimerFired) -> None:
    action = turn.state.action
    if action is None or action.wait is None or action.wait.timer_id != event.command_id:
        return
    record_wait(turn.state, action.wait, now_ms=turn.now_ms, status="RESOLVED")
    start_action(
        turn,
        turn.step_of_wait(),
        value=action.input,
        idempotency_key=action.idempotency_key,
        attempt=action.attempt + 1,
    )


def _event_signalled(turn: Turn, event: EventSignalled) -> None:
    """Only here is decided whether an event resumes the run: name, key and every filter must match, and only once."""
    state, wait = turn.state, turn.state.wait
    if wait is None or wait.id != event.wait_id:
        _late(turn, event, "the wait is closed")
    elif event.event_id in state.consumed_event_ids:
        _late(turn, event, "this event has resumed this run before")
    elif event.event_id == state.trigger_event_id:
        _filtered(turn, event, "this event started the run")
    elif (event.event_name, event.correlation_key) != (wait.event_name, wait.key):
        _filtered(turn, event, f"the wait is for {wait.event_name} with key {wait.key}")
    elif (mismatch := first_mismatch(wait.filters, event.payload)) is not None:
        _filtered(turn, event, mismatch)
    else:
        _matched(turn, event, wait)


def _matched(turn: Turn, event: EventSignalled, wait: OpenWaitState) -> None:
    state, step = turn.state, turn.step_of_wait()
    state.consumed_event_ids.append(event.event_id)
    state.event_count += 1
    record_verdict(state, now_ms=turn.now_ms, wait_id=wait.id, event_id=event.event_id, verdict="matched")
    _close_wait(turn, "RESOLVED", event_id=event.event_id)

    def take() -> None:
        turn.put("vars.event", event.payload)
        turn.put("vars.eventName", event.event_name)
        turn.assign(step.config.get("assign") or {})
        turn.step_succeeded(step, started_ms=wait.opened_ms)

    _resume(turn, step, take, started_ms=wait.opened_ms)


def _filtered(turn: Turn, event: EventSignalled, reason: str) -> None:
    _verdict_now(turn, event, "filtered", reason)


def _late(turn: Turn, event: EventSignalled, reason: str) -> None:
    _verdict_now(turn, event, "late", reason)


def _verdict_now(turn: Turn, event: EventSignalled, verdict: str, reason: str) -> None:
    """The run goes on waiting, so nothing else would carry the verdict soon: write it by itself."""
    record_verdict(
        turn.state,
        now_ms=turn.now_ms,
        wait_id=event.wait_id,
        event_id=event.event_id,
        verdict=verdict,
        reason=reason,
    )
    turn.commands.append(WriteRecords(id=turn.new_command_id(), records=take_records(turn.state)))


def _event_wait_timed_out(turn: Turn, event: TimerFired) -> None:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id:
        return
    step = turn.step_of_wait()
    _close_wait(turn, "TIMED_OUT", timer_fired=True)
    error = RunError(
        Category.TIMEOUT,
        f"no {wait.event_name} with key {wait.key} came in time",
        code="EVENT_WAIT_TIMEOUT",
        details={"eventName": wait.event_name, "correlationKey": wait.key},
    )
    if _go_on(turn, turn.fail(step, error, started_ms=wait.opened_ms)):
        _walk(turn)


def _time_came(turn: Turn, event: TimerFired) -> None:
    wait = turn.state.wait
    if wait is None or wait.timer_id != event.command_id or wait.deadline_ms is None:
        return
    step, due_ms = turn.step_of_wait(), wait.deadline_ms
    _close_wait(turn, "RESOLVED", timer_fired=True)
    _resume(
        turn,
        step,
        lambda: resume_from_time(turn, step, due_ms=due_ms, started_ms=wait.opened_ms),
        started_ms=wait.opened_ms,
    )


def _close_wait(turn: Turn, status: str, *, event_id: str = "", timer_fired: bool = False) -> None:
    wait = turn.state.wait
    assert wait is not None
    record_wait(turn.state, wait, now_ms=turn.now_ms, status=status, event_id=event_id)
    if wait.timer_id and not timer_fired:
        turn.commands.append(CancelTimer(id=wait.timer_id))
    turn.state.wait = None


def _cancel(turn: Turn) -> None:
    """End the run as CANCELED: nothing is left STARTED or WAITING, and no policy of the author holds it up."""
    step = turn.current_step()
    _close_what_is_open(turn)
    turn.end("CANCELED", step_path=step.path if step else "")


def _close_what_is_open(turn: Turn) -> None:
    state, step = turn.state, turn.current_step()
    if step is not None and state.wait is not None:
        record_step(state, step, now_ms=turn.now_ms, status="CANCELED", started_ms=state.wait.opened_ms)
        _close_wait(turn, "CANCELED")
    if step is not None and state.action is not None:
        _cancel_action(turn, step)


def _cancel_action(turn: Turn, step: Step) -> None:
    state, action = turn.state, turn.state.action
    assert action is not None
    # Its activity may be cancelled before it has written them; written twice they change nothing.
    state.records = [*action.records, *state.records]
    if action.wait is not None and state.phase is Phase.RETRY:
        record_wait(state, action.wait, now_ms=turn.now_ms, status="CANCELED")
        turn.commands.append(CancelTimer(id=action.wait.timer_id))
    else:
        record_step(
            state, step, now_ms=turn.now_ms, status="CANCELED", started_ms=action.started_ms, attempt=action.attempt
        )
        turn.commands.append(CancelAction(id=action.command_id))
    state.action = None


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
TRANSITIONS: dict[tuple[Phase, type], Callable[[Turn, Any], None]] = {
    (Phase.NEW, RunStarted): _begin,
    (Phase.FLUSH, RecordsWritten): _flushed,
    (Phase.ACTION, ActionDone): _action_done,
    (Phase.RETRY, TimerFired): _retry,
    (Phase.EVENT_WAIT, EventSignalled): _event_signalled,
    (Phase.EVENT_WAIT, TimerFired): _event_wait_timed_out,
    (Phase.TIME_WAIT, TimerFired): _time_came,
}

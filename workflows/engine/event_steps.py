"""Ends of waits for events and people, and the verdict on every signalled event.

Only this module decides if an event resumes the run. The name, the key and every filter must match. If the wait is a
human task, the response must also match the form. An event resumes a run only once.

Each verdict is a projection record. While one write of verdicts is open, further verdicts are gathered for the next
write.
"""

from workflows.engine.action_step import outcome_decided
from workflows.engine.attempts import start_timer_at
from workflows.engine.commands import CancelTimer, SearchEvents
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.events import EventSignalled, EventsSearched, TaskCompleted
from workflows.engine.filters import first_mismatch
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.recording import record_task, record_verdict, record_wait, take_records
from workflows.engine.records import FilterMismatch, TaskFields
from workflows.engine.state import SAFE_TO_CONTINUE, OpenWaitState, RunState
from workflows.engine.turn import Flow, Turn
from workflows.engine.unknown_outcomes import is_decision, undecided
from workflows.engine.wait_steps import TASK_COMPLETED, response_in, resume_from_event, resume_from_task

# PostgreSQL's clock gives the time at which an event was accepted. Temporal's clock gives the deadline. The two clocks
# may differ by this much.
CLOCK_TOLERANCE_MS = 1_000
# Pause between two searches after a deadline, while an event that was accepted in time is on its way. The pause doubles
# up to the limit.
FIRST_SEARCH_PAUSE_MS, LONGEST_SEARCH_PAUSE_MS = 1_000, 30_000
# Limit of remembered event ids. If the id of an older event is forgotten, the status of its delivery row still prevents
# a second delivery.
MAX_CONSUMED_IDS = 500


def event_signalled(turn: Turn, step: Step, wait: OpenWaitState, event: EventSignalled) -> Flow:
    state = turn.state
    if wait.id != event.wait_id:
        return late(turn, event, "the wait is closed")
    if event.event_id in state.consumed_event_ids:
        return late(turn, event, "this event has already resumed the run")
    if event.event_id == state.trigger_event_id:
        return _filtered(turn, event, "this event started the run")
    if (event.event_name, event.correlation_key) != (wait.event_name, wait.key):
        return _filtered(turn, event, "the wait is for another event or another key")
    if turn.semantics >= 2 and is_after_deadline(wait, event.accepted_ms):
        return late(turn, event, "the portal accepted this event after the deadline of the wait")
    mismatch = _mismatch(wait, event)
    if mismatch is not None:
        return _filtered(turn, event, *mismatch)
    _consume(state, event)
    turn.become_ready(event.accepted_ms)
    record_verdict(state, now_ms=turn.now_ms, wait_id=wait.id, event_id=event.event_id, verdict="matched")
    if wait.kind == "human":
        response = response_in(event.event_name, event.payload)
        by = f"event {event.event_id}"
        fields: TaskFields = {"response": response, "completedBy": by}
        if event.command_id:
            fields["commandId"] = event.command_id
        record_task(state, wait, now_ms=turn.now_ms, status="completed", **fields)
        close_wait(turn, "RESOLVED", event_id=event.event_id)
        if is_decision(step):
            return outcome_decided(turn, step, response)
        resume_from_task(turn, step, wait=wait, name=event.event_name, response=response, completed_by=by)
    else:
        close_wait(turn, "RESOLVED", event_id=event.event_id)
        resume_from_event(turn, step, name=event.event_name, payload=event.payload, started_ms=wait.opened_ms)
    return Flow.NEXT


def task_completed(turn: Turn, step: Step, wait: OpenWaitState, event: TaskCompleted) -> Flow:
    fields: TaskFields = {"response": event.response, "completedBy": event.completed_by}
    if event.command_id:
        fields["commandId"] = event.command_id
    turn.become_ready(event.accepted_ms or turn.now_ms)
    record_task(turn.state, wait, now_ms=turn.now_ms, status="completed", **fields)
    close_wait(turn, "RESOLVED")
    if is_decision(step):
        return outcome_decided(turn, step, event.response)
    resume_from_task(
        turn, step, wait=wait, name=TASK_COMPLETED, response=event.response, completed_by=event.completed_by
    )
    return Flow.NEXT


def is_after_deadline(wait: OpenWaitState, accepted_ms: int) -> bool:
    """Return True if the portal accepted an event or a response at a time that is too late for the wait."""
    return wait.deadline_ms is not None and accepted_ms > wait.deadline_ms + CLOCK_TOLERANCE_MS


def deadline_reached(turn: Turn, wait: OpenWaitState) -> Flow:
    """Search for events that the portal accepted before the deadline, before the wait times out.

    The signal of such an event may arrive after the timer, because a worker, the portal or Temporal was down. Under
    semantics version 1, the wait times out without a search.
    """
    if turn.semantics < 2 or wait.deadline_ms is None:
        return wait_timed_out(turn, wait)
    wait.timer_id, wait.look_id = "", turn.new_command_id()
    wait.looks += 1
    turn.commands.append(
        SearchEvents(
            id=wait.look_id,
            wait_id=wait.id,
            until_ms=wait.deadline_ms + CLOCK_TOLERANCE_MS,
            summary=f"deadline of {wait.step_id}: events accepted before it",
            records=take_records(turn.state),
        )
    )
    return Flow.SUSPEND


def events_searched(turn: Turn, wait: OpenWaitState, event: EventsSearched) -> Flow:
    """Time out the wait. If an event is on its way, wait for the verdict on this event and search again."""
    wait.look_id = ""
    if not event.is_event_left:
        return wait_timed_out(turn, wait)
    pause_ms = min(LONGEST_SEARCH_PAUSE_MS, FIRST_SEARCH_PAUSE_MS * 2 ** min(wait.looks - 1, 10))
    start_timer_at(turn, wait, turn.now_ms + pause_ms, f"an event for {wait.step_id} is on its way")
    return Flow.SUSPEND


def wait_timed_out(turn: Turn, wait: OpenWaitState) -> Flow:
    """Close the wait as TIMED_OUT and fail its step.

    Errors: always raises RunError TimeoutError.
    """
    turn.become_ready(wait.deadline_ms or 0)
    if wait.kind == "human":
        record_task(turn.state, wait, now_ms=turn.now_ms, status="expired")
    close_wait(turn, "TIMED_OUT", timer_fired=True)
    attempt = turn.state.attempt
    if attempt is not None and attempt.unknown is not None:
        raise undecided(attempt.unknown, "no decision came within the decision time")
    if wait.kind == "human":
        raise RunError(
            Category.TIMEOUT,
            "The human task was not completed by its due time.",
            code="HUMAN_TASK_EXPIRED",
            details={"taskId": wait.id},
        )
    raise RunError(
        Category.TIMEOUT,
        f"No event {wait.event_name} with the key {wait.key} arrived before the deadline of the wait.",
        code="EVENT_WAIT_TIMEOUT",
        details={"eventName": wait.event_name, "correlationKey": wait.key},
    )


def close_wait(turn: Turn, status: str, *, event_id: str = "", timer_fired: bool = False) -> None:
    wait = turn.state.wait
    assert wait is not None
    record_wait(turn.state, wait, now_ms=turn.now_ms, status=status, event_id=event_id)
    if wait.timer_id and not timer_fired:
        turn.commands.append(CancelTimer(id=wait.timer_id))
    turn.state.wait = None


def late(turn: Turn, event: EventSignalled, reason: str) -> Flow:
    return _verdict(turn, event, "late", reason)


def _filtered(turn: Turn, event: EventSignalled, reason: str, mismatch: FilterMismatch | None = None) -> Flow:
    return _verdict(turn, event, "filtered", reason, mismatch)


def _mismatch(wait: OpenWaitState, event: EventSignalled) -> tuple[str, FilterMismatch | None] | None:
    """Return the reason why the event does not match the wait, or None. The reason contains no value of the payload."""
    if wait.kind == "human":
        problem = form_problem(wait.form_schema, response_in(event.event_name, event.payload))
        return None if problem is None else (f"the response does not match the form of the task: {problem}", None)
    mismatch = first_mismatch(wait.filters, event.payload)
    return None if mismatch is None else (f"the filter on {mismatch['path']} does not match", mismatch)


def _consume(state: RunState, event: EventSignalled) -> None:
    state.consumed_event_ids.append(event.event_id)
    del state.consumed_event_ids[:-MAX_CONSUMED_IDS]
    state.event_count += 1


def _verdict(
    turn: Turn, event: EventSignalled, verdict: str, reason: str, mismatch: FilterMismatch | None = None
) -> Flow:
    """Record a verdict that leaves the wait open, and write the record.

    The run continues to wait, so no other command would write the verdict soon. Only one such write is open at a time.
    A second one is started only if the gathered records reach the limit of one write. A run that is about to continue
    as new keeps the records for its next execution.
    """
    state = turn.state
    record_verdict(
        state,
        now_ms=turn.now_ms,
        wait_id=event.wait_id,
        event_id=event.event_id,
        verdict=verdict,
        reason=reason,
        mismatch=mismatch,
    )
    is_stopping = state.is_pausing and state.phase in SAFE_TO_CONTINUE
    if turn.has_gathered_enough or not (state.verdict_write_id or is_stopping):
        written = turn.write_records()
        state.verdict_write_id = state.verdict_write_id or written
    return Flow.SUSPEND

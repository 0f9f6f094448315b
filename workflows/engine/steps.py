"""What each step type does when the run reaches it. `HANDLERS` is the list of what this engine can run."""

from collections.abc import Callable
from typing import Any

from workflows.engine.clock import MAX_MS, iso_time, parse_moment
from workflows.engine.commands import OpenWait, RunAction, StartTimer
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.keys import correlation_key
from workflows.engine.records import next_seq, record_run, record_step, record_wait, take_records
from workflows.engine.scope import MAX_SCOPE_BYTES, json_size
from workflows.engine.state import ActionState, OpenWaitState, Phase
from workflows.engine.turn import Enter, Flow, Outcome, Turn


def set_state(turn: Turn, step: Step) -> Outcome:
    turn.put("meta.state", step.config["state"])
    turn.step_succeeded(step, started_ms=turn.now_ms)
    return Flow.NEXT


def assign(turn: Turn, step: Step) -> Outcome:
    turn.assign(step.config["assign"])
    turn.step_succeeded(step, started_ms=turn.now_ms)
    return Flow.NEXT


def choose(turn: Turn, step: Step) -> Outcome:
    verdict = turn.resolve(step.config["condition"], "condition")
    if not isinstance(verdict, bool):
        raise RunError(
            Category.EXPRESSION,
            f"the condition must be true or false, but is {type(verdict).__name__}",
            code="CONDITION_NOT_BOOLEAN",
        )
    branch = "then" if verdict else "else"
    turn.step_succeeded(step, started_ms=turn.now_ms, branch=branch)
    return Enter(step.blocks[branch])


def finish(turn: Turn, step: Step) -> Outcome:
    turn.step_succeeded(step, started_ms=turn.now_ms)
    turn.end("SUCCEEDED", step_path=step.path)
    return Flow.END


def call_action(turn: Turn, step: Step) -> Outcome:
    config = step.config
    value = turn.resolve(config.get("inputMapping", {}), "inputMapping")
    size = json_size(value)
    if size > MAX_SCOPE_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"the action's input has {size} bytes; {MAX_SCOPE_BYTES} are allowed",
            code="INPUT_TOO_LARGE",
        )
    key = _explicit_key(turn, config) or f"{turn.state.scope.system['runId']}/{step.path}"
    start_action(turn, step, value=value, idempotency_key=key, attempt=1)
    return Flow.SUSPEND


def start_action(turn: Turn, step: Step, *, value: Any, idempotency_key: str, attempt: int) -> None:
    """One attempt. Its activity writes the gathered records, the attempt's start, and its end."""
    state = turn.state
    state.phase = Phase.ACTION
    state.action = ActionState(
        turn.new_command_id(), attempt, value, idempotency_key, turn.now_ms, retry_wait_id=turn.new_wait_id()
    )
    record_run(state, now_ms=turn.now_ms, status="RUNNING", step_path=step.path)
    state.action.records = take_records(state)
    turn.commands.append(
        RunAction(
            id=state.action.command_id,
            step_id=step.id,
            step_name=step.name,
            step_path=step.path,
            iteration="",
            attempt=attempt,
            action_id=step.config["actionId"],
            action_version=step.config["version"],
            input=value,
            idempotency_key=idempotency_key,
            retry=step.retry,
            retry_seed=retry_seed(turn, step),
            retry_wait_id=state.action.retry_wait_id,
            started_at_ms=turn.now_ms,
            records=state.action.records,
            start_seq=next_seq(state),
            end_seq=next_seq(state),
        )
    )


def retry_seed(turn: Turn, step: Step) -> str:
    return f"{turn.state.scope.system['runId']}/{step.path}"


def wait_for_event(turn: Turn, step: Step) -> Outcome:
    config = step.config
    key = correlation_key(turn.resolve(config["correlationKey"], "correlationKey"))
    if key is None:
        raise RunError(
            Category.EXPRESSION,
            "the correlation key must be a text or a number; it is null, empty, an object or an array",
            code="CORRELATION_KEY_INVALID",
        )
    filters = [turn.resolve(condition, f"filters[{i}]") for i, condition in enumerate(config.get("filters") or [])]
    wait = _new_wait(turn, step, "event", _deadline(turn, config.get("timeoutMs")))
    wait.event_name, wait.key, wait.filters = config["eventName"], key, filters
    _open(turn, step, wait, Phase.EVENT_WAIT, f"{wait.event_name} {wait.key}")
    return Flow.SUSPEND


def wait_for_time(turn: Turn, step: Step) -> Outcome:
    config = step.config
    if config["mode"] == "duration":
        due_ms = turn.now_ms + config["durationMs"]
    else:
        moment = parse_moment(turn.resolve(config["until"], "until"))
        if moment is None:
            raise RunError(
                Category.EXPRESSION,
                "`until` must be a time of ISO 8601 with a zone, or epoch milliseconds",
                code="TIME_INVALID",
            )
        due_ms = moment
    if due_ms <= turn.now_ms:
        resume_from_time(turn, step, due_ms=due_ms, started_ms=turn.now_ms)
        return Flow.NEXT
    _open(turn, step, _new_wait(turn, step, "time", min(due_ms, MAX_MS)), Phase.TIME_WAIT, "time")
    return Flow.SUSPEND


def resume_from_time(turn: Turn, step: Step, *, due_ms: int, started_ms: int) -> None:
    turn.put(
        "vars.timeWait",
        {"mode": step.config["mode"], "dueAt": iso_time(due_ms), "resumedAt": iso_time(turn.now_ms)},
    )
    turn.assign(step.config.get("assign") or {})
    turn.step_succeeded(step, started_ms=started_ms)


def _new_wait(turn: Turn, step: Step, kind: str, deadline_ms: int | None) -> OpenWaitState:
    return OpenWaitState(
        id=turn.new_wait_id(),
        kind=kind,
        step_path=step.path,
        step_id=step.id,
        opened_ms=turn.now_ms,
        deadline_ms=deadline_ms,
    )


def _open(turn: Turn, step: Step, wait: OpenWaitState, phase: Phase, summary: str) -> None:
    state = turn.state
    state.phase, state.wait = phase, wait
    record_run(state, now_ms=turn.now_ms, status="WAITING", step_path=step.path)
    record_step(state, step, now_ms=turn.now_ms, status="STARTED", started_ms=turn.now_ms)
    record_wait(state, wait, now_ms=turn.now_ms, status="WAITING")
    turn.commands.append(
        OpenWait(
            id=turn.new_command_id(), wait_id=wait.id, summary=f"{step.id}: {summary}", records=take_records(state)
        )
    )
    if wait.deadline_ms is not None:
        wait.timer_id = turn.new_command_id()
        turn.commands.append(StartTimer(id=wait.timer_id, due_ms=wait.deadline_ms, summary=f"deadline of {step.id}"))


def _deadline(turn: Turn, timeout_ms: int | None) -> int | None:
    return None if timeout_ms is None else min(turn.now_ms + timeout_ms, MAX_MS)


def _explicit_key(turn: Turn, config: dict[str, Any]) -> str | None:
    if "idempotencyKey" not in config:
        return None
    key = correlation_key(turn.resolve(config["idempotencyKey"], "idempotencyKey"))
    if key is None:
        raise RunError(
            Category.EXPRESSION, "the idempotency key must be a text or a number", code="IDEMPOTENCY_KEY_INVALID"
        )
    return key


HANDLERS: dict[str, Callable[[Turn, Step], Outcome]] = {
    "state.set": set_state,
    "transform.assign": assign,
    "control.if": choose,
    "control.return": finish,
    "action.call": call_action,
    "event.wait": wait_for_event,
    "time.wait": wait_for_time,
}

"""The step `action.call`: one activity per attempt.

The activity also writes the projection records that the run has gathered so far, and the records of the attempt.
"""

from typing import Any

from workflows.engine.attempts import attempt_failed
from workflows.engine.commands import RunAction
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.events import ActionDone
from workflows.engine.recording import next_seq, record_run, restore_records, take_records
from workflows.engine.scope import parse_target
from workflows.engine.secret_places import secret_places
from workflows.engine.sizes import MAX_ACTION_INPUT_BYTES, json_size, plain_copy
from workflows.engine.state import AttemptState, Phase
from workflows.engine.transforms import TRANSFORMS
from workflows.engine.turn import Flow, Turn
from workflows.engine.unknown_outcomes import DECIDE, FAIL, ask_for_outcome, undecided


def call_action(turn: Turn, step: Step) -> Flow:
    config = step.config
    value = turn.resolve(config.get("inputMapping", {}), "inputMapping")
    size = json_size(value)
    if size > MAX_ACTION_INPUT_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"The input of the action has {size} bytes. The limit is {MAX_ACTION_INPUT_BYTES} bytes. "
            "Pass less data, or a reference to the data.",
            code="INPUT_TOO_LARGE",
        )
    turn.state.scope.work += size
    transform = TRANSFORMS.get((config["actionId"], config["version"]))
    if transform is not None:
        _save(turn, step, transform(value, turn.contract))
        turn.step_succeeded(step, started_ms=turn.now_ms)
        return Flow.NEXT
    start_action(turn, step, value=value, idempotency_key=_explicit_key(turn, config) or turn.execution_key(step))
    return Flow.SUSPEND


def start_action(
    turn: Turn,
    step: Step,
    *,
    value: Any,
    idempotency_key: str,
    started_ms: int | None = None,
    decision: dict[str, Any] | None = None,
) -> None:
    """Start one attempt. Its activity writes the gathered records, the start of the attempt and the end of the attempt.

    With a `decision` about an unknown outcome, the step continues the earlier attempt. `started_ms` is then the time at
    which this attempt first started.
    """
    state = turn.state
    state.phase = Phase.ACTION
    attempt = AttemptState(
        turn.now_ms if started_ms is None else started_ms,
        retry_wait_id=turn.new_wait_id(),
        command_id=turn.new_command_id(),
        input=value,
        idempotency_key=idempotency_key,
    )
    record_run(state, now_ms=turn.now_ms, status="RUNNING", step_path=step.path)
    attempt.records = take_records(state)
    state.attempt = attempt
    turn.commands.append(
        RunAction(
            id=attempt.command_id,
            step_id=step.id,
            step_name=step.name,
            step_path=step.path,
            iteration=state.scope.iteration,
            attempt=state.attempt_number,
            action_id=step.config["actionId"],
            action_version=step.config["version"],
            input=value,
            idempotency_key=idempotency_key,
            retry=step.retry,
            retry_seed=turn.execution_key(step),
            retry_wait_id=attempt.retry_wait_id,
            started_at_ms=attempt.started_ms,
            records=attempt.records,
            start_seq=next_seq(state),
            end_seq=next_seq(state),
            secrets=secret_places(step.config.get("inputMapping")),
            on_unknown=DECIDE if turn.semantics >= 2 and step.config.get("onUnknownOutcome") != "fail" else "",
            decision=decision,
        )
    )


def action_done(turn: Turn, step: Step, event: ActionDone) -> Flow:
    state, attempt = turn.state, turn.state.attempt
    assert attempt is not None
    if not event.is_projected:
        restore_records(state, attempt.records)
    if event.unknown is not None and event.error is not None:
        return ask_for_outcome(turn, step, attempt, event.error, event.unknown)
    if event.error is not None:
        return attempt_failed(turn, step, event.error, is_recorded=event.is_projected)
    state.attempt = None
    _save(turn, step, event.output)
    state.step_count += 1
    return Flow.NEXT


def outcome_decided(turn: Turn, step: Step, response: dict[str, Any]) -> Flow:
    """Continue the attempt after the decision about its unknown outcome.

    The activity of the attempt stores the decision in the action ledger.
    Errors: RunError ACTION_OUTCOME_UNKNOWN if the decision is that the step fails.
    """
    attempt = turn.state.attempt
    assert attempt is not None
    assert attempt.unknown is not None
    if response["outcome"] == FAIL:
        raise undecided(attempt.unknown, f"an operator decided that the step fails: {response['reason']}")
    decision = {"outcome": response["outcome"], "executions": attempt.unknown["executions"]}
    if "output" in response:
        decision["output"] = plain_copy(response["output"])
    start_action(
        turn,
        step,
        value=attempt.input,
        idempotency_key=attempt.idempotency_key,
        started_ms=attempt.started_ms,
        decision=decision,
    )
    return Flow.SUSPEND


def _save(turn: Turn, step: Step, output: Any) -> None:
    if "saveAs" in step.config:
        turn.put(parse_target(step.config["saveAs"]), output)


def _explicit_key(turn: Turn, config: dict[str, Any]) -> str | None:
    if "idempotencyKey" not in config:
        return None
    key = turn.key_of(config["idempotencyKey"], "idempotencyKey")
    if key is None:
        raise RunError(
            Category.EXPRESSION,
            "The idempotency key is null, empty, too long, an object or an array. It must be a text or a number. "
            "Correct the expression in `idempotencyKey`.",
            code="IDEMPOTENCY_KEY_INVALID",
        )
    return key

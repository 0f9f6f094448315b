"""Steps that wait for an event, a time or a person: opening of the wait, and assignment of its result.

Cost: one activity, which writes the gathered records with the wait and then searches for earlier events. If the wait
has a deadline, also one timer.
"""

from typing import Any

from workflows.engine.attempts import start_timer
from workflows.engine.clock import MAX_MS, iso_time
from workflows.engine.commands import OpenWait
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.json_schema.value_rules import kind_of
from workflows.engine.recording import record_run, record_step, record_task, record_wait, take_records
from workflows.engine.sizes import MAX_FILTER_BYTES, MAX_TASK_BYTES, json_size, plain_copy
from workflows.engine.state import OpenWaitState, Phase
from workflows.engine.turn import Flow, Turn
from workflows.engine.wait_times import deadline_of, due_after, moment_of

TASK_COMPLETED = "HUMAN_TASK_COMPLETED"
MAX_TITLE_LENGTH = 500

# -- Events ------------------------------------------------------------------------------------------------------------


def wait_for_event(turn: Turn, step: Step) -> Flow:
    config = step.config
    key = _key(turn, config["correlationKey"], "correlationKey")
    filters = [turn.resolve(condition, f"filters[{i}]") for i, condition in enumerate(config.get("filters") or [])]
    size = json_size(filters)
    if size > MAX_FILTER_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"The filters of the wait have {size} bytes. The limit is {MAX_FILTER_BYTES} bytes. "
            "Compare with smaller values.",
            code="FILTERS_TOO_LARGE",
        )
    wait = new_wait(turn, step, "event", deadline_of(turn, config, "timeoutMs"))
    wait.event_name, wait.key, wait.filters = config["eventName"], key, filters
    return open_wait(turn, step, wait, Phase.EVENT_WAIT, f"{wait.event_name} {wait.key}")


def resume_from_event(turn: Turn, step: Step, *, name: str, payload: Any, started_ms: int) -> None:
    # A copy, because a later change by the author must not change the recorded payload.
    turn.put("vars.event", plain_copy(payload))
    turn.put("vars.eventName", name)
    turn.assign(step.config.get("assign") or {})
    turn.step_succeeded(step, started_ms=started_ms)


# -- Times -------------------------------------------------------------------------------------------------------------


def wait_for_time(turn: Turn, step: Step) -> Flow:
    config = step.config
    if config["mode"] == "duration":
        due_ms = due_after(turn, config["durationMs"], "durationMs")
    else:
        due_ms = moment_of(turn, config["until"], "until")
    if due_ms <= turn.now_ms:
        turn.become_ready(due_ms)
        resume_from_time(turn, step, due_ms=due_ms, started_ms=turn.now_ms)
        return Flow.NEXT
    return open_wait(turn, step, new_wait(turn, step, "time", min(due_ms, MAX_MS)), Phase.TIME_WAIT, "time")


def resume_from_time(turn: Turn, step: Step, *, due_ms: int, started_ms: int) -> None:
    turn.put(
        "vars.timeWait",
        {"mode": step.config["mode"], "dueAt": iso_time(due_ms), "resumedAt": iso_time(turn.now_ms)},
    )
    turn.assign(step.config.get("assign") or {})
    turn.step_succeeded(step, started_ms=started_ms)


# -- People ------------------------------------------------------------------------------------------------------------


def wait_for_person(turn: Turn, step: Step) -> Flow:
    """Open a human task. The id of the task is the id of its wait.

    An event can also complete the task. This event is HUMAN_TASK_COMPLETED with the task id as key, or the event that
    `completeOn` names.
    """
    config = step.config
    task = _task_fields(turn, step)
    complete_on = config.get("completeOn")
    key = _key(turn, complete_on["correlationKey"], "completeOn.correlationKey") if complete_on else ""
    wait = new_wait(turn, step, "human", deadline_of(turn, config, "dueInMs"))
    wait.event_name = complete_on["eventName"] if complete_on else TASK_COMPLETED
    wait.key = key or wait.id
    wait.form_schema = config.get("formSchema")
    task |= {"path": step.path, "stepId": step.id, "iteration": wait.iteration}
    if config.get("allowSystemCompletion") is False:
        task["allowSystem"] = False
    if complete_on:
        task |= {"completeOn": wait.event_name, "key": wait.key}
    if wait.deadline_ms is not None:
        task["dueAt"] = wait.deadline_ms
    return open_wait(turn, step, wait, Phase.HUMAN_WAIT, str(task["title"]), task=task)


def resume_from_task(
    turn: Turn, step: Step, *, wait: OpenWaitState, name: str, response: Any, completed_by: str
) -> None:
    turn.put(
        "vars.humanTask",
        {
            "taskId": wait.id,
            "response": plain_copy(response),
            "completedBy": completed_by,
            "completedAt": iso_time(turn.now_ms),
        },
    )
    resume_from_event(turn, step, name=name, payload=response, started_ms=wait.opened_ms)


def response_in(event_name: str, payload: Any) -> Any:
    """Return the response that an event carries.

    For HUMAN_TASK_COMPLETED, this is `response` in the payload. If the payload has no `response`, or for any other
    event, it is the whole payload.
    """
    if event_name == TASK_COMPLETED and isinstance(payload, dict) and "response" in payload:
        return payload["response"]
    return payload


def _task_fields(turn: Turn, step: Step) -> dict[str, Any]:
    config = step.config
    assignees = turn.resolve(config.get("assignees") or {}, "assignees")
    task: dict[str, Any] = {
        "taskType": config["taskType"],
        "title": _text(turn, config["title"], "title", MAX_TITLE_LENGTH),
        "description": _text(turn, config.get("description", ""), "description", MAX_TASK_BYTES),
        "contextData": turn.resolve(config.get("contextData") or {}, "contextData"),
        "users": _names(assignees.get("users"), "assignees.users"),
        "roles": _names(assignees.get("roles"), "assignees.roles"),
    }
    if config.get("formSchema") is not None:
        task["formSchema"] = config["formSchema"]
    size = json_size(task)
    if size > MAX_TASK_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"The human task has {size} bytes. The limit is {MAX_TASK_BYTES} bytes. Put less data into `contextData`.",
            code="TASK_TOO_LARGE",
        )
    return task


def _text(turn: Turn, value: Any, where: str, limit: int) -> str:
    found = turn.resolve(value, where)
    if not isinstance(found, str):
        raise RunError(
            Category.EXPRESSION,
            f"`{where}` of the human task has the type {kind_of(found)}. It must be a text. "
            "toString(x) converts a value.",
            code="TEXT_EXPECTED",
        )
    if len(found) > limit:
        message = f"`{where}` of the human task has {len(found)} characters. The limit is {limit} characters."
        raise RunError(Category.VALIDATION, message, code="TASK_TOO_LARGE")
    return found


def _names(value: Any, where: str) -> list[str]:
    names = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        message = f"`{where}` of the human task must be a list of texts, but an entry is not a text."
        raise RunError(Category.EXPRESSION, message, code="TEXT_EXPECTED")
    return names


# -- Opening -----------------------------------------------------------------------------------------------------------


def _key(turn: Turn, expression: Any, where: str) -> str:
    key = turn.key_of(expression, where)
    if key is None:
        raise RunError(
            Category.EXPRESSION,
            "The correlation key is null, empty, too long, an object or an array. It must be a text or a number. "
            f"Correct the expression in `{where}`.",
            code="CORRELATION_KEY_INVALID",
        )
    return key


def new_wait(turn: Turn, step: Step, kind: str, deadline_ms: int | None) -> OpenWaitState:
    return OpenWaitState(
        id=turn.new_wait_id(),
        kind=kind,
        step_path=step.path,
        step_id=step.id,
        iteration=turn.state.scope.iteration,
        opened_ms=turn.now_ms,
        deadline_ms=deadline_ms,
        ready_ms=turn.state.ready_ms if turn.semantics >= 2 else 0,
    )


def open_wait(
    turn: Turn, step: Step, wait: OpenWaitState, phase: Phase, summary: str, task: dict[str, Any] | None = None
) -> Flow:
    """Open a wait.

    If the wait decides about an unknown outcome, it is inside an attempt. The row of the step then stays as the attempt
    wrote it.
    """
    state = turn.state
    state.phase, state.wait = phase, wait
    record_run(state, now_ms=turn.now_ms, status="WAITING", step_path=step.path)
    if state.attempt is None:
        record_step(state, step, now_ms=turn.now_ms, status="STARTED", started_ms=turn.now_ms)
    record_wait(state, wait, now_ms=turn.now_ms, status="WAITING")
    if task is not None:
        record_task(state, wait, now_ms=turn.now_ms, status="pending", **task)
    turn.commands.append(
        OpenWait(
            id=turn.new_command_id(), wait_id=wait.id, summary=f"{step.id}: {summary}", records=take_records(state)
        )
    )
    start_timer(turn, wait, f"deadline of {step.id}")
    return Flow.SUSPEND

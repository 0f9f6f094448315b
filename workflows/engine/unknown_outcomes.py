"""Unknown outcomes: the human task in which a person decides if a lost execution of an action had its effect.

The activity returns the facts of an unknown outcome and does not end the attempt. The engine then opens a human task of
the type `action.decide_outcome`. The response either continues the attempt or fails the step. Under semantics version
1, no task is opened and the step fails at once.

Source: docs/reference/engine.md#unknown-outcomes
"""

from typing import Any

from workflows.engine.clock import MAX_MS
from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.sizes import json_size
from workflows.engine.state import AttemptState, Phase
from workflows.engine.turn import Flow, Turn
from workflows.engine.wait_steps import TASK_COMPLETED, new_wait, open_wait

DECIDE_OUTCOME = "action.decide_outcome"
DECIDE = "decide"
# Responses that a person can give.
HAPPENED, DID_NOT_HAPPEN, FAIL = "happened", "did_not_happen", "fail"
# Response that the system gives when the lost execution has stored its result in the action ledger.
ARRIVED = "arrived"
ROLES = ["operator"]
MAX_REASON_LENGTH = 2_000
# Limit for the request that the task shows, because the task also has a form and texts. A larger request is stored only
# in the row of the step.
MAX_REQUEST_BYTES = 32_768


def is_decision(step: Step) -> bool:
    """Return True if the open human wait of this step is a decision about an unknown outcome."""
    return step.type == "action.call"


def decision_form(output_schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a decision. `output_schema` is the schema of the action's output."""
    output = {name: value for name, value in output_schema.items() if name not in ("$defs", "$schema")}
    form: dict[str, Any] = {
        "type": "object",
        "required": ["outcome", "reason"],
        "additionalProperties": False,
        "properties": {
            "outcome": {"enum": [HAPPENED, DID_NOT_HAPPEN, FAIL]},
            "output": output,
            "reason": {"type": "string", "minLength": 1, "maxLength": MAX_REASON_LENGTH, "pattern": "\\S"},
        },
        "if": {"required": ["outcome"], "properties": {"outcome": {"const": HAPPENED}}},
        "then": {"required": ["output"]},
        "else": {"properties": {"output": False}},
    }
    # A reference inside the action's schema starts at the root of that schema.
    return form | {"$defs": output_schema["$defs"]} if "$defs" in output_schema else form


def ask_for_outcome(
    turn: Turn, step: Step, attempt: AttemptState, error: dict[str, Any], unknown: dict[str, Any]
) -> Flow:
    """Open the human task that decides. The attempt stays open until the response."""
    attempt.records = []
    attempt.unknown = {"executions": unknown["executions"], "error": error}
    wait = new_wait(turn, step, "human", min(turn.now_ms + unknown["decisionMs"], MAX_MS))
    wait.event_name, wait.key = TASK_COMPLETED, wait.id
    wait.form_schema = decision_form(unknown["outputSchema"])
    action = f"{step.config['actionId']}@{step.config['version']}"
    task = {
        "taskType": DECIDE_OUTCOME,
        "title": f"Did {action} have its effect?",
        "description": (
            f"The execution of {action} was lost, so its outcome is unknown. Check the target system with the "
            "idempotency key, then decide. `happened` needs the output. `did_not_happen` executes the action again."
        ),
        "contextData": _context(step, attempt, error, unknown),
        "users": [],
        "roles": ROLES,
        "allowSystem": False,
        "formSchema": wait.form_schema,
        "path": step.path,
        "stepId": step.id,
        "iteration": wait.iteration,
        "dueAt": wait.deadline_ms,
    }
    return open_wait(turn, step, wait, Phase.HUMAN_WAIT, str(task["title"]), task=task)


def undecided(unknown: dict[str, Any], why: str) -> RunError:
    """Return the error of a step whose outcome stays unknown. The author's retry policy never retries this error."""
    error = unknown["error"]
    return RunError(
        Category(error["category"]),
        f"{error['message']}; {why}",
        code=error.get("code"),
        details=error.get("details"),
    )


def _context(step: Step, attempt: AttemptState, error: dict[str, Any], unknown: dict[str, Any]) -> dict[str, Any]:
    size = json_size(attempt.input)
    return {
        "action": f"{step.config['actionId']}@{step.config['version']}",
        "request": attempt.input if size <= MAX_REQUEST_BYTES else {"omittedBytes": size},
        "idempotencyKey": unknown["idempotencyKey"],
        "attempts": unknown["executions"],
        "startedAt": unknown["startedAt"],
        "invocationId": unknown["invocationId"],
        "error": error["message"],
    }

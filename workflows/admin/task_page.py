"""Parts of the page of a task: the tone of its due time, its readable context, and the form of a decision."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from workflows.admin.task_context import Shown, shown_value
from workflows.admin.task_fields import Option
from workflows.admin.task_form import TaskForm
from workflows.admin.task_words import words_of
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME, DID_NOT_HAPPEN, FAIL, HAPPENED, decision_form
from workflows.json_numbers import write_json
from workflows.models import Connector, HumanTask
from workflows.redaction import Rules
from workflows.selectors.sent_requests import sent_request
from workflows.statuses import OPEN_TASK_STATUSES

DUE_SOON = timedelta(hours=1)
OUTCOMES = (
    Option(
        write_json(HAPPENED),
        "The effect happened",
        "Enter the output of the action next. The run continues with this output. The request is not sent again.",
    ),
    Option(
        write_json(DID_NOT_HAPPEN),
        "The effect did not happen",
        "The action executes again with the same idempotency key. If the first effect exists after all, it can happen"
        " twice.",
    ),
    Option(
        write_json(FAIL),
        "Fail the step",
        "The step fails with ACTION_OUTCOME_UNKNOWN. A catch in the definition can handle the error.",
    ),
)


CHECKED_OUTPUT = "This value must match the output schema of the action. Later steps get it as the action's result."
UNCHECKED_OUTPUT = (
    "The form has no output schema: any JSON {kind} is accepted as the result of the action. Later steps get it"
    " unchanged, so enter the result that the target system shows."
)


def schema_of(task: HumanTask) -> Any:
    """Return the schema of the form. A decision always has one, so that its outcome can be chosen."""
    if task.task_type == DECIDE_OUTCOME and not task.form_schema:
        return decision_form({"type": "object"})
    return task.form_schema


def decision_fields(form: TaskForm) -> None:
    """Give the fields of a decision the words that explain the outcomes."""
    words = {"outcome": "What did you find?", "output": "Output of the action", "reason": "Reason"}
    for field in form.fields:
        field.label = words.get(field.key, field.label)
        if field.key == "outcome":
            field.options = [each for each in OUTCOMES if each.value in [option.value for option in field.options]]
        elif field.key == "output":
            kind = any_output(form.schema)
            field.help = UNCHECKED_OUTPUT.format(kind=kind) if kind else CHECKED_OUTPUT
        elif field.key == "reason":
            field.kind, field.takes_whole_width = "text", True
            field.help = "For example, what the target system shows. Kept in the command ledger."


def any_output(schema: Any) -> str:
    """Return "object" or "value" if the form of a decision accepts any such output of the action, or an empty text."""
    output = schema.get("properties", {}).get("output") if isinstance(schema, dict) else None
    if not isinstance(output, dict) or set(output) - {"type", "title", "description"}:
        return ""
    return {None: "value", "object": "object"}.get(output.get("type"), "")


def has_unchecked_output(task: HumanTask, form: TaskForm) -> bool:
    """Return True if the response of a valid form has an output of an action that the form cannot check."""
    response = form.task_response()
    is_given = task.task_type == DECIDE_OUTCOME and isinstance(response, dict) and "output" in response
    return is_given and bool(any_output(form.schema))


def due_tone(task: HumanTask) -> str:
    """Return the tone of a due time. It is red if an open task is overdue or due within the hour."""
    is_soon = task.due_at is not None and task.due_at - timezone.now() < DUE_SOON
    return "red" if is_soon and task.status in OPEN_TASK_STATUSES else ""


def assignees_of(task: HumanTask) -> str:
    """Return the users and roles to which the task is assigned, as a text. It is empty if every operator may act."""
    names = ", ".join(map(str, task.assigned_users))
    roles = ", ".join(map(str, task.assigned_roles))
    return " and ".join(part for part in (names, roles and f"the role {roles}") if part)


def readable_context(context: Any) -> dict[str, Any]:
    """Return the context in two parts: `short` values for a line of facts, and `parts` with a title of their own."""
    if not isinstance(context, dict):
        return {"short": [], "parts": [("Context", shown_value(context))]}
    shown: list[tuple[str, Shown]] = [(words_of(key), shown_value(value)) for key, value in context.items()]
    return {
        "short": [(label, value) for label, value in shown if value.is_short],
        "parts": [(label, value) for label, value in shown if not value.is_short],
    }


def facts_of_decision(task: HumanTask, context: Any, *, rules: Rules) -> dict[str, Any]:
    """Return the request of a lost execution, and what is known about this execution.

    `context` is redacted. Shapes: `{request, sent, known}`; `sent` is the HTTP request, or None if it is not known.
    Cost: one statement.
    """
    action, _, version = str(context.get("action", "")).partition("@")
    number = int(version) if version.isdecimal() and len(version) < 10 else 0
    connector = Connector.objects.filter(tenant_id=task.tenant_id, action_id=action, version=number).first()
    key = str(context.get("idempotencyKey") or "")
    spec = connector.spec if connector else None
    sent = sent_request(action, context.get("request"), connector=spec, idempotency_key=key, rules=rules)
    names = {"idempotencyKey": "Idempotency key", "attempts": "Attempts", "startedAt": "First started"}
    known = [("Action", f"{action} v{version}" if version else action)]
    known += [(label, _moment(name, context[name])) for name, label in names.items() if context.get(name)]
    error = context.get("error")
    known += [("Error", error)] if error and error not in task.description else []
    return {"request": context.get("request"), "sent": sent, "known": [*known, ("Received", "nothing")]}


def _moment(name: str, value: Any) -> Any:
    """Return the start of the execution as a time. Other values stay unchanged."""
    try:
        return datetime.fromisoformat(value) if name == "startedAt" else value
    except (TypeError, ValueError):
        return value

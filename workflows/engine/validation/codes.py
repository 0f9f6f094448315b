"""Codes of the problems of a definition. `docs/errors.md` contains this table; `print_problem_codes` prints it.

A code is stable: it is never renamed and never gets another meaning. A shape code belongs to the rules that the JSON
Schema of the language also has.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Code:
    """Code of a problem: its severity, and its meaning with the correction, for the author."""

    severity: Severity
    meaning: str
    is_shape: bool = False


def _shape(meaning: str) -> Code:
    return Code(Severity.ERROR, meaning, is_shape=True)


def _error(meaning: str) -> Code:
    return Code(Severity.ERROR, meaning)


def _warning(meaning: str) -> Code:
    return Code(Severity.WARNING, meaning)


CODES: dict[str, Code] = {
    # -- The document
    "JSON_INVALID": _error("the text is not JSON. Correct the text at the line and column"),
    "VALUE_NOT_STORABLE": _error(
        "a text contains U+0000 or half of a surrogate pair, a number is too large, a key occurs twice in an"
        " object, or values nest deeper than 64 levels. In a run, the value comes from an expression or an action"
    ),
    "DEFINITION_TOO_LARGE": _error("the canonical text is over 256 KiB. Move a part into a child workflow"),
    "NESTED_TOO_DEEP": _error("steps nest deeper than 20 levels. Move a part into a child workflow"),
    "PROBLEMS_CUT": _warning("the definition has more problems than are listed. Correct these first"),
    # -- Shape
    "FIELD_MISSING": _shape("a required field is missing"),
    "FIELD_INVALID": _shape(
        "a field has a value of the wrong kind, or another field excludes it. The message has the rule"
    ),
    "KEY_UNKNOWN": _shape("the language has no field with this name here. Remove the field, or use the suggested name"),
    "KEY_INVALID": _shape("the id must match `^[a-z0-9][a-z0-9._-]*$`"),
    "STEP_TYPE_UNKNOWN": _shape(
        "the language has no such step type. Use the suggested type, or another type of the language"
    ),
    "TRIGGER_INVALID": _shape(
        "the trigger has no type that the language knows. Use the suggested type, or another type of the language"
    ),
    "LOOP_CONCURRENCY": _shape("a loop handles its items one after another. Leave out `concurrency`, or write 1"),
    "SECRET_NAME_INVALID": _shape(
        "a secret's name must match `^[A-Z][A-Z0-9_]*$`. In a definition, no other key may be beside `$secret`"
    ),
    # -- Values of fields
    "NUMBER_FORM": _error("a whole number is written with a fraction or an exponent. Write 7 instead of 7.0"),
    "DURATION_INVALID": _error(
        "the expression of a duration does not yield a whole number of milliseconds. In a run, this is a"
        " ValidationError"
    ),
    "TIME_INVALID": _error(
        "the expression of `until` or `deadline` yields a number of seconds, or a value that is not a time with a"
        " zone. In a run, this is an ExpressionError. In the input of `transform.date_*`, and for a result of"
        " `calendar.*`, it is a ValidationError"
    ),
    "STEP_ID_TWICE": _error("two steps have the same id. Give each step its own id"),
    "TARGET_INVALID": _error("a target leads nowhere, or uses a reserved name"),
    "FORM_INVALID": _error(
        "the form of a human task is not a JSON Schema 2020-12, is over 64 KiB, or has a pattern that cannot run in"
        " linear time"
    ),
    "KEY_DOLLAR": _warning("keys that begin with `$` are reserved for the language"),
    "NAME_HIDDEN": _warning(
        "the `itemVar` of a loop has the name of a scope. In expressions, this name means the scope. Read the item"
        " as `vars.<name>`"
    ),
    "RETRY_ON_CODE": _warning(
        "an entry of `retryOn` is almost the name of a category, but the portal reads it as an error code. Correct"
        " the name if you mean the category"
    ),
    # -- Secrets
    "SECRET_MISPLACED": _error('`{"$secret": ...}` is allowed only in the `inputMapping` of an action'),
    "SECRET_NOT_ALLOWED": _error(
        "the action accepts no secrets, because the action would store them unencrypted, or because it runs in the"
        " workflow"
    ),
    "SECRET_PLACES_TOO_LONG": _error(
        "the input refers to too many secrets, or to secrets that nest too deep. Pass fewer secrets"
    ),
    "SECRET_UNKNOWN": _warning(
        "no secret has this name yet. An administrator must save the secret. In a run, this is a ValidationError"
    ),
    # -- Names
    "SCHEMA_UNKNOWN": _error("no payload schema has this name. Register the schema first, or use the suggested name"),
    "ACTION_UNKNOWN": _error("no action has this id. Register the action, or use the suggested id"),
    "ACTION_VERSION_UNKNOWN": _error("the action has no such version. The suggestion is the newest version"),
    "ACTION_FIELD_UNKNOWN": _error(
        "the `inputMapping` has a field that the action refuses. Remove the field, or use the suggested name"
    ),
    "ACTION_FIELD_IGNORED": _warning(
        "the action ignores a field of the `inputMapping`, because its model does not know it"
    ),
    "WORKFLOW_UNKNOWN": _warning(
        "the child workflow is not published yet. Until it is published, a run that reaches the step fails"
    ),
    "WORKFLOW_VERSION_UNKNOWN": _warning(
        "this version of the child workflow is not published yet. Until it is published, a run that reaches the step"
        " fails"
    ),
    "SOURCE_SCHEMA_UNKNOWN": _warning(
        "no payload schema has the name in `sourcePayloadSchemaRef`. Use the suggested name, or leave the field"
        " out. Events are checked with the schema in the event catalogue"
    ),
    # -- Order of steps
    "STEP_UNREACHABLE": _warning(
        "no run reaches the step, because a step before it always ends the run. The steps after it are not listed"
    ),
    "CALL_ENDLESS": _warning(
        "a run that reaches the call starts child runs without end. The definition calls itself, or several"
        " definitions call each other, and no condition ends these calls. The run fails when children nest more than"
        " 20 levels deep"
    ),
    # -- Values
    "VARIABLE_UNASSIGNED": _warning(
        "an expression reads a variable that no step before it writes. Correct the name, or write the variable"
        " first. The mapping of a trigger sees only `event`"
    ),
    "PATH_UNKNOWN": _warning(
        "an expression reads a field that a schema excludes: the schema of the payload, of an action's output or of"
        " a form. Correct the name or the schema"
    ),
    "INPUT_MISSING": _error(
        "a mapping lacks a required field. The action's input, or the payload schema of the child or of this"
        " definition, requires the field"
    ),
    "INPUT_INVALID": _error("a literal in the `inputMapping` has a value that the action never accepts"),
    "TYPE_MISMATCH": _error(
        "a value has a JSON type that the field or operator never accepts. The type is known from the literal, from a"
        " schema, or from the output of an earlier step"
    ),
    "WAIT_UNKEYED": _warning(
        "no correlation path leads to a key for the event. So an event reaches the wait only if its sender gives"
        " the key. Add a correlation path to the event catalogue"
    ),
    # -- Trigger
    "TRIGGER_TIME_INVALID": _error("`runAt` is not an ISO 8601 time with a zone"),
    "CRON_INVALID": _error("the cron expression does not have five valid fields. The message names the field"),
    "CRON_NEVER": _error("no date matches the cron expression"),
    "CRON_DAY_AND_WEEKDAY": _warning(
        "the day of the month and the day of the week are both set. A run starts only on days that match both"
    ),
    "TIMEZONE_UNKNOWN": _error("no IANA time zone has this name. Use the suggested name, or another IANA name"),
    # -- Expressions
    "EXPRESSION_SYNTAX": _error(
        "the expression cannot be parsed. The line and the column show the place in the expression"
    ),
    "EXPRESSION_FUNCTION_NOT_ALLOWED": _error(
        "the function is not allowed. Use the suggested function, or another allowed function"
    ),
    "EXPRESSION_LAMBDA": _error("expressions cannot define functions"),
    "EXPRESSION_DYNAMIC_CALL": _error("a called function must have a name"),
    "EXPRESSION_APPLY": _error("the right side of `~>` must be an allowed function"),
    "EXPRESSION_TOO_LARGE": _error(
        "the source of the expression is too long, or nests too deep. In a run, the value is over 256 KiB"
    ),
    "EXPRESSION_BUDGET": _error("the expression needs more steps than allowed. Process less data at once"),
}


def codes_table() -> str:
    """Return the table of all codes for the documentation, as Markdown."""
    rows = [f"| `{name}` | {code.severity} | {code.meaning} |" for name, code in CODES.items()]
    return "\n".join(["| code | severity | meaning |", "|---|---|---|", *rows]) + "\n"

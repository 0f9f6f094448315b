"""Fields of the envelope and of each step type as data, and the check of one field.

Source: docs/reference/language.md#definition, docs/reference/language.md#step-fields.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.engine.clock import MAX_MS
from workflows.engine.errors import Category
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.filters import OPERATORS, WITHOUT_VALUE
from workflows.engine.json_schema.forms import form_schema_problem
from workflows.engine.mapping import EXPRESSION_KEY, is_expression
from workflows.engine.scope import FORBIDDEN, LOOP_NAMES, parse_target
from workflows.engine.secret_places import SECRET_KEY, are_places_too_long, is_secret_name, secret_references
from workflows.engine.storable import storable_problem

# Limit for names. A name of this length still fits into the columns of steps, waits and runs. Units: characters.
MAX_NAME_LENGTH = 200
# A variable name that an expression can use directly, in the same way as the name of a scope.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN_NAMES = FORBIDDEN | {*LOOP_NAMES} - {"item"}
_SCOPES = ("payload", "vars", "meta", "local", "system", "error")
# Kinds of fields whose values become part of a run. These values may not nest deeper than the other values of a run.
_NESTED = frozenset({"value", "mapping", "input", "assign", "filters", "form", "expression_or_text"})
# One problem of a field: code, path below the field, message, suggestion.
Finding = tuple[str, str, str, str | None]


@dataclass(frozen=True)
class Field:
    """Rules for one field.

    `kind` names the check in `_CHECKS`. If the value is an object with fixed keys, `fields` has the rules for these
    keys.
    """

    kind: str
    required: bool = False
    fields: Mapping[str, "Field"] | None = None
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None


def check_field(spec: Field, value: Any) -> Iterator[Finding]:
    if spec.kind in _NESTED and (problem := storable_problem(value)) is not None:
        yield ("VALUE_NOT_STORABLE", problem[0], f"the value {problem[1]}", None)
        return
    yield from _CHECKS[spec.kind](spec, value)


def _invalid(message: str, where: str = "") -> Iterator[Finding]:
    yield ("FIELD_INVALID", where, message, None)


def _text(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str) or not value.strip():
        yield from _invalid("must be a text and must not be empty")
    elif spec.max_length is not None and len(value) > spec.max_length:
        yield from _invalid(f"must be at most {spec.max_length} characters long")
    elif spec.choices and value not in spec.choices:
        yield from _invalid(f"must be one of {', '.join(map(str, spec.choices))}")


def _prose(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield from _invalid("must be a text")
    elif spec.max_length is not None and len(value) > spec.max_length:
        yield from _invalid(f"must be at most {spec.max_length} characters long")


def _whole(spec: Field, value: Any) -> Iterator[Finding]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield from _invalid("must be a whole number")
    elif spec.minimum is not None and value < spec.minimum:
        yield from _invalid(f"must be at least {spec.minimum:g}")
    elif spec.maximum is not None and value > spec.maximum:
        yield from _invalid(f"must be at most {spec.maximum:g}")
    elif spec.choices and value not in spec.choices:
        yield from _invalid(f"must be one of {', '.join(map(str, spec.choices))}")


def _number(spec: Field, value: Any) -> Iterator[Finding]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield from _invalid("must be a number")
    elif spec.minimum is not None and value < spec.minimum:
        yield from _invalid(f"must be at least {spec.minimum:g}")
    elif spec.maximum is not None and value > spec.maximum:
        yield from _invalid(f"must be at most {spec.maximum:g}")


def _flag(_spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, bool):
        yield from _invalid("must be true or false")


def _object(_spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield from _invalid("must be a JSON object")


def _any(_spec: Field, _value: Any) -> Iterator[Finding]:
    yield from ()


def _steps(_spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield from _invalid("must be a list of steps")


def _expression(_spec: Field, value: Any) -> Iterator[Finding]:
    if not is_expression(value):
        yield from _invalid(f'must be an expression: {{"{EXPRESSION_KEY}": "source"}}')
        return
    try:
        compile_expression(value[EXPRESSION_KEY])
    except ExpressionError as error:
        at = "" if error.position is None else f" (at position {error.position})"
        yield (error.code, "", f"{error.message}{at}", error.suggestion)


def _value(spec: Field, value: Any) -> Iterator[Finding]:
    """Check a literal that may contain expressions at any depth. Only the kind `input` may contain secrets."""
    if isinstance(value, dict) and EXPRESSION_KEY in value:
        yield from _expression(spec, value)
    elif isinstance(value, dict) and SECRET_KEY in value:
        yield from _secret(spec, value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.startswith("$"):
                yield ("KEY_DOLLAR", "", f"the key {key!r} begins with $, which is reserved for the language", None)
            yield from _below(f".{key}", _value(spec, item))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _below(f"[{index}]", _value(spec, item))


def _secret(spec: Field, value: dict[str, Any]) -> Iterator[Finding]:
    if spec.kind != "input":
        yield from _misplaced_secret("")
    elif len(value) != 1 or not is_secret_name(value[SECRET_KEY]):
        message = (
            f'a secret is written {{"{SECRET_KEY}": "NAME"}} without other keys; the name consists of A-Z, 0-9 and _'
        )
        yield ("SECRET_NAME_INVALID", "", message, None)


def _misplaced_secret(where: str) -> Iterator[Finding]:
    yield ("SECRET_MISPLACED", where, "a secret is allowed only in the inputMapping of an action", None)


def _mapping(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict) or EXPRESSION_KEY in value:
        yield from _invalid("must be a JSON object")
    elif spec.kind == "input" and SECRET_KEY in value:
        yield from _invalid("must be a JSON object; a secret is allowed inside the object, not in its place")
    else:
        yield from _value(spec, value)
        if spec.kind == "input" and are_places_too_long(value):
            yield from _invalid("refers to too many secrets, or to secrets that are nested too deep")


def _target(_spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield from _invalid("must be a text")
        return
    try:
        parse_target(value)
    except ValueError as error:
        yield ("TARGET_INVALID", "", str(error), None)


def _variable(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value) or len(value) > MAX_NAME_LENGTH:
        yield from _invalid(f"must be a name of letters, digits and underscores ({_VARIABLE.pattern})")
    elif value in _TAKEN_NAMES:
        yield from _invalid(f"{value!r} is reserved by the language; choose another name")
    elif value in _SCOPES:
        message = f"{value!r} is the name of a scope, which hides the item; expressions find the item as vars.{value}"
        yield ("NAME_HIDDEN", "", message, None)


def _form(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield from _invalid("must be a JSON Schema, as an object")
        return
    problem = form_schema_problem(value)
    if problem is not None:
        yield ("FORM_INVALID", "", problem, None)
    if any(secret_references(value)):
        yield from _misplaced_secret("")


def _assign(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield from _invalid("must be a JSON object {target: value}")
        return
    for target, item in value.items():
        yield from _below(f".{target}", _target(spec, target))
        yield from _below(f".{target}", _value(spec, item))


def _expression_or_text(spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield from _expression(spec, value)


def _filters(_spec: Field, value: Any) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield from _invalid("must be a list of filters")
        return
    for index, condition in enumerate(value):
        yield from _below(f"[{index}]", _filter(condition))


def _filter(condition: Any) -> Iterator[Finding]:
    if not isinstance(condition, dict) or not isinstance(condition.get("path"), str) or not condition["path"]:
        yield from _invalid("a filter must be {path, op, value?}, where path is a dotted path into the payload")
        return
    operator = condition.get("op")
    if operator not in OPERATORS:
        yield from _invalid(f"op must be one of {' '.join(OPERATORS)}", ".op")
    elif operator not in WITHOUT_VALUE and "value" not in condition:
        yield ("FIELD_MISSING", ".value", f"the operator {operator} needs a value", None)
    elif operator in ("in", "not_in") and not (
        isinstance(condition["value"], list) or is_expression(condition["value"])
    ):
        yield from _invalid(f"the operator {operator} needs an array", ".value")
    for key in condition.keys() - {"path", "op", "value"}:
        yield ("KEY_UNKNOWN", f".{key}", f"unknown key {key!r}", None)
    yield from _below(".value", _value(Field("value"), condition.get("value")))


def _retry_on(_spec: Field, value: Any) -> Iterator[Finding]:
    """Check a list of error categories and error codes. A text that is not a category is read as a code."""
    if not isinstance(value, list):
        yield from _invalid(f"must be a list of error codes and of {', '.join(Category)}")
        return
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip() or len(item) > MAX_NAME_LENGTH:
            yield from _invalid(
                f"must be an error category or an error code: text of 1 to {MAX_NAME_LENGTH} characters", f"[{index}]"
            )
        elif item not in set(Category) and (
            near := difflib.get_close_matches(item, [str(known) for known in Category], n=1, cutoff=0.8)
        ):
            message = f"{item!r} is not an error category, so it is read as an error code"
            yield ("RETRY_ON_CODE", f"[{index}]", message, f"did you mean {near[0]!r}?")


def _below(where: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    for code, path, message, suggestion in findings:
        yield (code, f"{where}{path}", message, suggestion)


_CHECKS: dict[str, Callable[[Field, Any], Iterator[Finding]]] = {
    "text": _text,
    "prose": _prose,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "object": _object,
    "any": _any,
    "steps": _steps,
    "expression": _expression,
    "value": _value,
    "mapping": _mapping,
    "input": _mapping,
    "target": _target,
    "variable": _variable,
    "form": _form,
    "assign": _assign,
    "expression_or_text": _expression_or_text,
    "filters": _filters,
    "retry_on": _retry_on,
}

_RETRY = Field(
    "object",
    fields={
        "maxAttempts": Field("whole", required=True, minimum=1, maximum=1_000),
        "backoffMs": Field("whole", minimum=0, maximum=MAX_MS),
        "backoffMultiplier": Field("number", minimum=1, maximum=100),
        "jitter": Field("flag"),
        "maxDelayMs": Field("whole", minimum=0, maximum=MAX_MS),
        "retryOn": Field("retry_on"),
    },
)
_ON_ERROR = Field("object", fields={"policy": Field("text", required=True, choices=("fail", "continue"))})
_TEXT = Field("text", required=True, max_length=MAX_NAME_LENGTH)
_EXPRESSION = Field("expression", required=True)
_COMMON = {"id": _TEXT, "type": _TEXT, "name": Field("prose", max_length=MAX_NAME_LENGTH), "presentation": Field("any")}


def _configured(**fields: Field) -> dict[str, Field]:
    """Return the fields of a step that has a `config` object, with `retry` and `onError` outside of `config`."""
    return {**_COMMON, "config": Field("object", required=True, fields=fields), "retry": _RETRY, "onError": _ON_ERROR}


ENVELOPE: dict[str, Field] = {
    "id": _TEXT,
    "version": Field("whole", required=True, minimum=1),
    "name": _TEXT,
    "description": Field("prose"),
    "payloadSchemaRef": _TEXT,
    "trigger": Field("object"),
    "steps": Field("steps", required=True),
    "presentation": Field("any"),
}
STEP_FIELDS: dict[str, dict[str, Field]] = {
    "control.if": {**_COMMON, "condition": _EXPRESSION, "then": Field("steps", required=True), "else": Field("steps")},
    "control.forEach": {
        **_COMMON,
        "items": _EXPRESSION,
        "itemVar": Field("variable", required=True),
        "body": Field("steps", required=True),
        "onItemError": Field("text", choices=("fail", "continue", "skipItem")),
        "concurrency": Field("whole", choices=(1,)),
    },
    "control.tryCatch": {
        **_COMMON,
        "try": Field("steps", required=True),
        "catch": Field("steps", required=True),
        "captureErrorAs": Field("target"),
    },
    "control.callWorkflow": {
        **_COMMON,
        "workflowId": _TEXT,
        "workflowVersion": Field("whole", required=True, minimum=1),
        "inputMapping": Field("mapping"),
        "outputMapping": Field("assign"),
        "retry": _RETRY,
        "onError": _ON_ERROR,
    },
    "control.return": _COMMON,
    "state.set": _configured(state=_TEXT),
    "transform.assign": _configured(assign=Field("assign", required=True)),
    "event.wait": _configured(
        eventName=_TEXT,
        correlationKey=_EXPRESSION,
        filters=Field("filters"),
        timeoutMs=Field("whole", minimum=1, maximum=MAX_MS),
        assign=Field("assign"),
    ),
    "time.wait": _configured(
        mode=Field("text", required=True, choices=("duration", "until")),
        durationMs=Field("whole", minimum=0, maximum=MAX_MS),
        until=Field("expression"),
        assign=Field("assign"),
    ),
    "human.task": _configured(
        taskType=_TEXT,
        title=Field("expression_or_text", required=True),
        description=Field("expression_or_text"),
        contextData=Field("mapping"),
        formSchema=Field("form"),
        assignees=Field("object", fields={"users": Field("value"), "roles": Field("value")}),
        dueInMs=Field("whole", minimum=1, maximum=MAX_MS),
        allowSystemCompletion=Field("flag"),
        completeOn=Field("object", fields={"eventName": _TEXT, "correlationKey": _EXPRESSION}),
        assign=Field("assign"),
    ),
    "action.call": _configured(
        actionId=_TEXT,
        version=Field("whole", required=True, minimum=1),
        inputMapping=Field("input"),
        saveAs=Field("target"),
        idempotencyKey=Field("expression"),
        onUnknownOutcome=Field("text", choices=("decide", "fail")),
        onError=_ON_ERROR,
        designerGroupKey=Field("any"),
        designerTileKind=Field("any"),
        designerAppKey=Field("any"),
    ),
}

"""Checks of fields whose values the author computes: expressions, mappings, targets, filters and forms.

Each check takes the rules of the field, the value, and the source of suggestions. It yields findings whose places begin
at the field.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from workflows.engine.errors import Category
from workflows.engine.expressions.contract import ExpressionError, compile_expression, constant_values
from workflows.engine.filters import OPERATORS, WITHOUT_VALUE
from workflows.engine.json_schema.forms import form_schema_problem
from workflows.engine.mapping import EXPRESSION_KEY, is_expression
from workflows.engine.scope import FORBIDDEN, LOOP_NAMES, parse_target
from workflows.engine.secret_places import SECRET_KEY, are_places_too_long, is_secret_name, secret_references
from workflows.engine.step_fields import MAX_NAME_LENGTH, Field
from workflows.engine.time_values import moment_problem
from workflows.engine.validation.problems import At, Finding, Near, below, shown

# A variable name that an expression can use directly, in the same way as the name of a scope.
VARIABLE_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
TAKEN_NAMES = FORBIDDEN | {*LOOP_NAMES} - {"item"}
SCOPES = ("payload", "vars", "meta", "local", "system", "error")
Findings = Iterator[Finding]


def invalid(message: str, *place: str | int) -> Findings:
    """Yield the finding that a value has the wrong kind."""
    yield Finding("FIELD_INVALID", place, message)


def check_expression(_spec: Field, value: Any, _near: Near) -> Findings:
    if not is_expression(value):
        yield from invalid(f'must be an expression: {{"{EXPRESSION_KEY}": "source"}}')
        return
    try:
        compile_expression(value[EXPRESSION_KEY])
    except ExpressionError as error:
        at = "" if error.position is None else f" (at position {error.position})"
        hint = None if error.suggestion is None else f"did you mean {error.suggestion!r}?"
        yield Finding(error.code, (), f"{error.message}{at}", hint, error.position)


def check_moment(_spec: Field, value: Any, near: Near) -> Findings:
    """Check an expression for a time. The value of a constant expression is checked too."""
    yield from constant_findings(value, moment_problem, "TIME_INVALID", near)


def constant_findings(value: Any, problem_of: Callable[[Any], str | None], code: str, near: Near) -> Findings:
    """Check an expression. If it consists only of literals and operators, check its value too."""
    findings = list(check_expression(Field("expression"), value, near))
    yield from findings
    if not findings:
        for found in constant_values(value[EXPRESSION_KEY]):
            problem = problem_of(found)
            if problem is not None:
                yield Finding(code, (), f"the value of the expression {problem}; correct the expression")


def check_value(spec: Field, value: Any, near: Near) -> Findings:
    """Check a literal that may contain expressions at any depth. Only the kind `input` may contain secrets."""
    if isinstance(value, dict) and EXPRESSION_KEY in value:
        yield from check_expression(spec, value, near)
    elif isinstance(value, dict) and SECRET_KEY in value:
        yield from _secret(spec, value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.startswith("$"):
                message = f"the key {shown(key)} begins with $, which is reserved for the language; rename the key"
                yield Finding("KEY_DOLLAR", (key,), message, at=At.KEY)
            yield from below(key, check_value(spec, item, near))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from below(index, check_value(spec, item, near))


def _secret(spec: Field, value: dict[str, Any]) -> Findings:
    if spec.kind != "input":
        yield _misplaced_secret()
    elif len(value) != 1 or not is_secret_name(value[SECRET_KEY]):
        message = (
            f'a secret is written {{"{SECRET_KEY}": "NAME"}} without other keys; the name consists of A-Z, 0-9 and _'
        )
        yield Finding("SECRET_NAME_INVALID", (), message)


def _misplaced_secret(*place: str | int) -> Finding:
    message = "a secret is allowed only in the inputMapping of an action; pass the secret to the action that needs it"
    return Finding("SECRET_MISPLACED", place, message)


def check_mapping(spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, dict) or EXPRESSION_KEY in value:
        yield from invalid("must be a JSON object whose values may be expressions")
    elif spec.kind == "input" and SECRET_KEY in value:
        yield from invalid("must be a JSON object; a secret is allowed inside the object, not in its place")
    else:
        yield from check_value(spec, value, near)
        if spec.kind == "input" and are_places_too_long(value):
            message = "refers to too many secrets, or to secrets that are nested too deep; pass fewer secrets"
            yield Finding("SECRET_PLACES_TOO_LONG", (), message)


def check_target(_spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, str):
        yield from invalid(f"must be a text, but is {shown(value)}")
        return
    yield from _target_text(value, ())


def _target_text(target: str, place: tuple[str, ...]) -> Findings:
    try:
        parse_target(target)
    except ValueError as error:
        yield Finding("TARGET_INVALID", place, str(error), at=At.KEY if place else At.VALUE)


def check_variable(_spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, str) or not re.fullmatch(VARIABLE_PATTERN, value) or len(value) > MAX_NAME_LENGTH:
        yield from invalid(f"must be a name of letters, digits and underscores ({VARIABLE_PATTERN})")
    elif value in TAKEN_NAMES:
        yield from invalid(f"{value!r} is reserved by the language; choose another name")
    elif value in SCOPES:
        message = f"{value!r} is the name of a scope, so it does not mean the item; read the item as vars.{value}"
        yield Finding("NAME_HIDDEN", (), message)


def check_form(_spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, dict):
        yield from invalid("must be a JSON Schema, as an object")
        return
    problem = form_schema_problem(value)
    if problem is not None:
        yield Finding("FORM_INVALID", (), problem)
    for place, _ in secret_references(value):
        yield _misplaced_secret(*place)


def check_assign(spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, dict):
        yield from invalid("must be a JSON object {target: value}")
        return
    for target, item in value.items():
        yield from _target_text(target, (target,))
        yield from below(target, check_value(spec, item, near))


def check_expression_or_text(spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, str):
        yield from check_expression(spec, value, near)


def check_filters(_spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, list):
        yield from invalid("must be a list of filters")
        return
    for index, condition in enumerate(value):
        yield from below(index, _filter(condition, near))


def _filter(condition: Any, near: Near) -> Findings:
    if not isinstance(condition, dict) or not isinstance(condition.get("path"), str) or not condition["path"]:
        yield from invalid("a filter must be {path, op, value?}, where path is a dotted path into the payload")
        return
    operator = condition.get("op")
    if not isinstance(operator, str) or operator not in OPERATORS:
        message = f"op must be one of {' '.join(OPERATORS)}, but is {shown(operator)}"
        yield Finding("FIELD_INVALID", ("op",), message, near.hint(str(operator), OPERATORS))
    elif operator not in WITHOUT_VALUE and "value" not in condition:
        yield Finding("FIELD_MISSING", ("value",), f"the operator {operator} needs a value; add value")
    elif operator in ("in", "not_in") and not (
        isinstance(condition["value"], list) or is_expression(condition["value"])
    ):
        yield from invalid(f"the operator {operator} needs an array, but value is {shown(condition['value'])}", "value")
    for key in condition.keys() - {"path", "op", "value"}:
        message = f"the key {shown(key)} is unknown in a filter; a filter has path, op and value"
        yield Finding("KEY_UNKNOWN", (key,), message, near.hint(key, ("path", "op", "value")), at=At.KEY)
    yield from below("value", check_value(Field("value"), condition.get("value"), near))


def check_retry_on(_spec: Field, value: Any, near: Near) -> Findings:
    """Check a list of error categories and error codes. A text that is not a category is read as a code."""
    if not isinstance(value, list):
        yield from invalid(f"must be a list of error codes and of {', '.join(Category)}")
        return
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip() or len(item) > MAX_NAME_LENGTH:
            yield from invalid(
                f"must be an error category or an error code: text of 1 to {MAX_NAME_LENGTH} characters", index
            )
        elif item not in set(Category) and (hint := near.hint(item, [str(known) for known in Category], cutoff=0.8)):
            message = f"{shown(item)} is not an error category, so it is read as an error code"
            yield Finding("RETRY_ON_CODE", (index,), message, hint)

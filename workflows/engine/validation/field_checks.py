"""Check of one field of a definition, by the kind of the field (`step_fields`).

A check yields findings whose places begin at the field. `check_fields` checks an object with fixed keys.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from workflows.engine.clock import MAX_MS
from workflows.engine.mapping import is_expression
from workflows.engine.step_fields import TRIGGER_FIELDS, Field
from workflows.engine.storable import unstorable_place
from workflows.engine.time_values import duration_problem
from workflows.engine.validation import value_checks as values
from workflows.engine.validation.problems import At, Finding, Near, below, shown
from workflows.engine.validation.value_checks import Findings, invalid

KEY_PATTERN = "[a-z0-9][a-z0-9._-]*"
# Kinds of fields whose values become part of a run. These values may not nest deeper than the other values of a run.
_NESTED = frozenset({"value", "mapping", "input", "assign", "filters", "form", "expression_or_text"})

LITERAL_DURATION = Field("whole", maximum=MAX_MS)


def check_fields(value: Mapping[str, Any], fields: Mapping[str, Field], near: Near) -> Findings:
    """Yield the problems of one object: missing fields, unknown fields and invalid values."""
    for name, spec in fields.items():
        if spec.required and value.get(name) is None:
            yield Finding("FIELD_MISSING", (name,), f"{name} is missing, but it is required; add {name}")
    for name, item in value.items():
        if name not in fields:
            message = f"the key {shown(name)} is unknown here; remove it, or use one of {', '.join(sorted(fields))}"
            yield Finding("KEY_UNKNOWN", (name,), message, near.hint(name, fields), at=At.KEY)
        elif item is not None:
            yield from below(name, check_field(fields[name], item, near))


def check_field(spec: Field, value: Any, near: Near) -> Findings:
    """Yield the problems of one field that has a value."""
    if spec.kind in _NESTED and (problem := unstorable_place(value)) is not None:
        yield Finding("VALUE_NOT_STORABLE", problem[0], f"the value {problem[1]}")
        return
    yield from _CHECKS[spec.kind](spec, value, near)


def _text(spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, str) or not value.strip():
        yield from invalid(f"must be a text that is not empty, but is {shown(value)}")
    elif spec.max_length is not None and len(value) > spec.max_length:
        yield from invalid(f"must be at most {spec.max_length} characters long, but has {len(value)} characters")
    elif spec.choices and value not in spec.choices:
        message = f"must be one of {', '.join(map(str, spec.choices))}, but is {shown(value)}"
        yield Finding("FIELD_INVALID", (), message, near.hint(value, spec.choices))


def _key(spec: Field, value: Any, near: Near) -> Findings:
    findings = list(_text(spec, value, near))
    yield from findings
    if not findings and not re.fullmatch(KEY_PATTERN, value):
        yield Finding("KEY_INVALID", (), f"the id {shown(value)} must match ^{KEY_PATTERN}$")


def _prose(spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, str):
        yield from invalid(f"must be a text, but is {shown(value)}")
    elif spec.max_length is not None and len(value) > spec.max_length:
        yield from invalid(f"must be at most {spec.max_length} characters long, but has {len(value)} characters")


def _whole(spec: Field, value: Any, _near: Near) -> Findings:
    if isinstance(value, float) and value.is_integer():
        yield Finding("NUMBER_FORM", (), f"must be written without a fraction and without an exponent: {int(value)}")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        yield from invalid(f"must be a whole number, but is {shown(value)}")
    else:
        yield from _in_range(spec, value)


def _duration(_spec: Field, value: Any, near: Near) -> Findings:
    """Check a number of milliseconds, or an expression. The value of a constant expression is checked too."""
    if is_expression(value):
        yield from values.constant_findings(value, duration_problem, "DURATION_INVALID", near)
    elif isinstance(value, int | float):
        yield from _whole(LITERAL_DURATION, value, near)
    else:
        yield from invalid(f"must be a whole number of milliseconds or an expression, but is {shown(value)}")


def _number(spec: Field, value: Any, _near: Near) -> Findings:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield from invalid(f"must be a number, but is {shown(value)}")
    else:
        yield from _in_range(spec, value)


def _in_range(spec: Field, value: float) -> Findings:
    if spec.minimum is not None and value < spec.minimum:
        yield from invalid(f"must be at least {spec.minimum:g}, but is {shown(value)}")
    elif spec.maximum is not None and value > spec.maximum:
        yield from invalid(f"must be at most {spec.maximum:g}, but is {shown(value)}")


def _concurrency(_spec: Field, value: Any, _near: Near) -> Findings:
    if value is True or value != 1:
        message = (
            f"a loop handles its items one after another, so concurrency {shown(value)} is not possible; "
            "leave out concurrency, or call a child workflow for each item"
        )
        yield Finding("LOOP_CONCURRENCY", (), message)
    elif isinstance(value, float):
        yield Finding("NUMBER_FORM", (), "must be written without a fraction and without an exponent: 1")


def _flag(_spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, bool):
        yield from invalid(f"must be true or false, but is {shown(value)}")


def _object(spec: Field, value: Any, near: Near) -> Findings:
    if not isinstance(value, dict):
        yield from invalid(f"must be a JSON object, but is {shown(value)}")
    elif spec.fields is not None:
        yield from check_fields(value, spec.fields, near)


def _trigger(_spec: Field, value: Any, near: Near) -> Findings:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in TRIGGER_FIELDS:
        message = f"trigger.type must be one of {', '.join(TRIGGER_FIELDS)}"
        yield Finding("TRIGGER_INVALID", (), message, near.hint(str(kind), TRIGGER_FIELDS))
        return
    yield from check_fields(value, TRIGGER_FIELDS[kind], near)


def _any(_spec: Field, _value: Any, _near: Near) -> Findings:
    yield from ()


def _steps(_spec: Field, value: Any, _near: Near) -> Findings:
    if not isinstance(value, list):
        yield from invalid(f"must be a list of steps, but is {shown(value)}")


_CHECKS: dict[str, Callable[[Field, Any, Near], Findings]] = {
    "text": _text,
    "key": _key,
    "prose": _prose,
    "whole": _whole,
    "number": _number,
    "duration": _duration,
    "moment": values.check_moment,
    "concurrency": _concurrency,
    "flag": _flag,
    "object": _object,
    "trigger": _trigger,
    "any": _any,
    "steps": _steps,
    "expression": values.check_expression,
    "value": values.check_value,
    "mapping": values.check_mapping,
    "input": values.check_mapping,
    "target": values.check_target,
    "variable": values.check_variable,
    "form": values.check_form,
    "assign": values.check_assign,
    "expression_or_text": values.check_expression_or_text,
    "filters": values.check_filters,
    "retry_on": values.check_retry_on,
}

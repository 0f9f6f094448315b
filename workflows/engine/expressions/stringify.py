"""Conversion of values to text: for a concatenation (JSON), and for `toString` (JavaScript's String).

Rule: the parts of a text are paid from the budget before they are joined.
"""

from __future__ import annotations

import math
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.js_text import fifteen_digit_text, json_string, number_text, to_double
from workflows.engine.expressions.values import UNDEFINED, ConstructedObject, FunctionValue, ordered_keys


def text_in_concatenation(value: Any, position: int, budget: Budget) -> str:
    """Return the text of an operand of `&`.

    A string is unchanged, undefined becomes an empty string, the rest becomes JSON.
    """
    if type(value) is str:
        return value
    if value is UNDEFINED or type(value) is FunctionValue:
        return ""
    if type(value) in (int, float) and not _has_text(value, budget):
        raise errors.ExpressionError(
            errors.RUNTIME, "A number that is not finite cannot be converted to a string", position, reference="D3001"
        )
    parts: list[str] = []
    _write_json(value, position, budget, parts, 0)
    return "".join(parts)


def _has_text(number: int | float, budget: Budget) -> bool:
    return (budget.exact and type(number) is int) or math.isfinite(to_double(number))


def _write_json(value: Any, position: int, budget: Budget, parts: list[str], depth: int) -> None:
    if isinstance(value, list):
        _write_array(value, position, budget, parts, depth + 1)
    elif isinstance(value, dict):
        _write_object(value, position, budget, parts, depth + 1)
    else:
        text = _json_scalar(value, position, budget)
        budget.produce_text(len(text))
        parts.append(text)


def _write_array(array: list[Any], position: int, budget: Budget, parts: list[str], depth: int) -> None:
    budget.enter(depth)
    budget.spend(3 + 4 * len(array))
    opening = "["
    for item in array:
        parts.append(opening)
        _write_json(item, position, budget, parts, depth)
        opening = ","
    parts.append("]" if array else "[]")


def _write_object(mapping: dict[str, Any], position: int, budget: Budget, parts: list[str], depth: int) -> None:
    budget.enter(depth)
    budget.spend(6 + 8 * len(mapping))
    opening = "{"
    for key in ordered_keys(mapping, budget):
        value = mapping[key]
        if value is UNDEFINED:
            continue
        budget.produce_text(len(key))
        parts.append(opening + json_string(key) + ":")
        _write_json(value, position, budget, parts, depth)
        opening = ","
    parts.append("}" if opening == "," else "{}")


def _json_scalar(value: Any, position: int, budget: Budget) -> str:
    if type(value) is str:
        return json_string(value)
    if value is None or value is UNDEFINED:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is FunctionValue:
        return '""'
    if budget.exact and type(value) is int:
        return str(value)
    double = to_double(value)
    if math.isinf(double):
        raise errors.ExpressionError(errors.RUNTIME, "A number is infinite or too large", position, reference="D1001")
    return "null" if math.isnan(double) else fifteen_digit_text(value, budget.exact)


def string_form(value: Any, position: int, budget: Budget, depth: int = 0) -> str:
    """Return JavaScript's String of a value that is neither undefined nor null.

    Errors: ExpressionError EXPRESSION_RUNTIME for a function and for an object that the expression built, because
    neither has a string form; the author must act.
    """
    if type(value) is str:
        return value
    if isinstance(value, list):
        return _joined(value, position, budget, depth + 1)
    if isinstance(value, dict):
        # An object without a prototype has no toString method. If an object has a field named `toString`, the field
        # hides the inherited method.
        if type(value) is ConstructedObject or "toString" in value:
            raise errors.ExpressionError(errors.RUNTIME, "The object cannot be converted to a string", position)
        return "[object Object]"
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is FunctionValue:
        raise errors.ExpressionError(errors.RUNTIME, "A function cannot be converted to a string", position)
    return number_text(value, budget.exact)


def _joined(array: list[Any], position: int, budget: Budget, depth: int) -> str:
    budget.enter(depth)
    budget.spend(10 + 6 * len(array))
    parts = []
    for item in array:
        text = "" if item is None or item is UNDEFINED else string_form(item, position, budget, depth)
        budget.produce_text(len(text) + 1)
        parts.append(text)
    return ",".join(parts)

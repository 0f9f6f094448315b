"""Conversion of the result of an evaluation to JSON that belongs to the caller.

Rule: the result shares no value with the scope, and has JavaScript's key order and numbers. The size is counted during
the copy, so that a result over the limit is never built.
"""

from __future__ import annotations

import math
from typing import Any

from workflows.engine.expressions import errors, limits
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.js_text import (
    MAX_SAFE_INTEGER,
    fraction_length,
    json_string_length,
    number_text,
    to_double,
)
from workflows.engine.expressions.values import UNDEFINED, FunctionValue, ordered_keys

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def to_json(value: Any, budget: Budget) -> JsonValue:
    """Return a deep copy of a value as JSON.

    Errors: ExpressionError; the author must act. The code is EXPRESSION_NOT_JSON if the value contains undefined, a
    function or a number that is not finite. It is EXPRESSION_TOO_LARGE if the value exceeds the limits of length or
    depth.
    Cost: paid from the budget of the evaluation.
    """
    if type(value) is bool or value is None:
        return value
    return _Copy(budget).of(value, 0)


class _Copy:
    """Copy that is being made. `room` is the number of UTF-16 units of JSON that are still allowed."""

    __slots__ = ("budget", "exact", "room")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.exact = budget.exact
        self.room = limits.MAX_RESULT_LENGTH

    def of(self, value: Any, depth: int) -> JsonValue:
        kind = type(value)
        if kind is str:
            self._take(json_string_length(value))
            return str(value)
        if kind is int and (self.exact or -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER):
            self._take(len(str(value)))
            return int(value)
        if kind is float or kind is int:
            return self._number(value)
        if isinstance(value, list):
            return self._array(value, depth + 1)
        if isinstance(value, dict):
            return self._object(value, depth + 1)
        if value is None or kind is bool:
            self._take(5 if value is False else 4)
            return value
        raise _not_json(value)

    def _take(self, length: int) -> None:
        self.room -= length
        if self.room < 0:
            raise errors.ExpressionError(
                errors.TOO_LARGE, f"The result has more than {limits.MAX_RESULT_LENGTH} characters of JSON"
            )

    def _number(self, value: int | float) -> int | float:
        double = to_double(value)
        if not math.isfinite(double):
            raise errors.ExpressionError(errors.NOT_JSON, "The result contains a number that is not finite")
        if not double.is_integer():
            self._take(fraction_length(double))
            return double
        # JavaScript writes all digits of whole numbers below 1e21. If Python reads this text, it makes a whole number.
        text = str(int(double)) if abs(double) <= MAX_SAFE_INTEGER else number_text(double)
        self._take(len(text))
        return int(text) if abs(double) < 1e21 else double

    def _array(self, array: list[Any], depth: int) -> JsonValue:
        self._take(2)
        if not array:
            return []
        self._enter(depth, 2 * len(array))
        self._take(len(array) - 1)
        self.budget.spend(1 + len(array))
        return [self.of(item, depth) for item in array]

    def _object(self, mapping: dict[str, Any], depth: int) -> JsonValue:
        self._take(2)
        if not mapping:
            return {}
        self._enter(depth, 5 * len(mapping))
        self._take(2 * len(mapping) - 1)
        self.budget.spend(2 + len(mapping))
        copied: dict[str, JsonValue] = {}
        for key in ordered_keys(mapping, self.budget):
            self._take(json_string_length(key))
            copied[key] = self.of(mapping[key], depth)
        return copied

    def _enter(self, depth: int, least: int) -> None:
        """Refuse a value that is too deep or too large, before the items of the value are copied."""
        if depth > limits.MAX_RESULT_DEPTH:
            raise errors.ExpressionError(
                errors.TOO_LARGE, f"The result is nested deeper than {limits.MAX_RESULT_DEPTH} levels"
            )
        if least - 1 > self.room:
            self._take(least - 1)


def _not_json(value: Any) -> errors.ExpressionError:
    if value is UNDEFINED:
        return errors.ExpressionError(
            errors.NOT_JSON,
            "The expression, or a part of its result, has no value. Use coalesce to choose a default value",
            suggestion="coalesce(",
        )
    what = "a function" if type(value) is FunctionValue else f"a {type(value).__name__}"
    return errors.ExpressionError(errors.NOT_JSON, f"The result contains {what}, which has no JSON form")

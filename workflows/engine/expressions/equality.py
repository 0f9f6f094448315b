"""Equality: JavaScript's `===`, and the deep equality of `=` and `!=`.

Source: the reference implementation's `isDeepEqual`.
"""

from __future__ import annotations

from typing import Any

from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.js_text import MAX_SAFE_INTEGER, to_double
from workflows.engine.expressions.values import Sequence


def strict_equal(left: Any, right: Any, budget: Budget) -> bool:
    """Return the result of JavaScript's `===`. Primitives are compared by value, arrays and objects by identity."""
    kind, other = type(left), type(right)
    if kind is str:
        if other is not str or len(left) != len(right):
            return False
        budget.spend_text(left)
        return bool(left == right)
    if kind is int or kind is float:
        return (other is int or other is float) and _same_number(left, right, budget.exact)
    return left is right


def _same_number(left: Any, right: Any, exact: bool) -> bool:
    # Python compares a whole number with a double without rounding.
    if left == right:
        return True
    if exact or -MAX_SAFE_INTEGER <= left <= MAX_SAFE_INTEGER:
        return False
    return to_double(left) == to_double(right)


def deep_equal(left: Any, right: Any, budget: Budget, depth: int = 0) -> bool:
    """Return True if two values are the same JSON.

    Cost: 2 to 4 steps for each compared entry.
    """
    if isinstance(left, list):
        if isinstance(right, list):
            return left is right or _equal_arrays(left, right, budget, depth + 1)
        return isinstance(right, dict) and _equal_objects(_properties(left, budget), right, budget, depth + 1)
    if isinstance(left, dict):
        if isinstance(right, dict):
            return left is right or _equal_objects(left, right, budget, depth + 1)
        return isinstance(right, list) and _equal_objects(left, _properties(right, budget), budget, depth + 1)
    return strict_equal(left, right, budget)


def _equal_arrays(left: list[Any], right: list[Any], budget: Budget, depth: int) -> bool:
    if len(left) != len(right):
        return False
    budget.enter(depth)
    budget.spend(2 + 2 * len(left))
    for one, other in zip(left, right, strict=True):  # noqa: SIM110 - all() would recurse on the C stack
        if not deep_equal(one, other, budget, depth):
            return False
    return True


def _equal_objects(left: dict[str, Any], right: dict[str, Any], budget: Budget, depth: int) -> bool:
    if len(left) != len(right):
        return False
    budget.enter(depth)
    budget.spend(2 + 4 * len(left))
    if left.keys() != right.keys():
        return False
    for key, value in left.items():  # noqa: SIM110
        if not deep_equal(value, right[key], budget, depth):
            return False
    return True


def _properties(array: list[Any], budget: Budget) -> dict[str, Any]:
    """Return the properties of an array. The reference compares an array with an object by these properties."""
    budget.spend(2 * len(array))
    properties: dict[str, Any] = {str(index): item for index, item in enumerate(array)}
    properties["length"] = len(array)
    if type(array) is Sequence:
        properties["sequence"] = True
        if array.keep_singleton:
            properties["keepSingleton"] = True
    return properties

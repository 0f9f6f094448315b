"""Rules that decide which values are numbers, and which values are true.

Source: the reference implementation's `isNumeric` and `$boolean`.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.js_text import to_double

_LARGEST = sys.float_info.max


def is_numeric(value: Any, position: int) -> bool:
    """Return True if a value is a number. NaN is not a number here.

    Errors: ExpressionError EXPRESSION_RUNTIME for an infinite number; the author must act.
    """
    kind = type(value)
    if kind is not float and kind is not int:
        return False
    # The bounds exclude both infinities, NaN, and whole numbers beyond the range of doubles.
    return -_LARGEST <= value <= _LARGEST or _refuse_infinite(to_double(value), position)


def _refuse_infinite(value: float, position: int) -> bool:
    if math.isinf(value):
        raise errors.ExpressionError(errors.RUNTIME, "A number is infinite or too large", position, reference="D1001")
    return False


def truthy(value: Any, position: int, budget: Budget) -> bool:
    """Return the boolean of a value by the rules of JSONata. An array is true if any value in it is true."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if kind is str:
        return value != ""
    if kind is float or kind is int:
        return value != 0 and ((kind is int and budget.exact) or is_numeric(value, position))
    if isinstance(value, list):
        return _any_truthy(value, position, budget)
    return isinstance(value, dict) and len(value) > 0


def _any_truthy(array: list[Any], position: int, budget: Budget) -> bool:
    # The reference checks every item, even after a true item. It fails if any item is an infinite number.
    found = False
    pending = [array]
    while pending:
        items = pending.pop()
        budget.spend(1 + 2 * len(items))
        for item in items:
            if isinstance(item, list):
                pending.append(item)
            elif truthy(item, position, budget):
                found = True
    return found


def is_array_of_numbers(value: Any, position: int, budget: Budget) -> bool:
    """Return True if a value is an array in which every item is a number. An empty array counts too."""
    if not isinstance(value, list):
        return False
    budget.spend(1 + 2 * len(value))
    # A list and not a generator, so that every item is checked. An infinite number must cause an error wherever it is.
    return all([is_numeric(item, position) for item in value])  # noqa: C419

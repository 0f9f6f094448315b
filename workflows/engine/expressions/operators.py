"""Binary operators. Each operator is a function of its left value and of the code of its right side.

Rule: operands are checked in the order of the reference: first the left one, then the right one, then whether one of
them is undefined. Arithmetic uses doubles. Comparisons of whole numbers are exact since contract version 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.code import Frame, Run
from workflows.engine.expressions.equality import deep_equal, strict_equal
from workflows.engine.expressions.js_text import concatenated, text_less, to_double
from workflows.engine.expressions.stringify import text_in_concatenation
from workflows.engine.expressions.truth import is_numeric, truthy
from workflows.engine.expressions.values import UNDEFINED, Sequence

Operation = Callable[[Any, Run, Any, Frame, Budget], Any]

_LARGEST_RANGE = 10_000_000

# Cost of an operator in steps. An operator that is not listed costs 2.
OPERATOR_WEIGHTS = {"and": 1, "or": 1, "&": 5}


def _numeric(operator: str, position: int, calculate: Callable[[float, float], float]) -> Operation:
    def operate(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
        right = right_run(value, frame, budget)
        if left is not UNDEFINED and not is_numeric(left, position):
            raise _operand_error("T2001", "left", operator, position)
        if right is not UNDEFINED and not is_numeric(right, position):
            raise _operand_error("T2002", "right", operator, position)
        if left is UNDEFINED or right is UNDEFINED:
            return UNDEFINED
        return calculate(to_double(left), to_double(right))

    return operate


def _operand_error(reference: str, side: str, operator: str, position: int) -> errors.ExpressionError:
    return errors.ExpressionError(
        errors.RUNTIME, f"The {side} side of {operator} must be a number", position, reference=reference
    )


def _add(left: float, right: float) -> float:
    return left + right


def _subtract(left: float, right: float) -> float:
    return left - right


def _multiply(left: float, right: float) -> float:
    return left * right


def _divide(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0:
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _remainder(left: float, right: float) -> float:
    return math.fmod(left, right) if right != 0 else math.nan


def _equality(expected: bool) -> Operation:
    def operate(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
        right = right_run(value, frame, budget)
        if left is UNDEFINED or right is UNDEFINED:
            return False
        return deep_equal(left, right, budget) is expected

    return operate


def _comparison(operator: str, position: int) -> Operation:
    # `a <= b` cannot be computed as `not b < a`, because a NaN makes every comparison false.
    swapped, or_equal = operator in {">", ">="}, operator in {"<=", ">="}

    def operate(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
        right = right_run(value, frame, budget)
        left_kind, right_kind = _comparable_kind(left, position), _comparable_kind(right, position)
        if left is UNDEFINED or right is UNDEFINED:
            return UNDEFINED
        if left_kind is not right_kind:
            raise errors.ExpressionError(
                errors.RUNTIME,
                f"Both sides of {operator} must be numbers, or both must be strings",
                position,
                reference="T2009",
            )
        low, high = (right, left) if swapped else (left, right)
        if left_kind is str:
            budget.spend_text(low)
            return not text_less(high, low) if or_equal else text_less(low, high)
        if not budget.exact:
            low, high = to_double(low), to_double(high)
        return low <= high if or_equal else low < high

    return operate


def _comparable_kind(value: Any, position: int) -> type | None:
    kind = type(value)
    if kind is str:
        return str
    if kind is int or kind is float:
        return float
    if value is UNDEFINED:
        return None
    raise errors.ExpressionError(
        errors.RUNTIME, "Only numbers and strings can be compared with <, <=, > and >=", position, reference="T2010"
    )


def _concatenation(position: int) -> Operation:
    def operate(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
        right = right_run(value, frame, budget)
        left_text = left if type(left) is str else text_in_concatenation(left, position, budget)
        right_text = right if type(right) is str else text_in_concatenation(right, position, budget)
        size = len(left_text) + len(right_text)
        budget.produce(size if left_text.isascii() and right_text.isascii() else 4 * size)
        return concatenated(left_text, right_text)

    return operate


def _membership(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
    right = right_run(value, frame, budget)
    if left is UNDEFINED or right is UNDEFINED:
        return False
    if not isinstance(right, list):
        return strict_equal(left, right, budget)
    budget.spend(len(right))
    return any(strict_equal(item, left, budget) for item in right)


def _boolean(operator: str, position: int) -> Operation:
    decisive = operator == "or"

    def operate(left: Any, right_run: Run, value: Any, frame: Frame, budget: Budget) -> Any:
        if truthy(left, position, budget) is decisive:
            return decisive
        return truthy(right_run(value, frame, budget), position, budget)

    return operate


def range_of(left: Any, right: Any, position: int, budget: Budget) -> Any:
    """Return the whole numbers from `left` to `right` as a sequence, or undefined if there are none."""
    for reference, side, bound in (("T2003", "left", left), ("T2004", "right", right)):
        if bound is not UNDEFINED and not _is_integer(bound):
            raise errors.ExpressionError(
                errors.RUNTIME, f"The {side} side of .. must be a whole number", position, reference=reference
            )
    if left is UNDEFINED or right is UNDEFINED or left > right:
        return UNDEFINED
    size = int(right) - int(left) + 1 if budget.exact else to_double(right) - to_double(left) + 1
    if size > _LARGEST_RANGE:
        raise errors.ExpressionError(
            errors.RUNTIME, f"The range has more than {_LARGEST_RANGE} items", position, reference="D2014"
        )
    budget.spend(int(size))
    budget.produce(ARRAY_ITEM * int(size))
    return Sequence(range(int(left), int(left) + int(size)))


def _is_integer(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


_ARITHMETIC = {"+": _add, "-": _subtract, "*": _multiply, "/": _divide, "%": _remainder}


def operation(operator: str, position: int) -> Operation:
    """Return the function of a binary operator. `position` is its position in the source."""
    if operator in _ARITHMETIC:
        return _numeric(operator, position, _ARITHMETIC[operator])
    if operator in {"=", "!="}:
        return _equality(operator == "=")
    if operator in {"<", "<=", ">", ">="}:
        return _comparison(operator, position)
    if operator in {"and", "or"}:
        return _boolean(operator, position)
    return _membership if operator == "in" else _concatenation(position)

"""Order-by: `^(>qty, sku)`.

Rule: the sort repeats the merge sort of the reference, step by step. If a key is undefined or NaN, the comparison is
not a total order, and another algorithm would give another result. Each key is evaluated once per item, when the item
is first compared by this key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.code import Code, Frame
from workflows.engine.expressions.js_text import text_less, to_double
from workflows.engine.expressions.tuples import frame_of
from workflows.engine.expressions.values import UNDEFINED, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

_COMPARISON_STEPS = 4


def compile_sort(node: Any, compiler: Compiler) -> Code:
    """Return code whose context value is the array to sort."""
    terms = [(compiler.code(term.expression), term.descending) for term in node.terms]
    weight = sum(1 + code.weight for code, _ in terms)
    position = node.position

    def run(items: Any, frame: Frame, budget: Budget) -> Any:
        if len(items) <= 1:
            return items
        budget.spend(len(items) * (4 + weight))
        budget.produce(4 * ARRAY_ITEM * len(items))
        is_tuples = type(items) is Sequence and items.tuple_stream
        order = _Order(terms, frame, budget, position, is_tuples)
        return [entry.item for entry in order.merge_sorted([_Entry(item) for item in items])]

    return Code(run, weight, settled=True)


class _Entry:
    """Item with the sort keys that were evaluated for this item so far."""

    __slots__ = ("item", "keys")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.keys: list[Any] = []


class _Order:
    def __init__(
        self, terms: list[tuple[Code, bool]], frame: Frame, budget: Budget, position: int, is_tuples: bool
    ) -> None:
        self.terms = terms
        self.frame = frame
        self.budget = budget
        self.position = position
        self.is_tuples = is_tuples

    def merge_sorted(self, entries: list[_Entry]) -> list[_Entry]:
        if len(entries) <= 1:
            return entries
        middle = len(entries) // 2
        return self._merged(self.merge_sorted(entries[:middle]), self.merge_sorted(entries[middle:]))

    def _merged(self, left: list[_Entry], right: list[_Entry]) -> list[_Entry]:
        result = []
        at_left = at_right = 0
        while at_left < len(left) and at_right < len(right):
            if self._after(left[at_left], right[at_right]):
                result.append(right[at_right])
                at_right += 1
            else:
                result.append(left[at_left])
                at_left += 1
        return [*result, *left[at_left:], *right[at_right:]]

    def _after(self, one: _Entry, other: _Entry) -> bool:
        """Return True if `one` must come after `other`."""
        for index, (_, descending) in enumerate(self.terms):
            self.budget.spend(_COMPARISON_STEPS)
            left, right = self._key(one, index), self._key(other, index)
            if left is UNDEFINED or right is UNDEFINED:
                if left is right:
                    continue
                return left is UNDEFINED
            comparison = self._compared(left, right)
            if comparison:
                return (comparison > 0) is not descending
        return False

    def _key(self, entry: _Entry, index: int) -> Any:
        if index == len(entry.keys):
            context, frame = entry.item, self.frame
            if self.is_tuples:
                context, frame = entry.item["@"], frame_of(entry.item, self.frame)
            entry.keys.append(self.terms[index][0].run(context, frame, self.budget))
        return entry.keys[index]

    def _compared(self, left: Any, right: Any) -> int:
        kinds = [_kind(left), _kind(right)]
        if None in kinds:
            raise errors.ExpressionError(
                errors.RUNTIME, "Each sort key must be a number or a string", self.position, reference="T2008"
            )
        if kinds[0] is not kinds[1]:
            raise errors.ExpressionError(
                errors.RUNTIME, "The sort keys must be all numbers or all strings", self.position, reference="T2007"
            )
        if kinds[0] is str:
            self.budget.spend_text(left)
            return 0 if left == right else -1 if text_less(left, right) else 1
        if not self.budget.exact:
            left, right = to_double(left), to_double(right)
        return 0 if left == right else -1 if left < right else 1


def _kind(value: Any) -> type | None:
    kind = type(value)
    return float if kind is int else kind if kind in (str, float) else None

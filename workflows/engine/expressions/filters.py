"""Predicates: `[0]`, `[-1]`, `[qty > 1]`.

Rule: if the predicate gives a number, it selects the item with this index. An array of numbers selects the items with
these indexes. Any other result selects the current item if the result is true.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.code import Code, Frame, Run, as_items
from workflows.engine.expressions.truth import is_array_of_numbers, is_numeric, truthy
from workflows.engine.expressions.tuples import frame_of
from workflows.engine.expressions.values import UNDEFINED, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler


def compile_filters(bare: Code, predicates: list[Any], compiler: Compiler) -> Code:
    """Return code that first runs `bare` and then applies each predicate to the result."""
    filters = [compile_filter(predicate, compiler) for predicate in predicates]
    run_bare, runs = bare.run, [each.run for each in filters]

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_bare(value, frame, budget)
        for run_filter in runs:
            result = run_filter(result, frame, budget)
        return result

    return Code(run, bare.weight + sum(each.weight for each in filters))


def compile_filter(predicate: Any, compiler: Compiler) -> Code:
    """Return the code of one predicate. The context value of this code is the array to filter."""
    if predicate.expr.type == "number":
        return Code(_at(math.floor(predicate.expr.value)), 4)
    test = compiler.code(predicate.expr)
    return Code(_where(test, predicate.position), 6 + test.weight)


def _at(index: int) -> Run:
    def run(value: Any, _frame: Frame, _budget: Budget) -> Any:
        items = as_items(value)
        found = _found_in(items)
        at = index if index >= 0 else len(items) + index
        if 0 <= at < len(items) and items[at] is not UNDEFINED:
            if isinstance(items[at], list):
                return items[at]
            found.append(items[at])
        return found

    return run


def _found_in(items: list[Any]) -> Sequence:
    found = Sequence()
    found.tuple_stream = type(items) is Sequence and items.tuple_stream
    return found


def _where(test: Code, position: int) -> Run:
    run_test, weight = test.run, 3 + test.weight

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        items = as_items(value)
        found = _found_in(items)
        budget.spend(len(items) * weight)
        for index, item in enumerate(items):
            context, inner = (item["@"], frame_of(item, frame)) if found.tuple_stream else (item, frame)
            result = run_test(context, inner, budget)
            if result is False or result is UNDEFINED:
                continue
            times = 1 if result is True else _times(result, index, len(items), position, budget)
            if times:
                budget.produce(ARRAY_ITEM * times)
                found.extend([item] * times)
        return found

    return run


def _times(result: Any, index: int, size: int, position: int, budget: Budget) -> int:
    """Return how many times the result of a predicate selects the item at an index."""
    if is_numeric(result, position):
        return int(_place(result, size) == index)
    if is_array_of_numbers(result, position, budget):
        budget.spend(len(result))
        return sum(1 for place in result if _place(place, size) == index)
    return int(truthy(result, position, budget))


def _place(number: Any, size: int) -> int:
    place = math.floor(number)
    return size + place if place < 0 else place

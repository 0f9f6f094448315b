"""One step of a path, over all items that the previous step found.

Rule: a step pays for all its items before it processes the first item. The result of the step is flattened by one
level. Arrays that an array constructor of the author made are not flattened. Source: the reference implementation's
evaluateStep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.code import Frame, Run, settle
from workflows.engine.expressions.filters import compile_filter
from workflows.engine.expressions.js_text import utf16_units
from workflows.engine.expressions.lookup import lookup
from workflows.engine.expressions.sorting import compile_sort
from workflows.engine.expressions.values import UNDEFINED, ConstructedArray, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

# Arguments: the items, the frame, the budget, and a bool that is True for the last step of the path.
Step = Callable[[list[Any], Frame, Budget, bool], Any]


def is_plain_name(step: Any) -> bool:
    return step.type == "name" and step.stages is None and step.predicate is None and step.group is None


def compile_step(node: Any, compiler: Compiler) -> tuple[Step, int]:
    if is_plain_name(node) and not node.keep_array:
        return name_step(node.value), 1
    stages = [compile_filter(stage, compiler) for stage in node.stages or []]
    weight = sum(stage.weight for stage in stages)
    runs = [stage.run for stage in stages]
    if node.type == "sort":
        sort = compile_sort(node, compiler)
        return _sort_step(sort.run, runs), weight + sort.weight
    code = compiler.code(node)
    weight += code.weight
    return _mapping_step(code.run, runs, 2 + weight), weight


def name_step(name: str) -> Step:
    def step(items: list[Any], _frame: Frame, budget: Budget, is_last: bool) -> Any:
        budget.spend(len(items))
        found = []
        for item in items:
            if isinstance(item, dict):
                value = item.get(name, UNDEFINED)
            elif isinstance(item, list):
                value = lookup(item, name, budget)
            else:
                continue
            if type(value) is Sequence:
                value = settle(value)
            if value is not UNDEFINED:
                found.append(value)
        return flattened(found, is_last, budget)

    return step


def _mapping_step(run_node: Run, stages: list[Run], weight: int) -> Step:
    def step(items: list[Any], frame: Frame, budget: Budget, is_last: bool) -> Any:
        budget.spend(len(items) * weight)
        found = []
        for item in items:
            value = run_node(item, frame, budget)
            for run_stage in stages:
                value = run_stage(value, frame, budget)
            if value is not UNDEFINED:
                found.append(value)
        return flattened(found, is_last, budget)

    return step


def whole_step(run_node: Run, position: int) -> Step:
    """Return the first step of a path that begins with an array constructor. The step runs once, not for each item."""

    def step(items: list[Any], frame: Frame, budget: Budget, _is_last: bool) -> Any:
        found = run_node(items, frame, budget)
        return found if isinstance(found, list) or found is UNDEFINED else _units_of(found, position, budget)

    return step


def _units_of(value: Any, position: int, budget: Budget) -> Any:
    # The result of a predicate is not always an array (`["ab"][0].x`). The reference then walks over any value that has
    # a length, and a string has a length.
    if value is None:
        raise errors.ExpressionError(errors.RUNTIME, "A path cannot start with null", position)
    if type(value) is not str:
        return Sequence()
    budget.spend(2 * len(value))
    budget.produce(2 * ARRAY_ITEM * len(value))
    return utf16_units(value) or value


def _sort_step(run_sort: Run, stages: list[Run]) -> Step:
    def step(items: list[Any], frame: Frame, budget: Budget, _is_last: bool) -> Any:
        result = run_sort(items, frame, budget)
        for run_stage in stages:
            result = run_stage(result, frame, budget)
        return result

    return step


def flattened(found: list[Any], is_last: bool, budget: Budget) -> Any:
    if is_last and len(found) == 1 and isinstance(found[0], list) and type(found[0]) is not Sequence:
        return found[0]
    size = 0
    for value in found:
        size += len(value) if isinstance(value, list) and type(value) is not ConstructedArray else 1
    budget.produce(ARRAY_ITEM * size)
    result = Sequence()
    for value in found:
        if isinstance(value, list) and type(value) is not ConstructedArray:
            result.extend(value)
        else:
            result.append(value)
    return result

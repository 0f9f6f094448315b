"""Compilation of paths. Each step of a path runs over the items that the previous step found.

Rule: as long as the values are objects, a path of names only reads dictionaries. At the first array it changes to the
general algorithm.
Source: the reference implementation's evaluatePath, evaluateStep and evaluateTupleStep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.code import Code, Frame, settle
from workflows.engine.expressions.groups import compile_group
from workflows.engine.expressions.steps import Step, compile_step, is_plain_name, name_step, whole_step
from workflows.engine.expressions.tuple_paths import compile_tuple_walk
from workflows.engine.expressions.values import UNDEFINED, ConstructedArray, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

# Cost of one step of a path, without the code of the step itself. Units: steps.
_STEP_WEIGHT = 4


def compile_path(node: Any, compiler: Compiler) -> Code:
    if any(step.tuple for step in node.steps):
        walk = compile_tuple_walk(node, compiler)
    elif all(is_plain_name(step) for step in node.steps) and not _has_extras(node):
        return _names_code([step.value for step in node.steps])
    else:
        walk = _compile_walk(node, compiler)
    return _with_extras(node, walk, compiler)


def _has_extras(node: Any) -> bool:
    return bool(node.keep_array or node.keep_singleton_array) or node.group is not None


def _names_code(names: list[str]) -> Code:
    steps = [name_step(name) for name in names]

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        current = value
        for index, name in enumerate(names):
            if isinstance(current, dict):
                current = current.get(name, UNDEFINED)
            elif isinstance(current, list):
                return _settled(_walk(steps, index, _items_after(current, index), frame, budget))
            else:
                return UNDEFINED
        return _settled(_last_found(current)) if type(current) is Sequence else current

    return Code(run, len(names), settled=True)


def _settled(value: Any) -> Any:
    return settle(value) if type(value) is Sequence else value


def _last_found(value: Sequence) -> Any:
    # An object that the expression built may contain a sequence. The step unwraps this sequence, and the path collects
    # the items again.
    found = settle(value)
    return Sequence(found) if type(found) is Sequence else found


def _items_after(found: list[Any], index: int) -> list[Any]:
    """Return the items that a step processes.

    For the first step, they come from the context. For a later step, they come from the result of the previous step.
    """
    if index == 0:
        return found
    if type(found) is Sequence:
        value = settle(found)
        return [] if value is UNDEFINED else _items_of(value)
    return _items_of(found)


def _items_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) and type(value) is not ConstructedArray else [value]


def _walk(steps: list[Step], start: int, items: list[Any], frame: Frame, budget: Budget) -> Any:
    last = len(steps) - 1
    found: Any = items
    for index in range(start, len(steps)):
        found = steps[index](found, frame, budget, index == last)
        if found is UNDEFINED or not found:
            return found
    return found


def _compile_walk(node: Any, compiler: Compiler) -> Code:
    codes = [compile_step(step, compiler) for step in node.steps]
    steps = [step for step, _ in codes]
    first = node.steps[0]
    is_absolute = first.type == "variable"
    if first.consarray:
        steps[0] = whole_step(compiler.code(first).run, first.position)

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        items = value if isinstance(value, list) and not is_absolute else Sequence((value,))
        return _walk(steps, 0, items, frame, budget)

    return Code(run, sum(_STEP_WEIGHT + weight for _, weight in codes))


def _with_extras(node: Any, walk: Code, compiler: Compiler) -> Code:
    """Add `[]` and the group of the whole path to the code of the path, in this order."""
    if node.keep_singleton_array:
        walk = _keeping(walk, node)
    if node.group is None:
        return walk
    group = compile_group(node.group.lhs_object, node.group.position, compiler)
    run_walk, run_group = walk.run, group.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        return run_group(run_walk(value, frame, budget), frame, budget)

    return Code(run, walk.weight + group.weight)


def _keeping(walk: Code, node: Any) -> Code:
    run_walk, position = walk.run, node.steps[0].position

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_walk(value, frame, budget)
        if result is UNDEFINED:
            raise errors.ExpressionError(
                errors.RUNTIME, "The path before [] has no value that could become an array", position
            )
        if type(result) is ConstructedArray:
            result = Sequence((result,))
        if type(result) is Sequence:
            result.keep_singleton = True
        return result

    return Code(run, walk.weight)

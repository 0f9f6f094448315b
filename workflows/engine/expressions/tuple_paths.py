"""Paths whose steps bind variables: `a@$x.b`, `a#$i`, `a.%.b`.

Rule: after the first step that binds a variable, the path carries tuples instead of items.
Source: the reference implementation's evaluatePath and evaluateTupleStep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, TUPLE, Budget
from workflows.engine.expressions.code import Code, Frame, Run
from workflows.engine.expressions.filters import compile_filter
from workflows.engine.expressions.sorting import compile_sort
from workflows.engine.expressions.steps import compile_step, whole_step
from workflows.engine.expressions.tuples import TupleStep
from workflows.engine.expressions.values import UNDEFINED, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

# Cost of one step of a path, without the code of the step itself. Units: steps.
_STEP_WEIGHT = 6

# Arguments: the tuples so far (None before the first step that binds a variable), the items, the frame, the budget.
# Result: the tuples after the step.
_Advance = Callable[[list[Any] | None, Any, Frame, Budget], list[Any]]


def compile_tuple_walk(node: Any, compiler: Compiler) -> Code:
    first_binding = next(index for index, step in enumerate(node.steps) if step.tuple)
    plain = [compile_step(step, compiler) for step in node.steps[:first_binding]]
    binding = [_compile_binding(step, compiler) for step in node.steps[first_binding:]]
    steps = [step for step, _ in plain]
    advances = [advance for advance, _ in binding]
    keeps_focus = [step.focus is not None for step in node.steps[first_binding:]]
    is_absolute = node.steps[0].type == "variable"
    keeps_tuples, is_grouped = bool(node.tuple), node.group is not None
    position = node.steps[0].position
    whole = None
    if node.steps[0].consarray:
        whole = whole_step(compiler.code(node.steps[0]).run, position)
        if first_binding > 0:
            steps[0] = whole

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        items: Any = value if isinstance(value, list) and not is_absolute else Sequence((value,))
        found: Any = items
        for step in steps:
            found = step(found, frame, budget, False)
            if found is UNDEFINED or not found:
                return found
        items = found
        stream: list[Any] | None = None
        for index, advance in enumerate(advances):
            if index == 0 and not steps and whole is not None:
                found = whole(items, frame, budget, False)
            else:
                stream = advance(stream, items, frame, budget)
            if not keeps_focus[index]:
                items = found
        if keeps_tuples:
            return UNDEFINED if stream is None else stream
        found = _items_of(stream, position, budget)
        return stream if is_grouped else found

    return Code(run, sum(_STEP_WEIGHT + weight for _, weight in (*plain, *binding)))


def _items_of(stream: list[Any] | None, position: int, budget: Budget) -> Sequence:
    if stream is None:
        _refuse_binding(position)
    budget.produce(ARRAY_ITEM * len(stream))
    return Sequence(bindings.get("@", UNDEFINED) for bindings in stream)


def _refuse_binding(position: int) -> NoReturn:
    raise errors.ExpressionError(
        errors.RUNTIME, "The path has no value here to which a variable can be bound", position
    )


def _as_stream(items: Any, position: int, budget: Budget) -> list[Any]:
    if not isinstance(items, list):
        _refuse_binding(position)
    budget.spend(len(items))
    budget.produce(TUPLE * len(items))
    return [{"@": item} for item in items]


def _compile_binding(node: Any, compiler: Compiler) -> tuple[_Advance, int]:
    stages, weight = _compile_stages(node.stages or [], compiler)
    if node.type == "sort":
        sort = compile_sort(node, compiler)
        return _sorting(sort.run, node, stages), weight + sort.weight
    step = TupleStep(compiler.code(node), node)
    position = node.position

    def advance(stream: list[Any] | None, items: Any, frame: Frame, budget: Budget) -> list[Any]:
        if stream is None:
            stream = _as_stream(items, position, budget)
        return _staged(step.apply(stream, frame, budget), stages, frame, budget)

    return advance, weight + step.code.weight


def _sorting(run_sort: Run, node: Any, stages: list[Run]) -> _Advance:
    index, position = node.index, node.position

    def advance(stream: list[Any] | None, items: Any, frame: Frame, budget: Budget) -> list[Any]:
        if stream is not None:
            return _staged(run_sort(stream, frame, budget), stages, frame, budget)
        if not isinstance(items, list):
            _refuse_binding(position)
        result = Sequence(_as_stream(run_sort(items, frame, budget), position, budget))
        result.tuple_stream = True
        if index is not None:
            _number(result, index, budget)
        return _staged(result, stages, frame, budget)

    return advance


def _staged(stream: list[Any], stages: list[Run], frame: Frame, budget: Budget) -> list[Any]:
    for run_stage in stages:
        stream = run_stage(stream, frame, budget)
    return stream


def _compile_stages(stages: list[Any], compiler: Compiler) -> tuple[list[Run], int]:
    runs: list[Run] = []
    weight = 0
    for stage in stages:
        if stage.type == "index":
            runs.append(_numbering(stage.value))
        else:
            code = compile_filter(stage, compiler)
            runs.append(code.run)
            weight += code.weight
    return runs, weight


def _numbering(name: str) -> Run:
    def run(stream: Any, _frame: Frame, budget: Budget) -> Any:
        _number(stream, name, budget)
        return stream

    return run


def _number(stream: list[Any], name: str, budget: Budget) -> None:
    budget.spend(len(stream))
    for index, bindings in enumerate(stream):
        bindings[name] = index

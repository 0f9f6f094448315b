"""Compilation of the simple nodes: literals, variables, wildcards, operators, blocks, conditions, array constructors.

Rule: a chain of operators or of conditions becomes a loop. Otherwise a long chain would need deep recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.code import Code, Frame, settle
from workflows.engine.expressions.lookup import descendants, lookup, wildcard
from workflows.engine.expressions.operators import OPERATOR_WEIGHTS, Operation, operation, range_of
from workflows.engine.expressions.truth import is_numeric, truthy
from workflows.engine.expressions.values import UNDEFINED, ConstructedArray, FunctionValue, Sequence

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler


def compile_literal(node: Any, _compiler: Compiler) -> Code:
    literal = node.value

    def run(_value: Any, _frame: Frame, _budget: Budget) -> Any:
        return literal

    return Code(run, 1, settled=True)


def compile_opaque(node: Any, compiler: Compiler) -> Code:
    """Compile a regex or a transform to a function value that the contract never calls.

    The code inside it never runs.
    """
    function = FunctionValue(node.type)

    def run(_value: Any, _frame: Frame, _budget: Budget) -> Any:
        return function

    return Code(run, 1, settled=True)


def compile_name(node: Any, _compiler: Compiler) -> Code:
    name = node.value

    def run(value: Any, _frame: Frame, budget: Budget) -> Any:
        return lookup(value, name, budget)

    return Code(run, 2)


def compile_variable(node: Any, _compiler: Compiler) -> Code:
    name = node.value

    def run_context(value: Any, _frame: Frame, _budget: Budget) -> Any:
        return value

    def run(_value: Any, frame: Frame, _budget: Budget) -> Any:
        return frame.lookup(name)

    return Code(run if name else run_context, 1)


def compile_parent(node: Any, _compiler: Compiler) -> Code:
    slot = node.slot

    def run(_value: Any, frame: Frame, _budget: Budget) -> Any:
        return frame.lookup(slot.label)

    return Code(run, 1)


def compile_wildcard(_node: Any, _compiler: Compiler) -> Code:
    def run(value: Any, _frame: Frame, budget: Budget) -> Any:
        return wildcard(value, budget)

    return Code(run, 1)


def compile_descendant(_node: Any, _compiler: Compiler) -> Code:
    def run(value: Any, _frame: Frame, budget: Budget) -> Any:
        return descendants(value, budget)

    return Code(run, 1)


def compile_binary(node: Any, compiler: Compiler) -> Code:
    """Compile a chain of binary operators. The leftmost operator runs first."""
    if node.value == "..":
        return _range(node, compiler)
    chain = []
    weight = 0
    while node.type == "binary" and node.value != ".." and node.predicate is None and node.group is None:
        right = compiler.code(node.rhs)
        chain.append((operation(node.value, node.position), right))
        weight += right.weight + OPERATOR_WEIGHTS.get(node.value, 2)
        node = node.lhs
    chain.reverse()
    first = compiler.code(node)
    weight += first.weight
    return _operation_code(first, chain[0], weight) if len(chain) == 1 else _chain_code(first, chain, weight)


def _operation_code(first: Code, last: tuple[Operation, Code], weight: int) -> Code:
    run_left, (operate, right) = first.run, last
    run_right = right.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        return operate(run_left(value, frame, budget), run_right, value, frame, budget)

    return Code(run, weight, settled=True)


def _chain_code(first: Code, chain: list[tuple[Operation, Code]], weight: int) -> Code:
    run_first = first.run
    operations = [(operate, right.run) for operate, right in chain]

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_first(value, frame, budget)
        for operate, run_right in operations:
            result = operate(result, run_right, value, frame, budget)
        return result

    return Code(run, weight, settled=True)


def _range(node: Any, compiler: Compiler) -> Code:
    left, right, position = compiler.code(node.lhs), compiler.code(node.rhs), node.position
    run_left, run_right = left.run, right.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        low = run_left(value, frame, budget)
        return range_of(low, run_right(value, frame, budget), position, budget)

    return Code(run, 1 + left.weight + right.weight)


def compile_unary(node: Any, compiler: Compiler) -> Code:
    return _negation(node, compiler) if node.value == "-" else _array(node, compiler)


def _negation(node: Any, compiler: Compiler) -> Code:
    operand, position = compiler.code(node.expression), node.position
    run_operand = operand.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_operand(value, frame, budget)
        if result is UNDEFINED:
            return UNDEFINED
        if not is_numeric(result, position):
            raise errors.ExpressionError(
                errors.RUNTIME, "The operand of a minus sign must be a number", position, reference="D1002"
            )
        return -float(result)

    return Code(run, 1 + operand.weight, settled=True)


def _array(node: Any, compiler: Compiler) -> Code:
    items = [(compiler.code(item), item.value == "[") for item in node.expressions]
    runs = [(item.run, nested) for item, nested in items]
    kind = ConstructedArray if node.consarray else list

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        array: list[Any] = kind()
        for run_item, nested in runs:
            item = run_item(value, frame, budget)
            if nested or not isinstance(item, list):
                if item is not UNDEFINED:
                    budget.produce(ARRAY_ITEM)
                    array.append(item)
            else:
                budget.produce(ARRAY_ITEM * len(item))
                array.extend(item)
        return array

    return Code(run, 2 + sum(1 + item.weight for item, _ in items), settled=True)


def compile_block(node: Any, compiler: Compiler) -> Code:
    parts = [compiler.code(part) for part in node.expressions]
    runs = [part.run for part in parts]

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        inner = Frame(frame, {})
        result: Any = UNDEFINED
        for run_part in runs:
            result = run_part(value, inner, budget)
        return result

    return Code(run, 4 + sum(part.weight for part in parts))


def compile_bind(node: Any, compiler: Compiler) -> Code:
    name, right = node.lhs.value, compiler.code(node.rhs)
    run_right = right.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_right(value, frame, budget)
        frame.bindings[name] = result
        return result

    return Code(run, 2 + right.weight)


def compile_condition(node: Any, compiler: Compiler) -> Code:
    """Compile a chain of conditions. Each condition is the `else` of the condition before it."""
    choices = []
    otherwise = Code(_nothing, 0, settled=True)
    while True:
        choices.append((compiler.code(node.condition), compiler.code(node.then), node.position))
        if node._else is None:
            break
        node = node._else
        if node.type != "condition" or node.keep_array:
            otherwise = compiler.code(node)
            break
    runs = [(test.run, then.run, position) for test, then, position in choices]
    run_otherwise = otherwise.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        for run_test, run_then, position in runs:
            if truthy(run_test(value, frame, budget), position, budget):
                return run_then(value, frame, budget)
        return run_otherwise(value, frame, budget)

    return Code(run, otherwise.weight + sum(1 + test.weight + then.weight for test, then, _ in choices))


def _nothing(_value: Any, _frame: Frame, _budget: Budget) -> Any:
    return UNDEFINED


def compile_default(node: Any, compiler: Compiler) -> Code:
    """Compile `a ?: b` (a if a is true, else b) and `a ?? b` (a if a is defined, else b)."""
    left, right, position = compiler.code(node.lhs), compiler.code(node.rhs), node.position
    run_left, run_right, needs_truth = left.run, right.run, node.value == "?:"

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_left(value, frame, budget)
        if truthy(result, position, budget) if needs_truth else result is not UNDEFINED:
            return settle(result) if type(result) is Sequence else result
        return run_right(value, frame, budget)

    return Code(run, 1 + left.weight + right.weight)

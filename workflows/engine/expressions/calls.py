"""Calls of the allowed functions: `len(x)`, `x ~> $len`, `append(?, 1)`.

Rule: only the five allowed functions ever run. A call runs its function directly, unless the expression binds a
variable with the same name. In that case the value of the variable is looked up. This value is callable only if it is
one of the five functions. The function may be partially applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.code import Code, Frame, Run
from workflows.engine.expressions.functions import FUNCTIONS, GLOBALS
from workflows.engine.expressions.values import UNDEFINED, FunctionValue

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

_HOLE = object()


def compile_function(node: Any, compiler: Compiler) -> Code:
    return _invocation(node, compiler, None)


def compile_apply(node: Any, compiler: Compiler) -> Code:
    """Compile `left ~> right`. If the right side is a call, the left side becomes its first argument."""
    left = compiler.code(node.lhs)
    if node.rhs.type == "function":  # as in the reference, predicates and groups of the call have no effect
        return _invocation(node.rhs, compiler, left)
    right, position = compiler.code(node.rhs), node.position
    run_left, run_right = left.run, right.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        argument = run_left(value, frame, budget)
        function = run_right(value, frame, budget)
        if type(function) is not FunctionValue:
            raise errors.ExpressionError(
                errors.RUNTIME, "The right side of ~> must be a function", position, reference="T2006"
            )
        if type(argument) is FunctionValue:
            return FunctionValue("chain")
        return _called(function, [argument], position, budget)

    return Code(run, 1 + left.weight + right.weight)


def _invocation(node: Any, compiler: Compiler, first: Code | None) -> Code:
    codes = [*([first] if first else []), *(compiler.code(argument) for argument in node.arguments)]
    runs = [code.run for code in codes]
    weight = 5 + sum(code.weight for code in codes)
    name, position = node.procedure.value, node.position
    if node.procedure.type == "variable" and name in FUNCTIONS and name not in compiler.rebound:
        return _direct_call(name, runs, weight, position)
    procedure = compiler.code(node.procedure)
    return _computed_call(_function_of(procedure.run, node.procedure, position), runs, weight, position)


def _direct_call(name: str, runs: list[Run], weight: int, position: int) -> Code:
    function = FUNCTIONS[name]

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        return function([run_argument(value, frame, budget) for run_argument in runs], position, budget)

    return Code(run, weight, settled=name != "coalesce")


def _computed_call(run_function: Run, runs: list[Run], weight: int, position: int) -> Code:
    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        function = run_function(value, frame, budget)
        arguments = [run_argument(value, frame, budget) for run_argument in runs]
        return _called(function, arguments, position, budget)

    return Code(run, weight + 1)


def _function_of(run_procedure: Run, procedure: Any, position: int) -> Run:
    """Return code that finds the function to call.

    If there is no such function but the author wrote a field with the name of a function, the error suggests this
    function.
    """
    field = procedure.steps[0].value if procedure.type == "path" else None

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        function = run_procedure(value, frame, budget)
        if function is UNDEFINED and field is not None and _is_bound(field, frame):
            raise errors.ExpressionError(
                errors.RUNTIME, f"{field} is a field here, not a function", position, f"${field}(", reference="T1005"
            )
        return function

    return run


def _is_bound(name: Any, frame: Frame) -> bool:
    return type(name) is str and frame.lookup(name) not in (UNDEFINED, None, False, 0, "")


def _called(function: Any, arguments: list[Any], position: int, budget: Budget) -> Any:
    if type(function) is not FunctionValue or function.call is None:
        raise errors.ExpressionError(errors.RUNTIME, "The called value is not a function", position, reference="T1006")
    return function.call(arguments, position, budget)


def compile_partial(node: Any, compiler: Compiler) -> Code:
    """Compile a partial application such as `append(?, 1)`. A later call fills the open arguments."""
    arguments = [None if argument.type == "operator" else compiler.code(argument) for argument in node.arguments]
    procedure = compiler.code(node.procedure)
    run_function = _function_of(procedure.run, node.procedure, node.position)
    position = node.position

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        given = [_HOLE if code is None else code.run(value, frame, budget) for code in arguments]
        function = run_function(value, frame, budget)
        if type(function) is not FunctionValue:
            raise errors.ExpressionError(
                errors.RUNTIME, "The called value is not a function", position, reference="T1008"
            )
        return FunctionValue("partial", _filled(function, given) if function.call else None)

    return Code(run, 1 + procedure.weight + sum(code.weight for code in arguments if code))


def _filled(function: FunctionValue, given: list[Any]) -> Any:
    def call(arguments: list[Any], position: int, budget: Budget) -> Any:
        rest = iter(arguments)
        return _called(function, [next(rest, UNDEFINED) if each is _HOLE else each for each in given], position, budget)

    return call


# The outermost frame of every expression. Each evaluation adds a frame of its own, so no variable is ever bound in this
# frame.
GLOBAL_FRAME = Frame(None, GLOBALS)

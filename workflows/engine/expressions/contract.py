"""The expression contract: compile a source once, evaluate it over any scope.

One piece of code for validation, simulation, trigger mappings and runs. The same source, scope and time give the same
value or the same error code on every machine and on every replay: no clock, no randomness, no hash order, no stack
depth takes part. A scope is never changed, and a result shares nothing with it.

Theory of operation: `tokens` reads the author's source (both rewrites happen there), `parser` builds the library's tree,
`allowlist` refuses what is not allowed, `compiler` turns the tree into closures, which `budget` bounds while they run;
`result` copies out what they return. Where the library and the reference disagree, `deviations` says how and where.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from workflows.engine.expressions import limits
from workflows.engine.expressions.allowlist import check
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.calls import GLOBAL_FRAME
from workflows.engine.expressions.code import Code, Frame
from workflows.engine.expressions.compiler import Compiler
from workflows.engine.expressions.errors import TOO_LARGE, ExpressionError
from workflows.engine.expressions.headroom import with_headroom
from workflows.engine.expressions.parser import parse
from workflows.engine.expressions.result import JsonValue, to_json

__all__ = ["EXPRESSION_CONTRACT_VERSION", "Expression", "ExpressionError", "JsonValue", "Meter", "compile_expression"]

# Part of the engine's semantics version: raised with every change after which some source has another value or verdict.
EXPRESSION_CONTRACT_VERSION = 1


class Meter:
    """Evaluation steps taken, over any number of evaluations."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0


class Expression:
    """A compiled expression. It holds no state of an evaluation, so any number of threads may evaluate it at once."""

    __slots__ = ("_code", "source")

    def __init__(self, source: str, code: Code) -> None:
        self.source = source
        self._code = code

    def evaluate(self, scope: Mapping[str, Any], *, now_ms: int, meter: Meter | None = None) -> JsonValue:
        """The value of the expression over a scope of JSON values. `meter` is told of the steps that it took.

        Units: `now_ms` is epoch milliseconds, the workflow's own time.
        Errors: ExpressionError EXPRESSION_RUNTIME, EXPRESSION_NOT_JSON, EXPRESSION_TOO_LARGE, EXPRESSION_BUDGET; the
        author must act.
        """
        root = scope if isinstance(scope, dict) else dict(scope)

        budget = Budget(now_ms)

        def work() -> JsonValue:
            budget.spend(self._code.weight)
            return to_json(self._code.run(root, Frame(GLOBAL_FRAME, {"$": root}), budget), budget)

        try:
            return with_headroom(work)
        finally:
            if meter is not None:
                meter.steps += limits.MAX_STEPS - budget.steps

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


def compile_expression(source: str) -> Expression:
    """The compiled form of a source. Cost: a dictionary read where it was compiled lately.

    Errors: ExpressionError with a code, the position in `source` and, for a near miss, a suggestion; the author must act.
    """
    cached = _cache.get(source)
    if cached is not None:
        return cached
    if len(source) > limits.MAX_SOURCE_LENGTH:
        raise ExpressionError(TOO_LARGE, f"The expression is longer than {limits.MAX_SOURCE_LENGTH} characters", 0)
    expression = with_headroom(lambda: _compiled(source))
    _cache.put(source, expression)
    return expression


def _compiled(source: str) -> Expression:
    tree = parse(source)
    rebound = check(tree)
    return Expression(source, Compiler(rebound).code(tree))


class _Cache:
    """Compiled expressions by source, the least recently used dropped first. Units: characters of source."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[str, Expression] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: str) -> Expression | None:
        with self._lock:
            expression = self._entries.get(source)
            if expression is not None:
                self._entries.move_to_end(source)
            return expression

    def put(self, source: str, expression: Expression) -> None:
        with self._lock:
            if source not in self._entries:
                self._entries[source] = expression
                self._room -= _cost(source)
            while self._room < 0:
                dropped, _ = self._entries.popitem(last=False)
                self._room += _cost(dropped)


def _cost(source: str) -> int:
    return len(source) + limits.CACHE_ENTRY_COST


_cache = _Cache(limits.CACHE_ROOM)

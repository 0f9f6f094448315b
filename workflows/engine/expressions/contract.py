"""The expression contract: compile a source once, and evaluate it over any scope.

Validation, simulation, trigger mappings and runs all use this code. The same source, scope and time give the same value
or the same error code on every machine and on every replay. The result does not depend on a clock, randomness, hash
order or stack depth. An evaluation never changes its scope, and its result shares no value with the scope.

Theory of operation:

- `tokens` reads the author's source and applies both rewrites.
- `parser` builds the library's tree.
- `allowlist` refuses functions that are not allowed.
- `compiler` turns the tree into closures.
- `budget` limits the work of the closures.
- `result` copies the value that the closures return, as JSON.

`deviations` lists the differences between the library and the reference implementation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from workflows.engine.expressions import limits
from workflows.engine.expressions.allowlist import check, is_constant
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.calls import GLOBAL_FRAME
from workflows.engine.expressions.code import Code, Frame
from workflows.engine.expressions.compiler import Compiler
from workflows.engine.expressions.errors import TOO_LARGE, ExpressionError
from workflows.engine.expressions.headroom import with_headroom
from workflows.engine.expressions.parser import parse
from workflows.engine.expressions.result import JsonValue, to_json

__all__ = [
    "EXPRESSION_CONTRACT_VERSION",
    "Expression",
    "ExpressionError",
    "JsonValue",
    "Meter",
    "compile_expression",
    "constant_values",
]

# Contract version. It is part of the engine's semantics version. Increase it with every change that gives any source
# another value or error code. A run keeps the contract version of its semantics version, so every older version stays
# available:
#
# 1. Every number is a JavaScript double.
# 2. Whole numbers keep all their digits, as long as they are only passed on, compared or converted to text.
EXPRESSION_CONTRACT_VERSION = 2


class Meter:
    """Counter of evaluation steps. Several evaluations can share one counter."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0


class Expression:
    """Compiled expression.

    Any number of threads may evaluate it at once, because it stores nothing about an evaluation.
    """

    __slots__ = ("_code", "_exact", "source")

    def __init__(self, source: str, code: Code, *, exact: bool) -> None:
        self.source = source
        self._code = code
        self._exact = exact

    def evaluate(self, scope: Mapping[str, Any], *, now_ms: int, meter: Meter | None = None) -> JsonValue:
        """Return the value of the expression over a scope of JSON values. Add the used steps to `meter`.

        Units: `now_ms` is epoch milliseconds, the workflow's own time.
        Errors: ExpressionError EXPRESSION_RUNTIME, EXPRESSION_NOT_JSON, EXPRESSION_TOO_LARGE, EXPRESSION_BUDGET; the
        author must act.
        """
        root = scope if isinstance(scope, dict) else dict(scope)

        budget = Budget(now_ms, self._exact)

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


def compile_expression(source: str, version: int = EXPRESSION_CONTRACT_VERSION) -> Expression:
    """Compile a source, or return the compiled expression from the cache.

    `version` is the contract version of the caller's run (`machine.CONTRACT_OF_SEMANTICS`).
    Errors: ExpressionError with a code and the position in `source`; the author must act. For a misspelt name, the
    error also has a suggestion.
    """
    # Most runs have the current version. For this version, the key of the cache is only the source.
    key: _Key = source if version == EXPRESSION_CONTRACT_VERSION else (source, version)
    cached = _cache.get(key)
    if cached is not None:
        return cached
    if len(source) > limits.MAX_SOURCE_LENGTH:
        raise ExpressionError(TOO_LARGE, f"The expression has more than {limits.MAX_SOURCE_LENGTH} characters", 0)
    expression = with_headroom(lambda: _compiled(source, version))
    _cache.put(key, expression)
    return expression


def constant_values(source: str) -> list[JsonValue]:
    """Return the value of an expression that is made only of literals and operators. Otherwise return an empty list.

    The value of such an expression is the same in every run. A source that does not compile has no value.
    """
    try:
        expression = compile_expression(source)
        if not with_headroom(lambda: is_constant(parse(source, exact=True))):
            return []
        return [expression.evaluate({}, now_ms=0)]
    except ExpressionError:
        return []


def _compiled(source: str, version: int = EXPRESSION_CONTRACT_VERSION) -> Expression:
    exact = version >= 2
    tree = parse(source, exact=exact)
    rebound = check(tree)
    return Expression(source, Compiler(rebound).code(tree), exact=exact)


_Key = str | tuple[str, int]


class _Cache:
    """Cache of compiled expressions by source and contract version.

    If the cache is full, it drops the least recently used expression. The size is the number of characters of all
    sources.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[_Key, Expression] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> Expression | None:
        with self._lock:
            expression = self._entries.get(key)
            if expression is not None:
                self._entries.move_to_end(key)
            return expression

    def put(self, key: _Key, expression: Expression) -> None:
        with self._lock:
            if key not in self._entries:
                self._entries[key] = expression
                self._room -= _cost(expression.source)
            while self._room < 0:
                _, dropped = self._entries.popitem(last=False)
                self._room += _cost(dropped.source)


def _cost(source: str) -> int:
    return len(source) + limits.CACHE_ENTRY_COST


_cache = _Cache(limits.CACHE_ROOM)

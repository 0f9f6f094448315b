"""Evaluation of values that contain expressions (docs/reference/language.md#expressions-literals-secrets)."""

from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.expressions.contract import (
    EXPRESSION_CONTRACT_VERSION,
    ExpressionError,
    Meter,
    compile_expression,
)
from workflows.engine.storable import storable_problem

EXPRESSION_KEY = "$expr"


def is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(EXPRESSION_KEY), str)


# Limit of evaluation steps for all expressions of one step together. One workflow task has enough time for this number.
MAX_STEPS_PER_STEP = 600_000
STEPS_PER_CHARACTER = 20


def evaluate(
    expression: dict[str, Any],
    view: dict[str, Any],
    *,
    now_ms: int,
    where: str = "",
    meter: Meter | None = None,
    contract: int = EXPRESSION_CONTRACT_VERSION,
) -> Any:
    """Return the JSON value of `{"$expr": source}`.

    Errors: RunError ExpressionError; the author must act. Its details contain the path inside the mapping, the source
    and the position.
    """
    source = expression[EXPRESSION_KEY]
    if meter is not None:
        # The steps count even if the compiled expression comes from the cache, because a replay must count the same
        # number.
        meter.steps += STEPS_PER_CHARACTER * len(source)
    try:
        value = compile_expression(source, contract).evaluate(view, now_ms=now_ms, meter=meter)
    except ExpressionError as error:
        details: dict[str, Any] = {"source": source}
        if where:
            details["path"] = where
        if error.position is not None:
            details["position"] = error.position
        raise RunError(
            Category.EXPRESSION, f"{where + ': ' if where else ''}{error.message}", code=error.code, details=details
        ) from error
    unstorable = storable_problem(value)
    if unstorable is not None:
        raise RunError(
            Category.EXPRESSION,
            f"{where + ': ' if where else ''}The value of the expression {unstorable[1]}. Change the expression.",
            code="VALUE_NOT_STORABLE",
            details={"source": source, "path": f"{where}{unstorable[0]}"},
        )
    return value


def resolve(
    value: Any,
    view: dict[str, Any],
    *,
    now_ms: int,
    where: str = "",
    meter: Meter | None = None,
    contract: int = EXPRESSION_CONTRACT_VERSION,
) -> Any:
    """Return a copy of `value` in which every expression is replaced by its value.

    Literals are copied, so that two runs never share a value. `meter` belongs to a whole step: all expressions of the
    step together may take `MAX_STEPS_PER_STEP` evaluation steps. `contract` is the expression contract version of the
    run.
    Errors: RunError ExpressionError; the author must act.
    """
    return _Resolver(view, now_ms, meter or Meter(), contract).resolve(value, where)


class _Resolver:
    def __init__(self, view: dict[str, Any], now_ms: int, meter: Meter, contract: int) -> None:
        self._view, self._now_ms, self._meter, self._contract = view, now_ms, meter, contract

    def resolve(self, value: Any, where: str) -> Any:
        if is_expression(value):
            if self._meter.steps > MAX_STEPS_PER_STEP:
                raise RunError(
                    Category.EXPRESSION,
                    f"{where}: The expressions of this step together need more than {MAX_STEPS_PER_STEP} evaluation "
                    "steps. Divide the work between several steps.",
                    code="EXPRESSION_BUDGET",
                )
            return evaluate(
                value, self._view, now_ms=self._now_ms, where=where, meter=self._meter, contract=self._contract
            )
        if isinstance(value, dict):
            return {key: self.resolve(item, _join(where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return value


def expand_dotted(mapping: dict[str, Any]) -> dict[str, Any]:
    """Expand dotted keys of a trigger mapping: `{"ticket.id": 1}` gives `{"ticket": {"id": 1}}`.

    Errors: RunError ValidationError if the path of a key leads through the value of another key; the author must act.
    """
    expanded: dict[str, Any] = {}
    for key, value in mapping.items():
        node = expanded
        *way, last = key.split(".")
        for part in way:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise RunError(
                    Category.VALIDATION,
                    f"The key {key!r} of the trigger mapping leads through the value of another key, which is not an "
                    "object. Rename one of the keys.",
                )
        node[last] = value
    return expanded


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key

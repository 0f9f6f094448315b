"""Values with expressions in them, made plain (docs/reference/language.md#expressions-literals-secrets)."""

from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.expressions.contract import ExpressionError, Meter, compile_expression
from workflows.engine.storable import storable_problem

EXPRESSION_KEY = "$expr"


def is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(EXPRESSION_KEY), str)


# Evaluation steps that all expressions of one step may take together: what one workflow task certainly has time for.
MAX_STEPS_PER_STEP = 600_000
STEPS_PER_CHARACTER = 20


def evaluate(
    expression: dict[str, Any], view: dict[str, Any], *, now_ms: int, where: str = "", meter: Meter | None = None
) -> Any:
    """The JSON value of `{"$expr": source}`.

    Errors: RunError ExpressionError; its details name the place inside the mapping, the source and the position.
    """
    source = expression[EXPRESSION_KEY]
    if meter is not None:
        # Whether it is compiled already or not: a replay must count the same.
        meter.steps += STEPS_PER_CHARACTER * len(source)
    try:
        value = compile_expression(source).evaluate(view, now_ms=now_ms, meter=meter)
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
            f"{where + ': ' if where else ''}the value {unstorable[1]}",
            code="VALUE_NOT_STORABLE",
            details={"source": source, "path": f"{where}{unstorable[0]}"},
        )
    return value


def resolve(value: Any, view: dict[str, Any], *, now_ms: int, where: str = "", meter: Meter | None = None) -> Any:
    """`value` with every expression in it replaced; literals are copied, so that a run never shares them with another.

    `meter` is that of a whole step: its expressions together may take `MAX_STEPS_PER_STEP` evaluation steps.
    Errors: RunError ExpressionError.
    """
    return _Resolver(view, now_ms, meter or Meter()).resolve(value, where)


class _Resolver:
    def __init__(self, view: dict[str, Any], now_ms: int, meter: Meter) -> None:
        self._view, self._now_ms, self._meter = view, now_ms, meter

    def resolve(self, value: Any, where: str) -> Any:
        if is_expression(value):
            if self._meter.steps > MAX_STEPS_PER_STEP:
                raise RunError(
                    Category.EXPRESSION,
                    f"{where}: the expressions of this step together need more than {MAX_STEPS_PER_STEP} steps",
                    code="EXPRESSION_BUDGET",
                )
            return evaluate(value, self._view, now_ms=self._now_ms, where=where, meter=self._meter)
        if isinstance(value, dict):
            return {key: self.resolve(item, _join(where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return value


def expand_dotted(mapping: dict[str, Any]) -> dict[str, Any]:
    """`{"ticket.id": 1}` as `{"ticket": {"id": 1}}` (trigger mappings).

    Errors: RunError ValidationError when one key leads through the value of another.
    """
    expanded: dict[str, Any] = {}
    for key, value in mapping.items():
        node = expanded
        *way, last = key.split(".")
        for part in way:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise RunError(Category.VALIDATION, f"the key {key!r} leads through a value that is no object")
        node[last] = value
    return expanded


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key

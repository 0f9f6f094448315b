"""Values with expressions in them, made plain (LANGUAGE 2)."""

from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.storable import storable_problem

EXPRESSION_KEY = "$expr"


def is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(EXPRESSION_KEY), str)


def evaluate(expression: dict[str, Any], view: dict[str, Any], *, now_ms: int, where: str = "") -> Any:
    """The JSON value of `{"$expr": source}`.

    Errors: RunError ExpressionError; its details name the place inside the mapping, the source and the position.
    """
    source = expression[EXPRESSION_KEY]
    try:
        value = compile_expression(source).evaluate(view, now_ms=now_ms)
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


def resolve(value: Any, view: dict[str, Any], *, now_ms: int, where: str = "") -> Any:
    """`value` with every expression in it replaced; literals are copied, so that a run never shares them with another."""
    if is_expression(value):
        return evaluate(value, view, now_ms=now_ms, where=where)
    if isinstance(value, dict):
        return {key: resolve(item, view, now_ms=now_ms, where=_join(where, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, view, now_ms=now_ms, where=f"{where}[{index}]") for index, item in enumerate(value)]
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

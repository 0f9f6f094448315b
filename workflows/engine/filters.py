"""Filters of an event wait (docs/reference/language.md#filters).

Only the workflow evaluates filters. Routing does not evaluate them: it signals every candidate wait.
"""

from collections.abc import Callable
from typing import Any

from workflows.engine.records import FilterMismatch
from workflows.engine.sizes import json_size, list_index

MISSING = object()

OPERATORS = (
    "=", "!=", "in", "not_in", "exists", "not_exists", ">", ">=", "<", "<=", "contains", "starts_with", "ends_with",
)  # fmt: skip
WITHOUT_VALUE = frozenset({"exists", "not_exists"})
# If the value of a filter is larger, the mismatch is recorded without this value. The wait's row contains the value.
MAX_RECORDED_VALUE_BYTES = 500


def value_at(payload: Any, path: str) -> Any:
    """Return the value under a dotted path, or `MISSING`. Whole numbers in the path are array indexes."""
    node = payload
    for part in path.split("."):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and (index := list_index(part)) is not None and index < len(node):
            node = node[index]
        else:
            return MISSING
    return node


def first_mismatch(filters: list[dict[str, Any]], payload: Any) -> FilterMismatch | None:
    """Return the first filter that does not match, or None if all filters match.

    The result contains no value of the payload. `EventRedaction.reason` makes the sentence that people read.
    """
    for condition in filters:
        path, operator, wanted = condition["path"], condition["op"], condition.get("value")
        if not _holds(operator, value_at(payload, path), wanted):
            mismatch = FilterMismatch(code="FILTER_MISMATCH", path=path, op=operator)
            if operator not in WITHOUT_VALUE and json_size(wanted) <= MAX_RECORDED_VALUE_BYTES:
                mismatch["value"] = wanted
            return mismatch
    return None


def same_json(left: Any, right: Any) -> bool:
    """Return True if two JSON values are deeply equal. 1 equals 1.0, but 1 does not equal true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


def _holds(operator: str, found: Any, wanted: Any) -> bool:
    if operator == "not_exists":
        return found is MISSING
    if found is MISSING:
        return False
    return _CHECKS[operator](found, wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(found: Any, wanted: Any) -> bool:
        both_numbers = _is_number(found) and _is_number(wanted)
        both_strings = isinstance(found, str) and isinstance(wanted, str)
        return (both_numbers or both_strings) and compare(found, wanted)

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(same_json(item, wanted) for item in found)


def _in(found: Any, wanted: Any) -> bool:
    return isinstance(wanted, list) and any(same_json(found, item) for item in wanted)


_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "=": same_json,
    "!=": lambda found, wanted: not same_json(found, wanted),
    "in": _in,
    "not_in": lambda found, wanted: isinstance(wanted, list) and not _in(found, wanted),
    "exists": lambda _found, _wanted: True,
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    "contains": _contains,
    "starts_with": lambda found, wanted: (
        isinstance(found, str) and isinstance(wanted, str) and found.startswith(wanted)
    ),
    "ends_with": lambda found, wanted: isinstance(found, str) and isinstance(wanted, str) and found.endswith(wanted),
}

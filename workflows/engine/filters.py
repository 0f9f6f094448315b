"""Filters of an event wait (docs/reference/language.md#filters). Only the workflow asks these; routing signals every candidate."""

from collections.abc import Callable
from typing import Any

from workflows.engine.sizes import list_index

MISSING = object()

OPERATORS = (
    "=", "!=", "in", "not_in", "exists", "not_exists", ">", ">=", "<", "<=", "contains", "starts_with", "ends_with",
)  # fmt: skip
WITHOUT_VALUE = frozenset({"exists", "not_exists"})


def value_at(payload: Any, path: str) -> Any:
    """The value under a dotted path (whole numbers index arrays), or `MISSING`."""
    node = payload
    for part in path.split("."):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and (index := list_index(part)) is not None and index < len(node):
            node = node[index]
        else:
            return MISSING
    return node


def first_mismatch(filters: list[dict[str, Any]], payload: Any) -> str | None:
    """None when every filter holds, else a sentence about the first that does not."""
    for condition in filters:
        found = value_at(payload, condition["path"])
        if not _holds(condition["op"], found, condition.get("value")):
            shown = "missing" if found is MISSING else repr(found)
            wanted = f" {condition['value']!r}" if condition["op"] not in WITHOUT_VALUE else ""
            return f"filter {condition['path']} {condition['op']}{wanted} does not hold: the value is {shown[:200]}"
    return None


def same_json(left: Any, right: Any) -> bool:
    """Deep equality of JSON values: 1 and 1.0 are one number, true is not 1."""
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

"""The five functions that an expression may call.

Rule: as in the JavaScript functions that authors know, missing arguments are undefined and surplus arguments are
ignored. Every function is pure. The current time is `now_ms` of the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.js_text import utf16_length
from workflows.engine.expressions.stringify import string_form
from workflows.engine.expressions.values import UNDEFINED, FunctionValue

# Arguments: the evaluated arguments of the call, the position of the call, the budget.
Function = Callable[[list[Any], int, Budget], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_iso(_arguments: list[Any], position: int, budget: Budget) -> Any:
    """Return the workflow's time as `YYYY-MM-DDTHH:mm:ss.sssZ`."""
    try:
        moment = _EPOCH + timedelta(milliseconds=budget.now_ms)
    except OverflowError:
        raise errors.ExpressionError(
            errors.RUNTIME, "The workflow's time is outside the years 1 to 9999", position
        ) from None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def coalesce(arguments: list[Any], _position: int, _budget: Budget) -> Any:
    """Return the first argument that is neither undefined nor null, or null if there is none."""
    for argument in arguments:
        if argument is not UNDEFINED and argument is not None:
            return argument
    return None


def length(arguments: list[Any], _position: int, budget: Budget) -> Any:
    """Return the number of UTF-16 units of a string, or of items of an array. Return 0 for any other value."""
    value = arguments[0] if arguments else UNDEFINED
    if type(value) is str:
        budget.spend_text(value)
        return utf16_length(value)
    return len(value) if isinstance(value, list) else 0


def to_string(arguments: list[Any], position: int, budget: Budget) -> Any:
    """Return JavaScript's String of a value, and the empty string for undefined and null."""
    value = arguments[0] if arguments else UNDEFINED
    if value is UNDEFINED or value is None:
        return ""
    return string_form(value, position, budget)


def append(arguments: list[Any], _position: int, budget: Budget) -> Any:
    """Return a new array: the items of the first argument, then the items of the second.

    A value that is not an array counts as one item. If the first argument is undefined or null, it counts as an empty
    list. If the second argument is undefined, the new array has an item that cannot be written as JSON.
    """
    first, second = (*arguments, UNDEFINED, UNDEFINED)[:2]
    items: list[Any] = []
    if first is not UNDEFINED and first is not None:
        _extend(items, first, budget)
    _extend(items, second, budget)
    return items


def _extend(items: list[Any], value: Any, budget: Budget) -> None:
    if isinstance(value, list):
        budget.produce(ARRAY_ITEM * len(value))
        items.extend(value)
    else:
        budget.produce(ARRAY_ITEM)
        items.append(value)


FUNCTIONS: dict[str, Function] = {
    "nowIso": now_iso,
    "coalesce": coalesce,
    "len": length,
    "toString": to_string,
    "append": append,
}
ALLOWED_NAMES = frozenset(FUNCTIONS)

# JSONata's own functions. An expression can use them as values (`$sum = $sum` is true), but the allowlist refuses every
# call.
_LIBRARY = (
    "sum count max min average string substring substringBefore substringAfter lowercase uppercase length "
    "trim pad match contains replace split join formatNumber formatBase formatInteger parseInteger number "
    "floor ceil round abs sqrt power random boolean not map zip filter single reduce sift keys lookup "
    "append exists spread merge reverse each error assert type sort shuffle distinct base64encode "
    "base64decode encodeUrlComponent encodeUrl decodeUrlComponent decodeUrl eval toMillis fromMillis "
    "clone now millis "
)
LIBRARY_NAMES = frozenset(_LIBRARY.split())

GLOBALS: dict[str, FunctionValue] = {name: FunctionValue(name) for name in LIBRARY_NAMES - ALLOWED_NAMES}
GLOBALS.update({name: FunctionValue(name, call) for name, call in FUNCTIONS.items()})

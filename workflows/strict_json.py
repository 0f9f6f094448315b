"""Strict JSON parser. It accepts only what JSON defines, and only values that the portal can store exactly.

These are refused:

- `NaN` and `Infinity`
- a key that occurs twice in an object
- a number outside the range of a double
- a whole number with more than 1,000 digits

Decimals keep the digits that were sent (`workflows.json_numbers`).
"""

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

from workflows.engine.expressions.js_text import MAX_WHOLE_DIGITS
from workflows.engine.json_text import decimal_of
from workflows.engine.storable import RepeatedKey, storable_problem

MAX_DEPTH = 100_000


class JsonRefused(ValueError):
    """The text is JSON, but it contains a value that the portal cannot store. `pointer` is the place of this value."""

    def __init__(self, pointer: str, problem: str) -> None:
        super().__init__(f"the value at {pointer or '/'} {problem}")
        self.pointer = pointer
        self.problem = problem


class _NotKept(Exception):
    """A value cannot be stored. The text is then read a second time, to find the place of the value."""


def read_json(text: str) -> Any:
    """Parse a JSON text.

    Errors, all of which the sender must correct:

    - ValueError: the text is not JSON.
    - JsonRefused: a value cannot be stored. The error has the pointer to the value.
    - RecursionError: the JSON is nested too deeply.
    """
    try:
        return _STRICT.decode(text)
    except _NotKept:
        problem = storable_problem(read_marked_json(text), max_depth=MAX_DEPTH)
    if problem is None:
        raise RuntimeError("a JSON text was refused, but its second reading found no problem")
    raise JsonRefused(*problem)


def read_marked_json(text: str, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse a JSON text without a refusal of values that cannot be stored.

    The caller checks the result later with `storable_problem`, which finds these values.
    `object_hook` replaces each object, as in `json.loads`.
    Errors: ValueError for a text that is not JSON; RecursionError for JSON that is nested too deeply.
    """
    if object_hook is None:
        return _MARKING.decode(text)

    def hooked(pairs: list[tuple[str, Any]]) -> Any:
        return object_hook(_marked_object(pairs))

    return json.JSONDecoder(
        parse_constant=_refuse_constant, parse_float=decimal_of, parse_int=_beginning, object_pairs_hook=hooked
    ).decode(text)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _decimal(text: str) -> float:
    number = decimal_of(text)
    if not math.isfinite(number):
        raise _NotKept
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_WHOLE_DIGITS and len(text.lstrip("-")) > MAX_WHOLE_DIGITS:
        raise _NotKept
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotKept
    return found


def _beginning(text: str) -> int:
    # A longer number is refused in any case. Python itself refuses to read more than 4,300 digits.
    return int(text[: MAX_WHOLE_DIGITS + 2])


def _marked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKey(pairs)


_STRICT = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_decimal, parse_int=_whole, object_pairs_hook=_object
)
_MARKING = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=decimal_of, parse_int=_beginning, object_pairs_hook=_marked_object
)

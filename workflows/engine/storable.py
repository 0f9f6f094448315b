"""Check for values that PostgreSQL's JSON or the workflow language cannot store.

Source: docs/reference/language.md#storage-of-definitions, docs/reference/language.md#numbers
"""

import math
from typing import Any

from workflows.engine.expressions.js_text import MAX_WHOLE_DIGITS

MAX_DEPTH = 64
# A definition may nest deeper than a payload, because steps contain steps.
MAX_DEFINITION_DEPTH = 250
MAX_POINTER_LENGTH = 1_000
_FIRST_TOO_LONG = 10**MAX_WHOLE_DIGITS
# Way to a value: the way to the value around it, and its key or index there. Such a linked list is cheap to extend.
_Way = tuple[Any, str | int] | None


class RepeatedKey(dict[str, Any]):
    """Object of a JSON text in which a key occurs twice. The object is never stored. `key` is the repeated key."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.key = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def storable_problem(value: Any, *, max_depth: int = MAX_DEPTH) -> tuple[str, str] | None:
    """Return the first value that cannot be stored: its pointer and a description. Return None if all can be stored.

    The caller writes the name of the value before the description, so that both are one sentence.
    """
    found = unstorable_place(value, max_depth=max_depth)
    return None if found is None else ("".join(f"/{part}" for part in found[0])[:MAX_POINTER_LENGTH], found[1])


def unstorable_place(value: Any, *, max_depth: int = MAX_DEPTH) -> tuple[tuple[str | int, ...], str] | None:
    """Return the first value that cannot be stored: the keys and indexes that lead to it, and a description.

    These values cannot be stored:

    - U+0000, and half of a surrogate pair
    - nesting deeper than `max_depth`
    - a number outside the range of a double, and a whole number with more than 1,000 digits
    - an object in which a key occurs twice
    """
    waiting: list[tuple[_Way, Any, int]] = [(None, value, 0)]
    while waiting:
        way, item, depth = waiting.pop()
        if isinstance(item, str):
            problem = _text_problem(item)
            if problem:
                return _keys(way), problem
        elif isinstance(item, int | float):
            problem = _number_problem(item)
            if problem:
                return _keys(way), problem
        elif isinstance(item, dict | list):
            if depth >= max_depth:
                return _keys(way), f"nests deeper than {max_depth} levels"
            if isinstance(item, RepeatedKey):
                return _keys(way), f"has the key {item.key[:100]!r} twice"
            entries = item.items() if isinstance(item, dict) else enumerate(item)
            for key, inner in entries:
                problem = _text_problem(key) if isinstance(key, str) else None
                if problem:
                    return _keys(way), f"has a key that {problem}"
                waiting.append(((way, key), inner, depth + 1))
    return None


def _keys(way: _Way) -> tuple[str | int, ...]:
    keys: list[str | int] = []
    while way is not None:
        way, key = way
        keys.append(key)
    return tuple(keys[::-1])


def _number_problem(number: int | float) -> str | None:
    if isinstance(number, float):
        return None if math.isfinite(number) else "is outside the range of a double. Send the number as text"
    if -_FIRST_TOO_LONG < number < _FIRST_TOO_LONG:
        return None
    return f"has more than {MAX_WHOLE_DIGITS:,} digits. Send the number as text"


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "contains the character U+0000, which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which cannot be stored"
    return None

"""Decimals that keep the sender's digits, and indented JSON with these digits.

Source: docs/reference/language.md#numbers
"""

import json
from collections.abc import Iterator
from typing import Any


class SentDecimal(float):
    """Double with the text that the sender wrote. It is used only if Python would write another text."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "SentDecimal":
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.text,)


def decimal_of(text: str) -> float:
    """Return the double of a JSON number. If Python would write another text, the double keeps the sender's text."""
    number = float(text)
    return number if repr(number) == text else SentDecimal(text)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def indented_json(value: Any) -> str:
    """Return JSON with 2-space indent, as `json.dumps` writes it. Each `SentDecimal` keeps the sender's digits."""
    return "".join(_parts(value, "\n"))


def _parts(value: Any, line: str) -> Iterator[str]:
    """Yield the parts of the text. `line` is the line break with the indent of the current level."""
    inner = f"{line}  "
    if isinstance(value, dict) and value:
        for place, (key, item) in enumerate(value.items()):
            yield f"{',' if place else '{'}{inner}{_encode(key)}: "
            yield from _parts(item, inner)
        yield f"{line}}}"
    elif isinstance(value, list | tuple) and value:
        for place, item in enumerate(value):
            yield f"{',' if place else '['}{inner}"
            yield from _parts(item, inner)
        yield f"{line}]"
    elif type(value) is SentDecimal:
        yield value.text
    else:
        yield _encode(value)

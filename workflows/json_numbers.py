"""Numbers of JSON texts that keep the digits of their sender (docs/reference/language.md#numbers).

Python's parser keeps whole numbers exactly. It reads `1.10` and `0.12345678901234567890` as doubles, and would later
write them with other digits. `SentDecimal` keeps the sender's text together with the double. The columns of
`OrderedJSONField`, the API and the pages write this text. Expressions, filters and Temporal use the double.
"""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from workflows.engine.json_text import SentDecimal, decimal_of

# A random mark, so that no text from a sender can contain it.
_MARK = secrets.token_hex(16)
# A whole number with more digits has another form in `canonical_json`.
_LONG_DIGITS = 21
_FIRST_LONG = 10**_LONG_DIGITS
_MARKED = re.compile(f'"{_MARK}([-+.0-9eE]+)"')


_DECODER = json.JSONDecoder(parse_float=decimal_of)


def read_stored_json(text: str | bytes) -> Any:
    """Parse a stored JSON text. Decimals keep the digits of the text."""
    return _DECODER.decode(text if isinstance(text, str) else text.decode())


def write_json(value: Any, **options: Any) -> str:
    """Write JSON as `json.dumps` does, but write each decimal with the digits that the sender wrote."""
    if not has_sent_decimals(value):
        return json.dumps(value, **options)
    return unmarked(json.dumps(marked(value), **options))


def has_sent_decimals(value: Any) -> bool:
    return _holds(lambda item: type(item) is SentDecimal, value)


def _holds(is_one: Callable[[Any], bool], value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif is_one(item):
            return True
    return False


def marked(value: Any) -> Any:
    """Return a copy in which each `SentDecimal` is replaced by a marked text that `unmarked` recognises."""
    if type(value) is SentDecimal:
        return _MARK + value.text
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [marked(item) for item in value]
    return value


def unmarked(text: str) -> str:
    """Return a JSON text in which the marked texts are replaced by their numbers."""
    return _MARKED.sub(r"\1", text)


def as_doubles(value: Any) -> Any:
    """Return a copy with plain doubles, which expressions use."""
    return _plain(value) if has_sent_decimals(value) else value


def _plain(value: Any) -> Any:
    if type(value) is SentDecimal:
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def canonical_json(value: Any, **options: Any) -> str:
    """Return a text that is the same for equal JSON values.

    The order of keys does not matter. Numbers are compared by value, so 10, 10.0 and 1e1 are equal. Decimals are
    compared by the digits that were sent, not by their doubles.
    """
    return json.dumps(_by_value(value) if _holds(_needs_form, value) else value, sort_keys=True, **options)


def _needs_form(item: Any) -> bool:
    return isinstance(item, float) or (isinstance(item, int) and not -_FIRST_LONG < item < _FIRST_LONG)


def _by_value(value: Any) -> Any:
    if _needs_form(value):
        return _number_by_value(value.text if type(value) is SentDecimal else repr(value))
    if isinstance(value, dict):
        return {key: _by_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_value(item) for item in value]
    return value


def _number_by_value(text: str) -> Any:
    """Return the number if it is whole and short. Otherwise return an object that no sender can send.

    No sender can send this object, because a key of it contains U+0000. Without this form, the short `1e308` would
    become a long text.
    """
    mantissa, _, exponent = text.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    power = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    if power >= 0 and len(significant) + power <= _LONG_DIGITS:
        return int(f"{sign}{significant}{'0' * power}")
    return {"\x00": f"{sign}{significant}e{power}"}

"""Correlation keys: the trimmed JavaScript string form of a value (docs/reference/language.md#correlation-keys)."""

import sys
from typing import Any

from workflows.engine.expressions.js_text import number_text

# Limit for the length of a key. A key of this length still fits into an index entry together with tenant and event
# name. Units: bytes of UTF-8.
MAX_KEY_BYTES = 1000

# The characters that JavaScript's `trim` removes. Python's `strip` differs in six characters.
_JS_WHITESPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)


_LARGEST = sys.float_info.max


def correlation_key(value: Any, *, is_exact: bool = True) -> str | None:
    """Return the correlation key of a value, or None if the value gives no key.

    The key of a whole number has all its digits. If `is_exact` is False (expression contract 1), it has the digits of
    the double.
    These values give no key: null, an empty text, an object, an array, another number beyond JavaScript's range, and a
    text over `MAX_KEY_BYTES`.
    """
    if isinstance(value, str):
        text = value
    elif value is None or isinstance(value, dict | list):
        return None
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif not (is_exact and isinstance(value, int)) and not -_LARGEST <= value <= _LARGEST:
        return None  # JavaScript cannot represent this number
    else:
        text = number_text(value, is_exact)
    text = text.strip(_JS_WHITESPACE)
    return text if text and len(text.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES else None

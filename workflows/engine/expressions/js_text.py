"""Text of numbers, and length and order of strings, by the rules of JavaScript.

Rule: pure functions of one value. Source: ECMA-262 Number::toString, String.prototype.length, JSON.stringify.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from json.encoder import encode_basestring
from typing import Any

MAX_SAFE_INTEGER = 2**53
# Every whole number with this many digits can be represented exactly as a double.
SAFE_DIGITS = 15
# A whole number with more digits is refused on input (docs/reference/language.md#numbers).
MAX_WHOLE_DIGITS = 1000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_FIFTEEN_DIGITS = Context(prec=15, rounding=ROUND_HALF_UP)


def to_double(value: int | float) -> float:
    """Return the IEEE double of a number.

    A whole number beyond the range of doubles becomes infinite, as in JavaScript.
    """
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def number_text(value: int | float, exact: bool = True) -> str:
    """Return the JavaScript string of a number. If `exact` is True, a whole number keeps all its digits."""
    if type(value) is int and (exact or -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER):
        return str(value)
    double = to_double(value)
    if double != double:
        return "NaN"
    if double in (float("inf"), float("-inf")):
        return "Infinity" if double > 0 else "-Infinity"
    if double.is_integer() and -1e15 < double < 1e15:
        return str(int(double))
    sign = "-" if double < 0 else ""
    return sign + _shortest_digits(repr(abs(double)))


def _shortest_digits(text: str) -> str:
    """Rewrite Python's shortest round-trip form of a number by ECMA-262's rules for the exponent."""
    mantissa, _, exponent = text.partition("e")
    if not exponent and not text.endswith(".0"):
        return text
    if exponent and not -7 < int(exponent) < 21:
        return f"{mantissa}e{int(exponent):+d}"
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).rstrip("0")
    point = len(whole) + int(exponent or 0)
    if point <= 0:
        return "0." + "0" * -point + digits
    return digits + "0" * (point - len(digits))


def fraction_length(double: float) -> int:
    """Return the length of `number_text` for a number that is not whole.

    Units: characters.
    """
    text = repr(double)
    at = text.find("e")
    if at < 0:
        return len(text)
    power = -int(text[at + 1 :])
    if power < 7:
        return len(number_text(double))
    # Python writes the exponent with at least two digits. JavaScript writes one digit if one is enough.
    return len(text) - (1 if power < 10 else 0)


def fifteen_digit_text(value: int | float, exact: bool = True) -> str:
    """Return the string of a number in a concatenation. A number that is not whole is first rounded to 15 digits."""
    if type(value) is int:
        return number_text(value, exact)
    double = float(value)
    if double.is_integer():
        return number_text(double)
    text = repr(double)
    if len(text) <= 16:
        return number_text(double)
    # JavaScript rounds an exact half up, but printf rounds it to even. If the number is an exact half, its last digit
    # is 5.
    if text.partition("e")[0][-1] == "5":
        return number_text(float(_FIFTEEN_DIGITS.create_decimal(Decimal(double))))
    return number_text(float(f"{double:.15g}"))


def utf16_length(text: str) -> int:
    """Return the length of a string.

    Units: UTF-16 code units.
    Cost: linear for text outside ASCII.
    """
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf16_key(text: str) -> Any:
    """Return a sort key that orders strings by UTF-16 code units."""
    return text.encode("utf-16-be", "surrogatepass")


def text_less(left: str, right: str) -> bool:
    """Return True if `left < right` in JavaScript. A character outside the BMP is compared by its surrogates."""
    if left.isascii() or right.isascii():
        return left < right
    return bool(utf16_key(left) < utf16_key(right))


def join_surrogates(text: str) -> str:
    """Return the same text with every surrogate pair joined to one character."""
    if text.isascii():
        return text
    return _SURROGATE_PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def concatenated(left: str, right: str) -> str:
    """Return `left + right`. If a surrogate pair is split between the two texts, it becomes one character."""
    if left and right and "\ud800" <= left[-1] <= "\udbff" and "\udc00" <= right[0] <= "\udfff":
        return left[:-1] + join_surrogates(left[-1] + right[0]) + right[1:]
    return left + right


def json_string(text: str) -> str:
    """Return the JSON form of a string with its quotes, as JSON.stringify writes it."""
    quoted = encode_basestring(text)
    return quoted if quoted.isascii() else _escaped_surrogates(quoted)


def _escaped_surrogates(text: str) -> str:
    return _LONE_SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text)


def json_string_length(text: str) -> int:
    """Return the length of `json_string(text)`.

    Units: UTF-16 code units.
    """
    quoted = encode_basestring(text)
    if quoted.isascii():
        return len(quoted)
    return len(_escaped_surrogates(quoted).encode("utf-16-le")) // 2


def utf16_units(text: str) -> list[str]:
    """Return the UTF-16 code units of a string. Each code unit is a string of its own."""
    if text.isascii():
        return list(text)
    units = text.encode("utf-16-le", "surrogatepass")
    return [chr(units[at] | units[at + 1] << 8) for at in range(0, len(units), 2)]

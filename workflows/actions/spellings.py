"""Spellings of a secret value. Other programs may write the value quoted, encoded or escaped, or write a part of it.

Pure. The caller compares in lower case, so upper and lower case need no further spellings.
"""

import base64
import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

# Shorter parts of a value are not searched for, because they would match too often.
MIN_PART_LENGTH = 8


def spellings(value: str) -> list[str]:
    """Return every spelling, longest first.

    So a spelling is replaced before a shorter spelling that is a part of it.
    """
    found = {spelling for part in _parts(value) for spelling in _spellings(part) if spelling}
    return sorted(found, key=lambda spelling: (-len(spelling), spelling))


def _parts(value: str) -> Iterator[str]:
    """Yield the value, and those parts of it that another program may write without the rest."""
    yield value
    yield value.strip()
    for part in (*_words(value), *_parts_of_url(value), *_texts_in(value)):
        if len(part) >= MIN_PART_LENGTH:
            yield part


def _words(value: str) -> Iterator[str]:
    """Yield the secret part of `Bearer TOKEN`, `Basic BASE64` and `user:password`.

    If the value has several lines, yield each line.
    """
    for word in value.split() if len(value.splitlines()) < 2 else (line.strip() for line in value.splitlines()):
        yield word
        pair = _decoded(word) or word
        yield pair
        yield pair.partition(":")[2]


def _decoded(word: str) -> str:
    try:
        return base64.b64decode(word, validate=True).decode()
    except ValueError:  # not base64, or not a text
        return ""


def _parts_of_url(value: str) -> list[str]:
    if "://" not in value:
        return []
    try:
        address = urlsplit(value.strip())
        return [address.password or "", address.path, f"{address.path}?{address.query}", address.query]
    except ValueError:  # not a URL
        return []


def _texts_in(value: str) -> Iterator[str]:
    """Yield the texts in a JSON value, such as the key file of a service account."""
    try:
        waiting: list[Any] = [json.loads(value)] if value.lstrip().startswith(("{", "[")) else []
    except (ValueError, RecursionError):
        return
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            waiting += item.values() if isinstance(item, dict) else item


def _spellings(text: str) -> Iterator[str]:
    yield from (text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text))
    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")
        yield json.dumps(escaped)[1:-1]  # JSON in a text of JSON
    encoded = text.encode("utf-8", "surrogatepass")
    yield from _fully_escaped(text, encoded)
    yield from (repr(text)[1:-1], repr(encoded)[2:-1], encoded.hex())
    for shift in range(3):
        yield from _base64(encoded, shift)


def _fully_escaped(text: str, encoded: bytes) -> Iterator[str]:
    """Yield the spellings in which every character is escaped, even characters that need no escape."""
    units = text.encode("utf-16-be", "surrogatepass")
    for pair in ("\\u", "\\\\u"):
        yield "".join(f"{pair}{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    for prefix in ("%", "%25", "\\x", "\\\\x", "="):
        yield "".join(f"{prefix}{byte:02x}" for byte in encoded)
    for form in ("&#{};", "&#x{:x};", "&#x{:02x};", "&#x{:04x};"):
        yield "".join(form.format(ord(character)) for character in text)
    for separator in (" ", ":"):
        yield encoded.hex(separator)


def _base64(encoded: bytes, shift: int) -> Iterator[str]:
    """Yield the base64 characters that depend only on the value.

    `shift` is the position of the value in the encoded text, modulo three bytes. The first and last characters can
    depend on the neighbours of the value, so they are left out.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(b"\0" * shift + encoded).decode()
        if shift == 0:
            yield whole
        inner = whole.rstrip("=")
        yield inner[(0, 2, 3)[shift] : len(inner) - (1 if (shift + len(encoded)) % 3 else 0)]

"""The ways in which a value shows up in what others say about it: quoted, encoded, escaped, or only a part of it.

Pure. What is looked for is lower-cased by the caller, so letter case (of percent signs, hexadecimal, host names) is no
spelling of its own.
"""

import base64
import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

# A part of a value is looked for on its own only when it is long enough to be telling.
MIN_PART_LENGTH = 8


def spellings(value: str) -> list[str]:
    """Every spelling, longest first, so that a longer one is taken where it holds a shorter one."""
    found = {spelling for part in _parts(value) for spelling in _spellings(part) if spelling}
    return sorted(found, key=lambda spelling: (-len(spelling), spelling))


def _parts(value: str) -> Iterator[str]:
    """The value, and what a target may repeat of it without the rest."""
    yield value
    yield value.strip()
    for part in (*_words(value), *_parts_of_an_address(value), *_texts_in(value)):
        if len(part) >= MIN_PART_LENGTH:
            yield part


def _words(value: str) -> Iterator[str]:
    """Of `Bearer TOKEN`, `Basic BASE64` and `user:password`: what stands behind; of many lines: each one."""
    for word in value.split() if len(value.splitlines()) < 2 else (line.strip() for line in value.splitlines()):
        yield word
        pair = _decoded(word) or word
        yield pair
        yield pair.partition(":")[2]


def _decoded(word: str) -> str:
    try:
        return base64.b64decode(word, validate=True).decode()
    except ValueError:  # neither base64 nor a text in it
        return ""


def _parts_of_an_address(value: str) -> list[str]:
    if "://" not in value:
        return []
    try:
        address = urlsplit(value.strip())
        return [address.password or "", address.path, f"{address.path}?{address.query}", address.query]
    except ValueError:  # no address after all
        return []


def _texts_in(value: str) -> Iterator[str]:
    """Of a value that is JSON (the key file of a service account): the texts in it."""
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
    yield from (repr(text)[1:-1], repr(encoded)[2:-1], encoded.hex())
    for shift in range(3):
        yield from _base64(encoded, shift)


def _base64(encoded: bytes, shift: int) -> Iterator[str]:
    """What of the base64 does not depend on what stands around the value, `shift` bytes off the grid of three."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(b"\0" * shift + encoded).decode()
        if shift == 0:
            yield whole
        inner = whole.rstrip("=")
        yield inner[(0, 2, 3)[shift] : len(inner) - (1 if (shift + len(encoded)) % 3 else 0)]

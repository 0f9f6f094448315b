"""References to secrets in the input of an action: `{"$secret": "NAME"}`, written literally in the definition.

Rule: references are searched only in the definition, never in a value. If the result of an expression or an event
contains the same object, this object is plain data. The sender of an event therefore cannot make a run use a secret.

Source: docs/reference/language.md#expressions-literals-secrets.
"""

import re
from collections.abc import Iterator
from typing import Any

from workflows.engine.errors import Category, RunError

SECRET_KEY = "$secret"  # noqa: S105  a key of the language
SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
MAX_SECRET_NAME_LENGTH = 200
# Limit for the places of the secrets of one action. The places are part of the payload that carries the input. Units:
# characters of all pointers and names together.
MAX_PLACES_LENGTH = 16_384

Segments = tuple[str | int, ...]


def is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= MAX_SECRET_NAME_LENGTH and SECRET_NAME.fullmatch(name) is not None


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and is_secret_name(value.get(SECRET_KEY))


def secret_references(literal: Any, at: Segments = ()) -> Iterator[tuple[Segments, str]]:
    """Yield the path and the secret name of each reference in `literal`.

    In a path, an object key is a text and a list index is a number.
    """
    if is_secret(literal):
        yield at, literal[SECRET_KEY]
    elif isinstance(literal, dict):
        for key, item in literal.items():
            yield from secret_references(item, (*at, key))
    elif isinstance(literal, list):
        for index, item in enumerate(literal):
            yield from secret_references(item, (*at, index))


def secret_places(mapping: Any) -> list[dict[str, str]]:
    """Return the places of the secrets in an `inputMapping`. The activity uses them to insert the values.

    The objects and lists of a mapping keep their shape when its expressions are resolved. A pointer into the mapping is
    therefore also valid in the resolved input.
    Shapes: `[{pointer, name}]`; the pointer is a JSON pointer (RFC 6901).
    """
    if is_secret(mapping):
        return []  # an input must be an object; validation refuses this mapping
    return [{"pointer": pointer(segments), "name": name} for segments, name in secret_references(mapping)]


def pointer(segments: Segments) -> str:
    return "".join(f"/{str(segment).replace('~', '~0').replace('/', '~1')}" for segment in segments)


def are_places_too_long(mapping: Any) -> bool:
    """Return True if the places together are longer than `MAX_PLACES_LENGTH`.

    The size limit of a definition does not limit the length of the places. A long key occurs once in the definition,
    but it occurs in the pointer of every secret below this key.
    """
    left = MAX_PLACES_LENGTH
    for segments, name in secret_references(mapping):
        left -= len(name) + sum(len(str(segment)) + 1 for segment in segments)
        if left < 0:
            return True
    return False


def with_secrets(value: Any, places: list[dict[str, str]], values: dict[str, str]) -> Any:
    """Return a copy of `value` in which each reference to a secret is replaced by the value of the secret.

    Errors: RunError EngineCorruption if a place does not hold the expected reference. This is a bug of the portal.
    """
    copied: dict[Any, Any] = {"": value}
    for place in places:
        try:
            _put(copied, place, values[place["name"]])
        except (LookupError, TypeError, ValueError) as error:
            message = (
                f"The action input has no reference to the secret {place['name']} at {place['pointer']}, "
                "although the definition has one. This is an error in the portal: report it."
            )
            raise RunError(Category.CORRUPTION, message) from error
    return copied[""]


def _put(copied: dict[Any, Any], place: dict[str, str], value: str) -> None:
    node: Any = copied
    key: Any = ""
    node[key] = _shallow_copy(node[key])
    for segment in place["pointer"].split("/")[1:]:
        node = node[key]
        part = segment.replace("~1", "/").replace("~0", "~")
        key = int(part) if isinstance(node, list) else part
        node[key] = _shallow_copy(node[key])
    if node[key] != {SECRET_KEY: place["name"]}:
        raise ValueError("the place does not hold the reference")
    node[key] = value


def _shallow_copy(value: Any) -> Any:
    """Return a shallow copy, so that a write into the copy does not change the original value."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else value

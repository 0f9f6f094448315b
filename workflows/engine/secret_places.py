"""Where an action's input refers to secrets (docs/reference/language.md#expressions-literals-secrets): `{"$secret": "NAME"}`, standing literally in the definition.

The rule it keeps: only the definition is looked at, never a value. The same object that comes out of an expression or an
event is plain data, so nobody who sends an event can name a secret.
"""

import re
from collections.abc import Iterator
from typing import Any

from workflows.engine.errors import Category, RunError

SECRET_KEY = "$secret"  # noqa: S105  a key of the language
SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
MAX_SECRET_NAME_LENGTH = 200
# The places of one action travel with its input. Units: characters of their pointers and names.
MAX_PLACES_LENGTH = 16_384

Segments = tuple[str | int, ...]


def is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= MAX_SECRET_NAME_LENGTH and SECRET_NAME.fullmatch(name) is not None


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and is_secret_name(value.get(SECRET_KEY))


def secret_references(literal: Any, at: Segments = ()) -> Iterator[tuple[Segments, str]]:
    """Each place below `literal`, with the name that stands there. Keys are texts, indexes of lists are numbers."""
    if is_secret(literal):
        yield at, literal[SECRET_KEY]
    elif isinstance(literal, dict):
        for key, item in literal.items():
            yield from secret_references(item, (*at, key))
    elif isinstance(literal, list):
        for index, item in enumerate(literal):
            yield from secret_references(item, (*at, index))


def secret_places(mapping: Any) -> list[dict[str, str]]:
    """Shapes: `[{pointer, name}]`, as an activity is told; the pointer (RFC 6901) leads into the resolved input.

    The mapping's own objects and lists keep their shape when its expressions are resolved, so the pointer holds there too.
    """
    if is_secret(mapping):
        return []  # an input is an object; publishing refuses this
    return [{"pointer": pointer(segments), "name": name} for segments, name in secret_references(mapping)]


def pointer(segments: Segments) -> str:
    return "".join(f"/{str(segment).replace('~', '~0').replace('/', '~1')}" for segment in segments)


def are_too_long(mapping: Any) -> bool:
    """Whether the places are more than may travel. Nesting makes pointers longer than the text they come from."""
    left = MAX_PLACES_LENGTH
    for segments, name in secret_references(mapping):
        left -= len(name) + sum(len(str(segment)) + 1 for segment in segments)
        if left < 0:
            return True
    return False


def with_secrets(value: Any, places: list[dict[str, str]], values: dict[str, str]) -> Any:
    """A copy of `value` with each place's reference replaced by the secret's value.

    Errors: RunError EngineCorruption when something else stands at a place.
    """
    copied: dict[Any, Any] = {"": value}
    for place in places:
        try:
            _put(copied, place, values[place["name"]])
        except (LookupError, TypeError, ValueError) as error:
            message = f"no reference to the secret {place['name']} stands at {place['pointer']}"
            raise RunError(Category.CORRUPTION, message) from error
    return copied[""]


def _put(copied: dict[Any, Any], place: dict[str, str], value: str) -> None:
    node: Any = copied
    key: Any = ""
    node[key] = _opened(node[key])
    for segment in place["pointer"].split("/")[1:]:
        node = node[key]
        part = segment.replace("~1", "/").replace("~0", "~")
        key = int(part) if isinstance(node, list) else part
        node[key] = _opened(node[key])
    if node[key] != {SECRET_KEY: place["name"]}:
        raise ValueError("something else stands there")
    node[key] = value


def _opened(value: Any) -> Any:
    """Copied one level deep, so that a write into it is not seen by whoever else holds it."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else value

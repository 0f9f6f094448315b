"""Templates of HTTP connectors: JSON values with places for the input, the response and secrets.

A place is one of these:
- `{"$input": "order.id"}`: the value under a dotted path of the input. An empty path means the whole input.
- `{"$response": "body.id"}`: in the template of the output, a value of the response.
- `{"$secret": "NAME"}`: the value of a secret.
- `{order.id}` inside a text: the same value as text. `{{` and `}}` mean the characters `{` and `}`.

A place without a value is left out of its object. In a text it is an error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from workflows.actions.registry import ActionFailed
from workflows.engine.errors import Category
from workflows.engine.filters import MISSING, value_at
from workflows.engine.secret_places import SECRET_KEY, is_secret_name
from workflows.json_numbers import write_json

INPUT, RESPONSE = "$input", "$response"
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PATH = re.compile(r"[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*")
_DOTS = re.compile(r"\.*")

Fault = tuple[str, str]


@dataclass(frozen=True)
class Source:
    """Values for the places of a template. `place` is INPUT or RESPONSE."""

    place: str
    value: Any
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def fill(template: Any, source: Source) -> Any:
    """Return the template with the values in its places, or MISSING if the whole template is a place without a value.

    Errors: ActionFailed CONNECTOR_INPUT_UNUSABLE if a text needs a value that is missing or is no text or number.
    """
    if isinstance(template, str):
        return fill_text(template, source)
    if isinstance(template, list):
        items = [fill(item, source) for item in template]
        return [None if item is MISSING else item for item in items]
    if not isinstance(template, dict):
        return template
    if source.place in template:
        path = template[source.place]
        return value_at(source.value, path) if path else source.value
    if SECRET_KEY in template:
        return source.secrets[template[SECRET_KEY]]
    filled = {key: fill(item, source) for key, item in template.items()}
    return {key: item for key, item in filled.items() if item is not MISSING}


def fill_text(text: str, source: Source, *, is_url: bool = False) -> str:
    """Return the text with the values in its places. In a URL, each value is percent-encoded as one path segment.

    Errors: ActionFailed CONNECTOR_INPUT_UNUSABLE.
    """

    def value(found: re.Match[str]) -> str:
        path = found[1]
        if path is None:
            return found[0][0]
        given = _text_of(value_at(source.value, path), path)
        if is_url and _DOTS.fullmatch(given):
            # An empty segment, "." and ".." would lead to another address of the server.
            raise _unusable(path, "is empty or has only dots, which would change the path of the URL")
        return quote(given, safe="") if is_url else given

    return _PART.sub(value, text)


def _text_of(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if value is MISSING or value is None:
        raise _unusable(path, "is missing")
    if isinstance(value, bool | int | float):
        return write_json(value)
    raise _unusable(path, "must be a text, a number, true or false")


def _unusable(path: str, problem: str) -> ActionFailed:
    return ActionFailed(
        f"The connector cannot build the request: the value {path!r} {problem}. Change the input of the action.",
        category=Category.VALIDATION,
        code="CONNECTOR_INPUT_UNUSABLE",
    )


# -- Check of a template ----------------------------------------------------------------------------------------------


def template_faults(template: Any, place: str, *, takes_secrets: bool = True, pointer: str = "") -> Iterator[Fault]:
    """Yield the pointer and the message of each fault of a template."""
    if isinstance(template, str):
        yield from ((pointer, message) for message in text_faults(template))
    elif isinstance(template, list):
        for index, item in enumerate(template):
            yield from template_faults(item, place, takes_secrets=takes_secrets, pointer=f"{pointer}/{index}")
    elif isinstance(template, dict):
        reserved = sorted(key for key in template if key.startswith("$"))
        if reserved:
            yield from ((pointer, message) for message in _place_faults(template, reserved[0], place, takes_secrets))
            return
        for key, item in template.items():
            escaped = key.replace("~", "~0").replace("/", "~1")
            yield from template_faults(item, place, takes_secrets=takes_secrets, pointer=f"{pointer}/{escaped}")


def _place_faults(template: dict[str, Any], key: str, place: str, takes_secrets: bool) -> Iterator[str]:
    allowed = [place, SECRET_KEY] if takes_secrets else [place]
    if key not in allowed:
        yield f"has the key {key!r}; an object with a key that begins with $ may have only {' or '.join(allowed)}"
    elif len(template) != 1:
        yield f"has other keys beside {key}; write {{{key!r}: ...}} alone"
    elif key == SECRET_KEY and not is_secret_name(template[key]):
        yield "names no secret; the name of a secret consists of A-Z, 0-9 and _"
    elif key == place and not (
        isinstance(template[key], str) and (not template[key] or _PATH.fullmatch(template[key]))
    ):
        yield f"must have a dotted path such as 'order.id' under {place}; an empty path means everything"


def text_faults(text: str) -> Iterator[str]:
    """Yield the message of each fault of a text with places."""
    for found in _PART.finditer(text):
        if found[0] in ("{", "}"):
            yield f"has a single {found[0]!r}; write {found[0] * 2!r} for the character itself"
        elif found[1] is not None and not _PATH.fullmatch(found[1]):
            yield f"has the place {found[0]!r}, which is not a dotted path; write {{{{ for the character {{"


def text_places(text: str) -> list[str]:
    """Return the dotted paths of the places of a text."""
    return [found[1] for found in _PART.finditer(text) if found[1]]

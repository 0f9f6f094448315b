"""A JSON Schema with its references followed once, before any value is looked at.

`$ref` is lexical (the dynamic kind is not supported), so where each leads is known beforehand: a check then never asks for
an address again. Documents beside the schema come from the caller's `load`, by the name that stands in the reference or by
their `$id`; nothing else is ever fetched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import re2

from workflows.engine.sizes import identity, list_index

# Where schemas stand within a schema: as the value of a keyword, in its list, under its names.
_ONE = frozenset(
    {
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
MAX_DOCUMENTS = 50

Pointer = tuple[str | int, ...]
Load = Callable[[str], Any]

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


@dataclass
class LinkedSchema:
    """`targets` and `missing` by the id() of the schema that holds the `$ref`; `documents` keeps those ids valid."""

    root: Any
    targets: dict[int, Any] = field(default_factory=dict)
    missing: dict[int, tuple[str, Pointer]] = field(default_factory=dict)
    documents: list[Any] = field(default_factory=list)
    is_tracking: bool = False  # an `unevaluated...` stands somewhere
    _patterns: dict[str, Any] = field(default_factory=dict)
    _members: dict[int, frozenset[str]] = field(default_factory=dict)

    def pattern(self, text: str) -> Any:
        """Errors: re2.error for what cannot be run in linear time."""
        if text not in self._patterns:
            self._patterns[text] = compile_pattern(text)
        return self._patterns[text]

    def members(self, values: list[Any]) -> frozenset[str]:
        """The identities of an `enum`."""
        if id(values) not in self._members:
            self._members[id(values)] = frozenset(map(identity, values))
        return self._members[id(values)]


def compile_pattern(text: str) -> Any:
    return re2.compile(text, _OPTIONS)


def subschemas(schema: Any) -> Iterator[tuple[Pointer, Any]]:
    """The schemas that stand directly within a schema, with the way to each."""
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword in _ONE and isinstance(value, dict | bool):
            yield (keyword,), value
        elif keyword in _LIST and isinstance(value, list):
            yield from (((keyword, index), item) for index, item in enumerate(value))
        elif keyword in _NAMED and isinstance(value, dict):
            yield from (((keyword, name), item) for name, item in value.items())


def all_subschemas(schema: Any) -> Iterator[tuple[Pointer, Any]]:
    waiting: list[tuple[Pointer, Any]] = [((), schema)]
    while waiting:
        way, item = waiting.pop()
        yield way, item
        waiting.extend((way + step, inner) for step, inner in subschemas(item))


def link_schema(schema: Any, *, load: Load | None = None, base: str = "") -> LinkedSchema:
    """`base` is the name that the schema itself is known under.

    Errors: none for a reference that leads nowhere: it is in `missing`, and whoever meets it in a check is told.
    """
    return _Linker(schema, load or (lambda _name: None), base).link()


class _Linker:
    def __init__(self, schema: Any, load: Load, base: str) -> None:
        self.load = load
        self.linked = LinkedSchema(schema)
        self.by_address: dict[str, Any] = {}
        self.anchors: dict[tuple[str, str], Any] = {}
        self.bases: dict[int, str] = {}
        self.tried: set[str] = set()
        self.walked: set[int] = set()
        self._add(schema, base)

    def link(self) -> LinkedSchema:
        """The document itself first, so that what is missing in it has its own place; then what it leads to."""
        followed = self._walk((), self.linked.root)
        while followed:
            way, target = followed.pop()
            followed.extend((way, further) for _, further in self._walk(way, target, is_foreign=True))
        return self.linked

    def _walk(self, way: Pointer, schema: Any, *, is_foreign: bool = False) -> list[tuple[Pointer, Any]]:
        """Follow the references in a schema; where they lead, with the place of the reference."""
        waiting, targets = [(way, schema)], []
        while waiting:
            way, schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in self.walked:
                continue
            self.walked.add(id(schema))
            if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
                self.linked.is_tracking = True
            waiting.extend((way if is_foreign else way + step, inner) for step, inner in subschemas(schema))
            reference = schema.get("$ref")
            if isinstance(reference, str):
                found = self._target(reference, self.bases.get(id(schema), ""))
                place = way if is_foreign else (*way, "$ref")
                if isinstance(found, dict | bool):
                    self.linked.targets[id(schema)] = found
                    targets.append((place, found))
                else:
                    self.linked.missing[id(schema)] = (reference, place)
        return targets

    def _add(self, document: Any, base: str) -> None:
        """Know a document by its name, and what is in it by `$id` and `$anchor`."""
        self.linked.documents.append(document)
        self.by_address.setdefault(base, document)
        waiting = [(document, base)]
        while waiting:
            schema, here = waiting.pop()
            if not isinstance(schema, dict):
                continue
            if isinstance(schema.get("$id"), str):
                here = _joined(here, schema["$id"]).rstrip("#")
                self.by_address.setdefault(here, schema)
            if isinstance(schema.get("$anchor"), str):
                self.anchors.setdefault((here, schema["$anchor"]), schema)
            self.bases[id(schema)] = here
            waiting.extend((inner, here) for _, inner in subschemas(schema))

    def _target(self, reference: str, base: str) -> Any:
        """The schema that a reference leads to, or None. A registered name counts before an address made of it."""
        name, fragment = urldefrag(reference) if "#" in reference else (reference, "")
        if not name:
            return self._within(self.by_address.get(base), base, fragment)
        for address in (name, _joined(base, name)):
            document = self._document(address)
            if document is not None:
                return self._within(document, self.bases.get(id(document), address), fragment)
        return None

    def _document(self, address: str) -> Any:
        if address not in self.by_address and address not in self.tried:
            self.tried.add(address)
            if len(self.linked.documents) < MAX_DOCUMENTS:
                document = self.load(address)
                if document is not None:
                    self._add(document, address)
        return self.by_address.get(address)

    def _within(self, document: Any, base: str, fragment: str) -> Any:
        if not fragment:
            return document
        if not fragment.startswith("/"):
            return self.anchors.get((base, unquote(fragment)))
        found, here = document, base
        for part in unquote(fragment)[1:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            index = list_index(part)
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and index is not None and index < len(found):
                found = found[index]
            else:
                return None
            here = self.bases.get(id(found), here)
        if isinstance(found, dict) and id(found) not in self.bases:
            self._add_part(found, here)  # it stands under a keyword that holds no schemas otherwise
        return found

    def _add_part(self, schema: Any, base: str) -> None:
        waiting = [schema]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict) and id(part) not in self.bases:
                self.bases[id(part)] = base
                waiting.extend(inner for _, inner in subschemas(part))


def _joined(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:
        return address  # no address that could be parsed; then a name like any other

"""Resolution of the references of a JSON Schema, once, before any value is checked.

The target of `$ref` follows from the schema alone, and dynamic references are not supported. The target of every
reference is therefore known beforehand, and a check never resolves an address. Other documents come only from the
caller's `load`, by the name in the reference, or are found by their `$id`. Nothing is fetched from elsewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import re2

from workflows.engine.sizes import identity, list_index

# Keywords that contain schemas. The value of the keyword is a schema, a list of schemas, or an object whose values are
# schemas.
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
    """Schema with the targets of its references.

    The keys of `targets` and `missing` are the id() of the schema that contains the `$ref`. `documents` keeps these
    schema objects alive, so that their ids stay valid.
    """

    root: Any
    targets: dict[int, Any] = field(default_factory=dict)
    missing: dict[int, tuple[str, Pointer]] = field(default_factory=dict)
    documents: list[Any] = field(default_factory=list)
    is_tracking: bool = False  # the schema contains an `unevaluated...` keyword
    _patterns: dict[str, Any] = field(default_factory=dict)
    _members: dict[int, frozenset[str]] = field(default_factory=dict)

    def pattern(self, text: str) -> Any:
        """Return the compiled pattern. Compile it only once.

        Errors: re2.error if the pattern cannot be run in linear time; the author of the schema must act.
        """
        if text not in self._patterns:
            self._patterns[text] = compile_pattern(text)
        return self._patterns[text]

    def members(self, values: list[Any]) -> frozenset[str]:
        """Return the identity of each value of an `enum`. Each `enum` is computed only once."""
        if id(values) not in self._members:
            self._members[id(values)] = frozenset(map(identity, values))
        return self._members[id(values)]


def compile_pattern(text: str) -> Any:
    return re2.compile(text, _OPTIONS)


def subschemas(schema: Any) -> Iterator[tuple[Pointer, Any]]:
    """Yield the direct subschemas of a schema, each with its path."""
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword in _ONE and isinstance(value, dict | bool):
            yield (keyword,), value
        elif keyword in _LIST and isinstance(value, list):
            yield from (((keyword, index), item) for index, item in enumerate(value))
        elif keyword in _NAMED and isinstance(value, dict):
            yield from (((keyword, name), item) for name, item in value.items())


def all_subschemas(schema: Any) -> Iterator[tuple[Pointer, Any]]:
    """Yield a schema and all its subschemas, each with its path."""
    pending: list[tuple[Pointer, Any]] = [((), schema)]
    while pending:
        path, item = pending.pop()
        yield path, item
        pending.extend((path + step, inner) for step, inner in subschemas(item))


def foreign_addresses(schema: Any) -> set[str]:
    """Return the addresses of other documents in the references of a schema, as the references write them."""
    references = (part.get("$ref") for _, part in all_subschemas(schema) if isinstance(part, dict))
    return {reference.partition("#")[0] for reference in references if isinstance(reference, str)} - {""}


def link_schema(schema: Any, *, load: Load | None = None, base: str = "") -> LinkedSchema:
    """Resolve the references of a schema. `base` is the name of the schema itself.

    Errors: none. An unresolved reference is listed in `missing`. The check of a value that needs this reference fails.
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
        """Resolve the references of the root document first.

        Then resolve the references of the documents that it refers to. If a reference of the root document is missing,
        it is thus reported with its own path.
        """
        found = self._walk((), self.linked.root)
        while found:
            path, target = found.pop()
            found.extend((path, further) for _, further in self._walk(path, target, is_foreign=True))
        return self.linked

    def _walk(self, path: Pointer, schema: Any, *, is_foreign: bool = False) -> list[tuple[Pointer, Any]]:
        """Resolve the references in a schema. Return the targets, each with the path of its reference."""
        pending, targets = [(path, schema)], []
        while pending:
            path, schema = pending.pop()
            if not isinstance(schema, dict) or id(schema) in self.walked:
                continue
            self.walked.add(id(schema))
            if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
                self.linked.is_tracking = True
            pending.extend((path if is_foreign else path + step, inner) for step, inner in subschemas(schema))
            reference = schema.get("$ref")
            if isinstance(reference, str):
                found = self._target(reference, self.bases.get(id(schema), ""))
                place = path if is_foreign else (*path, "$ref")
                if isinstance(found, dict | bool):
                    self.linked.targets[id(schema)] = found
                    targets.append((place, found))
                else:
                    self.linked.missing[id(schema)] = (reference, place)
        return targets

    def _add(self, document: Any, base: str) -> None:
        """Register a document by its name, and its subschemas by `$id` and `$anchor`."""
        self.linked.documents.append(document)
        self.by_address.setdefault(base, document)
        pending = [(document, base)]
        while pending:
            schema, here = pending.pop()
            if not isinstance(schema, dict):
                continue
            if isinstance(schema.get("$id"), str):
                here = _joined(here, schema["$id"]).rstrip("#")
                self.by_address.setdefault(here, schema)
            if isinstance(schema.get("$anchor"), str):
                self.anchors.setdefault((here, schema["$anchor"]), schema)
            self.bases[id(schema)] = here
            pending.extend((inner, here) for _, inner in subschemas(schema))

    def _target(self, reference: str, base: str) -> Any:
        """Return the target of a reference, or None.

        If a document is registered under the name, it is the target. Only otherwise is the name resolved to an address.
        """
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
            self._add_part(found, here)  # its keyword is not a keyword for schemas, so `subschemas` has not found it
        return found

    def _add_part(self, schema: Any, base: str) -> None:
        pending = [schema]
        while pending:
            part = pending.pop()
            if isinstance(part, dict) and id(part) not in self.bases:
                self.bases[id(part)] = base
                pending.extend(inner for _, inner in subschemas(part))


def _joined(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:
        return address  # not a valid URL, so it is used as a plain name

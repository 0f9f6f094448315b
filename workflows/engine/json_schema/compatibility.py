"""Comparison of two versions of a JSON Schema: which changes can break senders and readers of its values. Pure.

A change affects senders if a value that matched before may be refused now. It affects readers if a value may arrive now
that could not arrive before, so that an expression which reads the value can fail. Keywords that combine schemas
(`anyOf`, `if`, ...) are not analysed. A change of such a keyword counts as a change that affects senders.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from workflows.engine.json_schema.check import json_pointer
from workflows.engine.sizes import identity

MAX_CHANGES = 50
MAX_DEPTH = 40
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "string"})
_LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_NOT_ANALYSED = (
    "$ref", "allOf", "anyOf", "contains", "dependentRequired", "dependentSchemas", "else", "if", "multipleOf", "not",
    "oneOf", "pattern", "patternProperties", "prefixItems", "propertyNames", "then", "unevaluatedItems",
    "unevaluatedProperties", "uniqueItems",
)  # fmt: skip

Path = tuple[str | int, ...]


class Change(NamedTuple):
    """Change that can break a user of the schema. `pointer` leads into the new schema."""

    pointer: str
    affects: Literal["senders", "readers"]
    message: str

    def as_object(self) -> dict[str, str]:
        return self._asdict()


def breaking_changes(before: Any, after: Any) -> list[Change]:
    """Return the changes that can break users of a schema, at most MAX_CHANGES. The list is empty for a safe change."""
    found: list[Change] = []
    for change in _compared(before, after, ()):
        if change not in found:
            found.append(change)
        if len(found) >= MAX_CHANGES:
            break
    return found


def _senders(path: Path, message: str) -> Change:
    return Change(json_pointer(path), "senders", message)


def _readers(path: Path, message: str) -> Change:
    return Change(json_pointer(path), "readers", message)


def _compared(before: Any, after: Any, path: Path) -> Iterator[Change]:
    if before == after or len(path) > MAX_DEPTH:
        return
    if after is False:
        yield _senders(path, "no value is allowed here any more")
        return
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    if before is False:
        yield _readers(path, "a value is allowed here now")
        return
    yield from _types(old, new, path)
    yield from _choices(old, new, path)
    yield from _limits(old, new, path)
    yield from _fields(old, new, path)
    if "items" in old or "items" in new:
        yield from _compared(old.get("items", True), new.get("items", True), (*path, "items"))
    for name in sorted({*old.get("$defs", {}), *new.get("$defs", {})}):
        if name in old.get("$defs", {}) and name in new.get("$defs", {}):
            yield from _compared(old["$defs"][name], new["$defs"][name], (*path, "$defs", name))
    for keyword in _NOT_ANALYSED:
        if keyword in new and (keyword not in old or identity(old[keyword]) != identity(new[keyword])):
            yield _senders((*path, keyword), f"{keyword} is new or was changed, so values may be refused")


def _types(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[Change]:
    had, has = _type_names(old), _type_names(new)
    lost, gained = sorted(had - has), sorted(has - had)
    if lost:
        yield _senders((*path, "type"), f"values of the type {', '.join(lost)} are refused now")
    if gained and "type" in old:
        yield _readers((*path, "type"), f"the value may be of the type {', '.join(gained)} now")


def _type_names(schema: dict[str, Any]) -> set[str]:
    """Return the accepted types. `number` is divided into whole numbers (`integer`) and others (`fraction`)."""
    given = schema.get("type", sorted(_TYPES))
    names = {given} if isinstance(given, str) else set(given)
    return {*names - {"number"}, "integer", "fraction"} if "number" in names else names


def _choices(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[Change]:
    had, has = _values(old), _values(new)
    if had == has:
        return
    place = (*path, "const" if "const" in new else "enum")
    if has is not None and (had is None or had - has):
        lost = "other values" if had is None else ", ".join(sorted(had - has))[:100]
        yield _senders(place, f"the list of allowed values does not have {lost} any more")
    if had is not None and (has is None or has - had):
        gained = "other values" if has is None else ", ".join(sorted(has - had))[:100]
        yield _readers(place, f"the value may be {gained} now")


def _values(schema: dict[str, Any]) -> set[str] | None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return {identity(value) for value in values} if isinstance(values, list) else None


def _limits(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[Change]:
    for keywords, sign in ((_LOWER_LIMITS, 1), (_UPPER_LIMITS, -1)):
        for keyword in keywords:
            limit, former = new.get(keyword), old.get(keyword)
            if limit is not None and (former is None or sign * limit > sign * former):
                text = "is new" if former is None else f"was {former}"
                yield _senders((*path, keyword), f"the limit {keyword} {limit} {text}, so values may be refused")


def _fields(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[Change]:
    had, has = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(has - had):
        yield _senders((*path, "required"), f"the field {name!r} is required now")
    for name in sorted(had - has):
        yield _readers((*path, "required"), f"the field {name!r} may be missing now")
    fields, others = new.get("properties", {}), new.get("additionalProperties", True)
    for name, schema in old.get("properties", {}).items():
        if name in fields:
            yield from _compared(schema, fields[name], (*path, "properties", name))
        elif others is False:
            yield _senders((*path, "properties"), f"the field {name!r} is refused now")
        elif isinstance(others, dict) and others:
            yield from _compared(schema, others, (*path, "additionalProperties"))
        else:
            yield _readers((*path, "properties"), f"the field {name!r} is not described any more")
    former = old.get("additionalProperties", True)
    if others is False and former is not False:
        yield _senders((*path, "additionalProperties"), "fields without a description are refused now")
    elif others is not False and former is not False:
        yield from _compared(former, others, (*path, "additionalProperties"))

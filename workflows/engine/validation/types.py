"""JSON types that a value can have, as far as schemas tell.

Rule: a type is a promise. A set of types contains every type that the value can have in any run. If that is not
certain, the type is `ANY`. So a check never refuses a definition that could work.
"""

from dataclasses import dataclass
from typing import Any

from workflows.engine.json_schema.links import LinkedSchema, link_schema

JSON_TYPES = frozenset({"string", "number", "boolean", "array", "object", "null"})
# Keywords that a property can be known beside. With another keyword that contains schemas, nothing is known.
_HIDING = frozenset({"allOf", "anyOf", "oneOf", "if", "not", "patternProperties", "dependentSchemas", "$dynamicRef"})
MAX_STEPS = 20_000
MAX_HOPS = 20


@dataclass(frozen=True)
class Type:
    """Set of possible JSON types. `names` is None if nothing is known.

    `schema` describes the object or the array, and `linked` has the targets of its references.
    """

    names: frozenset[str] | None = None
    schema: Any = None
    linked: LinkedSchema | None = None

    def excludes(self, wanted: frozenset[str]) -> bool:
        """Return True if the value certainly has none of the wanted types."""
        return self.names is not None and not self.names & wanted

    def described(self) -> str:
        return " or ".join(sorted(self.names or JSON_TYPES))


ANY = Type()


def type_of_name(name: str) -> Type:
    return Type(frozenset({name}))


def type_of_value(value: Any) -> Type:
    """Return the type of a literal without expressions."""
    if value is None:
        return type_of_name("null")
    if isinstance(value, bool):
        return type_of_name("boolean")
    if isinstance(value, int | float):
        return type_of_name("number")
    kinds = ((str, "string"), (list, "array"))
    return type_of_name(next((name for kind, name in kinds if isinstance(value, kind)), "object"))


def union(types: list[Type]) -> Type:
    """Return the type of a value that has one of these types."""
    if not types or any(each.names is None for each in types):
        return ANY
    if len(types) == 1:
        return types[0]
    return Type(frozenset().union(*(each.names or frozenset() for each in types)))


class SchemaTypes:
    """Types that JSON Schemas promise. The number of steps is limited, because a hostile schema can refer to itself."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def whole(self, schema: Any) -> Type:
        """Return the type of a value of a schema without references to other documents."""
        return self.of(schema, link_schema(schema))

    def of(self, schema: Any, linked: LinkedSchema | None) -> Type:
        return ANY if linked is None else self._of(schema, linked, MAX_HOPS)

    def _of(self, schema: Any, linked: LinkedSchema, hops: int) -> Type:
        self._left -= 1
        if not isinstance(schema, dict) or hops == 0 or self._left < 0:
            return ANY
        if "$ref" in schema:
            return self._of(linked.targets.get(id(schema)), linked, hops - 1)
        for keyword in ("anyOf", "oneOf"):
            branches = schema.get(keyword)
            if isinstance(branches, list) and branches and "type" not in schema:
                return self._union_of([self._of(branch, linked, hops - 1) for branch in branches])
        branches = schema.get("allOf")
        if isinstance(branches, list) and len(branches) == 1 and "type" not in schema:
            return self._of(branches[0], linked, hops - 1)
        names = _type_names(schema)
        return ANY if names is None else Type(names, schema, linked)

    def _union_of(self, types: list[Type]) -> Type:
        """Return the union. If only one of the types is not null, its properties stay known."""
        found = union(types)
        full = [each for each in types if each.names != frozenset({"null"})]
        if found.names is None or len(full) != 1:
            return found
        return Type(found.names, full[0].schema, full[0].linked)

    def property(self, value: Type, name: str) -> Type | None:
        """Return the type of a property, or None if the object certainly has no such property."""
        schema = value.schema
        if not isinstance(schema, dict) or value.names is None or value.names - {"object", "null"}:
            return ANY
        if "object" not in value.names or _HIDING & schema.keys():
            return ANY
        properties = schema.get("properties")
        if isinstance(properties, dict) and name in properties:
            return self.of(properties[name], value.linked)
        rest = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        if rest is False:
            return None
        return self.of(rest, value.linked)

    def items(self, value: Type) -> Type:
        """Return the type of the entries of an array."""
        schema = value.schema
        if not isinstance(schema, dict) or value.names != frozenset({"array"}) or _HIDING & schema.keys():
            return ANY
        return ANY if "prefixItems" in schema else self.of(schema.get("items"), value.linked)


def property_names(value: Type) -> list[str]:
    """Return the names of the properties that the schema of an object lists."""
    properties = value.schema.get("properties") if isinstance(value.schema, dict) else None
    return list(properties) if isinstance(properties, dict) else []


def required_names(value: Type) -> list[str]:
    """Return the names of the properties that the schema of an object requires."""
    required = value.schema.get("required") if isinstance(value.schema, dict) else None
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _type_names(schema: dict[str, Any]) -> frozenset[str] | None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return frozenset().union(*(type_of_value(value).names or frozenset() for value in values)) or None
    given = schema.get("type")
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        return None
    found = {"number" if name == "integer" else name for name in names if isinstance(name, str)}
    return frozenset(found) if found <= JSON_TYPES else None

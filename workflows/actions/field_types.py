"""JSON types that a field of a Pydantic model accepts.

Pydantic converts some values: a number field accepts a text with digits. So the types of a number field include text. A
field with a validator of its own, or with a type that this module does not know, may accept everything.
"""

import enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

_CONVERTED = frozenset({"number", "string", "boolean"})
_SIMPLE: dict[Any, frozenset[str]] = {
    str: frozenset({"string"}),
    bool: _CONVERTED,
    int: _CONVERTED,
    float: _CONVERTED,
    list: frozenset({"array"}),
    tuple: frozenset({"array"}),
    dict: frozenset({"object"}),
    NoneType: frozenset({"null"}),
}


def field_types(model: type[BaseModel], name: str) -> frozenset[str] | None:
    """Return the JSON types that a field accepts, or None if it may accept any type."""
    info: FieldInfo = model.model_fields[name]
    decorators = model.__pydantic_decorators__
    own = [found.info for found in decorators.field_validators.values() if found.info.mode != "after"]
    fields = [field for info in own for field in info.fields]
    fields += [field for found in decorators.validators.values() for field in found.info.fields]
    has_own = name in fields or "*" in fields
    if has_own or model.model_config.get("coerce_numbers_to_str") or not _is_plain(info.metadata):
        return None
    return _types_of(info.annotation)


def _is_plain(metadata: Any) -> bool:
    """Return True if the metadata only restricts a value, and does not convert it before the check of its type."""
    return all(isinstance(each, AfterValidator) or not hasattr(each, "func") for each in metadata)


def _types_of(annotation: Any) -> frozenset[str] | None:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types_of(parts[0]) if _is_plain(parts[1:]) else None
    if origin in (Union, UnionType):
        found = [_types_of(part) for part in parts]
        return None if None in found else frozenset().union(*(each or frozenset() for each in found))
    if origin is Literal:
        return None if any(isinstance(part, enum.Enum) for part in parts) else _literal_types(parts)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if annotation.__pydantic_root_model__ else frozenset({"object"})
    return _SIMPLE.get(origin or annotation)


def _literal_types(values: tuple[Any, ...]) -> frozenset[str] | None:
    found = [{str: "string", bool: "boolean", int: "number", NoneType: "null"}.get(type(value)) for value in values]
    return None if None in found else frozenset(str(each) for each in found)

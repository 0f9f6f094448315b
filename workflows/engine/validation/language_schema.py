"""JSON Schema (2020-12) of the workflow language, made from the tables of fields (`step_fields`).

Rule: this schema and the shape codes of the validator (`codes`) agree on every document within the limits of size and
depth. A test compares them. Rules that a schema cannot express have other codes.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from workflows.engine.filters import OPERATORS, WITHOUT_VALUE
from workflows.engine.mapping import EXPRESSION_KEY
from workflows.engine.secret_places import MAX_SECRET_NAME_LENGTH, SECRET_KEY, SECRET_NAME
from workflows.engine.step_fields import (
    ENVELOPE,
    EXCLUSIVE,
    MAX_NAME_LENGTH,
    REQUIRED_BY,
    STEP_FIELDS,
    TRIGGER_FIELDS,
    Field,
)
from workflows.engine.validation.field_checks import KEY_PATTERN, LITERAL_DURATION
from workflows.engine.validation.value_checks import TAKEN_NAMES, VARIABLE_PATTERN

Schema = dict[str, Any]
# White space as `str.strip` sees it. Each regex dialect has another `\s`, so the characters themselves are listed.
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
NOT_BLANK = f"[^{_SPACES}]"
_NOT_NULL: Schema = {"not": {"type": "null"}}


@cache
def language_schema() -> Schema:
    """Return the schema of a definition. The caller must not change it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pointsman:workflow-definition",
        "title": "Pointsman workflow definition",
        **_object(ENVELOPE),
        "$defs": {
            "expression": _expression(),
            "secret": _secret(),
            "value": _value("value", True),
            "inputValue": _value("inputValue", _ref("secret")),
            "filter": _filter(),
            "trigger": _typed(TRIGGER_FIELDS, "trigger."),
            "step": {**_typed(STEP_FIELDS, ""), "required": ["id", "type"]},
            **{f"trigger.{name}": _object(fields) for name, fields in TRIGGER_FIELDS.items()},
            **{name: _step(name, fields) for name, fields in STEP_FIELDS.items()},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _typed(table: Mapping[str, Any], prefix: str) -> Schema:
    """Return the schema of an object whose `type` decides about its other fields."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(table)}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": _ref(prefix + name)}
            for name in table
        ],
    }


def _object(fields: Mapping[str, Field]) -> Schema:
    """Return the schema of an object with fixed keys. Null means the same as an absent field."""
    required = [name for name, spec in fields.items() if spec.required]
    return {
        "type": "object",
        "properties": {name: _field(spec) for name, spec in fields.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _field(spec: Field) -> Schema:
    schema = _KINDS[spec.kind](spec)
    return schema if spec.required or not schema else {"anyOf": [schema, {"type": "null"}]}


def _step(name: str, fields: Mapping[str, Field]) -> Schema:
    rules: list[Schema] = [
        {"not": {"allOf": [_present(first), _present(second)]}} for first, second in EXCLUSIVE.get(name, ())
    ]
    if name in REQUIRED_BY:
        decider, needed = REQUIRED_BY[name]
        rules.append({"properties": {"config": {"allOf": [_needs(decider, *item) for item in needed.items()]}}})
    return {**_object(fields), "allOf": rules} if rules else _object(fields)


def _present(keys: tuple[str, ...]) -> Schema:
    """Return the schema of an object that has a value under these keys."""
    inner = _NOT_NULL if len(keys) == 1 else _present(keys[1:])
    return {"type": "object", "required": [keys[0]], "properties": {keys[0]: inner}}


def _needs(decider: str, choice: str, name: str) -> Schema:
    return {"if": {"properties": {decider: {"const": choice}}, "required": [decider]}, "then": _given(name)}


def _given(name: str) -> Schema:
    return {"required": [name], "properties": {name: _NOT_NULL}}


# -- Kinds of fields ---------------------------------------------------------------------------------------------------


def _text(spec: Field) -> Schema:
    if spec.choices:
        return {"enum": list(spec.choices)}
    return {"type": "string", "pattern": NOT_BLANK, **_length(spec)}


def _length(spec: Field) -> Schema:
    return {} if spec.max_length is None else {"maxLength": spec.max_length}


def _number(spec: Field, kind: str) -> Schema:
    limits = {"minimum": spec.minimum, "maximum": spec.maximum}
    return {"type": kind, **{name: limit for name, limit in limits.items() if limit is not None}}


def _expression() -> Schema:
    return {
        "type": "object",
        "properties": {EXPRESSION_KEY: {"type": "string"}},
        "required": [EXPRESSION_KEY],
        "additionalProperties": False,
    }


def _secret() -> Schema:
    name = {"type": "string", "pattern": f"^{SECRET_NAME.pattern}$", "maxLength": MAX_SECRET_NAME_LENGTH}
    return {
        "type": "object",
        "properties": {SECRET_KEY: name},
        "required": [SECRET_KEY],
        "additionalProperties": False,
    }


def _value(own: str, secret: Schema | bool) -> Schema:
    """Return the schema of a literal that may contain expressions. `secret` is the schema of a secret in it."""
    return {
        "if": {"type": "object", "required": [EXPRESSION_KEY]},
        "then": _ref("expression"),
        "else": {
            "if": {"type": "object", "required": [SECRET_KEY]},
            "then": secret,
            "else": {"additionalProperties": _ref(own), "items": _ref(own)},
        },
    }


def _mapping(value: str, *forbidden: str) -> Schema:
    rules = [{"not": {"type": "object", "required": [key]}} for key in forbidden]
    return {"type": "object", "allOf": [*rules, _ref(value)]}


def _filter() -> Schema:
    with_value = [operator for operator in OPERATORS if operator not in WITHOUT_VALUE]
    lists = {"anyOf": [{"type": "array"}, _ref("expression")]}
    return {
        "type": "object",
        "properties": {
            "path": {"type": "string", "minLength": 1},
            "op": {"enum": list(OPERATORS)},
            "value": _ref("value"),
        },
        "required": ["path", "op"],
        "additionalProperties": False,
        "allOf": [
            {"if": {"properties": {"op": {"enum": with_value}}}, "then": {"required": ["value"]}},
            {"if": {"properties": {"op": {"enum": ["in", "not_in"]}}}, "then": {"properties": {"value": lists}}},
        ],
    }


_KINDS: dict[str, Callable[[Field], Schema]] = {
    "text": _text,
    "key": lambda spec: {"type": "string", "pattern": f"^{KEY_PATTERN}$", **_length(spec)},
    "prose": lambda spec: {"type": "string", **_length(spec)},
    "whole": lambda spec: _number(spec, "integer"),
    "number": lambda spec: _number(spec, "number"),
    "duration": lambda spec: {"anyOf": [_ref("expression"), _number(LITERAL_DURATION, "integer")]},
    "concurrency": lambda spec: {"const": 1},
    "flag": lambda spec: {"type": "boolean"},
    "object": lambda spec: {"type": "object"} if spec.fields is None else _object(spec.fields),
    "trigger": lambda spec: _ref("trigger"),
    "any": lambda spec: {},
    "steps": lambda spec: {"type": "array", "items": _ref("step")},
    "expression": lambda spec: _ref("expression"),
    "moment": lambda spec: _ref("expression"),
    "value": lambda spec: _ref("value"),
    "mapping": lambda spec: _mapping("value", EXPRESSION_KEY),
    "input": lambda spec: _mapping("inputValue", EXPRESSION_KEY, SECRET_KEY),
    "target": lambda spec: {"type": "string"},
    "variable": lambda spec: {
        "type": "string",
        "pattern": f"^{VARIABLE_PATTERN}$",
        "maxLength": MAX_NAME_LENGTH,
        "not": {"enum": sorted(TAKEN_NAMES)},
    },
    "form": lambda spec: {"type": "object"},
    "assign": lambda spec: {"type": "object", "additionalProperties": _ref("value")},
    "expression_or_text": lambda spec: {"anyOf": [{"type": "string"}, _ref("expression")]},
    "filters": lambda spec: {"type": "array", "items": _ref("filter")},
    "retry_on": lambda spec: {
        "type": "array",
        "items": {"type": "string", "pattern": NOT_BLANK, "maxLength": MAX_NAME_LENGTH},
    },
}

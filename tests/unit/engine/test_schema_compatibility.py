"""Changes of a JSON Schema that can break senders or readers of its values."""

from typing import Any

import pytest

from workflows.engine.json_schema.check import value_problems
from workflows.engine.json_schema.compatibility import breaking_changes
from workflows.engine.json_schema.links import link_schema

FIELDS = {"a": {"type": "string"}, "b": {"type": "integer"}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"title": "A"}, {"title": "B", "description": "x"}, []),
        ({"type": "object"}, {"type": "object", "properties": {"c": {"type": "string"}}}, []),
        ({"type": "integer"}, {"type": "number"}, [("readers", "/type")]),
        ({"type": "number"}, {"type": "integer"}, [("senders", "/type")]),
        ({}, {"type": "string"}, [("senders", "/type")]),
        ({"type": "string"}, {"type": ["string", "null"]}, [("readers", "/type")]),
        ({"type": ["string", "null"]}, {"type": "string"}, [("senders", "/type")]),
        ({"required": ["a"]}, {"required": ["a", "b"]}, [("senders", "/required")]),
        ({"required": ["a", "b"]}, {"required": ["a"]}, [("readers", "/required")]),
        ({"properties": FIELDS}, {"properties": {"a": {"type": "string"}}}, [("readers", "/properties")]),
        (
            {"properties": FIELDS, "additionalProperties": False},
            {"properties": {"a": {"type": "string"}}, "additionalProperties": False},
            [("senders", "/properties")],
        ),
        ({"properties": FIELDS}, {"properties": {**FIELDS, "b": {"type": "string"}}}, [
            ("senders", "/properties/b/type"), ("readers", "/properties/b/type"),
        ]),
        ({}, {"additionalProperties": False}, [("senders", "/additionalProperties")]),
        ({"enum": [1, 2]}, {"enum": [2, 3]}, [("senders", "/enum"), ("readers", "/enum")]),
        ({"enum": [1, 2]}, {"const": 1}, [("senders", "/const")]),
        ({"enum": [1]}, {}, [("readers", "/enum")]),
        ({"minLength": 1}, {"minLength": 2}, [("senders", "/minLength")]),
        ({"minLength": 2}, {"minLength": 1}, []),
        ({"maxItems": 2}, {"maxItems": 1}, [("senders", "/maxItems")]),
        ({}, {"maximum": 1}, [("senders", "/maximum")]),
        ({"items": {"type": "string"}}, {"items": {"type": "integer"}}, [
            ("senders", "/items/type"), ("readers", "/items/type"),
        ]),
        ({}, {"pattern": "a"}, [("senders", "/pattern")]),
        ({"pattern": "a"}, {}, []),
        ({"anyOf": [{"type": "string"}]}, {"anyOf": [{"type": "null"}]}, [("senders", "/anyOf")]),
        ({"$defs": {"x": {}}, "$ref": "#/$defs/x"}, {"$defs": {"x": {"type": "null"}}, "$ref": "#/$defs/x"}, [
            ("senders", "/$defs/x/type"),
        ]),
        (True, False, [("senders", "")]),
    ],
)  # fmt: skip
def test_breaking_changes(before: Any, after: Any, expected: list[tuple[str, str]]) -> None:
    assert [(change.affects, change.pointer) for change in breaking_changes(before, after)] == expected


def test_a_safe_change_refuses_no_value_that_matched_before() -> None:
    schemas: list[Any] = [
        {}, {"type": "object"}, {"required": ["a"]}, {"properties": {"a": {"type": "string"}}}, {"type": "string"},
        {"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}, {"enum": [1, "x"]}, {"const": "x"},
        {"additionalProperties": False, "properties": {"a": {}}}, {"minLength": 2}, {"type": ["string", "integer"]},
        {"additionalProperties": {"type": "string"}}, {"items": {"minimum": 1}}, {"type": "number"}, {"maximum": 1},
    ]  # fmt: skip
    values: list[Any] = [None, 1, 1.5, "x", "xyz", [], [0], [2], {}, {"a": "x"}, {"a": None}, {"a": 1}, {"b": 1}]
    added = ("properties",)  # a new optional field is accepted as a safe change, although it restricts its value
    for before in schemas:
        for after in schemas:
            if any(change.affects == "senders" for change in breaking_changes(before, after)):
                continue
            if any(keyword in after and keyword not in before for keyword in added):
                continue
            for value in values:
                if not value_problems(link_schema(before), value):
                    assert not value_problems(link_schema(after), value), (before, after, value)

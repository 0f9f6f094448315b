"""Check of values with JSON Schema: results of the reference library, bounded steps, no values in messages."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflows.engine.json_schema.check import value_problems
from workflows.engine.json_schema.faults import DIALECT, schema_faults
from workflows.engine.json_schema.links import MAX_DOCUMENTS, link_schema

NAMES = st.sampled_from(["a", "b", "ab"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, 2.5]),
    st.sampled_from(["", "a", "ab", "é"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNTS = st.integers(0, 3)


def keywords(inner: Any) -> Any:
    named, several = st.dictionaries(NAMES, inner, max_size=2), st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, max_size=3), "const": VALUES,
            "minimum": st.integers(-2, 2), "exclusiveMaximum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": COUNTS, "maxLength": COUNTS, "pattern": st.sampled_from(["^a", "b$", "a+"]),
            "minItems": COUNTS, "maxItems": COUNTS, "uniqueItems": st.booleans(),
            "minProperties": COUNTS, "maxProperties": COUNTS, "required": st.lists(NAMES, max_size=2, unique=True),
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=1),
            "properties": named, "additionalProperties": inner, "propertyNames": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "prefixItems": several, "items": inner, "contains": inner, "minContains": COUNTS, "maxContains": COUNTS,
            "allOf": several, "anyOf": several, "oneOf": several, "not": inner,
            "if": inner, "then": inner, "else": inner, "dependentSchemas": named,
            "unevaluatedItems": inner, "unevaluatedProperties": inner, "$ref": st.just("#/$defs/d"),
        },
    )  # fmt: skip


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=4)


@settings(max_examples=600, deadline=None)
@given(
    schema=SCHEMAS,
    defined=keywords(st.booleans()).map(lambda d: {k: v for k, v in d.items() if k != "$ref"}),
    value=VALUES,
)
def test_check_agrees_with_the_reference_library(schema: Any, defined: Any, value: Any) -> None:
    whole = {**(schema if isinstance(schema, dict) else {"allOf": [schema]}), "$defs": {"d": defined}}
    assert schema_faults(whole, max_bytes=1_000_000) == []
    assert (not value_problems(link_schema(whole), value)) == Draft202012Validator(whole).is_valid(value)


EVALUATING = [
    {"contains": {"const": 1}},
    {"prefixItems": [True]},
    {"allOf": [{"prefixItems": [True]}]},
    {"anyOf": [{"items": {"const": 1}}, {"prefixItems": [True, True]}]},
    {"oneOf": [{"contains": {"const": 1}}, {"maxItems": 0}]},
    {"not": {"prefixItems": [True]}},
    {"if": {"prefixItems": [{"const": 1}]}, "then": {"prefixItems": [True, True]}},
    {"properties": {"a": True}},
    {"patternProperties": {"b": True}},
    {"dependentSchemas": {"a": {"properties": {"b": True}}}},
    {
        "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
        "then": {"properties": {"b": True}},
        "else": {"properties": {"ab": True}},
    },
    {"anyOf": [{"properties": {"a": True}}, {"properties": {"b": {"const": 1}}}]},
    {"$ref": "#/$defs/d"},
    {"additionalProperties": {"const": 1}},
    {"oneOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]},
    {"allOf": [{"unevaluatedProperties": {"const": 1}}]},
]
LISTS = [[], [1], [2], [1, 1], [1, 2], [2, 1], [2, 2, 1]]
OBJECTS = [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "ab": 2}, {"ab": 1}]


@pytest.mark.parametrize("schema", EVALUATING, ids=str)
def test_unevaluated_keywords_agree_with_the_reference_library(schema: dict[str, Any]) -> None:
    whole = {
        "unevaluatedItems": False,
        "unevaluatedProperties": False,
        **schema,
        "$defs": {"d": {"properties": {"a": True}}},
    }
    for value in LISTS + OBJECTS:
        assert (not value_problems(link_schema(whole), value)) == Draft202012Validator(whole).is_valid(value), value


@settings(max_examples=200, deadline=None)
@given(
    schema=st.dictionaries(st.sampled_from(["type", "items", "required", "enum", "minLength", "anyOf", "$ref"]), VALUES)
)
def test_schema_faults_agree_with_the_meta_schema(schema: Any) -> None:
    is_schema = next(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema), None) is None
    assert (schema_faults(schema, max_bytes=1_000_000) == []) == is_schema


def test_every_problem_has_a_pointer() -> None:
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string"},
            "lines": {"items": {"properties": {"a/b": {"type": "integer"}, "s": {"enum": ["x", "y"]}}}},
            "who": {"anyOf": [{"type": "string"}, {"required": ["name"]}]},
        },
        "additionalProperties": False,
    }
    found = value_problems(link_schema(schema), {"lines": [{}, {"a/b": "7", "s": "z"}], "who": {}, "more": 1})
    assert found == [
        {"pointer": "", "message": "'id' is missing"},
        {"pointer": "/lines/1/a~1b", "message": "must be integer, but is string"},
        {"pointer": "/lines/1/s", "message": 'must be one of "x", "y"'},
        {
            "pointer": "/who",
            "message": "matches none of 2 alternatives (1: must be string, but is object; 2: 'name' is missing)",
        },
        {"pointer": "/more", "message": "is not allowed here"},
    ]


def test_problems_are_limited_and_never_contain_the_value() -> None:
    schema = {
        "items": {"type": "integer", "pattern": "^[0-9]+$", "const": 1, "maxLength": 3, "not": {"type": "string"}}
    }
    found = value_problems(link_schema(schema), ["hunter2" * 1000] * 100)
    assert len(found) == 20
    assert "hunter2" not in str(found)
    assert all(len(problem["message"]) <= 200 for problem in found)
    (long_key,) = value_problems(link_schema({"additionalProperties": False}), {"k" * 5000: 1})
    assert len(long_key["pointer"]) <= 300


def test_numbers_are_compared_by_their_decimal_form() -> None:
    assert value_problems(link_schema({"multipleOf": 0.01}), 19.99) == []
    assert value_problems(link_schema({"multipleOf": 0.1}), 10**400) == []
    assert value_problems(link_schema({"type": "integer"}), 1.0) == []
    assert value_problems(link_schema({"enum": [1]}), 1.0) == []
    assert value_problems(link_schema({"const": 1}), True) != []


def multiplied(leaf: Any, levels: int = 20) -> dict[str, Any]:
    """Return a schema that checks one value a million times."""
    chain = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**chain, f"d{levels}": leaf}, "$ref": "#/$defs/d0"}


MANY = {f"k{n:05}": "v" for n in range(20_000)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "b"),
        ({"patternProperties": {"^(k+)+!$": True}}, {"k" * 50_000: 1}),
        (multiplied({"type": "object"}), {}),
        (multiplied({"uniqueItems": True}), list(range(50_000))),
        (multiplied({"const": MANY}), MANY),
        (multiplied({"pattern": "[ab]*a[ab]{900}c"}), "ab" * 100_000),
        (multiplied({"propertyNames": True}), MANY),
        (multiplied({"additionalProperties": True}), MANY),
        (multiplied({"unevaluatedProperties": True}), MANY),
        (multiplied({"contains": False, "minContains": 0}), list(range(50_000))),
        (multiplied({"required": list(MANY)[:5000]}), MANY),
        (multiplied({"multipleOf": 1e-300}), 1.7e308),
        (multiplied({"enum": list(range(5000))}), 5),
        ({"anyOf": [{"type": "string"}] * 9000}, MANY),
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#"}]}, {}),
    ],
    ids=lambda part: str(part)[-60:],
)
def test_check_takes_bounded_time(schema: Any, value: Any) -> None:
    started = time.process_time()
    linked = link_schema(schema)
    value_problems(linked, value, max_steps=500_000)
    assert time.process_time() - started < 10  # about 1 s; without a limit it takes minutes or never ends


def test_value_that_cannot_be_checked_is_refused() -> None:
    assert "too complex" in value_problems(link_schema(multiplied({"type": "object"})), {})[0]["message"]
    assert "without end" in value_problems(link_schema({"$ref": "#"}), {})[0]["message"]
    assert "linear time" in value_problems(link_schema({"pattern": "(?=a)"}), "a")[0]["message"]
    assert "not a valid JSON Schema" in value_problems(link_schema({"properties": 5}), {})[0]["message"]


def test_recursive_schema_checks_the_deepest_payload() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"anyOf": [{"$ref": "#"}]}}}}
    value: dict[str, Any] = {}
    for _ in range(31):
        value = {"children": [value]}
    assert value_problems(link_schema(tree), value) == []
    assert value_problems(link_schema(tree), {"children": [{"children": [{"children": 7}]}]}) != []


def test_references_resolve_only_to_documents_of_the_caller() -> None:
    loaded: list[str] = []
    known = {
        "payload.Address.v1": {
            "$id": "https://example.com/address",
            "properties": {"zip": {"$ref": "#/$defs/zip"}, "country": {"$ref": "country"}},
            "$defs": {"zip": {"$anchor": "zip", "type": "string"}},
        },
        "https://example.com/country": {"enum": ["DE"]},
    }

    def load(address: str) -> Any:
        loaded.append(address)
        return known.get(address)

    schema = {
        "properties": {
            "home": {"$ref": "payload.Address.v1"},
            "zip": {"$ref": "payload.Address.v1#zip"},
            "away": {"$ref": "https://elsewhere.example/x"},
        }
    }
    linked = link_schema(schema, load=load, base="payload.Order.v1")
    assert value_problems(linked, {"home": {"zip": "1", "country": "DE"}, "zip": "1"}) == []
    found = value_problems(linked, {"home": {"zip": 1, "country": "FR"}, "zip": 2})
    assert [problem["pointer"] for problem in found] == ["/home/zip", "/home/country", "/zip"]
    (missing,) = value_problems(linked, {"away": 1})
    assert "'https://elsewhere.example/x', which is not known" in missing["message"]
    assert list(linked.missing.values()) == [("https://elsewhere.example/x", ("properties", "away", "$ref"))]
    assert sorted(set(loaded)) == sorted(loaded)  # each address is loaded once


def test_number_of_referenced_documents_is_limited() -> None:
    linked = link_schema({"$ref": "n1"}, load=lambda name: {"$ref": f"n{int(name[1:]) + 1}"}, base="n0")
    assert len(linked.documents) == MAX_DOCUMENTS
    assert "is not known here" in value_problems(linked, 1)[0]["message"]


@pytest.mark.parametrize(
    ("schema", "pointer", "words"),
    [
        ({"type": "text"}, "/type", "alternatives"),
        ({"properties": {"a": {"minLength": -1}}}, "/properties/a/minLength", "at least 0"),
        ({"properties": []}, "/properties", "must be object"),
        ({"$defs": {"x": {"pattern": r"(a)\1"}}}, "/$defs/x/pattern", "linear time"),
        ({"patternProperties": {"a/(?=b)": {}}}, "/patternProperties/a~1(?=b)", "linear time"),
        ({"items": {"$dynamicRef": "#a"}}, "/items/$dynamicRef", "write $ref"),
        ({"dependencies": {"a": ["b"]}}, "/dependencies", "dependentRequired"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "2020-12"),
        ({"a": "x" * 2000}, "", "are allowed"),
    ],
)
def test_fault_of_a_schema_has_its_pointer(schema: Any, pointer: str, words: str) -> None:
    (fault,) = schema_faults(schema, max_bytes=1000)
    assert (fault["pointer"], words in fault["message"]) == (pointer, True), fault


def test_schema_with_a_dialect_is_checked_in_the_same_way() -> None:
    inner = {"$schema": DIALECT, "$id": "https://example.com/inner", "pattern": "^(a+)+$"}
    started = time.process_time()
    assert value_problems(link_schema({"$schema": DIALECT, "allOf": [inner]}), "a" * 10_000 + "b") != []
    assert time.process_time() - started < 5


def test_check_of_a_hostile_schema_takes_bounded_time() -> None:
    started = time.process_time()
    for schema in (
        {"type": [1, "a", None, 2.5] * 15_000},
        {"allOf": [False] * 40_000},
        {"required": list(range(40_000))},
    ):
        schema_faults(schema, max_bytes=300_000)
    assert time.process_time() - started < 20

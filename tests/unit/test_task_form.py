"""Forms of tasks: each kind of schema gives a field, and what was typed gives a value or problems beside the fields.

Source: docs/reference/engine.md#human-tasks
"""

from typing import Any

import pytest

from workflows.admin.task_context import shown_value
from workflows.admin.task_fields import MAX_FIELDS
from workflows.admin.task_form import TaskForm, with_row, without_row
from workflows.admin.task_words import words_of

TEXT = {"type": "string"}
LINE = {"type": "object", "required": ["sku"], "properties": {"sku": TEXT, "pieces": {"type": "integer", "minimum": 1}}}
COLOURS = {"type": "array", "uniqueItems": True, "items": {"enum": ["red", "blue"]}}
TITLED = {"oneOf": [{"const": 1, "title": "One"}, {"const": 2, "title": "Two"}]}


def schema_of(value: Any, *, is_required: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"v": value}, "required": ["v"] if is_required else [], **more}


def typed(**fields: str | list[str]) -> dict[str, list[str]]:
    """Return typed texts. In the names, `__` is the slash of a pointer."""
    names = {name.replace("__", "/"): value for name, value in fields.items()}
    return {f"response/{name}": [value] if isinstance(value, str) else value for name, value in names.items()}


@pytest.mark.parametrize(
    ("schema", "kind", "given", "value"),
    [
        (TEXT, "text", typed(v=" a "), " a "),
        ({"type": ["string", "null"]}, "text", typed(v="a"), "a"),
        ({"type": "string", "maxLength": 500}, "long", typed(v="a\r\nb"), "a\nb"),
        ({"type": "string", "format": "date"}, "date", typed(v="2026-11-30"), "2026-11-30"),
        ({"type": "string", "format": "date-time"}, "datetime", typed(v="2026-11-30T10:00"), "2026-11-30T10:00:00Z"),
        ({"type": "number"}, "number", typed(v="12.50"), 12.5),
        ({"type": "integer"}, "number", typed(v=" 7 "), 7),
        ({"type": "boolean"}, "choice", typed(v="false"), False),
        ({"enum": ["a", 1, None]}, "choice", typed(v="null"), None),
        ({"const": "x"}, "choice", typed(v='"x"'), "x"),
        (TITLED, "choice", typed(v="2"), 2),
        (COLOURS, "checks", typed(v=['"blue"']), ["blue"]),
        ({"type": "array", "items": TEXT}, "list", {"response/v#rows": ["2"], "response/v/1": ["b"]}, ["b"]),
        ({"type": "array"}, "json", typed(v="[1]"), [1]),
        ({"type": "object"}, "json", typed(v="{}"), {}),
        ({}, "json", typed(v="null"), None),
        (True, "json", typed(v='"x"'), "x"),
        ({"$ref": "#/$defs/line"}, "object", typed(v__sku="A", v__pieces="2"), {"sku": "A", "pieces": 2}),
        ({"$ref": "https://else.example/x"}, "json", typed(v="1"), None),
    ],
)
def test_kinds_of_schemas(schema: Any, kind: str, given: dict[str, list[str]], value: Any) -> None:
    whole = schema_of(schema, **{"$defs": {"line": LINE}})
    form = TaskForm(whole, given)
    assert form.fields[0].kind == kind
    if "https" in str(schema):
        assert not form.is_valid()  # the check refuses a reference that is not known
        return
    assert form.is_valid(), form.problems
    assert form.task_response() == {"v": value}
    empty = TaskForm(whole, {})
    assert empty.is_valid(), "an untouched optional field requires nothing"
    assert empty.task_response() == {}
    assert not any(each.typed for each in empty.fields[0].all()), "no field has a value at the start"


@pytest.mark.parametrize(
    ("schema", "given", "problems"),
    [
        (TEXT, {}, {"/v": "This field is required."}),
        ({"type": "boolean"}, {}, {"/v": "Choose one of the 2 values."}),
        (TITLED, typed(v="3"), {"/v": "Choose one of the listed values."}),
        ({**COLOURS, "minItems": 1}, {}, {"/v": "Choose at least one value."}),
        ({**COLOURS, "minItems": 2}, typed(v=['"red"']), {"/v": "must have at least 2"}),
        ({"type": "number"}, typed(v="12,5"), {"/v": "This must be a number"}),
        ({"type": "integer", "maximum": 3}, typed(v="4.5"), {"/v": "must be integer"}),
        ({"type": "string", "format": "date"}, typed(v="30.11.2026"), {"/v": "year-month-day"}),
        ({"type": "string", "format": "date"}, typed(v="2026-02-30"), {"/v": "year-month-day"}),
        ({"type": "string", "format": "date-time"}, typed(v="noon"), {"/v": "a date and a time"}),
        ({"type": "array"}, typed(v="[1"), {"/v": "not valid JSON"}),
        ({"type": "array", "items": TEXT, "minItems": 1}, {}, {"/v": "Add at least one entry."}),
        (LINE, typed(v__pieces="0"), {"/v/sku": "This field is required.", "/v/pieces": "at least 1"}),
        (
            {"type": "array", "items": LINE},
            {"response/v#rows": ["3"], **typed(v__0__sku="A", v__2__pieces="x")},
            {"/v/2/sku": "This field is required.", "/v/2/pieces": "This must be a number"},
        ),
        (
            {"type": "array", "items": {"type": "object"}},
            {"response/v#rows": ["2"], **typed(v__1="[]")},
            {"/v/1": "object"},
        ),
    ],
)  # fmt: skip
def test_wrong_values_give_all_problems_beside_their_fields(
    schema: Any, given: dict[str, list[str]], problems: dict[str, str]
) -> None:
    form = TaskForm(schema_of(schema, is_required=True), given)
    assert not form.is_valid()
    shown = {field.pointer: " ".join(field.errors) for field in form.problems}
    assert set(shown) == set(problems)
    assert all(text in shown[pointer] for pointer, text in problems.items()), shown
    assert form.errors == []


def test_conditional_rules_show_their_problem_beside_the_field() -> None:
    schema = schema_of(TEXT) | {"if": {}, "then": {"required": ["v"]}, "dependentRequired": {"v": ["w"]}}
    form = TaskForm(schema, {})
    assert not form.is_valid()
    assert form.fields[0].errors == ["This field is required."]


def test_box_for_no_value_is_offered_where_nothing_can_be_typed() -> None:
    lists = schema_of({"type": "array", "items": TEXT}, is_required=True)
    nullable = schema_of({"type": ["integer", "null"]}, is_required=True)
    for schema, value in ((lists, []), (schema_of(COLOURS, is_required=True), []), (nullable, None)):
        assert TaskForm(schema, {}).fields[0].has_none_box
        form = TaskForm(schema, {"response/v#none": ["on"]})
        assert form.is_valid(), form.problems
        assert form.task_response() == {"v": value}
    assert not TaskForm(schema_of(TEXT, is_required=True)).fields[0].has_none_box


def test_rows_can_be_added_and_removed_and_keep_what_was_typed() -> None:
    schema = schema_of({"type": "array", "items": LINE})
    given = {"response/v#rows": ["2"], **typed(v__0__sku="A", v__1__sku="B")}
    more = TaskForm(schema, with_row(given, "response/v"))
    assert [row.children[0].text for row in more.fields[0].children] == ["A", "B", ""]
    less = TaskForm(schema, without_row(given, "response/v/0"))
    assert [row.children[0].text for row in less.fields[0].children] == ["B"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"}, {"required": ["x"]}, {"oneOf": [{"type": "string"}]}, True, None,
        {"properties": {f"p{n}": TEXT for n in range(MAX_FIELDS + 1)}},
        {"$ref": "#"},
    ],
)  # fmt: skip
def test_schema_without_properties_is_answered_with_json_that_starts_empty(schema: Any) -> None:
    form = TaskForm(schema)
    assert [field.kind for field in form.fields] == ["json"]
    assert form.fields[0].text == ""
    assert TaskForm(schema, {"response": [""]}).is_valid() is (schema is None)


def test_schema_that_contains_itself_ends_in_json() -> None:
    node = {"type": "object", "properties": {"name": TEXT, "next": {"$ref": "#/$defs/node"}}}
    form = TaskForm(schema_of({"$ref": "#/$defs/node"}, **{"$defs": {"node": node}}))
    kinds = [field.kind for field in form.fields[0].all()]
    assert kinds[-1] == "json"
    assert len(kinds) < 30


def test_keys_with_special_characters_have_names_and_ids_of_their_own() -> None:
    keys = ["a/b", "a~b", "a b", 'a"b', "ä", "a-b"]
    form = TaskForm({"properties": dict.fromkeys(keys, TEXT)}, {"response/a~1b": ["x"]})
    assert form.is_valid()
    assert form.task_response() == {"a/b": "x"}
    assert len({field.html_id for field in form.fields}) == len(keys)


@pytest.mark.parametrize(
    ("key", "words"),
    [("payOutOn", "Pay out on"), ("cost_centre", "Cost centre"), ("IBAN", "IBAN"), ("isVIP", "Is VIP"), ("a.b", "a.b")],
)
def test_keys_are_shown_as_words(key: str, words: str) -> None:
    assert words_of(key) == words


def test_context_is_readable() -> None:
    shown = shown_value({"lines": [{"sku": "A", "n": 1}, {"sku": "B"}], "tags": ["x", True], "note": "y" * 400})
    parts = dict(shown.facts)
    assert (parts["Lines"].kind, parts["Lines"].columns) == ("table", ["Sku", "N"])
    assert [cell.text for cell in parts["Lines"].rows[1]] == ["B", ""]
    assert [item.text for item in parts["Tags"].items] == ["x", "yes"]
    assert parts["Note"].kind == "long"
    long = shown_value([{"a": n} for n in range(80)])
    assert (len(long.rows), long.more) == (50, 30)
    nested: Any = "x"
    for _ in range(9):
        nested = {"k": nested}
    assert "json" in str(shown_value(nested))

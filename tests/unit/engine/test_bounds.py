"""Limits for the data of authors and senders, so that no workflow task takes long (docs/reference/engine.md#errors)."""

from typing import Any

import pytest

from workflows.engine.errors import RunError
from workflows.engine.json_schema.forms import form_problem, form_schema_problem
from workflows.engine.scope import Scope, parse_target
from workflows.engine.transforms import TRANSFORMS
from workflows.engine.validate import validate


def test_unsupported_keyword_is_refused() -> None:
    form = {"properties": {"a": {"$dynamicRef": "#x"}}}
    assert form_schema_problem(form) == (
        "the form is not a valid JSON Schema: "
        "/properties/a/$dynamicRef: the keyword $dynamicRef is not supported; write $ref"
    )


def test_unique_items_compares_json_values() -> None:
    form = {"properties": {"l": {"uniqueItems": True}}}
    assert form_problem(form, {"l": [1, "1", True, None, [1], {"a": 1}]}) is None
    assert "must be unique" in str(form_problem(form, {"l": [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]}))


def test_check_of_a_form_with_too_many_references_stops() -> None:
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    form = {"$defs": {**levels, "d20": {"type": "object"}}, "$ref": "#/$defs/d0"}
    assert "too complex" in str(form_problem(form, {}))


def test_response_that_cannot_be_checked_is_refused() -> None:
    assert "cannot be checked" in str(form_problem({"properties": {"n": {"$ref": "https://a.example/b"}}}, {"n": 1}))
    assert "cannot be checked" in str(form_problem({"properties": {"n": {"minimum": "1"}}}, {"n": 1}))
    assert "without end" in str(form_problem({"$ref": "#"}, {}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("join", {"values": [""] * 60_000, "separator": "x" * 60_000}),
        ("join", {"values": [["x" * 20_000]] * 100, "separator": ""}),
        ("template", {"template": "{{a}}" * 1_000, "values": {"a": "x" * 20_000}}),
        ("split", {"text": "," * 200_000, "separator": ","}),
    ],
)
def test_output_of_a_transform_is_bounded(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(RunError) as raised:
        TRANSFORMS[(f"transform.{name}", 1)](value, 2)
    assert raised.value.code == "OUTPUT_TOO_LARGE"


def test_merge_copies_its_input() -> None:
    first, second = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert TRANSFORMS[("transform.merge", 1)]({"values": [first, second]}, 2)["result"] == {"a": {"b": 1, "c": 2}}
    assert first == {"a": {"b": 1}}


@pytest.mark.parametrize("target", ["vars." + ".".join("a" * 40), "vars." + "a" * 600])
def test_too_long_target_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        parse_target(target)


def test_number_with_hundreds_of_digits_is_not_an_index() -> None:
    scope = Scope(payload={}, system={}, vars={"l": [1]})
    with pytest.raises(RunError, match="has no index"):
        scope.put(parse_target("/vars/l/" + "1" * 400), 2)


def test_literal_nested_deeper_than_a_payload_is_refused() -> None:
    from tests.support.factories import make_definition
    from workflows.engine.validate import Known

    deep: dict[str, Any] = {}
    for _ in range(80):
        deep = {"a": deep}
    step = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": deep}}}
    found = validate(make_definition(step), Known(actions={}, schema_refs=frozenset({"payload.Any.v1"})))
    assert [problem.code for problem in found] == ["VALUE_NOT_STORABLE"]


def test_error_object_contains_only_storable_values() -> None:
    error = RunError(
        "Nonsense", "half \ud800 and \x00", details={"at": object, "list": (1, float("nan")), "x\x00": "\ud800"}
    )
    shown = error.as_object(node_path="", now_ms=0)
    assert (shown["category"], shown["message"]) == ("ActionError", "half ? and \ufffd")
    assert set(shown["details"]) == {"at", "list", "x\ufffd"}

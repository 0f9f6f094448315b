"""What an author or a sender gives is bounded where it is checked, so that no workflow task takes long (docs/reference/engine.md#errors)."""

from typing import Any

import pytest

from workflows.engine.errors import RunError
from workflows.engine.json_schema.forms import form_problem, form_schema_problem
from workflows.engine.scope import Scope, parse_target
from workflows.engine.transforms import TRANSFORMS
from workflows.engine.validate import validate


def test_a_keyword_that_is_not_looked_at_is_refused() -> None:
    form = {"properties": {"a": {"$dynamicRef": "#x"}}}
    assert form_schema_problem(form) == (
        "the form is no JSON Schema: /properties/a/$dynamicRef: the keyword $dynamicRef is not supported; write $ref"
    )


def test_unique_entries_are_those_of_json() -> None:
    form = {"properties": {"l": {"uniqueItems": True}}}
    assert form_problem(form, {"l": [1, "1", True, None, [1], {"a": 1}]}) is None
    assert "not unique" in str(form_problem(form, {"l": [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]}))


def test_a_form_that_multiplies_its_references_is_given_up() -> None:
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    form = {"$defs": {**levels, "d20": {"type": "object"}}, "$ref": "#/$defs/d0"}
    assert "too complex" in str(form_problem(form, {}))


def test_a_response_that_cannot_be_checked_does_not_fit() -> None:
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
def test_what_a_transform_makes_is_bounded(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(RunError) as raised:
        TRANSFORMS[(f"transform.{name}", 1)](value)
    assert raised.value.code == "OUTPUT_TOO_LARGE"


def test_merge_copies_what_it_takes() -> None:
    first, second = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert TRANSFORMS[("transform.merge", 1)]({"values": [first, second]})["result"] == {"a": {"b": 1, "c": 2}}
    assert first == {"a": {"b": 1}}


@pytest.mark.parametrize("target", ["vars." + ".".join("a" * 40), "vars." + "a" * 600])
def test_a_target_that_leads_too_deep_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        parse_target(target)


def test_an_index_of_thousands_of_digits_is_no_index() -> None:
    scope = Scope(payload={}, system={}, vars={"l": [1]})
    with pytest.raises(RunError, match="no index"):
        scope.put(parse_target("/vars/l/" + "1" * 400), 2)


def test_a_literal_nests_no_deeper_than_a_payload() -> None:
    from tests.support.factories import make_definition
    from workflows.engine.validate import Known

    deep: dict[str, Any] = {}
    for _ in range(80):
        deep = {"a": deep}
    step = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": deep}}}
    found = validate(make_definition(step), Known(actions={}, schema_refs=frozenset({"payload.Any.v1"})))
    assert [problem.code for problem in found] == ["VALUE_NOT_STORABLE"]


def test_errors_hold_what_can_be_stored() -> None:
    error = RunError(
        "Nonsense", "half \ud800 and \x00", details={"at": object, "list": (1, float("nan")), "x\x00": "\ud800"}
    )
    shown = error.as_object(node_path="", now_ms=0)
    assert (shown["category"], shown["message"]) == ("ActionError", "half ? and \ufffd")
    assert set(shown["details"]) == {"at", "list", "x\ufffd"}

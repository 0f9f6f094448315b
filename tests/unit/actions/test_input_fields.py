"""Fields of an action's input are checked when a definition is published."""

from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from tests.support.factories import expr, make_definition
from workflows.actions.input_fields import model_fields, registered_input_fields
from workflows.engine.validate import Known, Problem, validate


class Line(BaseModel):
    sku: str
    parts: list["Line"] = []


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: str = Field(validation_alias=AliasChoices("number", "no"))
    lines: list[Line] | None = None
    free: dict[str, Any] = {}


class Renaming(BaseModel):
    model_config = ConfigDict(extra="forbid")

    a: int = 1

    @model_validator(mode="before")
    @classmethod
    def rename(cls, value: Any) -> Any:
        return {"a": value["b"]}


def problems(action: str, value: dict[str, Any]) -> list[Problem]:
    fields = registered_input_fields()
    orders = model_fields(Order)
    assert orders is not None
    fields["crm.order", 1] = orders
    actions = {name: frozenset({1}) for name, _ in fields}
    known = Known(actions=actions, schema_refs=frozenset({"payload.Any.v1"}), action_fields=fields)
    step = {"id": "a", "type": "action.call", "config": {"actionId": action, "version": 1, "inputMapping": value}}
    return validate(make_definition(step), known)


@pytest.mark.parametrize(
    ("action", "value", "place", "near"),
    [
        ("notifications.send_in_app", {"recipients": {}, "titel": "T"}, "titel", "title"),
        (
            "notifications.send_in_app",
            {"recipients": {"user_id": ["u"]}, "title": "T"},
            "recipients.user_id",
            "user_ids",
        ),
        ("email.send", {"to": [{"email": "a@b.c"}, {"mail": "x"}], "subject": "S"}, "to[1].mail", "email"),
        ("email.send", {"to": expr("payload.to"), "subjekt": expr("'S'")}, "subjekt", "subject"),
        ("store.set", {"key": "k", "value": 1, "ifRevison": 0}, "ifRevison", "ifRevision"),
        ("transform.join", {"values": [], "seperator": ","}, "seperator", "separator"),
        ("crm.order", {"numbr": "1"}, "numbr", "number"),
    ],
)
def test_an_unknown_field_is_an_error_with_the_nearest_name(
    action: str, value: dict[str, Any], place: str, near: str
) -> None:
    (problem,) = problems(action, value)
    assert (problem.code, problem.is_error) == ("ACTION_FIELD_UNKNOWN", True)
    assert problem.path == f"root.steps[0].config.inputMapping.{place}"
    assert problem.suggestion == f"did you mean {near!r}?"


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("http.request", {"url": "https://x.example", "headers": {"X-Any": "1"}, "body": {"any": [{"thing": 1}]}}),
        ("http.request", {"url": "https://x.example", "timeoutSeconds": 5, "fail_on_status": False}),
        ("email.send", {"to": expr("payload.people"), "replyTo": "a@b.c", "subject": "S", "idempotency_key": "k"}),
        ("store.set", {"key": "k", "value": {"any": 1}, "ttl_seconds": 5}),
        ("celery.call", {"task": "t", "kwargs": {"any": 1}, "isIdempotent": True}),
        ("transform.template", {"template": "{{a}}", "values": {"a": 1}}),
        ("crm.order", {"no": "1", "free": {"any": 1}, "lines": [{"sku": "x", "parts": [{"sku": "y"}]}]}),
    ],
)
def test_known_fields_in_every_spelling_are_no_problem(action: str, value: dict[str, Any]) -> None:
    assert problems(action, value) == []


def test_a_field_that_the_model_ignores_is_a_warning() -> None:
    (problem,) = problems("crm.order", {"no": "1", "lines": [{"sku": "x", "parts": [{"skuu": "y"}]}]})
    assert (problem.code, problem.is_error) == ("ACTION_FIELD_IGNORED", False)
    assert problem.path.endswith("inputMapping.lines[0].parts[0].skuu")


def test_a_model_that_rewrites_its_input_is_not_checked() -> None:
    assert model_fields(Renaming) is None

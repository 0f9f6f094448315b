"""Validation of texts with the names of a tenant, and the JSON Schema of the language (docs/api.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import expr, make_actor, make_definition, make_token, publish
from tests.support.management_commands import run_command
from tests.support.members import member_of
from workflows.engine.definition import canonical_text
from workflows.engine.validation.language_schema import language_schema
from workflows.models import Command, Definition, EventType
from workflows.services.schemas import schema_save
from workflows.statuses import Role

TICKET = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["id"],
    "additionalProperties": False,
}
TEXT = """{
  "id": "flow", "version": 1, "name": "Flow", "payloadSchemaRef": "payload.Any.v1",
  "steps": [
    {"id": "a", "type": "state.sett", "config": {"state": "X"}},
    {"id": "b", "type": "transform.assign",
     "config": {"assign": {"vars.x": {"$expr": "'\\u00e4' & lenght(payload.a)"}}}},
    {"id": "a", "type": "action.call", "config": {"actionId": "http.requst", "version": 1}}
  ]
}
"""


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.AUTHOR))


def state(step_id: str = "s") -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": "X"}}


def call(action: str, **mapping: Any) -> dict[str, Any]:
    config = {"actionId": action, "version": 1, "inputMapping": mapping, "saveAs": "answer"}
    return {"id": "call", "type": "action.call", "config": config}


def problems_of(api: Api, *steps: dict[str, Any], **envelope: Any) -> list[tuple[str, str]]:
    found = api.post("/language/validate", {"document": make_definition(*steps, **envelope)}).json()
    assert found["valid"] == all(problem["severity"] == "warning" for problem in found["problems"])
    return [(problem["code"], problem["pointer"]) for problem in found["problems"]]


def test_text_is_validated_with_lines_and_columns_and_is_not_stored(tenant: Any, api: Api) -> None:
    found = api.post("/language/validate", {"text": TEXT}).json()
    lines = TEXT.splitlines()
    marked = {each["code"]: lines[each["line"] - 1][each["column"] - 1 :] for each in found["problems"]}
    assert not found["valid"]
    assert marked["STEP_TYPE_UNKNOWN"].startswith('"state.sett"')
    assert marked["EXPRESSION_FUNCTION_NOT_ALLOWED"].startswith("lenght(")
    assert marked["ACTION_UNKNOWN"].startswith('"http.requst"')
    assert marked["STEP_ID_TWICE"].startswith('"a"')
    assert [each["line"] for each in found["problems"]] == [4, 6, 7, 7]
    assert not Definition.objects.filter(tenant=tenant).exists()
    assert not Command.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ('{"id": "a",\n "name": }', "JSON_INVALID", (2, 10)),
        ("", "JSON_INVALID", (1, 1)),
        ("[" * 200_000, "JSON_INVALID", (1, 1)),
        ('{"id": NaN}', "JSON_INVALID", (1, 1)),
        ('{"id": "a",\n "id": "b"}', "VALUE_NOT_STORABLE", (2, 2)),
        ('{"version": 1e400}', "VALUE_NOT_STORABLE", (1, 13)),
    ],
)
def test_text_that_cannot_be_a_definition(api: Api, text: str, code: str, place: tuple[int, int]) -> None:
    (found,) = api.post("/language/validate", {"text": text}).json()["problems"]
    assert (found["code"], (found["line"], found["column"])) == (code, place)


def test_names_and_types_of_the_tenant_are_known(tenant: Any, api: Api) -> None:
    schema_save(actor=make_actor(tenant), ref="payload.Ticket.v1", schema=TICKET, title="")
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Ticket.v1")
    EventType.objects.create(tenant=tenant, name="KEYED", correlation_paths=["id"])
    child = publish(tenant, state(), key="child", payloadSchemaRef="payload.Ticket.v1")
    wait = {"id": "w", "type": "event.wait", "config": {"eventName": "PAID", "correlationKey": expr("payload.id")}}
    keyed = {**wait, "id": "k", "config": {**wait["config"], "eventName": "KEYED"}}
    calling = {"id": "c", "type": "control.callWorkflow", "workflowId": str(child.definition_id), "workflowVersion": 1}
    choice = {"id": "if", "type": "control.if", "condition": expr("answer.status"), "then": []}
    ticket = {"payloadSchemaRef": "payload.Ticket.v1"}

    assert problems_of(api, wait, keyed, **ticket) == [("WAIT_UNKEYED", "/steps/0/config/eventName")]
    assert problems_of(api, {**calling, "inputMapping": {"count": "x"}}) == [
        ("INPUT_MISSING", "/steps/0/inputMapping/id"),
        ("TYPE_MISMATCH", "/steps/0/inputMapping/count"),
    ]
    sent = call("http.request", url=expr("payload.count"))
    assert problems_of(api, sent, choice, **ticket) == [
        ("TYPE_MISMATCH", "/steps/0/config/inputMapping/url"),
        ("TYPE_MISMATCH", "/steps/1/condition"),
    ]
    assert problems_of(api, call("email.send", subject="S")) == [("INPUT_MISSING", "/steps/0/config/inputMapping/to")]


def test_definition_that_calls_itself_over_another_is_a_warning(tenant: Any, api: Api) -> None:
    calling = {"id": "c", "type": "control.callWorkflow", "workflowId": "other", "workflowVersion": 1}
    publish(tenant, {**calling, "workflowId": "flow"}, key="other")
    assert problems_of(api, calling) == [("CALL_ENDLESS", "/steps/0/workflowId")]


def test_page_of_a_draft_shows_severity_and_place_of_its_problems(tenant: Any) -> None:
    document = make_definition({**state(), "type": "state.sett"}, key="draft")
    row = Definition.objects.create(tenant=tenant, key="draft", name="Draft", draft_text=canonical_text(document))
    page = member_of(tenant).get(reverse("admin:workflows_definition_change", args=[row.id]))
    shown = " ".join(page.content.decode().split())
    problem = "<b>Error</b> <code>STEP_TYPE_UNKNOWN</code> <bdi>root.steps[0].type</bdi> (line 11, column 15)"
    assert problem in shown


def test_schema_of_the_language_is_served(api: Api) -> None:
    assert api.get("/language/schema").json() == json.loads(json.dumps(language_schema()))


def test_only_authors_validate_and_a_body_has_one_form(tenant: Any, api: Api) -> None:
    viewer = Api(make_token(tenant, Role.OPERATOR))
    assert error_of(viewer.post("/language/validate", {"text": "{}"}), 403)["code"] == "PERMISSION_DENIED"
    for body in ({}, {"text": "{}", "document": {}}):
        assert error_of(api.post("/language/validate", body), 400)["code"] == "VALIDATION_ERROR"


def test_command_prints_the_problems_and_fails_for_errors(tenant: Any, tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(make_definition(state(), key="flow")))
    assert "can be published; 0 warnings" in run_command("validate_definition", str(file), "--tenant", tenant.slug)
    file.write_text(TEXT)
    with pytest.raises(CommandError, match="4 errors and 0 warnings"):
        run_command("validate_definition", str(file), "--tenant", tenant.slug)

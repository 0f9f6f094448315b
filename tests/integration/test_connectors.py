"""HTTP connectors and the catalogue of actions: services, API and pages."""

import json
from typing import Any

import pytest
from django.urls import reverse

from tests.support.action_steps import action_step
from tests.support.api import Api, error_of
from tests.support.factories import expr, make_actor, make_definition, make_token, publish
from tests.support.fakes import fake_api
from tests.support.members import member_of
from workflows.actions.registry import registered_actions
from workflows.actions.transform_entries import TRANSFORM_ENTRIES
from workflows.engine.definition import canonical_text
from workflows.engine.transforms import TRANSFORM_FIELDS, TRANSFORMS
from workflows.errors import Conflict, InputInvalid
from workflows.models import Command, Connector, Definition
from workflows.services.connectors import connector_delete, connector_save
from workflows.services.definitions.problems import definition_problems
from workflows.services.references import Referred
from workflows.services.secrets import secret_save
from workflows.services.uses import MAX_USES, uses_of
from workflows.statuses import Role

SPEC = {"label": "Create a contact", "url": "https://crm.example/contacts"}
SECRET = "correct-horse-battery"


def save(tenant: Any, action_id: str = "crm.create", version: int | None = None, **spec: Any) -> Connector:
    return connector_save(actor=make_actor(tenant), action_id=action_id, version=version, spec={**SPEC, **spec}).row


@pytest.mark.parametrize(
    ("changes", "field", "pointer", "message"),
    [
        ({"url": "https://{host}/x"}, "url", "", "a fixed host"),
        ({"url": "https://a.example:{port}/x"}, "url", "", "a fixed host"),
        ({"url": "https://user@a.example/x"}, "url", "", "a fixed host"),
        ({"url": "ftp://a.example"}, "url", "", "a fixed host"),
        ({"url": "https://a.example/{a b}"}, "url", "", "not a dotted path"),
        ({"url": "https://a.example/{a"}, "url", "", "single '{'"),
        ({"headers": {"Host\n": "x"}}, "headers", "/Host\n", "only letters"),
        ({"headers": {"Connection": "x"}}, "headers", "/Connection", "sets this header itself"),
        ({"headers": {"Authorization": "Bearer abc"}}, "headers", "/Authorization", "looks like a credential"),
        ({"query": {"api_key": "abc"}}, "query", "/api_key", "looks like a credential"),
        ({"headers": {"X-A": {"$secret": "lower"}}}, "headers", "/X-A", "names no secret"),
        ({"headers": {"X-A": {"$expr": "1"}}}, "headers", "/X-A", "may have only $input or $secret"),
        ({"body": {"a": [{"$input": "a b"}]}}, "body", "/a/0", "dotted path"),
        ({"body": {"$input": "a", "b": 1}}, "body", "", "has other keys"),
        ({"body": {}, "method": "GET"}, "body", "", "has no body"),
        ({"body": [], "body_format": "form"}, "body", "", "must be an object"),
        ({"output": {"$secret": "A"}}, "output", "", "may have only $response"),
        ({"input_schema": {"type": "text"}}, "input_schema", "/type", ""),
        ({"output_schema": {"$ref": "payload.Other.v1"}}, "output_schema", "/$ref", "only to themselves"),
        ({"success": {"statuses": []}}, "success", "/statuses", ""),
        ({"success": {"statuses": ["6xx"]}}, "success", "/statuses/0", "a group of statuses"),
        ({"success": {"filters": [{"path": "a", "op": "~"}]}}, "success", "/filters/0/op", "must be one of"),
        ({"retry": {"max_attempts": 0}}, "retry", "/max_attempts", ""),
        ({"idempotency_header": "a b"}, "idempotency_header", "", "only letters"),
        ({"timeout_seconds": 61}, "timeout_seconds", "", ""),
        ({"examples": [{}], "input_schema": {"required": ["a"]}}, "examples", "/0", "does not match the input schema"),
        ({"metod": "GET"}, "metod", "", ""),
        ({"label": "\ud800"}, "", "/label", ""),
    ],
)
def test_problem_of_a_connector_names_its_field(
    tenant: Any, changes: dict[str, Any], field: str, pointer: str, message: str
) -> None:
    with pytest.raises(InputInvalid) as refusal:
        save(tenant, **changes)
    assert refusal.value.code == "CONNECTOR_INVALID"
    problem = refusal.value.details["problems"][0]
    assert (problem["field"], problem["pointer"]) == (field, pointer)
    assert message in problem["message"]
    assert not Connector.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("action_id", ["http.request", "transform.pick", "a b", "", "x" * 201, "a/b"])
def test_action_id_must_be_free_and_valid(tenant: Any, action_id: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        save(tenant, action_id)
    assert refusal.value.details["problems"][0]["field"] == "action_id"


def test_published_version_is_found_behind_many_drafts(tenant: Any) -> None:
    save(tenant)
    step = action_step(action="crm.create", inputMapping={})
    publish(tenant, step, key="z")
    text = canonical_text(make_definition(step))
    Definition.objects.bulk_create(
        Definition(tenant=tenant, key=f"a{number}", name="a", draft_text=text) for number in range(MAX_USES)
    )
    with pytest.raises(Conflict) as refusal:
        save(tenant, version=1, label="Changed")
    assert refusal.value.code == "CONNECTOR_IN_USE"


def test_repeated_request_of_the_api_changes_nothing_again(tenant: Any) -> None:
    api = Api(make_token(tenant, Role.ADMIN))
    for _ in range(2):
        made = api.post("/connectors", {"action_id": "crm.create", "spec": SPEC}, **{"Idempotency-Key": "a"})
        assert (made.status_code, made.json()["version"]) == (201, 1)
    with fake_api(lambda number: (200, {})) as target:
        save(tenant, version=1, url=target.url)
        sent = [
            api.post("/connectors/crm.create/1/test", {"input": {}}, **{"Idempotency-Key": "b"}).status_code
            for _ in range(2)
        ]
    assert (sent, len(target.requests)) == ([200, 409], 1)
    for _ in range(2):
        assert api.delete("/connectors/crm.create/1", **{"Idempotency-Key": "c"}).status_code == 204


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/connectors", {"action_id": "a.b", "spec": "text"}, "CONNECTOR_INVALID"),
        ("/connectors/crm.create/1/test", f'{{"input": {"[" * 2000}1{"]" * 2000}}}', "PAYLOAD_INVALID"),
        ("/connectors/crm.create/1/test", {"input": {"id": "\ud800"}}, "PAYLOAD_INVALID"),
    ],
)
def test_unusable_value_is_refused_with_its_reason(tenant: Any, path: str, body: Any, code: str) -> None:
    save(tenant)
    assert error_of(Api(make_token(tenant, Role.ADMIN)).post(path, body), 400)["code"] == code


def test_version_in_use_cannot_be_changed_and_a_new_version_can_be_made(tenant: Any) -> None:
    first = save(tenant)
    save(tenant, version=1, label="Changed, because nothing calls it")
    publish(tenant, action_step(action="crm.create", inputMapping={}), key="caller")
    publish(tenant, action_step(action="http.request", inputMapping={"url": "https://x.example"}), key="caller")
    for change in (
        lambda: save(tenant, version=1, label="Changed"),
        lambda: connector_delete(actor=make_actor(tenant), action_id="crm.create", version=1),
    ):
        with pytest.raises(Conflict) as refusal:
            change()
        assert refusal.value.code == "CONNECTOR_IN_USE"
        assert refusal.value.details["usedBy"] == [
            {"kind": "definition", "name": "caller", "where": "version 1", "version": 1, "steps": ["root.steps[0]"]}
        ]
    first.refresh_from_db()
    assert first.label == "Changed, because nothing calls it"
    second = save(tenant)
    assert second.version == 2
    connector_delete(actor=make_actor(tenant), action_id="crm.create", version=2)
    ledger = Command.objects.filter(tenant=tenant, action="edit_connector").values_list("state", flat=True)
    assert sorted(ledger) == ["observed", "observed", "observed", "observed", "refused", "refused"]


def test_validation_knows_the_schemas_of_a_connector(tenant: Any) -> None:
    closed = {
        "type": "object", "required": ["name"], "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    }  # fmt: skip
    output = {"type": "object", "properties": {"id": {}}, "additionalProperties": False}
    save(tenant, input_schema=closed, output_schema=output)
    call = action_step(action="crm.create", inputMapping={"other": "x", "age": expr("'old'")})
    read = {"id": "read", "type": "transform.assign", "config": {"assign": {"x": expr("vars.answer.idd")}}}
    found = definition_problems(make_definition(call, read), tenant_id=tenant.id)
    assert {(problem.code, problem.path.rpartition(".")[2]) for problem in found} == {
        ("ACTION_FIELD_UNKNOWN", "other"), ("INPUT_MISSING", "name"), ("TYPE_MISMATCH", "age"),
        ("PATH_UNKNOWN", "x"),
    }  # fmt: skip
    unknown = definition_problems(make_definition(action_step(action="crm.creat")), tenant_id=tenant.id)
    assert [(problem.code, problem.suggestion) for problem in unknown] == [
        ("ACTION_UNKNOWN", "did you mean 'crm.create'?")
    ]


def test_only_administrators_change_connectors_and_authors_test_them(tenant: Any) -> None:
    author, operator, admin = (Api(make_token(tenant, role)) for role in (Role.AUTHOR, Role.OPERATOR, Role.ADMIN))
    body = {"action_id": "crm.create", "spec": SPEC}
    assert error_of(author.post("/connectors", body), 403)["code"] == "PERMISSION_DENIED"
    created = admin.post("/connectors", body)
    assert (created.status_code, created.json()["version"], created.json()["used_by"]) == (201, 1, [])
    listed = operator.get("/connectors").json()["results"]
    assert [(row["action_id"], row["version"], "spec" in row) for row in listed] == [("crm.create", 1, False)]
    assert operator.get("/connectors/crm.create/1").json()["spec"]["method"] == "POST"
    error_of(operator.post("/connectors/crm.create/1/test", {"input": {}}), 403)
    assert error_of(author.post("/connectors/crm.create/9/test", {"input": {}}), 404)["code"] == "CONNECTOR_NOT_FOUND"
    changed = admin.client.put(
        "/api/v1/connectors/crm.create/1", json.dumps({"spec": {**SPEC, "label": "B"}}), content_type="application/json"
    )
    assert (changed.status_code, changed.json()["label"]) == (200, "B")
    assert admin.client.delete("/api/v1/connectors/crm.create/1").status_code == 204


def test_test_call_shows_request_and_response_without_secrets(tenant: Any) -> None:
    secret_save(actor=make_actor(tenant), name="CRM_KEY", value=SECRET)
    author = Api(make_token(tenant, Role.AUTHOR))
    client = member_of(tenant, role="author")
    with fake_api(lambda number: (200 if number != 3 else 500, {"you": f"sent {SECRET}", "password": "x"})) as api:
        row = save(
            tenant, url=f"{api.url}/a", query={"key": {"$secret": "CRM_KEY"}}, body={"$input": ""},
            headers={"X-Secret": {"$secret": "CRM_KEY"}}, examples=[{"n": 1}],
        )  # fmt: skip
        path = f"/connectors/{row.action_id}/{row.version}/test"
        good = author.post(path, {"input": {"n": 1}}).json()
        page = reverse("admin:workflows_connector_test", args=[row.id])
        shown = client.get(page).content.decode()
        assert ("&quot;n&quot;: 1" in shown, f"<code>POST {api.url}/a</code>" in shown) == (True, True)
        listed = client.get(reverse("admin:workflows_connector_changelist")).content.decode()
        assert f"POST {api.url}/a" in listed
        key = "0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a11"
        shown = [client.post(page, {"input": '{"n": 2}', "idempotency_key": key}).content.decode() for _ in range(2)]
        bad = author.post(path, {"input": {"n": 3}}).json()
        wrong = author.post(path, {"input": 5}).json()
    assert [json.loads(request.body)["n"] for request in api.requests] == [1, 2, 3]
    assert all(request.headers["X-Secret"] == SECRET and SECRET in request.path for request in api.requests)
    assert good["succeeded"] is True
    assert good["output"] == {"you": "sent [secret CRM_KEY]", "password": "[redacted]"}
    assert good["request"]["query"] == {"key": "[secret CRM_KEY]"}
    assert "The call succeeded" in shown[0]
    assert "no second request was sent" in shown[1]
    assert (bad["error"]["code"], bad["error"]["category"]) == ("HTTP_500", "TransientError")
    assert (wrong["error"]["code"], wrong["request"]) == ("ACTION_INPUT_INVALID", None)
    assert SECRET not in json.dumps([good, bad, wrong, shown])
    commands = Command.objects.filter(tenant=tenant, action="test_connector").order_by("requested_at")
    assert [(row.state, row.details["succeeded"]) for row in commands] == [
        ("observed", True), ("observed", True), ("observed", False), ("observed", False),
    ]  # fmt: skip
    assert SECRET not in json.dumps([[row.payload, row.details] for row in commands])


def test_administrator_edits_a_connector_in_the_admin(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    add = reverse("admin:workflows_connector_add")
    fields = {
        "action_id": "crm.create", "label": "Create", "category": "CRM", "method": "POST", "body_format": "json",
        "url": "https://crm.example/{id}", "timeout_seconds": "5", "headers": '{"Authorization": "Bearer abc"}',
    }  # fmt: skip
    assert "JSON Schema 2020-12 of the input" in client.get(add).content.decode()
    wrong = client.post(add, fields).content.decode()
    assert "looks like a credential" in wrong
    assert "Bearer abc" in wrong
    fields["headers"] = '{"Authorization": {"$secret": "CRM"}}'
    assert client.post(add, fields).status_code == 302
    row = Connector.objects.get(tenant=tenant)
    assert (row.spec["headers"], row.spec["success"]["statuses"]) == ({"Authorization": {"$secret": "CRM"}}, ["2xx"])
    page = reverse("admin:workflows_connector_change", args=[row.id])
    assert "Change version 1" in client.get(page).content.decode()
    assert "This field is required" in client.post(page, fields).content.decode()
    assert client.post(page, {**fields, "label": "B", "save_as": "version"}).status_code == 302
    publish(tenant, action_step(action="crm.create", inputMapping={}))
    shown = client.get(page).content.decode()
    assert ("Change version 1" in shown, "so it cannot be changed" in shown) == (False, True)
    assert client.post(page, {**fields, "label": "C", "save_as": "new"}).status_code == 302
    assert list(Connector.objects.filter(tenant=tenant).order_by("version").values_list("version", "label")) == [
        (1, "B"), (2, "C"),
    ]  # fmt: skip
    delete = reverse("admin:workflows_connector_delete", args=[row.id])
    assert "CONNECTOR_IN_USE" in client.post(delete).content.decode()
    assert "crm.create@2" in client.get(reverse("admin:workflows_connector_changelist")).content.decode()
    secret_uses = uses_of(Referred.SECRET, "CRM", tenant_id=tenant.id)
    assert [(use.kind, use.name, use.version) for use in secret_uses] == [
        ("connector", "crm.create", 1), ("connector", "crm.create", 2),
    ]  # fmt: skip
    viewer = member_of(tenant, role="viewer")
    assert "Request, response and rules" in viewer.get(page).content.decode()
    assert viewer.post(page, {**fields, "save_as": "new"}).status_code == 403


def test_catalogue_shows_schemas_examples_and_users(tenant: Any) -> None:
    save(tenant, examples=[{"name": "Mei"}], headers={"X-A": {"$secret": "CRM"}}, is_idempotent=True)
    publish(tenant, action_step(action="crm.create", inputMapping={}), key="caller")
    api, client = Api(make_token(tenant, Role.VIEWER)), member_of(tenant, role="viewer")
    listed = {(row["id"], row["version"]): row for row in api.get("/actions").json()["results"]}
    assert {row["origin"] for row in listed.values()} == {"built-in", "pure", "connector"}
    page = client.get(reverse("admin:workflows_connector_catalogue")).content.decode()
    for (action_id, version), row in listed.items():
        detail = api.get(f"/actions/{action_id}/{version}").json()
        assert detail["label"] == row["label"]
        assert detail["description"] or detail["origin"] == "connector"
        assert detail["examples"], action_id
        assert detail["repetition"]
        assert detail["idempotency"]
        assert detail["input_schema"]["type"] == "object"
        assert f"{action_id}@{version}" in page
    detail = api.get("/actions/crm.create/1").json()
    assert detail["secret_names"] == ["CRM"]
    assert detail["idempotency"] == "The key of the step is sent in the header Idempotency-Key."
    assert [(use["name"], use["where"]) for use in detail["used_by"]] == [
        ("caller", "published version 1"), ("caller", "draft"),
    ]  # fmt: skip
    response = client.get(reverse("admin:workflows_connector_action", args=["crm.create", 1]))
    groups = response.context["sidebar_navigation"]
    items = {item["title"]: item["active"] for group in groups for item in group["items"]}
    assert (items["Actions"], items["Connectors"]) == (True, False)
    shown = response.content.decode()
    assert "published version 1" in shown
    assert "Mei" in shown
    assert client.get(reverse("admin:workflows_connector_action", args=["crm.create", 2])).status_code == 404
    assert error_of(api.get("/actions/crm.create/2"), 404)["code"] == "ACTION_NOT_FOUND"


def test_examples_of_the_catalogue_are_valid_inputs() -> None:
    for action in registered_actions():
        assert action.description, action.id
        assert action.examples, action.id
        for example in action.examples:
            action.input_model.model_validate(example)
    assert set(TRANSFORM_ENTRIES) == set(TRANSFORMS)
    for key, entry in TRANSFORM_ENTRIES.items():
        assert set(entry.fields) == set(TRANSFORM_FIELDS[key])
        assert TRANSFORMS[key](entry.example, 2) == {"result": entry.result}

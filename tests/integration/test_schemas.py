"""Registry of payload schemas: roles, validation of schemas, checks of payloads, and schemas in use."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingress.intake.receive import events_receive
from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_tenant, make_token, publish, wait_for_reply
from tests.support.members import member_of
from workflows.errors import InputInvalid
from workflows.models import Command, Event, EventType, PayloadSchema
from workflows.services.payload_check import PayloadChecker, payload_problem, payload_problems
from workflows.services.schemas import schema_save
from workflows.statuses import EventSource, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

TICKET = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
STEP = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def api_of(tenant: Any, role: Role = Role.AUTHOR) -> Api:
    return Api(make_token(tenant, role))


def put(api: Api, path: str, body: Any) -> Any:
    return api.client.put(f"/api/v1{path}", json.dumps(body), content_type="application/json")


def save(tenant: Any, ref: str, schema: Any) -> None:
    schema_save(actor=make_actor(tenant), ref=ref, schema=schema)


def problems(tenant: Any, ref: str, payload: Any) -> list[str]:
    found = payload_problems(payload, tenant_id=tenant.id, ref=ref)
    return [f"{problem['pointer']} {problem['message']}" for problem in found]


# -- API -------------------------------------------------------------------------------------------------------------


def test_api_creates_reads_changes_and_deletes_a_schema(tenant: Any) -> None:
    api = api_of(tenant)
    made = api.post("/schemas", {"ref": "payload.Ticket.v1", "title": "Ticket", "schema": TICKET})
    assert (made.status_code, made.json()["schema"], made.json()["warnings"]) == (201, TICKET, [])
    assert error_of(api.post("/schemas", {"ref": "payload.Ticket.v1", "schema": {}}), 409)["code"] == "SCHEMA_EXISTS"
    changed = put(api, "/schemas/payload.Ticket.v1", {"schema": {"type": "object"}})
    assert (changed.status_code, changed.json()["title"]) == (200, "")
    assert put(api, "/schemas/payload.New.v1", {"schema": {}}).status_code == 201
    assert [row["ref"] for row in api.get("/schemas").json()["results"]] == ["payload.New.v1", "payload.Ticket.v1"]
    shown = api.get("/schemas/payload.Ticket.v1").json()
    assert (shown["schema"], shown["used_by"]) == ({"type": "object"}, [])
    assert api.client.delete("/api/v1/schemas/payload.Ticket.v1").status_code == 204
    assert error_of(api.get("/schemas/payload.Ticket.v1"), 404)["code"] == "SCHEMA_NOT_FOUND"
    commands = Command.objects.filter(tenant=tenant).order_by("requested_at")
    assert {command.action for command in commands} == {"edit_schema"}
    assert [(c.target_id, c.state, c.payload["operation"]) for c in commands] == [
        ("payload.Ticket.v1", "observed", "save"), ("payload.Ticket.v1", "refused", "save"),
        ("payload.Ticket.v1", "observed", "save"), ("payload.New.v1", "observed", "save"),
        ("payload.Ticket.v1", "observed", "delete"),
    ]  # fmt: skip


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_api_lets_only_authors_and_admins_write(tenant: Any, role: Role) -> None:
    save(tenant, "payload.Ticket.v1", TICKET)
    api = api_of(tenant, role)
    for response in (
        api.post("/schemas", {"ref": "a", "schema": {}}),
        put(api, "/schemas/payload.Ticket.v1", {"schema": {}}),
        api.client.delete("/api/v1/schemas/payload.Ticket.v1"),
    ):
        assert error_of(response, 403)["code"] == "PERMISSION_DENIED"
    assert api.get("/schemas/payload.Ticket.v1").json()["schema"] == TICKET
    assert Command.objects.filter(tenant=tenant, state="refused", code="PERMISSION_DENIED").count() == 3


def test_schema_of_another_tenant_is_not_found(tenant: Any) -> None:
    save(tenant, "payload.Ticket.v1", TICKET)
    other = api_of(make_tenant(), Role.ADMIN)
    assert other.get("/schemas").json()["results"] == []
    assert error_of(other.get("/schemas/payload.Ticket.v1"), 404)["code"] == "SCHEMA_NOT_FOUND"
    assert error_of(other.client.delete("/api/v1/schemas/payload.Ticket.v1"), 404)["code"] == "SCHEMA_NOT_FOUND"
    assert put(other, "/schemas/payload.Ticket.v1", {"schema": {"type": "array"}}).status_code == 201  # its own
    assert PayloadSchema.objects.get(tenant=tenant).schema == TICKET


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"ref": "a", "schema": {"type": "text"}}, ("schema", "/type")), ({"ref": "a", "schema": []}, ("schema", "")),
        ({"ref": "a b", "schema": {}}, ("ref", "")), ({"ref": "payload.Any.v1", "schema": {}}, ("ref", "")),
        ({"ref": "a/b", "schema": {}}, ("ref", "")),
        ({"ref": "a", "schema": {"pattern": "(?=a)"}}, ("schema", "/pattern")),
        ({"ref": "a", "schema": {"title": "x" * 270_000}}, ("schema", "")),
        ({"ref": "a", "schema": {"title": "\x00"}}, ("schema", "/title")),
        ({"ref": "a", "schema": {"$schema": "http://json-schema.org/draft-04/schema#"}}, ("schema", "/$schema")),
        ({"ref": "a", "schema": {"$dynamicRef": "#b"}}, ("schema", "/$dynamicRef")),
    ],
    ids=lambda value: ascii(value)[:60],
)  # fmt: skip
def test_invalid_schema_is_refused_with_the_pointer(tenant: Any, body: Any, place: tuple[str, str]) -> None:
    error = error_of(api_of(tenant).post("/schemas", body), 400)
    first = error["details"]["problems"][0]
    assert (error["code"], (first["field"], first["pointer"])) == ("SCHEMA_INVALID", place)
    assert not PayloadSchema.objects.filter(tenant=tenant).exists()
    assert Command.objects.get(tenant=tenant).state == "refused"


def test_schema_id_is_unique_in_the_tenant(tenant: Any) -> None:
    api = api_of(tenant)
    save(tenant, "a", {"$id": "https://example.com/a"})
    error = error_of(api.post("/schemas", {"ref": "b", "schema": {"$id": "https://example.com/a"}}), 400)
    assert error["details"]["problems"] == [
        {"field": "schema", "pointer": "/$id", "message": "is the address of the schema a"}
    ]
    assert put(api, "/schemas/a", {"schema": {"$id": "https://example.com/a", "type": "object"}}).status_code == 200


# -- Checks of payloads --------------------------------------------------------------------------------------------


def test_references_use_schemas_of_the_same_tenant(tenant: Any) -> None:
    save(
        tenant, "payload.Address.v1", {"$id": "https://example.com/address", "properties": {"zip": {"type": "string"}}}
    )
    save(tenant, "payload.Order.v1", {
        "properties": {"to": {"$ref": "payload.Address.v1"},
                       "from": {"$ref": "https://example.com/address#/properties/zip"},
                       "any": {"$ref": "payload.Any.v1"}},
    })  # fmt: skip
    assert problems(tenant, "payload.Order.v1", {"to": {"zip": "1"}, "from": "1", "any": {}}) == []
    assert sorted(problems(tenant, "payload.Order.v1", {"to": {"zip": 1}, "from": 2, "any": 3})) == [
        "/any must be object, but is number", "/from must be string, but is number",
        "/to/zip must be string, but is number",
    ]  # fmt: skip


def test_references_reach_no_other_tenant_and_no_network(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def no_network(*_: Any) -> None:
        raise AssertionError("the check opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    save(make_tenant(), "payload.Address.v1", {"$id": "https://example.com/address"})
    saved = schema_save(
        actor=make_actor(tenant),
        ref="a",
        schema={"properties": {"x": {"$ref": "payload.Address.v1"}, "y": {"$ref": "https://example.com/address"}}},
    )
    assert sorted(warning["pointer"] for warning in saved.warnings) == ["/properties/x/$ref", "/properties/y/$ref"]
    for name in ("x", "y"):
        (problem,) = problems(tenant, "a", {name: 1})
        assert "cannot be checked: the schema refers to" in problem
    assert problems(tenant, "a", {"z": 1}) == []


def test_recursive_and_circular_references(tenant: Any) -> None:
    save(tenant, "tree", {"properties": {"children": {"items": {"$ref": "tree"}}, "name": {"type": "string"}}})
    assert problems(tenant, "tree", {"children": [{"children": [{"name": 7}]}]}) == [
        "/children/0/children/0/name must be string, but is number"
    ]
    save(tenant, "ring1", {"$ref": "ring2"})
    save(tenant, "ring2", {"$ref": "ring1"})
    assert "without end" in problems(tenant, "ring1", {})[0]


def test_pattern_with_nested_repetition_is_fast(tenant: Any) -> None:
    save(tenant, "a", {"properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}})
    assert problems(tenant, "a", {"x": "a" * 100_000 + "b"}) == ["/x does not match the pattern ^(a+)+$"]


def test_missing_schema_refuses_every_payload(tenant: Any) -> None:
    assert problems(tenant, "nothing", {}) == [
        " the schema 'nothing' is not registered; register it, or name another schema"
    ]
    PayloadSchema.objects.create(tenant=tenant, ref="later", schema={}, is_placeholder=True)
    assert problems(tenant, "later", {}) == [
        " the schema 'later' is not registered; register it, or name another schema"
    ]
    save(tenant, "later", {"required": ["a"]})
    assert problems(tenant, "later", {}) == [" 'a' is missing"]
    assert payload_problem({}, tenant_id=tenant.id, ref="later") == "/: 'a' is missing"
    assert payload_problem({"a": 1}, tenant_id=tenant.id, ref="later") is None
    assert problems(tenant, "payload.Any.v1", []) == [" the payload must be a JSON object"]


def test_checker_loads_each_schema_once(tenant: Any) -> None:
    save(tenant, "inner", {"type": "string"})
    save(tenant, "outer", {"properties": {"a": {"$ref": "inner"}, "b": {"$ref": "inner"}}})
    checker = PayloadChecker(tenant.id)
    with CaptureQueriesContext(connection) as queries:
        for number in range(50):
            assert len(checker.problems({"a": number, "b": "x"}, "outer")) == 1
    assert len(queries) == 3


def test_the_checks_of_one_request_share_a_budget(tenant: Any) -> None:
    """Each level doubles the steps, so each event alone stays within its own limit."""
    doubling = {
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)},
        "$ref": "#/$defs/d0",
    }
    doubling["$defs"]["d30"] = {"type": "object"}  # type: ignore[index]
    save(tenant, "doubling", doubling)
    checker = PayloadChecker(tenant.id)
    messages = [checker.problems({"text": "x" * 90_000}, "doubling")[0]["message"] for _ in range(8)]
    assert "cannot be checked within 950" in messages[0]
    assert all("the checks of one request may take 2000000 steps together" in message for message in messages[2:])
    assert checker._steps_left == 0
    fresh = PayloadChecker(tenant.id)
    save(tenant, "payload.Ticket.v1", TICKET)
    assert [fresh.problems({"id": str(n)}, "payload.Ticket.v1") for n in range(1000)] == [[]] * 1000


def test_a_repeat_is_a_duplicate_although_the_schema_became_stricter(tenant: Any) -> None:
    save(tenant, "payload.Ticket.v1", {"type": "object"})
    EventType.objects.create(tenant=tenant, name="TICKET", payload_schema_ref="payload.Ticket.v1")
    value = {"event_type": "TICKET", "event_id": "e-1", "payload": {"ticketId": 1}}
    other = {**value, "payload": {"ticketId": 2}}
    (first,) = events_receive(tenant_id=tenant.id, values=[value], source=EventSource.REST)
    save(tenant, "payload.Ticket.v1", {"type": "object", "properties": {"ticketId": {"type": "string"}}})
    again, changed = events_receive(tenant_id=tenant.id, values=[value, other], source=EventSource.REST)
    assert (again.is_duplicate, again.event.id) == (True, first.event.id)
    assert (changed.code, changed.status) == ("EVENT_PAYLOAD_INVALID", 400)
    assert Event.objects.filter(tenant=tenant).count() == 2  # the first event, and the rejected event


def test_event_that_fails_the_schema_is_refused_with_pointers_and_stored(tenant: Any) -> None:
    save(tenant, "payload.Ticket.v1", TICKET)
    EventType.objects.create(tenant=tenant, name="CREATED", payload_schema_ref="payload.Ticket.v1")
    api = api_of(tenant, Role.OPERATOR)
    error = error_of(api.post("/events", {"event_type": "CREATED", "event_id": "1", "payload": {"id": 7}}), 400)
    assert (error["code"], error["details"]["schemaRef"]) == ("EVENT_PAYLOAD_INVALID", "payload.Ticket.v1")
    assert error["details"]["problems"] == [{"pointer": "/id", "message": "must be string, but is number"}]
    assert Event.objects.get(tenant=tenant, id=error["details"]["id"]).outcome == "rejected"
    assert api.post("/events", {"event_type": "CREATED", "event_id": "1", "payload": {"id": "7"}}).status_code == 202
    values = [{"event_type": "CREATED", "payload": {"id": n if n % 2 else str(n)}} for n in range(10)]
    results = events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST)
    assert [isinstance(result, InputInvalid) for result in results] == [False, True] * 5


@pytest.mark.parametrize(
    ("catalogue", "sent", "payload", "code"),
    [
        ("", "payload.Ticket.v1", {"id": 7}, "EVENT_PAYLOAD_INVALID"),
        ("", "payload.Ticket.v1", {"id": "7"}, None),
        ("", "https://example.com/ticket", {"id": 7}, "EVENT_PAYLOAD_INVALID"),
        ("", "payload.Any.v1", {"id": 7}, None),
        ("", "payload.Tickets.v1", {"id": "7"}, "SCHEMA_UNKNOWN"),
        ("payload.Ticket.v1", "payload.Tickets.v1", {"id": "7"}, "SCHEMA_UNKNOWN"),
        ("payload.Ticket.v1", "payload.Any.v1", {"id": "7"}, "SCHEMA_MISMATCH"),
        ("payload.Ticket.v1", "https://example.com/ticket", {"id": "7"}, None),
        ("payload.Ticket.v1", "payload.Ticket.v1", {"id": 7}, "EVENT_PAYLOAD_INVALID"),
    ],
)
def test_event_is_checked_against_the_schema_that_its_sender_names(
    tenant: Any, catalogue: str, sent: str, payload: Any, code: str | None
) -> None:
    save(tenant, "payload.Ticket.v1", {**TICKET, "$id": "https://example.com/ticket"})
    save(make_tenant(), "payload.Tickets.v1", {})  # another tenant's schema does not count
    if catalogue:
        EventType.objects.create(tenant=tenant, name="CREATED", payload_schema_ref=catalogue)
    api = api_of(tenant, Role.OPERATOR)
    envelope = {"event_type": "CREATED", "event_id": "1", "payload": payload, "payload_schema_ref": sent}
    response = api.post("/events", envelope)
    if code is None:
        assert response.status_code == 202, response.json()
        return
    error = error_of(response, 400)
    assert (error["code"], error["details"]["schemaRef"]) == (
        code,
        "payload.Ticket.v1" if code == "EVENT_PAYLOAD_INVALID" else sent,
    )
    row = Event.objects.get(tenant=tenant)
    assert (row.outcome, row.occupies_id, str(row.id)) == ("rejected", False, error["details"]["id"])
    if code.startswith("SCHEMA_"):
        assert error["details"]["registered"] == ["payload.Any.v1", "payload.Ticket.v1"]
        assert error["details"]["catalogueRef"] == (catalogue or None)
        assert "Name payload.Ticket.v1" in error["message"]
        assert sent in api.get(f"/events/{row.id}/trace").json()["summary"]
    del envelope["payload_schema_ref"]
    assert api.post("/events", {**envelope, "payload": {"id": "7"}}).status_code == 202


# -- Schemas in use --------------------------------------------------------------------------------------------------


def test_schema_in_use_cannot_be_deleted(tenant: Any) -> None:
    api = api_of(tenant)
    save(tenant, "used", {"$id": "https://example.com/used"})
    save(tenant, "by-name", {"items": {"$ref": "used"}})
    save(tenant, "by-address", {"$id": "https://example.com/other", "items": {"$ref": "used#/$defs/a"}})
    save(tenant, "unused", {"description": "used"})
    EventType.objects.create(tenant=tenant, name="E", payload_schema_ref="used")
    publish(tenant, STEP, key="flow", payloadSchemaRef="used")
    publish(tenant, STEP, key="flow", payloadSchemaRef="payload.Any.v1")
    error = error_of(api.client.delete("/api/v1/schemas/used"), 409)
    assert error["code"] == "SCHEMA_IN_USE"
    assert error["details"]["usedBy"] == [
        {"kind": "event_type", "name": "E", "where": "payload schema"},
        {"kind": "schema", "name": "by-address", "where": "$ref"},
        {"kind": "schema", "name": "by-name", "where": "$ref"},
        {"kind": "definition", "name": "flow", "where": "version 1", "version": 1, "steps": ["payloadSchemaRef"]},
    ]  # fmt: skip
    assert api.get("/schemas/used").json()["used_by"] == error["details"]["usedBy"]
    assert api.client.delete("/api/v1/schemas/unused").status_code == 204
    moved = put(api, "/schemas/used", {"schema": {"$id": "https://example.com/moved"}})
    assert error_of(moved, 409)["details"]["usedBy"] == [{"kind": "schema", "name": "by-address", "where": "$ref"}]


# -- Admin -----------------------------------------------------------------------------------------------------------


def test_author_edits_a_schema_in_the_admin(tenant: Any) -> None:
    client = member_of(tenant, role="author")
    add = reverse("admin:workflows_payloadschema_add")
    assert "2020-12" in client.get(add).content.decode()
    wrong = client.post(add, {"ref": "a", "title": "", "schema": '{"type": "text"}'})
    assert (wrong.status_code, "/type: matches none" in wrong.content.decode()) == (200, True)
    missing = client.post(add, {"ref": "a", "title": "", "schema": '{"$ref": "b"}'}, follow=True)
    assert "which is not registered" in missing.content.decode()
    row = PayloadSchema.objects.get(tenant=tenant)
    page = reverse("admin:workflows_payloadschema_change", args=[row.id])
    assert client.post(page, {"title": "T", "schema": json.dumps(TICKET)}).status_code == 302
    row.refresh_from_db()
    assert (row.title, row.schema) == ("T", TICKET)
    assert client.get(reverse("admin:workflows_payloadschema_changelist")).status_code == 200
    EventType.objects.create(tenant=tenant, name="E", payload_schema_ref="a")
    delete = reverse("admin:workflows_payloadschema_delete", args=[row.id])
    assert "SCHEMA_IN_USE" in client.post(delete).content.decode()
    EventType.objects.filter(tenant=tenant).delete()
    assert client.post(delete).status_code == 302
    assert not PayloadSchema.objects.filter(tenant=tenant).exists()
    assert set(Command.objects.filter(tenant=tenant).values_list("action", "source")) == {("edit_schema", "admin")}


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_other_roles_read_the_page_and_change_nothing(tenant: Any, role: str) -> None:
    save(tenant, "a", {"title": "<script>alert(1)</script>"})
    row = PayloadSchema.objects.get(tenant=tenant)
    client = member_of(tenant, role=role)
    page = reverse("admin:workflows_payloadschema_change", args=[row.id])
    shown = client.get(page).content.decode()
    assert "&lt;script&gt;" in shown
    assert 'name="schema"' not in shown
    assert "Delete…" not in shown
    assert client.post(page, {"title": "T", "schema": "{}"}).status_code == 403
    assert client.post(reverse("admin:workflows_payloadschema_delete", args=[row.id])).status_code == 403
    assert client.get(reverse("admin:workflows_payloadschema_add")).status_code == 403
    assert PayloadSchema.objects.get(tenant=tenant).title == ""
    other = member_of(make_tenant(), role="admin")
    assert other.get(page).status_code == 404
    assert "REF-A" not in other.get(reverse("admin:workflows_payloadschema_changelist")).content.decode()


# -- Compatibility of a change ---------------------------------------------------------------------------------------


def test_change_that_breaks_users_is_shown_and_needs_force(tenant: Any) -> None:
    api, client = api_of(tenant), member_of(tenant, role="author")
    save(tenant, "order", {"type": "object", "properties": {"id": {"type": "string"}}})
    narrow = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    unused = api.post("/schemas/order/check", {"schema": narrow}).json()
    assert (unused["needs_force"], [change["pointer"] for change in unused["changes"]]) == (False, ["/required"])
    publish(tenant, STEP, key="flow", payloadSchemaRef="order")
    EventType.objects.create(tenant=tenant, name="E", payload_schema_ref="order")
    checked = api.post("/schemas/order/check", {"schema": narrow}).json()
    assert checked["needs_force"] is True
    assert checked["changes"] == [
        {"pointer": "/required", "affects": "senders", "message": "the field 'id' is required now"}
    ]
    assert [(use["kind"], use["name"], use["where"]) for use in checked["used_by"]] == [
        ("event_type", "E", "payload schema"), ("definition", "flow", "published version 1"),
        ("definition", "flow", "draft"),
    ]  # fmt: skip
    refused = error_of(put(api, "/schemas/order", {"schema": narrow}), 409)
    assert (refused["code"], refused["details"]["changes"]) == ("SCHEMA_CHANGE_BREAKS", checked["changes"])
    row = PayloadSchema.objects.get(tenant=tenant, ref="order")
    assert "required" not in row.schema
    page = reverse("admin:workflows_payloadschema_change", args=[row.id])
    fields = {"title": "", "schema": json.dumps(narrow)}
    assert "although it can break" not in client.get(page).content.decode()
    shown = client.post(page, fields).content.decode()
    assert "is required now (senders)" in shown
    assert "although it can break" in shown
    row.refresh_from_db()
    assert "required" not in row.schema
    assert client.post(page, {**fields, "force": "on"}).status_code == 302
    row.refresh_from_db()
    assert row.schema == narrow
    assert put(api, "/schemas/order", {"schema": {"type": "object"}, "force": True}).status_code == 200
    last = Command.objects.filter(tenant=tenant, action="edit_schema", state="observed").latest("requested_at")
    assert {change["affects"] for change in last.details["changes"]} == {"readers"}


def test_users_of_an_event_type_are_listed(tenant: Any) -> None:
    api, client = api_of(tenant), member_of(tenant, role="viewer")
    entry = EventType.objects.create(tenant=tenant, name="TICKET_CUSTOMER_REPLIED")
    publish(tenant, wait_for_reply(), key="waits")
    publish(tenant, STEP, key="starts", trigger={"type": "event", "eventName": "TICKET_CUSTOMER_REPLIED"})
    publish(tenant, {**STEP, "config": {"state": "TICKET_CUSTOMER_REPLIED"}}, key="other")
    uses = api.get("/event-types/TICKET_CUSTOMER_REPLIED").json()["used_by"]
    assert [(use["name"], use["where"], use["steps"]) for use in uses] == [
        ("starts", "published version 1", ["trigger"]), ("starts", "draft", ["trigger"]),
        ("waits", "published version 1", ["root.steps[0]"]), ("waits", "draft", ["root.steps[0]"]),
    ]  # fmt: skip
    page = client.get(reverse("admin:workflows_eventtype_change", args=[entry.id])).content.decode()
    assert "waits</a>" in page

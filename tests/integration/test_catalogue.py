"""Event catalogue by API and admin: roles, tenants, and the effect of entries on events."""

import json
from typing import Any

import pytest
from django.urls import reverse

from ingress.catalogue import EventTypeFields, event_type_save
from tests.support.api import Api, error_of
from tests.support.events import receive
from tests.support.factories import make_actor, make_tenant, make_token
from tests.support.members import member_of
from workflows.models import Command, EventType
from workflows.services.schemas import schema_save
from workflows.services.wait_lookback import buffer_times
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def api_of(tenant: Any, role: Role = Role.AUTHOR) -> Api:
    return Api(make_token(tenant, role))


def put(api: Api, path: str, body: Any) -> Any:
    return api.client.put(f"/api/v1{path}", json.dumps(body), content_type="application/json")


def buffer_of(tenant: Any, name: str) -> float:
    return buffer_times(tenant_id=tenant.id, event_types=[name])[name].total_seconds()


def test_api_creates_reads_changes_and_deletes_an_entry(tenant: Any, settings: Any) -> None:
    schema_save(actor=make_actor(tenant), ref="payload.Paid.v1", schema={})
    api = api_of(tenant)
    entry = {
        "name": "PAID", "description": "An invoice is paid", "correlation_paths": ["invoice.id", "payload.ref"],
        "payload_schema_ref": "payload.Paid.v1", "buffer_seconds": 5, "is_active": True,
        "identity_paths": ["invoice.id"], "identity_excluded_paths": None,
    }  # fmt: skip
    made = api.post("/event-types", entry)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in entry} == entry
    assert made.json()["effective_buffer_seconds"] == 5
    assert error_of(api.post("/event-types", entry), 409)["code"] == "EVENT_TYPE_EXISTS"
    changed = put(api, "/event-types/PAID", {"correlation_paths": "invoice.id"})
    assert changed.status_code == 200
    assert (changed.json()["correlation_paths"], changed.json()["buffer_seconds"]) == (["invoice.id"], None)
    assert changed.json()["effective_buffer_seconds"] == settings.EVENT_BUFFER_SECONDS
    assert put(api, "/event-types/com.example/order", {}).status_code == 201
    assert api.get("/event-types/com.example/order").json()["name"] == "com.example/order"
    assert {row["name"] for row in api.get("/event-types").json()["results"]} == {"com.example/order", "PAID"}
    assert api.client.delete("/api/v1/event-types/PAID").status_code == 204
    assert error_of(api.get("/event-types/PAID"), 404)["code"] == "EVENT_TYPE_NOT_FOUND"
    commands = Command.objects.filter(tenant=tenant, action="edit_event_type", target_id="PAID").order_by(
        "requested_at"
    )
    assert [(c.state, c.payload["operation"]) for c in commands] == [
        ("observed", "save"), ("refused", "save"), ("observed", "save"), ("observed", "delete"),
    ]  # fmt: skip
    assert commands[0].payload["buffer_seconds"] == 5


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"buffer_seconds": 0}, "buffer_seconds"), ({"buffer_seconds": -1}, "buffer_seconds"),
        ({"buffer_seconds": 86_401}, "buffer_seconds"), ({"buffer_seconds": True}, "buffer_seconds"),
        ({"buffer_seconds": "5"}, "buffer_seconds"), ({"correlation_paths": ["a..b"]}, "correlation_paths"),
        ({"correlation_paths": {}}, "correlation_paths"), ({"correlation_paths": ["a\x00"]}, "correlation_paths"),
        ({"correlation_paths": ["a"] * 21}, "correlation_paths"),
        ({"name": ""}, "name"), ({"name": " E"}, "name"), ({"name": "x" * 201}, "name"), ({"name": "\x00"}, "name"),
        ({"name": 7}, "name"), ({"is_active": "yes"}, "is_active"),
        ({"payload_schema_ref": "nothing"}, "payload_schema_ref"), ({"payload_schema_ref": None}, "payload_schema_ref"),
        ({"colour": "red"}, "colour"), ({"description": "\ud800"}, "description"),
        ({"name": "*", "buffer_seconds": 5}, "name"),
        ({"name": "*", "payload_schema_ref": "payload.Any.v1"}, "name"),
        ({"name": "*", "identity_paths": ["a"]}, "name"), ({"identity_paths": ["a..b"]}, "identity_paths"),
        ({"identity_excluded_paths": 7}, "identity_excluded_paths"),
        ({"identity_paths": ["a"], "identity_excluded_paths": ["b"]}, "identity_excluded_paths"),
    ],
    ids=lambda value: ascii(value)[:50],
)  # fmt: skip
def test_error_names_the_invalid_field(tenant: Any, changes: dict[str, Any], path: str) -> None:
    error = error_of(api_of(tenant).post("/event-types", {"name": "E", **changes}), 400)
    assert (error["code"], [problem["path"] for problem in error["details"]["problems"]]) == (
        "EVENT_TYPE_INVALID",
        [path],
    )
    assert not EventType.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_api_lets_only_authors_and_admins_write(tenant: Any, role: Role) -> None:
    EventType.objects.create(tenant=tenant, name="E")
    api = api_of(tenant, role)
    for response in (
        api.post("/event-types", {"name": "F"}),
        put(api, "/event-types/E", {}),
        api.client.delete("/api/v1/event-types/E"),
    ):
        assert error_of(response, 403)["code"] == "PERMISSION_DENIED"
    assert api.get("/event-types/E").status_code == 200
    assert Command.objects.filter(tenant=tenant, state="refused", code="PERMISSION_DENIED").count() == 3


def test_entry_of_another_tenant_is_not_found(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="E", description="ours")
    other = api_of(make_tenant(), Role.ADMIN)
    assert other.get("/event-types").json()["results"] == []
    assert error_of(other.get("/event-types/E"), 404)["code"] == "EVENT_TYPE_NOT_FOUND"
    assert error_of(other.client.delete("/api/v1/event-types/E"), 404)["code"] == "EVENT_TYPE_NOT_FOUND"
    assert put(other, "/event-types/E", {"description": "theirs"}).status_code == 201
    assert EventType.objects.get(tenant=tenant).description == "ours"


def test_schema_of_another_tenant_is_refused(tenant: Any) -> None:
    schema_save(actor=make_actor(make_tenant()), ref="payload.Theirs.v1", schema={})
    error = error_of(api_of(tenant).post("/event-types", {"name": "E", "payload_schema_ref": "payload.Theirs.v1"}), 400)
    assert error["details"]["problems"][0]["path"] == "payload_schema_ref"


def test_entry_applies_from_the_next_event(tenant: Any, settings: Any) -> None:
    author = make_actor(tenant, Role.AUTHOR)
    no_key = {"workflow_correlation_key": None, "payload": {"ref": "R-1", "id": "I-1"}}
    assert receive(tenant, **no_key).correlation_status == "missing"
    event_type_save(actor=author, name="*", fields=EventTypeFields(correlation_paths=["ref"]))
    assert receive(tenant, **no_key).correlation_keys == ["R-1"]
    event_type_save(actor=author, name="REPLIED", fields=EventTypeFields(correlation_paths=["id"], buffer_seconds=5))
    assert receive(tenant, **no_key).correlation_keys == ["I-1", "R-1"]
    assert buffer_of(tenant, "REPLIED") == 5
    event_type_save(actor=author, name="REPLIED", fields=EventTypeFields(buffer_seconds=5, is_active=False))
    assert buffer_of(tenant, "REPLIED") == settings.EVENT_BUFFER_SECONDS


def test_author_edits_an_entry_in_the_admin(tenant: Any) -> None:
    schema_save(actor=make_actor(tenant), ref="payload.Paid.v1", schema={})
    client = member_of(tenant, role="author")
    data = {
        "name": "PAID",
        "correlation_paths": "invoice.id\n  payload.ref \n",
        "payload_schema_ref": "payload.Paid.v1",
        "is_active": "on",
    }
    assert client.post(reverse("admin:workflows_eventtype_add"), data).status_code == 302
    row = EventType.objects.get(tenant=tenant)
    assert (row.correlation_paths, row.payload_schema_ref) == (["invoice.id", "payload.ref"], "payload.Paid.v1")
    page = reverse("admin:workflows_eventtype_change", args=[row.id])
    shown = client.get(page).content.decode()
    assert "invoice.id\npayload.ref</textarea>" in shown
    assert "60 s (default)" in client.get(reverse("admin:workflows_eventtype_changelist")).content.decode()
    for buffer in ("0", "90000", "x"):
        refused = client.post(page, {**data, "buffer_seconds": buffer})
        assert (refused.status_code, 'class="err"' in refused.content.decode()) == (200, True)
    assert client.post(page, {"description": "d", "buffer_seconds": "2.5"}).status_code == 302
    row.refresh_from_db()
    assert (row.description, row.buffer_seconds, row.is_active, row.correlation_paths) == ("d", 2.5, False, None)
    assert b"Delete PAID?" in client.get(reverse("admin:workflows_eventtype_delete", args=[row.id])).content
    assert client.post(reverse("admin:workflows_eventtype_delete", args=[row.id])).status_code == 302
    assert not EventType.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_other_roles_read_the_page_and_change_nothing(tenant: Any, role: str) -> None:
    row = EventType.objects.create(tenant=tenant, name="E", description="<b>about</b>")
    client = member_of(tenant, role=role)
    page = reverse("admin:workflows_eventtype_change", args=[row.id])
    shown = client.get(page).content.decode()
    assert "&lt;b&gt;about" in shown
    assert 'name="buffer_seconds"' not in shown
    assert client.post(page, {"description": "x"}).status_code == 403
    assert client.post(reverse("admin:workflows_eventtype_delete", args=[row.id])).status_code == 403
    assert client.get(reverse("admin:workflows_eventtype_add")).status_code == 403
    assert EventType.objects.get(tenant=tenant).description == "<b>about</b>"
    assert Command.objects.filter(tenant=tenant, code="PERMISSION_DENIED").count() == 2
    assert member_of(make_tenant(), role="admin").get(page).status_code == 404

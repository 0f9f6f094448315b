"""All screens for all roles, and tenant isolation. Only POST changes anything."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from tests.support.bulk_jobs import preview_job
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant
from tests.support.members import member_of
from tests.support.page_scripts import wrong_scripts
from workflows.models import Command, Definition, EventType, HumanTask, Notification
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

LISTS = (
    *("run", "event", "definition", "command", "notification", "eventtype", "humantask", "bulkjob"),
    *("schedule", "holidaycalendar", "payloadschema", "connector"),
)


@pytest.fixture
def pages(tenant: Any) -> list[str]:
    """Create rows and return the URL of every page."""
    run = make_run(
        tenant,
        error={"category": "ActionError", "message": "no", "nodePath": "x", "at": "y"},
        error_category="ActionError",
    )
    open_wait(tenant, run=run, filters=[{"path": "a", "op": "exists"}])
    task = HumanTask.objects.create(
        tenant=tenant,
        run=run,
        step_path="root.steps[0]",
        task_type="t",
        title="<script>alert(1)</script>",
        context_data={"a": 1},
    )
    event = receive(tenant, payload={"a": "<script>alert(1)</script>"})
    definition = Definition.objects.get(tenant=tenant)
    entry = EventType.objects.create(tenant=tenant, name="E", correlation_paths=["a"])
    job = preview_job(tenant)
    command = Command.objects.get(tenant=tenant)
    found = [reverse("admin:index"), reverse("admin:workflows_event_send")]
    found += [reverse("admin:workflows_bulkjob_change", args=[job.id])]
    found += [reverse(f"admin:workflows_{name}_changelist") for name in LISTS]
    found += [
        f"{reverse('admin:workflows_run_change', args=[run.id])}?tab={tab}"
        for tab in ("steps", "graph", "input", "events", "children", "audit", "definition")
    ]
    found += [
        reverse("admin:workflows_run_cancel", args=[run.id]),
        reverse("admin:workflows_event_change", args=[event.id]),
        reverse("admin:workflows_humantask_change", args=[task.id]),
        *(
            f"{reverse('admin:workflows_definition_change', args=[definition.id])}?tab={tab}"
            for tab in ("map", "versions", "text", "starts", "audit")
        ),
        reverse("admin:workflows_definition_start", args=[definition.id]),
        reverse("admin:workflows_eventtype_change", args=[entry.id]),
        reverse("admin:workflows_command_change", args=[command.id]),
    ]
    return found


@pytest.mark.parametrize("role", Role.values)
def test_all_pages_render_for_all_roles(tenant: Any, pages: list[str], role: str) -> None:
    client = member_of(tenant, role=role)
    for page in pages:
        response = client.get(page)
        assert response.status_code == 200, page
        assert b'<div class="ui">' in response.content, f"{page} has the look of the admin theme"
        assert b"<script>alert(1)</script>" not in response.content
        assert wrong_scripts(response.content.decode()) == [], page


def test_no_page_shows_rows_of_other_tenant(pages: list[str]) -> None:
    client = member_of(make_tenant())
    for page in pages:
        response = client.get(page)
        is_row_page = any(part in page for part in ("/change/", "/cancel/", "/start/"))
        if is_row_page:
            assert response.status_code in (302, 404), page
            assert response.status_code == 404 or response.url == reverse("admin:index"), page
        else:
            assert response.status_code == 200
            assert b"REPLIED" not in response.content, page


def test_user_without_membership_is_sent_to_login(tenant: Any, pages: list[str]) -> None:
    user = get_user_model().objects.create_user(f"stranger-{tenant.slug}", password="x", is_staff=True)
    anonymous, stranger = Client(), Client()
    stranger.force_login(user)
    for client in (anonymous, stranger):
        for page in pages:
            response = client.get(page)
            assert (response.status_code, response.url.split("?")[0]) == (302, reverse("admin:login"))


def test_admin_cannot_add_change_or_delete_projections(tenant: Any) -> None:
    run = make_run(tenant)
    client = member_of(tenant, role="admin", superuser=True)
    for name in ("run", "event", "command"):
        assert client.get(f"/admin/workflows/{name}/add/").status_code == 403
        assert client.post(f"/admin/workflows/{name}/{run.id}/delete/", {"post": "yes"}).status_code in (302, 403, 404)
    client.post(f"/admin/workflows/run/{run.id}/change/", {"status": "SUCCEEDED"})
    run.refresh_from_db()
    assert run.status == "WAITING"


def test_get_changes_nothing_and_refused_viewer_is_recorded(tenant: Any) -> None:
    run = make_run(tenant)
    address = reverse("admin:workflows_run_cancel", args=[run.id])
    viewer = member_of(tenant, role="viewer")
    assert b"If Temporal refuses, nothing changes" in viewer.get(address).content
    assert not Command.objects.filter(run=run).exists()
    assert b"PERMISSION_DENIED" in viewer.post(address, {"reason": "x"}, follow=True).content
    assert Command.objects.get(run=run).code == "PERMISSION_DENIED"


def test_temporal_error_is_shown_when_cancel_is_refused(tenant: Any) -> None:
    run = make_run(tenant)
    page = member_of(tenant).post(reverse("admin:workflows_run_cancel", args=[run.id]), {"reason": ""}, follow=True)
    shown = page.content.decode()
    assert "WORKFLOW_TEMPORAL_CANCEL_FAILED" in shown
    assert "not found" in shown
    assert "The run was not changed" in shown
    assert (shown.count("WORKFLOW_TEMPORAL_CANCEL_FAILED"), shown.count("The run was not changed")) == (1, 1)


def test_event_sent_from_admin_is_recorded_in_ledger(tenant: Any) -> None:
    client = member_of(tenant)
    page = client.post(reverse("admin:workflows_event_send"), {"event_type": "E", "payload": '{"a": 1}'}, follow=True)
    assert "The event is stored" in page.content.decode()
    command = Command.objects.get(tenant=tenant)
    assert (command.action, command.state, command.source) == ("send_event", "observed", "admin")


@pytest.mark.parametrize("name", ["event", "run", "command"])
def test_hidden_fields_cannot_be_filtered_by_url(tenant: Any, name: str) -> None:
    client = member_of(tenant, role="viewer")
    for lookup in (
        "payload__pin__startswith=4",
        "input__a=1",
        "payload__contains=x",
        "error__details__body__startswith=a",
    ):
        response = client.get(f"/admin/workflows/{name}/?{lookup}")
        assert response.status_code == 302 or b"e=1" in response.content or response.status_code == 400, lookup
        assert b"result_list" not in response.content
    assert client.get("/admin/workflows/event/?outcome__exact=buffered&event_type=E").status_code == 200
    assert (
        client.get("/admin/workflows/run/?status__exact=WAITING&definition=x&created_at_from_0=2026-01-01").status_code
        == 200
    )


def test_ledger_page_hides_payload_from_viewers(tenant: Any) -> None:
    from tests.support.factories import make_actor
    from workflows.ledger import command_open

    command = command_open(
        actor=make_actor(tenant), action="start_run", target_type="run", target_id="r", payload={"pin": "4711"}
    )
    page = reverse("admin:workflows_command_change", args=[command.id])
    seen = member_of(tenant, role="viewer").get(page).content
    assert b"4711" not in seen
    assert b"<h1>Start run</h1>" in seen
    assert b"Requested</span>" in seen
    assert b"4711" in member_of(tenant).get(page).content


def test_event_type_is_unique_and_its_change_is_recorded(tenant: Any) -> None:
    client = member_of(tenant, role="author")
    data = {"name": "E", "description": "", "correlation_paths": '["a"]', "is_active": "on"}
    assert client.post(reverse("admin:workflows_eventtype_add"), data).status_code == 302
    again = client.post(reverse("admin:workflows_eventtype_add"), data)
    assert (again.status_code, "already in the catalogue" in again.content.decode()) == (200, True)
    assert Command.objects.get(tenant=tenant).action == "edit_event_type"


@pytest.mark.parametrize("payload", ["NaN", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', "[1]"])
def test_event_form_refuses_invalid_json(tenant: Any, payload: str) -> None:
    page = member_of(tenant).post(reverse("admin:workflows_event_send"), {"event_type": "E", "payload": payload})
    assert (page.status_code, 'class="err"' in page.content.decode()) == (200, True)
    assert not Command.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("paths", ['"a..b"', "[1]", "{}"])
def test_catalogue_refuses_invalid_paths(tenant: Any, paths: str) -> None:
    data = {"name": "E", "description": "", "correlation_paths": paths, "is_active": "on"}
    client = member_of(tenant, role="author")
    response = client.post(reverse("admin:workflows_eventtype_add"), data)
    assert response.status_code == 200
    assert 'class="err"' in response.content.decode()
    assert (
        client.post(reverse("admin:workflows_eventtype_add"), {**data, "correlation_paths": '["a.b"]'}).status_code
        == 302
    )
    assert EventType.objects.get(tenant=tenant).correlation_paths == ["a.b"]


def test_member_of_two_tenants_sees_one_tenant_at_a_time(tenant: Any) -> None:
    other = make_tenant(f"zz {tenant.slug}")
    mine, theirs = make_run(tenant, correlation_key="MINE"), make_run(other, correlation_key="THEIRS")
    client = member_of(tenant, other)
    runs = reverse("admin:workflows_run_changelist")
    assert "MINE" in client.get(runs).content.decode()
    assert "THEIRS" not in client.get(runs).content.decode()
    switched = client.post(reverse("admin:choose_tenant"), {"tenant": str(other.id), "next": runs}, follow=True)
    assert "THEIRS" in switched.content.decode()
    assert client.get(reverse("admin:workflows_run_change", args=[mine.id])).status_code == 404
    assert client.get(f"/api/v1/runs/{theirs.id}").status_code == 200
    client.post(
        reverse("admin:choose_tenant"), {"tenant": str(make_tenant().id), "next": "https://evil.example/"}, follow=True
    )
    assert "THEIRS" in client.get(runs).content.decode()


def test_member_sees_only_own_notifications(tenant: Any) -> None:
    client = member_of(tenant)
    for user in (
        get_user_model().objects.get(pk=client.session["_auth_user_id"]),
        get_user_model().objects.create_user(f"o-{tenant.slug}"),
    ):
        Notification.objects.create(tenant=tenant, user=user, idempotency_key="k", title=f"for {user.username}")
    shown = client.get(reverse("admin:workflows_notification_changelist")).content.decode()
    assert f"for o-{tenant.slug}" not in shown
    assert "for user" in shown


@pytest.mark.parametrize("term", ["id", "key", "workflow", "definition", "nothing"])
def test_run_search_accepts_every_id(tenant: Any, term: str) -> None:
    run = make_run(tenant, correlation_key="K-1")
    make_run(tenant, correlation_key="K-2")
    words = {
        "id": str(run.id),
        "key": "K-1",
        "workflow": run.temporal_workflow_id,
        "definition": run.definition_key,
        "nothing": "L",
    }
    shown = member_of(tenant).get(reverse("admin:workflows_run_changelist"), {"q": words[term]}).content.decode()
    assert ("K-1" in shown) is (term != "nothing")
    assert ">K-2<" not in shown

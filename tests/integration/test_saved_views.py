"""Saved views of the run list: own and shared views, and who may save and delete them.

Source: docs/reference/screens.md#run-list
"""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.factories import make_run, make_tenant
from tests.support.members import member_of
from workflows.models import Command, SavedView
from workflows.models.fields import new_id
from workflows.services import saved_views

pytestmark = pytest.mark.usefixtures("no_dispatcher")

LIST = "/admin/workflows/run/"
HOSTILE = "<script>\u202e"


def save(client: Client, name: str, query: str, **more: str) -> Any:
    key = str(new_id())
    data = {"name": name, "query": query, "idempotency_key": key, **more}
    return client.post(reverse("admin:workflows_run_save_view"), data)


def test_view_is_saved_offered_and_recognised(tenant: Any) -> None:
    make_run(tenant)
    client, other = member_of(tenant), member_of(tenant, role="viewer")
    query = "status__exact=WAITING&o=key&cols=state"
    shown = client.get(f"{LIST}?{query}&p=1").content.decode()
    assert "views/save/?status__exact=WAITING" in shown
    page = client.get(reverse("admin:workflows_run_save_view") + f"?{query}").content.decode()
    assert "Save this view" in page
    response = save(client, "Mine", query + "&p=2")
    assert (response.status_code, response.url) == (302, f"{LIST}?{query}")
    save(client, HOSTILE, "state=LATE", is_shared="on")
    again = client.get(f"{LIST}?o=key&status__exact=WAITING&cols=state").context_data
    assert again["chosen_view"].name == "Mine"
    assert [one["row"].name for one in other.get(LIST).context_data["views"]] == [HOSTILE]
    assert "<script>\u202e" not in other.get(LIST).content.decode()
    assert client.get(f"{LIST}?{query}").context_data["chosen_view"] is not None
    assert Command.objects.filter(tenant=tenant, action="edit_view", state="observed").count() == 2


def test_view_with_the_same_name_is_replaced(tenant: Any) -> None:
    client = member_of(tenant)
    save(client, "A", "state=X")
    save(client, "A", "state=Y")
    assert [view.query for view in SavedView.objects.filter(tenant=tenant)] == ["state=Y"]


@pytest.mark.parametrize(
    ("name", "query", "problem"),
    [
        ("", "state=X", "This field is required."), ("n" * 101, "state=X", "at most 100 characters"),
        ("A", "statu=X", "cannot be read"), ("A", "version=1", "cannot be read"), ("A", "state=%00", "cannot be read"),
        ("A", "state=" + "x" * 4000, "cannot be read"),
    ],
)  # fmt: skip
def test_view_that_cannot_be_saved_shows_why(tenant: Any, name: str, query: str, problem: str) -> None:
    response = save(member_of(tenant), name, query)
    shown = response.content.decode()
    assert response.status_code == 200
    assert problem in shown or ("at most 4000" in shown and len(query) > 4000)
    assert name[:50] in shown
    assert not SavedView.objects.filter(tenant=tenant).exists()


def test_viewer_may_save_but_not_share(tenant: Any) -> None:
    client = member_of(tenant, role="viewer")
    assert "is_shared" not in client.get(reverse("admin:workflows_run_save_view")).content.decode()
    save(client, "Mine", "state=X", is_shared="on")
    assert [view.is_shared for view in SavedView.objects.filter(tenant=tenant)] == [False]


def test_only_the_owner_and_an_administrator_delete_a_shared_view(tenant: Any) -> None:
    owner = member_of(tenant)
    save(owner, "Shared", "state=X", is_shared="on")
    save(owner, "Own", "state=Y")
    shared, own = (SavedView.objects.get(tenant=tenant, name=name) for name in ("Shared", "Own"))
    admin, operator, stranger = (
        member_of(tenant, role="admin"), member_of(tenant), member_of(make_tenant(), role="admin"),
    )  # fmt: skip

    def delete(client: Client, view: SavedView) -> int:
        url = reverse("admin:workflows_run_delete_view", args=[view.id])
        data = {"idempotency_key": str(new_id())}
        return int(client.post(url, data).status_code)

    assert [delete(client, shared) for client in (operator, stranger)] == [404, 404]
    assert [delete(client, own) for client in (operator, admin, stranger)] == [404, 404, 404]
    assert "Delete the view" in admin.get(reverse("admin:workflows_run_delete_view", args=[shared.id])).content.decode()
    assert (delete(admin, shared), delete(owner, own)) == (302, 302)
    assert not SavedView.objects.filter(tenant=tenant).exists()


def test_number_of_views_has_a_limit(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 1)
    client = member_of(tenant)
    save(client, "A", "state=X")
    assert "SAVED_VIEWS_FULL" in save(client, "B", "state=X").content.decode()
    save(client, "A", "state=Z")
    assert [view.query for view in SavedView.objects.filter(tenant=tenant)] == ["state=Z"]

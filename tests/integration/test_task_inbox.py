"""The task inbox: order, parts, drafts, and actions that a member may not use (docs/reference/screens.md#tasks)."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run, make_tenant, make_token
from tests.support.members import member_of
from tests.support.plans import copies, no_sorts, rows_read
from tests.support.statements import sent_statements
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import Command, HumanTask, TaskDraft
from workflows.selectors import counts
from workflows.selectors import tasks as inbox
from workflows.services import human_tasks
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

FORM = {
    "type": "object",
    "required": ["amount"],
    "properties": {
        "amount": {"type": "integer", "minimum": 1},
        "lines": {"type": "array", "items": {"type": "string"}},
    },
}
LIST = "admin:workflows_humantask_changelist"


def make_task(tenant: Any, title: str = "Review", minutes: int | None = None, **fields: Any) -> HumanTask:
    due_at = None if minutes is None else timezone.now() + timedelta(minutes=minutes)
    values = {"step_path": "root.steps[0]", "task_type": "t", "title": title, "due_at": due_at, **fields}
    return HumanTask.objects.create(tenant=tenant, run=make_run(tenant, correlation_key=f"KEY-{title}"), **values)


def user_of(client: Any) -> Any:
    return get_user_model().objects.get(pk=client.session["_auth_user_id"])


def page_of(task: HumanTask) -> str:
    return reverse("admin:workflows_humantask_change", args=[task.id])


def test_inbox_reads_no_more_tasks_than_it_counts(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_COUNTED", 500)
    client = member_of(tenant)
    copies(
        make_task(tenant, "task", 1), 20_000, status="CASE WHEN n % 2 = 0 THEN 'pending' ELSE 'completed' END",
        claimed_by_id=f"CASE WHEN n > 19_900 THEN {user_of(client).pk} END", due_at="now() + n * interval '1 s'",
    )  # fmt: skip
    pages: list[Any] = []
    with no_sorts():
        read = rows_read(tenant, lambda: pages.append(client.get(reverse(LIST))), "workflow_tasks")
    # The counted tasks of each part, the rows of the page and the count of the navigation, of 10,001 open tasks.
    assert 1_000 < read <= 1_500
    # The member's tasks are not among the first that are due.
    shown = {part["value"]: part["count"] for part in pages[0].context_data["parts"]}
    assert shown == {"mine": "50", "unclaimed": "500+", "all": "500+", "closed": ""}


@pytest.mark.parametrize("query", ["kind=decisions", "due=hour", "kind=decisions&due=hour"])
def test_each_part_counts_its_list_with_the_filters(tenant: Any, query: str) -> None:
    client = member_of(tenant)
    mine = {"status": "claimed", "claimed_by": user_of(client)}
    for number, minutes in enumerate((5, 90)):
        for task_type in ("t", DECIDE_OUTCOME):
            make_task(tenant, f"free {number}", minutes, task_type=task_type)
            make_task(tenant, f"mine {number}", minutes, task_type=task_type, **mine)
    for part in client.get(f"{reverse(LIST)}?{query}").context_data["parts"][:3]:
        rows = client.get(f"{reverse(LIST)}?{query}&show={part['value']}").context_data["rows"]
        assert part["count"] == str(len(rows)) != "0", part


def test_inbox_sorts_by_due_time_and_counts_its_parts(tenant: Any) -> None:
    client, other = member_of(tenant), member_of(tenant)
    make_task(tenant, "later", 90, status="claimed", claimed_by=user_of(other))
    make_task(tenant, "never", assigned_users=["<ada>"], assigned_roles=["author"])
    make_task(tenant, "first", 5, assigned_roles=["operator"])
    make_task(tenant, "mine", 200, status="claimed", claimed_by=user_of(client))
    make_task(tenant, "done", 1, status="completed", completed_by_name="Ada")
    make_task(make_tenant(), "foreign", 1)
    shown = client.get(reverse(LIST)).content.decode()
    places = [shown.index(f"<bdi>{title}</bdi>") for title in ("first", "later", "mine", "never")]
    assert places == sorted(places)
    assert all(text in shown for text in ("Mine 1", "Unclaimed 2", "All 4", f"claimed by <bdi>{user_of(other)}</bdi>"))
    assert "unclaimed, for <bdi>&lt;ada&gt; and the role author</bdi>" in shown
    assert "unclaimed, for <bdi>the role operator" not in shown, "the reader has this role"
    assert "<bdi>done</bdi>" not in shown
    assert "foreign" not in shown
    titles = {
        part: [title for title in ("first", "later", "mine", "never", "done") if f"<bdi>{title}</bdi>" in page]
        for part in inbox.PARTS
        if (page := client.get(f"{reverse(LIST)}?show={part}").content.decode())
    }
    assert titles == {
        "mine": ["mine"], "unclaimed": ["first", "never"],
        "all": ["first", "later", "mine", "never"], "closed": ["done"],
    }  # fmt: skip


def test_inbox_pages_through_all_tasks_once(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "PAGE", 2)
    for number in range(5):
        make_task(tenant, f"t{number}", None if number % 2 else 10)
    HumanTask.objects.filter(tenant=tenant, due_at__isnull=False).update(due_at=timezone.now())
    for part in ("all", "closed"):
        seen, at = [], ""
        while True:
            page = inbox.inbox_page(tenant_id=tenant.id, user_id=0, part=part, at=at)
            seen += [task.title for task in page.rows]
            if not (at := page.following):
                break
        assert sorted(seen) == [f"t{number}" for number in range(5)]
        HumanTask.objects.filter(tenant=tenant).update(status="completed")


@pytest.mark.parametrize("query", ["show=x", "kind=x", "after=x", "status__exact=x"])
def test_address_that_cannot_be_read_is_refused(tenant: Any, query: str) -> None:
    make_task(tenant)
    response = member_of(tenant).get(f"{reverse(LIST)}?{query}")
    assert response.status_code == 400
    assert "The list shows no rows" in response.content.decode()
    assert "<bdi>Review</bdi>" not in response.content.decode()


def test_page_needs_at_most_12_statements(tenant: Any) -> None:
    tasks = [make_task(tenant, f"t{n}", n, form_schema=FORM, context_data={"a": [{"b": 1}]}) for n in range(20)]
    client = member_of(tenant)
    for url in (reverse(LIST), page_of(tasks[0])):
        with sent_statements() as statements:
            assert client.get(url).status_code == 200
        assert len(statements) <= 12, "\n".join(sql[:160] for sql in statements)


def test_draft_is_kept_for_this_member_until_the_response_is_sent(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human_tasks, "complete_task", lambda *_, **__: None)
    task = make_task(tenant, form_schema=FORM)
    client, other = member_of(tenant), member_of(tenant)
    draft = reverse("admin:workflows_humantask_draft", args=[task.id])
    typed = {"response/amount": "twelve", "response/lines#rows": "1", "response/lines/0": "<b>", "idempotency_key": "x"}
    assert client.post(draft, typed).json()["saved_at"]
    assert set(TaskDraft.objects.get(task=task).typed) == {"response/amount", "response/lines#rows", "response/lines/0"}
    shown = client.get(page_of(task)).content.decode()
    assert 'value="twelve"' in shown
    assert 'value="&lt;b&gt;"' in shown
    assert "Draft saved" in shown
    assert "must be a number" not in shown
    assert "twelve" not in other.get(page_of(task)).content.decode()
    assert not Command.objects.filter(tenant=tenant, target_type="task").exists()
    checked = client.post(page_of(task), {**typed, "response/amount": "12", "check": "yes"}).content.decode()
    assert "The response fits the form. It was not sent." in checked
    assert TaskDraft.objects.get(task=task).typed["response/amount"] == ["12"]
    assert client.post(page_of(task), {"response/amount": "12"}).status_code == 302
    assert not TaskDraft.objects.filter(task=task).exists()


def test_api_reads_replaces_and_deletes_only_the_draft_of_the_caller(tenant: Any) -> None:
    task, client, other = make_task(tenant, form_schema=FORM), member_of(tenant), member_of(tenant)
    address = f"/api/v1/tasks/{task.id}/draft"
    assert client.get(address).json() == {"typed": {}, "saved_at": None}
    typed = {"response/amount": [" 12 "], "response/lines": ["a", ""]}
    saved = client.put(address, {"typed": typed}, content_type="application/json")
    assert (saved.status_code, saved.json()["typed"]) == (200, typed)
    assert client.get(address).json() == saved.json()
    assert 'value=" 12 "' in client.get(page_of(task)).content.decode(), "the page shows the draft of the API"
    assert other.get(address).json()["typed"] == {}
    assert other.delete(address).status_code == 204
    assert TaskDraft.objects.filter(task=task).count() == 1
    assert client.delete(address).status_code == 204
    assert not TaskDraft.objects.filter(task=task).exists()
    assert not Command.objects.filter(target_id=str(task.id)).exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"typed": ["a"]}, 400), ({"typed": {"response": "a"}}, 400), ({"typed": {"response": ["\x00"]}}, 400)],
)
def test_api_refuses_a_wrong_draft_and_stores_nothing(tenant: Any, body: Any, status: int) -> None:
    task = make_task(tenant)
    refused = member_of(tenant).put(f"/api/v1/tasks/{task.id}/draft", body, content_type="application/json")
    assert (refused.status_code, TaskDraft.objects.filter(task=task).exists()) == (status, False)


def test_api_refuses_drafts_of_tokens_viewers_and_closed_tasks(tenant: Any) -> None:
    task, closed, typed = make_task(tenant), make_task(tenant, status="completed"), {"typed": {"response": ["1"]}}
    token = Client(headers={"Authorization": f"Bearer {make_token(tenant)}"})
    for client, target, status in (
        (token, task, 403), (member_of(tenant, role="viewer"), task, 403), (member_of(tenant), closed, 409),
    ):  # fmt: skip
        refused = client.put(f"/api/v1/tasks/{target.id}/draft", typed, content_type="application/json")
        assert (refused.status_code, "message" in refused.json()["error"]) == (status, True)
    assert not TaskDraft.objects.filter(tenant=tenant).exists()


def test_draft_of_a_closed_or_foreign_task_is_refused(tenant: Any) -> None:
    closed = make_task(tenant, status="completed")
    client = member_of(tenant)
    refused = client.post(reverse("admin:workflows_humantask_draft", args=[closed.id]), {"response": "{}"})
    assert (refused.status_code, "TASK_NOT_OPEN" in refused.json()["error"]) == (409, True)
    foreign = make_task(make_tenant())
    assert client.post(reverse("admin:workflows_humantask_draft", args=[foreign.id]), {}).status_code == 404
    too_large = {"response": "x" * 300_000}
    url = reverse("admin:workflows_humantask_draft", args=[make_task(tenant).id])
    assert client.post(url, too_large).status_code == 400
    assert not TaskDraft.objects.filter(tenant=tenant).exists()


def test_row_is_added_without_a_check_and_keeps_what_was_typed(tenant: Any) -> None:
    task = make_task(tenant, form_schema=FORM)
    typed = {"response/amount": "x", "response/lines#rows": "1", "response/lines/0": "A", "add": "response/lines"}
    shown = member_of(tenant).post(page_of(task), typed).content.decode()
    assert 'name="response/lines/1"' in shown
    assert 'value="A"' in shown
    assert "need a correction" not in shown


@pytest.mark.parametrize(
    ("role", "fields", "reason"),
    [
        (Role.VIEWER, {}, "You need the role operator to complete tasks."),
        (Role.OPERATOR, {"assigned_roles": ["admin"]}, "The task is assigned to other users or roles"),
        (Role.OPERATOR, {"status": "claimed", "claimed": True}, "who must release it first"),
        (Role.OPERATOR, {"status": "canceled"}, "The task is canceled and no longer open"),
        (Role.OPERATOR, {}, ""),
    ],
)
def test_reason_is_shown_instead_of_a_form_that_would_be_refused(
    tenant: Any, role: str, fields: dict[str, Any], reason: str
) -> None:
    if fields.pop("claimed", False):
        fields["claimed_by"] = user_of(member_of(tenant))
    task = make_task(tenant, form_schema=FORM, **fields)
    shown = member_of(tenant, role=role).get(page_of(task)).content.decode()
    assert reason in shown
    assert ('id="task-form"' in shown) is (reason == "")


def test_operator_assigns_a_task_to_a_member(tenant: Any) -> None:
    task, client, other = make_task(tenant), member_of(tenant), member_of(tenant)
    viewer = member_of(tenant, role=Role.VIEWER)
    url = reverse("admin:workflows_humantask_assign", args=[task.id])
    form = client.get(url).content.decode()
    assert f">{user_of(other)}</option>" in form
    assert f">{user_of(viewer)} (viewer, cannot complete tasks)</option>" in form
    assert "The task is assigned." in client.post(url, {"username": str(user_of(other))}, follow=True).content.decode()
    task.refresh_from_db()
    assert task.claimed_by == user_of(other)
    assert viewer.get(url).status_code == 302


def test_context_is_redacted_and_hidden_from_viewers(tenant: Any) -> None:
    tenant.redaction_rules = ["/contextData/card"]
    tenant.save()
    task = make_task(tenant, context_data={"card": "4111", "lines": [{"sku": "A-1"}], "note": "<i>" * 100})
    shown = member_of(tenant).get(page_of(task)).content.decode()
    assert "4111" not in shown
    assert "<bdi>A-1</bdi>" in shown
    assert "<i>" not in shown
    assert "A-1" not in member_of(tenant, role=Role.VIEWER).get(page_of(task)).content.decode()

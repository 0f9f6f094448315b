"""Forms send only what a person chose, and two clicks have one effect (docs/reference/screens.md#all-screens)."""

import json
import re
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.bulk_jobs import make_runs, preview_job
from tests.support.factories import make_run, publish
from tests.support.members import member_of
from workflows.engine.definition import canonical_text
from workflows.models import BulkJob, Command, Event, EventType, HumanTask, Run, Secret
from workflows.services import human_tasks
from workflows.statuses import Role
from workflows.temporal import gateway
from workflows.temporal.contracts import TaskResponse

pytestmark = pytest.mark.usefixtures("no_dispatcher")

PAYOUT = {
    "type": "object",
    "properties": {
        "reviewedBy": {"type": "string", "title": "Reviewed by"},
        "approved": {"type": "boolean", "title": "Approve the payout?"},
        "amount": {"type": "number", "minimum": 1},
        "note": {"type": "string", "default": "none"},
        "channel": {"enum": ["mail", "phone"]},
        "items": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["reviewedBy", "approved", "amount"],
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the responses that are sent to runs. Temporal accepts each one."""
    responses: list[Any] = []

    def accept(response: TaskResponse, **_: Any) -> None:
        responses.append(response.response)

    monkeypatch.setattr(human_tasks, "complete_task", accept)
    return responses


def make_task(tenant: Any, schema: Any) -> HumanTask:
    run = make_run(tenant)
    return HumanTask.objects.create(
        tenant=tenant, run=run, step_path="root.steps[0]", task_type="t", title="Review", form_schema=schema
    )


def page_of(task: HumanTask) -> str:
    return reverse("admin:workflows_humantask_change", args=[task.id])


# -- The form of a task ------------------------------------------------------------------------------------------------


def test_untouched_form_sends_nothing_and_shows_all_problems_at_once(tenant: Any, sent: list[Any]) -> None:
    client = member_of(tenant)
    task = make_task(tenant, PAYOUT)
    shown = client.get(page_of(task)).content.decode()
    assert not re.search(r"\s(checked|selected)[\s>=]", shown[shown.index('id="task-form"') :])
    fields = {f"response/{name}": "" for name in ("reviewedBy", "amount", "note")}
    page = client.post(page_of(task), {**fields, "reason": "kept"}).content.decode()
    assert "3 fields need a correction" in page
    assert (page.count("This field is required."), page.count("Choose one of the 2 values.")) == (2, 1)
    assert 'value="kept"' in page
    assert sent == []
    assert not Command.objects.filter(tenant=tenant, action="complete_task").exists()


def test_response_has_only_chosen_values_in_the_authors_order(tenant: Any, sent: list[Any]) -> None:
    task = make_task(tenant, PAYOUT)
    fields = {"response/approved": "false", "response/amount": "12.50", "response/reviewedBy": "Mei"}
    response = member_of(tenant).post(page_of(task), {**fields, "response/note": "", "response/items#rows": "2"})
    assert response.status_code == 302, response.content.decode()
    assert json.dumps(sent) == '[{"reviewedBy": "Mei", "approved": false, "amount": 12.5}]'


def test_task_without_a_form_sends_an_empty_object(tenant: Any, sent: list[Any]) -> None:
    member_of(tenant).post(page_of(make_task(tenant, None)), {"response": "", "reason": "done"})
    assert sent == [{}]


def test_response_can_be_written_as_json(tenant: Any, sent: list[Any]) -> None:
    client = member_of(tenant)
    task = make_task(tenant, PAYOUT)
    assert 'name="response"' in client.get(f"{page_of(task)}?json=1").content.decode()
    refused = client.post(f"{page_of(task)}?json=1", {"response": '{"approved": 1, "amount": 0}'}).content.decode()
    assert all(f"/{name}" in refused or name in refused for name in ("approved", "amount", "reviewedBy"))
    client.post(f"{page_of(task)}?json=1", {"response": '{"reviewedBy": "M", "approved": true, "amount": 2}'})
    assert sent == [{"reviewedBy": "M", "approved": True, "amount": 2}]


def test_published_form_keeps_the_authors_order() -> None:
    step = {"formSchema": {"type": "object", "properties": {"z": {"type": "string", "title": "Z"}, "a": {}}}}
    text = canonical_text({"steps": [{"config": step, "id": "s"}], "properties": {"z": 1, "a": 2}})
    document = json.loads(text)
    form = document["steps"][0]["config"]["formSchema"]
    assert (list(form), list(form["properties"]), list(form["properties"]["z"])) == (
        ["properties", "type"], ["z", "a"], ["title", "type"],
    )  # fmt: skip
    assert list(document["properties"]) == ["a", "z"]
    assert canonical_text(document) == text


# -- Two clicks --------------------------------------------------------------------------------------------------------

# Forms of visitors, forms that change nothing, and forms whose key is in an included template.
WITHOUT_A_KEY = {
    "account/login.html", "account/organisation.html", "account/password_reset.html",
    "account/password_reset_from_key.html", "account/reauthenticate.html", "mfa/authenticate.html",
    "portal/invitation.html", "portal/invitation_open.html", "portal/invitation_refused.html",
    "portal/expression_lab.html", "portal/what_if_event.html", "portal/what_if_correlation.html",
    "portal/frame/_side.html", "portal/frame/_top.html", "portal/_event_batch_lines.html",
    "admin/workflows/definition/change_list.html", "admin/workflows/eventdelivery/change_list.html",
    "admin/workflows/run/change_list.html",
}  # fmt: skip


def test_every_acting_form_has_a_key_and_every_page_sends_a_form_once() -> None:
    root = Path(__file__).parents[2] / "templates"
    found = set()
    for path in root.rglob("*.html"):
        forms = re.findall(r"<form\b.*?</form>", path.read_text("utf-8"), re.DOTALL)
        if any('method="post"' in form and "{% form_key %}" not in form for form in forms):
            found.add(str(path.relative_to(root)))
    assert found == WITHOUT_A_KEY
    for frame in ("portal/plain.html", "unfold/layouts/skeleton.html"):
        assert "portal/forms.js" in (root / frame).read_text("utf-8")


def test_double_click_on_cancel_sends_one_request(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tenant)
    calls: list[Any] = []
    monkeypatch.setattr(gateway, "cancel_run", lambda **request: calls.append(request))
    client, url = member_of(tenant), reverse("admin:workflows_run_cancel", args=[run.id])
    form = {"reason": "twice", "idempotency_key": str(uuid.uuid4())}
    pages = [client.post(url, form, follow=True).content.decode() for _ in range(2)]
    assert all("Temporal accepted the request" in page for page in pages)
    assert (len(calls), Command.objects.filter(run=run).count()) == (1, 1)


def test_simultaneous_clicks_have_one_effect_and_the_same_outcome(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tenant)
    first_is_running, may_end = threading.Event(), threading.Event()
    calls: list[Any] = []

    def cancel(**request: Any) -> None:
        calls.append(request)
        first_is_running.set()
        assert may_end.wait(30)

    monkeypatch.setattr(gateway, "cancel_run", cancel)
    client, url = member_of(tenant), reverse("admin:workflows_run_cancel", args=[run.id])
    form = {"reason": "", "idempotency_key": str(uuid.uuid4())}
    pages: list[str] = []

    def click() -> None:
        # With one cookie jar, the page of one click could take the message of the other.
        browser = Client()
        browser.cookies.update(client.cookies)
        pages.append(browser.post(url, form, follow=True).content.decode())

    clicks = [threading.Thread(target=click) for _ in range(2)]
    clicks[0].start()
    assert first_is_running.wait(30)
    clicks[1].start()
    may_end.set()
    for thread in clicks:
        thread.join(60)
    assert len(calls) == 1
    assert ["Temporal accepted the request" in page for page in pages] == [True, True]


def test_double_click_on_start_gives_one_run(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = publish(tenant)
    monkeypatch.setattr(gateway, "start_run", lambda *_, **__: "epoch")
    url = reverse("admin:workflows_definition_start", args=[version.definition_id])
    client = member_of(tenant)
    form = {"payload": "{}", "idempotency_key": str(uuid.uuid4())}
    places = {client.post(url, form).headers.get("Location") for _ in range(2)}
    assert len(places) == 1
    assert Run.objects.filter(tenant=tenant).count() == 1


def test_message_about_an_accepted_request_is_not_green(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = publish(tenant)
    monkeypatch.setattr(gateway, "start_run", lambda *_, **__: "epoch")
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    client, job = member_of(tenant), preview_job(tenant, runs=Run.objects.filter(id=make_run(tenant).id), selection={})
    failed = make_run(tenant, status="FAILED", definition_version=version)
    event = reverse("admin:workflows_event_send")
    for address, form in {
        reverse("admin:workflows_definition_start", args=[version.definition_id]): {"payload": "{}"},
        reverse("admin:workflows_run_replay", args=[failed.id]): {"payload": "{}", "on": "pinned", "confirmed": "yes"},
        reverse("admin:workflows_bulkjob_start", args=[job.id]): {"reason": ""},
        reverse("admin:compare"): {},
        event: {"event_type": "E", "payload": "{}"},
    }.items():
        page = client.post(address, {**form, "idempotency_key": str(uuid.uuid4())}, follow=True)
        shown = [message.level_tag for message in page.context["messages"]]
        assert shown == ["info"], (address, shown)
        assert ("bg-blue-100" in page.content.decode(), "data-live-moment" in page.content.decode()) == (True, True)
    stopped = client.post(reverse("admin:workflows_bulkjob_stop", args=[job.id]), {"reason": ""}, follow=True)
    assert [message.level_tag for message in stopped.context["messages"]] == ["success"]


def test_double_click_on_send_stores_one_event(tenant: Any) -> None:
    client, url = member_of(tenant), reverse("admin:workflows_event_send")
    form = {"event_type": "E", "payload": '{"a": 1}', "idempotency_key": str(uuid.uuid4())}
    places = {client.post(url, form).headers["Location"] for _ in range(2)}
    assert (len(places), Event.objects.filter(tenant=tenant).count()) == (1, 1)
    assert Command.objects.filter(tenant=tenant, action="send_event").count() == 1
    other = client.post(url, {**form, "payload": '{"a": 2}'}).content.decode()
    assert "already sent with other values" in other
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_double_clicks_on_a_task_have_one_effect(tenant: Any, sent: list[Any]) -> None:
    task, client = make_task(tenant, None), member_of(tenant)
    for name in ("claim", "release"):
        url = reverse(f"admin:workflows_humantask_{name}", args=[task.id])
        form = {"idempotency_key": str(uuid.uuid4())}
        pages = [client.post(url, form, follow=True).content.decode() for _ in range(2)]
        assert all("claimed the task" in page or "is released" in page for page in pages)
        assert Command.objects.filter(tenant=tenant, action=f"{name}_task").count() == 1
    form = {"response": "{}", "idempotency_key": str(uuid.uuid4())}
    assert [client.post(page_of(task), form).status_code for _ in range(2)] == [302, 302]
    assert sent == [{}]


def test_double_click_on_an_action_of_the_list_creates_one_job(tenant: Any) -> None:
    runs, client = make_runs(tenant, 2), member_of(tenant)
    data = {
        "action": "cancel_runs", "_selected_action": [str(run.id) for run in runs], "index": "0",
        "idempotency_key": str(uuid.uuid4()),
    }  # fmt: skip
    url = reverse("admin:workflows_run_changelist")
    assert 'name="idempotency_key"' in client.get(url).content.decode()
    places = {client.post(url, data).headers["Location"] for _ in range(2)}
    assert (len(places), BulkJob.objects.filter(tenant=tenant).count()) == (1, 1)
    client.post(url, {**data, "_selected_action": [str(runs[0].id)]})  # another selection on the same page
    assert BulkJob.objects.filter(tenant=tenant).count() == 2


def test_double_click_on_a_step_of_a_bulk_job(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tenant)
    job, client = preview_job(tenant), member_of(tenant)
    url = reverse("admin:workflows_bulkjob_start", args=[job.id])
    form = {"reason": "", "idempotency_key": str(uuid.uuid4())}
    pages = [client.post(url, form, follow=True).content.decode() for _ in range(2)]
    assert all("The start is recorded" in page for page in pages)


def test_double_clicks_on_pages_of_authors_and_admins(tenant: Any) -> None:
    client = member_of(tenant, role=Role.ADMIN)
    add = reverse("admin:workflows_eventtype_add")
    form = {"name": "E", "correlation_paths": "a", "is_active": "on", "idempotency_key": str(uuid.uuid4())}
    pages = [client.post(add, form, follow=True).content.decode() for _ in range(2)]
    assert all("is saved" in page for page in pages)
    row = EventType.objects.get(tenant=tenant)
    delete = reverse("admin:workflows_eventtype_delete", args=[row.id])
    form = {"idempotency_key": str(uuid.uuid4())}
    assert [client.post(delete, form).status_code for _ in range(2)] == [302, 302]
    secret = {"name": "TOKEN", "value": "a long value", "idempotency_key": str(uuid.uuid4())}
    responses = [client.post(reverse("admin:workflows_secret_add"), secret) for _ in range(2)]
    assert [response.status_code for response in responses] == [302, 302]
    assert Secret.objects.filter(tenant=tenant).count() == 1
    assert Command.objects.filter(tenant=tenant, action="save_secret").count() == 1


def test_key_that_no_page_has_made_is_refused(tenant: Any) -> None:
    run = make_run(tenant)
    url = reverse("admin:workflows_run_cancel", args=[run.id])
    for key in ("\x00", "x" * 300, "bulk:1:2:3"):
        assert member_of(tenant).post(url, {"reason": "", "idempotency_key": key}).status_code == 400
    assert not Command.objects.filter(run=run).exists()

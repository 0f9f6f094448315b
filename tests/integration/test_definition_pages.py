"""Pages of definitions for authors: create, edit, publish, pause, roll back, archive, delete.

Source: docs/reference/administration.md#definition-life-cycle
"""

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch.work import events_work
from tests.support.events import receive
from tests.support.factories import expr, make_actor, make_definition, make_run, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.members import member_of
from tests.support.triggers import STATE, TRIGGER
from workflows.models import Command, Definition, EventDelivery, Incident, Schedule
from workflows.services.definitions.pause import definition_pause

# A dispatcher of another test would route the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

REASON = {"reason": "a test"}


@pytest.fixture
def author(tenant: Any) -> Client:
    return member_of(tenant, role="author")


def page(name: str, definition: Definition, *args: Any) -> str:
    return reverse(f"admin:workflows_definition_{name}", args=[definition.id, *args])


def tab(name: str, definition: Definition) -> str:
    return f"{page('change', definition)}?tab={name}"


def flow(tenant: Any) -> Definition:
    return Definition.objects.get(tenant=tenant, key="flow")


def sent(client: Client, address: str, body: dict[str, Any], status: int = 200) -> str:
    response = client.post(address, body, follow=True)
    assert response.status_code == status, response.content[:2000]
    return response.content.decode()


def test_author_creates_edits_and_publishes_a_definition(tenant: Any, author: Client) -> None:
    add = reverse("admin:workflows_definition_add")
    for origin in ("blank", "example", "copy", "bundle"):
        assert author.get(f"{add}?origin={origin}").status_code == 200
    for address, fields, field, code in (
        (add, {"key": "Bad Key"}, "key", "KEY_INVALID"),
        (f"{add}?origin=copy", {"key": "x", "copy_of": "none"}, "copy_of", "DEFINITION_NOT_FOUND"),
    ):
        response = author.post(address, fields)
        assert [*response.context["form"].errors] == [field]
        assert code in response.content.decode()
    shown = sent(author, f"{add}?origin=example", {"key": "flow", "name": "", "example": "wait-for-reply"})
    assert "flow is created" in shown
    assert "No problems." in shown
    definition = flow(tenant)
    bad = json.dumps(
        make_definition({"id": "a", "type": "transform.assign", "config": {"assign": {"x": expr("len(")}}})
    )
    draft = {"draft_version": "1", "document": bad}
    checked = sent(author, page("draft", definition), {**draft, "check": "yes"})
    assert "not saved" in checked
    assert "EXPRESSION_SYNTAX" in checked
    assert "line 1, column " in checked
    assert "The draft is saved" in sent(author, page("draft", definition), draft)
    blocked = author.get(page("publish", definition)).content.decode()
    assert "disabled" in blocked
    assert page("draft", definition) in blocked
    assert "DEFINITION_INVALID" in sent(author, page("publish", definition), {"draft_version": "2"})
    good = {"draft_version": "2", "document": json.dumps(make_definition(STATE, trigger=TRIGGER))}
    sent(author, page("draft", definition), good)
    assert "The draft is published" in sent(
        author, page("publish", definition), {"draft_version": "3", "note": "hello"}
    )
    assert "hello" in author.get(page("change", definition)).content.decode()
    assert flow(tenant).published_version is not None


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1, "a": 2}', '{"id": "other"}', ""])
def test_text_that_cannot_be_stored_stays_in_the_form_with_its_error(tenant: Any, author: Client, text: str) -> None:
    publish(tenant, STATE)
    before = flow(tenant).draft_text
    response = author.post(page("draft", flow(tenant)), {"draft_version": "0", "document": text})
    form = response.context["form"]
    assert form.errors
    assert form["document"].value() == text
    assert flow(tenant).draft_text == before


def test_stale_save_shows_both_texts_and_a_second_save_replaces_the_draft(tenant: Any, author: Client) -> None:
    publish(tenant, STATE)
    definition = flow(tenant)
    texts = {name: json.dumps(make_definition({**STATE, "config": {"state": name}})) for name in ("FIRST", "SECOND")}
    sent(author, page("draft", definition), {"draft_version": "0", "document": texts["FIRST"]})
    stale = author.post(page("draft", definition), {"draft_version": "0", "document": texts["SECOND"]})
    shown = stale.content.decode()
    assert stale.status_code == 409
    assert shown.count("&quot;FIRST&quot;") == 2  # the stored draft, and the removed line of the comparison
    assert shown.count("&quot;SECOND&quot;") == 2  # the text in the form, and the added line
    assert stale.context["form"]["draft_version"].value() == 1
    assert "FIRST" in flow(tenant).draft_text
    again = {"draft_version": "1", "document": stale.context["form"]["document"].value()}
    assert "The draft is saved" in sent(author, page("draft", definition), again)
    assert "SECOND" in flow(tenant).draft_text


def test_pause_and_resume_with_held_starts(tenant: Any, author: Client) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    definition = flow(tenant)
    assert "This field is required." in sent(author, page("pause", definition), {})
    assert "Event starts are held" in sent(author, page("pause", definition), REASON)
    event = receive(tenant, workflow_correlation_key=None)
    events_work(tenant_id=tenant.id, seconds=20)
    assert "1 start held" in author.get(page("change", definition)).content.decode()
    shown = author.get(tab("starts", definition)).content.decode()
    assert "Held starts: 1" in shown
    assert event.event_id in shown
    assert "flow is paused: a test" in shown
    assert "This field is required." in sent(author, page("resume", definition), REASON)
    assert flow(tenant).is_paused
    sent(author, page("resume", definition), {**REASON, "held": "skip"})
    assert (flow(tenant).is_paused, EventDelivery.objects.get(tenant=tenant).status) == (False, "skipped")
    assert "DEFINITION_NOT_PAUSED" in sent(author, page("resume", definition), REASON)


def test_two_clicks_have_one_effect(tenant: Any, author: Client) -> None:
    publish(tenant, STATE)
    definition = flow(tenant)
    body = {**REASON, "idempotency_key": "0" * 32}
    for _ in range(2):
        assert "DEFINITION_ARCHIVED" not in sent(author, page("archive", definition), body)
    assert Command.objects.filter(tenant=tenant, action="archive").count() == 1
    sent(author, page("unarchive", definition), REASON)
    body["idempotency_key"] = "1" * 32
    for _ in range(2):
        assert author.post(page("delete", definition), body).status_code == 302


def test_settings_show_the_error_beside_the_field_and_store_only_changes(tenant: Any, author: Client) -> None:
    publish(tenant, STATE)
    definition = flow(tenant)
    body = {"owner": "Billing", "runbook_url": "https://runbooks.test/x", "concurrency_limit": "0"}
    response = author.post(page("settings", definition), body)
    assert "above 0" in str(response.context["form"].errors["concurrency_limit"])
    wrong = author.post(page("settings", definition), {"concurrency": '{"key": "payload.id", "onConflict": "skip"}'})
    assert "`key` that is not an expression" in str(wrong.context["form"].errors["concurrency"])
    rule = {"key": {"$expr": "payload.id"}, "onConflict": "skip"}
    good = {**body, "concurrency_limit": "2", "concurrency": json.dumps(rule)}
    sent(author, page("settings", definition), good)
    assert flow(tenant).concurrency == rule
    again = author.get(page("settings", definition)).context["form"]
    assert json.loads(again["concurrency"].value()) == rule
    shown = author.get(page("change", definition)).content.decode()
    assert "Billing" in shown
    assert 'href="https://runbooks.test/x"' in shown
    row = Command.objects.get(tenant=tenant, action="edit_definition", state="observed")
    assert set(row.details["after"]) == {"owner", "runbookUrl", "concurrencyLimit", "concurrency"}


def test_roll_back_delete_and_the_page_of_a_deleted_definition(tenant: Any, author: Client) -> None:
    publish(tenant, STATE)
    version = publish(tenant, {**STATE, "config": {"state": "Y"}})
    definition = flow(tenant)
    assert page("rollback", definition, 1) in author.get(tab("versions", definition)).content.decode()
    assert "published again" in sent(author, page("rollback", definition, 1), REASON)
    assert "DEFINITION_VERSION_NOT_FOUND" in sent(author, page("rollback", definition, 9), REASON)
    run = make_run(tenant, definition_version=version)
    assert "1 runs are open" in author.get(page("delete", definition)).content.decode()
    assert "DEFINITION_HAS_OPEN_RUNS" in sent(author, page("delete", definition), REASON)
    Definition.objects.filter(id=definition.id).update(deleted_at=run.created_at, archived_at=run.created_at)
    shown = author.get(page("change", definition)).content.decode()
    assert "The definition was deleted" in shown
    assert page("draft", definition) not in shown


def test_other_roles_see_the_reason_and_their_requests_are_recorded(tenant: Any) -> None:
    publish(tenant, STATE)
    definition, operator = flow(tenant), member_of(tenant, role="operator")
    shown = operator.get(page("change", definition)).content.decode()
    assert page("pause", definition) not in shown
    assert "You need the role author." in shown
    assert page("start", definition) in shown
    refused = operator.post(page("pause", definition), {})
    assert refused.status_code == 403
    assert "The role operator may not change definitions; it needs the role author" in refused.content.decode()
    assert Command.objects.get(tenant=tenant, action="pause").code == "PERMISSION_DENIED"
    definition_pause(actor=make_actor(tenant), key="flow", reason="a holiday")
    assert "a holiday" in operator.get(page("change", definition)).content.decode()


def test_list_shows_what_the_runs_did_with_few_statements(tenant: Any) -> None:
    client, url = member_of(tenant, role="author"), reverse("admin:workflows_definition_changelist")
    assert "There is no definition yet" in client.get(url).content.decode()
    now = timezone.now()
    run = make_run(tenant)
    for status in ("FAILED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"):
        make_run(tenant, definition_version=run.definition_version, status=status, started_at=now, ended_at=now)
    paused = make_run(tenant).definition
    Definition.objects.filter(id=paused.id).update(is_paused=True, is_auto_paused=True)
    with CaptureQueriesContext(connection) as statements:
        shown = client.get(url)
    not_counted = ("SET", "SELECT set_config", "SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    queries = [one["sql"] for one in statements if not one["sql"].startswith(not_counted)]
    assert len(queries) <= 12, queries
    rows = {row["definition"].key: row["activity"] for row in shown.context["rows"]}
    activity = rows[run.definition_key]
    assert (activity.open, activity.failed, activity.percent) == (1, 1, 75.0)
    text = shown.content.decode()
    assert f"?problem=failed&amp;definition={run.definition_key}" in text
    assert "pm-" not in text.split('<div class="ui">')[1].split("</main>")[0]
    only = client.get(f"{url}?problem=auto_paused")
    assert [row["definition"].id for row in only.context["rows"]] == [paused.id]
    assert [chip["is_chosen"] for chip in only.context["chips"]] == [False, True]
    assert "No definition matches" in client.get(f"{url}?q=nothing").content.decode()


@pytest.mark.parametrize("tab", ["map", "versions", "text", "starts", "audit"])
def test_tabs_have_no_part_of_the_older_look(tenant: Any, tab: str) -> None:
    run = make_run(tenant)
    page = member_of(tenant, role="author").get(
        f"{reverse('admin:workflows_definition_change', args=[run.definition_id])}?tab={tab}"
    )
    assert "pm-" not in page.content.decode().split('<div class="ui">')[1].split("</main>")[0]


def test_page_says_since_when_how_often_and_why_the_definition_fails(tenant: Any) -> None:
    first = publish(tenant, CAPTURE)
    runs = [fail_run(first, f"No payment with the id PAY-{number} exists.") for number in (1, 2)]
    make_run(tenant, definition_version=first, status="SUCCEEDED", ended_at=timezone.now())
    newer = publish(tenant, CAPTURE, STATE)
    incident = grow_incidents(tenant)[0]
    client, address = member_of(tenant), reverse("admin:workflows_incident_change", args=[incident.id])

    def shown(name: str = "map") -> str:
        page = client.get(tab(name, newer.definition)).content.decode()
        assert (address in page) == ("Fails since" in page)
        return re.sub(r"\s+([,:.)])|(?<=\()\s+", r"\1", " ".join(re.sub(r"<[^>]*>", " ", page).split()))

    for name in ("text", "starts"):  # these tabs have too many statements of their own
        assert re.search(r"Fails since .* ago: 1 cause INC-1", shown(name)), name
    for name in ("map", "versions"):
        text = shown(name)
        assert re.search(
            r"Fails since .* ago: 2 of 3 closed runs of v1 \(67 %\), 0 of 0 closed runs of v2, 1 cause", text
        )
        assert "INC-1 New 2 × NOT_FOUND at" in text
        assert "at “ Capture ”, version 1, last" in text
    by_version = {
        row.version: (row.share.failed, row.closed) for row in client.get(address).context["page"].failures.versions
    }
    assert by_version == {2: (0, 0), 1: (2, 3)}  # the page of the incident has the same numbers
    fail_run(newer, code="BANK_CLOSED", replay_of=runs[0])
    grow_incidents(tenant)
    text = shown()
    # A replay is not among the closed runs, so it is not in the share either.
    assert "2 of 3 closed runs of v1 (67 %), 0 of 0 closed runs of v2, 2 causes" in text
    fail_run(newer, code="GATE_CLOSED", ended_at=timezone.now())  # no incident has read this failure yet
    assert "0 of 1 closed runs of v2 (1 failed with another cause), 2 causes" in shown()
    assert (
        "Of 2 failed runs, 1 not replayed, 1 replayed: 0 succeeded, 0 open, 1 failed again (1 other cause: INC-2)"
        in text
    )
    Incident.objects.filter(tenant=tenant).update(state="resolved")
    assert "Fails since" not in shown()


def test_list_and_page_name_everything_that_starts_runs(tenant: Any) -> None:
    by_event = publish(tenant, STATE, trigger=TRIGGER).definition
    by_times = publish(tenant, STATE, key="by-times").definition
    by_people = publish(tenant, STATE, key="by-people").definition
    for name, removed_at in (("nightly", None), ("weekly", None), ("old", timezone.now())):
        for definition in (by_event, by_times) if name == "weekly" else (by_times,):
            Schedule.objects.create(
                tenant=tenant, definition=definition, name=name, origin="portal", kind="recurring", cron="0 6 * * *",
                temporal_schedule_id=f"{name}-{definition.key}", removed_at=removed_at,
            )  # fmt: skip
    client = member_of(tenant)
    rows = client.get(reverse("admin:workflows_definition_changelist")).context["rows"]
    starts = {
        by_event.key: [TRIGGER["eventName"], "Schedule weekly"],
        by_times.key: ["Schedule nightly", "Schedule weekly"],
        by_people.key: [],
    }
    assert {row["definition"].key: row["starts"] for row in rows} == starts
    for definition in (by_event, by_times, by_people):
        page = " ".join(re.sub(r"<[^>]*>", "", client.get(tab("map", definition)).content.decode()).split())
        words = ", ".join(starts[definition.key]) or "a person, the API or a parent run"
        assert f"Started by {words}" in page

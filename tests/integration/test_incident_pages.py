"""Pages of incidents: list, page, changes, and what a viewer may not do. Source: docs/reference/incidents.md#pages"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import accept_starts, complete_job, end_replays, executed
from tests.support.factories import make_run, make_tenant, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.incident_pages import page_of, post, preview, start, text_of
from tests.support.members import member_of
from workflows.models import BulkJob, Command, Incident, IncidentNote, Run, Tenant
from workflows.models.fields import new_id
from workflows.selectors import failure_counts
from workflows.services.bulk.selection import selection_in_words

LIST = "admin:workflows_incident_changelist"
HOSTILE = "<script>alert(1)</script>\u202e" + "k" * 200


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch, no_dispatcher: None) -> None:
    accept_starts(monkeypatch)


@pytest.fixture
def incident(tenant: Any) -> Incident:
    version = publish(tenant, CAPTURE)
    for key in ("PAY-1", "PAY-2"):
        fail_run(version, f"No payment with the id {key} exists.", correlation_key=key)
    return grow_incidents(tenant)[0]


def test_operator_sees_the_incident_and_its_runs(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    shown = client.get(reverse(LIST)).content.decode()
    assert "Incidents" in shown
    assert "NOT_FOUND" in shown
    assert "See 2 runs" in shown
    assert "Replay these" in shown
    page = client.get(page_of(incident)).content.decode()
    for text in ("<bdi>PAY-1</bdi>", '<bdi class="diff">&lt;id&gt;</bdi>', "Make me the owner", "Merge…"):
        assert text in page
    runs = client.get(f"{reverse('admin:workflows_run_changelist')}?incident=1").content.decode()
    assert "PAY-1" in runs
    assert "PAY-2" in runs


def test_newest_failure_says_the_reason_to_those_who_see_payloads(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    body = '{"error": {"message": "No payment with the id %s exists.", "code": "NOT_FOUND"}}'
    message = "bank.test responded with status 404."
    for number, key in enumerate(("PAY-139", "PAY-140")):
        error = {"category": "ActionError", "code": "HTTP_404", "message": message, "nodePath": "root.steps[0]",
                 "details": {"status": 404, "body": body % key}}  # fmt: skip
        fail_run(version, error=error, ended_at=timezone.now() + timedelta(seconds=number - 9))
    (incident,) = grow_incidents(tenant)
    reason = f'No payment with the id <span class="nowrap">PAY-140</span> exists (NOT_FOUND). {message}</bdi>'
    for address in (page_of(incident), reverse(LIST), reverse("admin:index")):
        for role, sees in (("operator", True), ("viewer", False)):
            shown = text_of(member_of(tenant, role=role), address)
            newest = shown.partition("Newest: <")[2]
            assert (reason in newest[:250], "PAY-140" in shown.split("</main>")[0]) == (sees, sees), (address, role)


def test_list_filters_and_refuses_what_it_cannot_read(tenant: Any, incident: Incident) -> None:
    fail_run(publish(tenant, CAPTURE, key="other"), "The gate is closed.", code="TIMEOUT")
    grow_incidents(tenant)
    client = member_of(tenant)
    for query, texts in {
        "": {"NOT_FOUND", "TIMEOUT"}, "q=INC-1": {"NOT_FOUND"}, "q=time": {"TIMEOUT"}, "q=payment": {"NOT_FOUND"},
        "definition=other": {"TIMEOUT"}, "state=open": set(), "state=all&q=none": set(),
    }.items():  # fmt: skip
        shown = client.get(f"{reverse(LIST)}?{query}").content.decode()
        assert {code for code in ("NOT_FOUND", "TIMEOUT") if f"<bdi>{code}</bdi>" in shown} == texts, query
    for query in ("stat=open", "state=opened", "q=%00", "before=yesterday"):
        assert client.get(f"{reverse(LIST)}?{query}").status_code == 400, query


def test_viewer_reads_and_changes_nothing(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant, role="viewer")
    for address in (reverse(LIST), page_of(incident)):
        shown = client.get(address).content.decode()
        assert "NOT_FOUND" in shown
        for action in ("Replay these", "Make me the owner", "Snooze…", "Merge…", "Save the note", 'method="post"'):
            assert action not in shown.split('<div class="ui">')[1].split("<footer")[0], action
    for name in ("own", "snooze", "resolve", "close", "reopen", "note", "merge", "separate", "split", "take", "replay"):
        assert post(client, incident, name, text="x").status_code == 403, name
    incident.refresh_from_db()
    assert incident.state == "new"
    assert not IncidentNote.objects.filter(tenant=tenant).exists()
    assert Command.objects.filter(tenant=tenant, action="edit_incident", state="refused").count() == 11


def test_operator_changes_the_incident_with_forms(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    assert post(client, incident, "take").status_code == 302
    incident.refresh_from_db()
    assert (incident.state, bool(incident.owner_id)) == ("open", True)
    refused = post(client, incident, "snooze")
    assert refused.status_code == 400
    assert "Give a time, a number of failures, or both." in refused.content.decode()
    assert post(client, incident, "snooze", failures="3", reason="later").status_code == 302
    refused = post(client, incident, "resolve", version="7")
    assert refused.status_code == 400
    assert "Must be from 1 to 2." in refused.content.decode()
    assert 'value="7"' in refused.content.decode()  # the form keeps what was typed
    shown = client.get(post(client, incident, "resolve", version="2").url).content.decode()
    assert f"{incident} is resolved in version 2." in shown
    incident.refresh_from_db()
    assert (incident.state, incident.resolved_in, incident.snoozed_for) == ("resolved", 2, None)
    assert post(client, incident, "note", text=HOSTILE).status_code == 302
    page = client.get(page_of(incident)).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    done = Command.objects.filter(tenant=tenant, action="edit_incident", state="observed", target_id=str(incident.id))
    assert [row.payload["operation"] for row in done.order_by("requested_at")] == ["own", "snooze", "resolve", "note"]


def test_form_says_on_which_version_the_incident_failed(tenant: Any, incident: Incident) -> None:
    fail_run(publish(tenant, {**CAPTURE, "name": "Second"}))
    grow_incidents(tenant)
    client = member_of(tenant)
    asked = client.get(reverse("admin:workflows_incident_resolve", args=[incident.id])).content.decode()
    assert "It failed on version 2, so no older version." in asked
    refused = post(client, incident, "resolve", version="1")
    assert refused.status_code == 400
    assert "The incident failed on version 2, which is newer. Must be from 2 to 3." in refused.content.decode()
    incident.refresh_from_db()
    assert incident.state == "new"
    done = post(client, incident, "close")
    assert f"{incident} is closed." in client.get(done.url).content.decode()


def test_two_clicks_write_one_note(tenant: Any, incident: Incident) -> None:
    client, key = member_of(tenant), str(new_id())
    for _ in range(2):
        assert post(client, incident, "note", text="once", idempotency_key=key).status_code == 302
    assert IncidentNote.objects.filter(tenant=tenant).count() == 1


def test_replay_freezes_the_runs_of_the_incident(tenant: Any, incident: Incident) -> None:
    fail_run(publish(tenant, CAPTURE, key="other"))
    response = post(member_of(tenant), incident, "replay")
    job = BulkJob.objects.get(tenant=tenant)
    assert response["Location"] == f"{page_of(incident)}?preview={job.id}#replay"
    assert (
        'id="replay" tabindex="-1"' in member_of(tenant).get(response["Location"]).content.decode()
    )  # it takes the focus
    assert (job.total, job.incident_id, job.selection["filters"]) == (2, incident.id, {"incident": 1})
    assert selection_in_words(job) == "incident is INC-1"


def test_hostile_values_are_text(tenant: Any) -> None:
    fail_run(publish(tenant, CAPTURE), HOSTILE, code=HOSTILE[:100], correlation_key=HOSTILE)
    (incident,) = grow_incidents(tenant)
    client = member_of(tenant)
    for address in (reverse(LIST), page_of(incident)):
        page = client.get(address).content.decode()
        assert "&lt;script&gt;alert" in page
        assert "<script>alert" not in page


def test_another_tenant_sees_nothing(tenant: Any, incident: Incident) -> None:
    client = member_of(make_tenant())
    assert client.get(page_of(incident)).status_code == 404
    assert "NOT_FOUND" not in client.get(reverse(LIST)).content.decode()
    assert post(client, incident, "take").status_code == 404


# -- Replay on the page ------------------------------------------------------------------------------------------------


def test_preview_is_on_the_page_and_its_form_comes_back_to_it(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    run = Run.objects.get(tenant=tenant, correlation_key="PAY-1")
    executed(run)
    job = preview(client, incident)
    address = f"{page_of(incident)}?preview={job.id}"
    shown = client.get(address).content.decode()
    for text in (
        "Replay 1 or 2 runs?",
        "Not idempotent.",
        "Start 1 first",
        "Failures per hour",
        "Nothing has started.",
    ):
        assert text in shown, text
    for hidden in (page_of(incident), f"{page_of(incident)}?preview=x", f"{page_of(incident)}?preview={new_id()}"):
        assert "Start 1 first" not in client.get(hidden).content.decode(), hidden
    viewer = member_of(tenant, role="viewer").get(address).content.decode()
    assert "Start 1 first" not in viewer
    refused = start(client, job, reason="the bank is back")  # the tick is missing
    text = refused.content.decode()
    assert ('id="e-repeats"' in text, 'value="the bank is back"' in text, "Failures per hour" in text) == (True,) * 3
    assert 'data-live data-version=""' not in text
    assert "Nothing was started. Choose which runs start." in text
    too_long = start(client, job, reason="r" * 2001, accept_repeats="on").content.decode()
    assert ('id="e-reason"' in too_long, "Ensure this value has at most 2000 characters" in too_long) == (True, True)
    again = reverse("admin:workflows_bulkjob_again", args=[job.id])
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident", "replay_version": "pinned"}
    changed = client.post(again, fields)
    newest = BulkJob.objects.filter(tenant=tenant).latest("created_at")
    assert (changed.url, newest.replay_version) == (f"{page_of(incident)}?preview={newest.id}#replay", "pinned")
    assert start(client, newest, accept_repeats="on").url == page_of(incident)
    assert "Start 1 first" not in client.get(f"{page_of(incident)}?preview={newest.id}").content.decode()


def test_paused_job_and_earlier_results_stay_on_the_page(tenant: Any, incident: Incident, temporal: None) -> None:
    client = member_of(tenant)
    earlier = preview(client, incident)
    start(client, earlier)
    end_replays(complete_job(earlier), "FAILED", "FAILED")
    job = preview(client, incident)
    start(client, job, first_only="on")
    assert "The job begins." in client.get(page_of(incident)).content.decode()
    BulkJob.objects.filter(id=job.id).update(next_slice_at=timezone.now() - 2 * BulkJob.TAKEN_WITHIN)
    shown = client.get(page_of(incident)).content.decode()
    for text in (
        "Only the first run starts now.",
        "Waiting for a worker",
        "celery -A portal worker",
        "Earlier replays",
    ):
        assert text in shown, text
    end_replays(complete_job(job), "SUCCEEDED")
    for _ in range(3):
        preview(client, incident)  # previews push nothing out
    shown = client.get(page_of(incident)).content.decode()
    for text in (
        "<b>1</b> started", "<b>1</b> succeeded", "waiting for you", "Start the other 1", "Stop…",
        "The first replay has succeeded.", "Earlier replays",
    ):  # fmt: skip
        assert text in shown, text
    resume = reverse("admin:workflows_bulkjob_resume", args=[job.id])
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident"}
    assert client.post(resume, fields).url == page_of(incident)
    end_replays(complete_job(job), "SUCCEEDED", "SUCCEEDED")
    assert "2 of 2 succeeded</span>" in client.get(page_of(incident)).content.decode()
    viewer = member_of(tenant, role="viewer").get(page_of(incident)).content.decode()
    assert "Start the other" not in viewer


def test_list_starts_the_preview_and_counts_the_same_incidents_as_the_dashboard(
    tenant: Any, incident: Incident
) -> None:
    for code in ("A", "B", "C", "D", "E"):
        fail_run(publish(tenant, CAPTURE), code=code)
    grow_incidents(tenant)
    for code, state in (("A", "snoozed"), ("B", "resolved"), ("C", "open"), ("D", "regressed")):
        Incident.objects.filter(tenant=tenant, error_code=code).update(state=state)
    client = member_of(tenant)
    listed, dashboard = (text_of(client, reverse(name)) for name in (LIST, "admin:index"))
    newest_first, largest_first = ["E", "D", "C", "NOT_FOUND"], ["NOT_FOUND", "E", "D", "C"]
    for page, order in ((listed, newest_first), (dashboard, largest_first)):
        card = page.split('aria-label="Incidents"' if page is listed else 'aria-labelledby="h-inc"')[1]
        codes = [part.split("</bdi>")[0] for part in card.split("<code><bdi>")[1:]]
        assert codes == order
        assert post(client, incident, "replay").status_code == 302
        assert reverse("admin:workflows_incident_replay", args=[incident.id]) in card
        assert "Incidents <span" in page
        assert page.split("Incidents <span")[1].split(">")[1].startswith("4")
    assert "1 snoozed</a>" in dashboard


def test_no_shares_are_shown_if_older_versions_have_most_of_the_closed_runs(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has the newest versions only. The runs that were not read can belong to them."""
    monkeypatch.setattr(failure_counts, "MOST_CLOSED", 4)
    monkeypatch.setattr(failure_counts, "SHOWN_VERSIONS", 1)
    first = publish(tenant, CAPTURE, key="payment")
    for _ in range(4):
        make_run(tenant, definition_version=first, status="SUCCEEDED", ended_at=timezone.now())
    later = publish(tenant, {**CAPTURE, "name": "Capture 2"}, key="payment")
    fail_run(later)
    (incident,) = grow_incidents(tenant)
    found = failure_counts.failures_of([incident])
    assert (len(found.versions), found.has_shares) == (1, False)


def test_a_version_whose_runs_failed_with_another_cause_has_no_good_result(tenant: Any, incident: Incident) -> None:
    newer = publish(tenant, {**CAPTURE, "name": "Capture 2"})
    make_run(tenant, definition_version=newer, status="SUCCEEDED", ended_at=timezone.now())
    client = member_of(tenant)
    assert re.search(r"no failure, 0 open </td>", text_of(client, page_of(incident)))
    fail_run(newer, code="BANK_CLOSED")
    shown = text_of(client, page_of(incident))
    assert 'no failure here, 0 open <div class="small muted">1 failed with another cause</div>' in shown
    assert shown.count("with another cause</div>") == 1


def test_why_grouped_shows_the_values_in_place_of_the_markers(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    for number in range(5):
        fail_run(version, f"10.0.0.7 has no payment PAY-{number}.", ended_at=timezone.now() - timedelta(seconds=number))
    (incident,) = grow_incidents(tenant)

    def why() -> str:
        card = text_of(member_of(tenant, role="viewer"), page_of(incident)).partition("Why grouped")[2]
        return " ".join(re.sub(r"<[^>]*>", "", card.partition("</section>")[0]).split())

    values = "&lt;address&gt; 10.0.0.7 in each of the newest 5 &lt;id&gt; PAY-0, PAY-1, PAY-2 and 2 more"
    assert values in why()
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/error/message"])
    shown = why()
    assert ("PAY-0" in shown, "10.0.0.7" in shown) == (False, False)

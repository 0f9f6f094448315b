"""Replays of an incident: results by version, the run that was tried first, new causes, and the runs left out.

Source: docs/reference/incidents.md#replay
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import accept_starts, complete_job, end_replays, executed, set_run, start_job
from tests.support.factories import make_run, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.incident_pages import NEW_CAUSE, page_of, post, preview, replay, start, text_of
from tests.support.members import member_of
from tests.support.statements import sent_statements
from tests.support.step_rows import record_steps
from workflows.models import BulkJob, Definition, Incident, PayloadSchema, Run
from workflows.models.fields import new_id
from workflows.projections.transaction import projection_writer
from workflows.selectors.incidents import incident_rows
from workflows.services.bulk.preview_facts import preview_facts
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import item_label
from workflows.statuses import CommandAction

KEYS = ("PAY-1", "PAY-2", "PAY-3")
DASHBOARD = "admin:index"
FAILED_AT = "root.steps[0]"
MOST_STATEMENTS = 12


@pytest.fixture
def incident(tenant: Any, monkeypatch: pytest.MonkeyPatch, no_dispatcher: None) -> Incident:
    """Return the incident of three runs on version 1. Version 2 is published."""
    accept_starts(monkeypatch)
    version = publish(tenant, CAPTURE)
    for key in KEYS:
        fail_run(version, f"No payment with the id {key} exists.", correlation_key=key, input={"currency": "EUR"})
    publish(tenant, {**CAPTURE, "config": {"state": "Y"}})
    return grow_incidents(tenant)[0]


def test_failed_replays_count_on_their_version_and_the_same_replay_is_not_the_next_step(
    tenant: Any, incident: Incident
) -> None:
    client = member_of(tenant)
    first = text_of(client, page_of(incident))
    assert "No run and no replay of it has failed here." in first
    assert "Preview on version 2" in first
    replay(client, incident, "FAILED", "FAILED", "FAILED")
    text_of(client, page_of(incident))
    with sent_statements() as statements:
        shown = text_of(client, page_of(incident))
    assert len(statements) <= MOST_STATEMENTS, [sql[-160:] for sql in statements]
    for text in (
        "3 of 3 replays on version 2 failed", "<code><bdi>BANK_CLOSED</bdi></code>", "The bank is closed.",
        '<b class="tint c-red">3 of 3</b>', "See the error of <bdi>PAY-1</bdi>", "Preview on version 2 again",
    ):  # fmt: skip
        assert text in shown, text
    assert "has failed here" not in shown
    assert 'class="btn primary" type="submit" name="replay_version"' not in shown
    end_again = replay(client, incident, "SUCCEEDED", "FAILED", "RUNNING")
    shown = text_of(client, page_of(incident))
    assert "1 of 3 replays on version 2 failed" in shown  # the newest replay of each run counts
    assert (shown.count("1 succeeded."), shown.count("1 is open.")) == (1, 1)
    end_replays(end_again, "SUCCEEDED", "SUCCEEDED", "SUCCEEDED")
    shown = text_of(client, page_of(incident))
    assert "3 of 3 replays on version 2 succeeded." in shown
    resolve = reverse("admin:workflows_incident_resolve", args=[incident.id])
    assert f"{resolve}?version=2" in shown
    assert 'value="2"' in client.get(f"{resolve}?version=2").content.decode()


def test_card_of_a_paused_job_names_the_first_run_with_its_error(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "FAILED", first_only="on")
    new_run = Run.objects.get(tenant=tenant, replay_of__isnull=False)
    card = text_of(client, page_of(incident)).split("Replay in progress")[1].split("</section>")[0]
    for text in (
        "<bdi>PAY-3</bdi>", reverse("admin:workflows_run_change", args=[new_run.id]), "BANK_CLOSED",
        "The bank is closed.", "The first replay has not succeeded.", "<b>2</b> waiting for you",
        "Start the other 2 anyway…", "Stop…", f'rect class="c-red" x="0.00" width="{100 / 3:.2f}"',
    ):  # fmt: skip
        assert text in card, text
    assert "A replay of these runs is in progress." in text_of(client, page_of(incident))
    job.refresh_from_db()
    assert (job.state, new_run.correlation_key) == ("paused", "PAY-3")  # the newest failure is tried first
    client.post(reverse("admin:workflows_bulkjob_stop", args=[job.id]), {"reason": "r"})
    listed = text_of(client, reverse("admin:workflows_bulkjob_changelist"))
    for text in ('<b class="tint ">0</b> of 3 succeeded', '<b class="tint c-red">1</b> failed', ">2</b> not requested"):
        assert text in listed, text


def test_question_before_the_others_names_their_number_version_and_incident_and_the_state_of_the_first(
    tenant: Any, incident: Incident
) -> None:
    client = member_of(tenant)
    job = preview(client, incident)
    started = client.get(start(client, job, first_only="on").url).content.decode()
    assert "A worker sends one request to Temporal. The other 2 runs wait until you start them." in started
    end_replays(complete_job(job), "FAILED")
    new_run = Run.objects.get(tenant=tenant, replay_of__isnull=False)
    address = f"{reverse('admin:workflows_bulkjob_resume', args=[job.id])}?shown_on=incident"
    link = f'<a href="{reverse("admin:workflows_run_change", args=[new_run.id])}"><bdi>PAY-3</bdi></a>'
    for fields, state in (
        ({"status": "FAILED", "error_code": "BANK_CLOSED"}, "failed with BANK_CLOSED. Each other run will probably"),
        ({"status": "WAITING"}, "waits and has no result yet."),
        ({"status": "CANCELED"}, "was canceled. Find out why"),
        ({"status": "SUCCEEDED"}, "has succeeded."),
    ):
        set_run(new_run.id, **fields)
        asked = text_of(client, address)
        assert f"The job starts 2 more runs on version 2 of {incident}. The first run ({link}) {state}" in asked
        assert ("<h1>Start 2 more runs on version 2?</h1>" in asked, 'value="incident"' in asked) == (True, True)


def test_question_and_pages_say_that_the_first_run_has_passed_the_failed_step_and_what_is_repeated(
    tenant: Any, incident: Incident
) -> None:
    client = member_of(tenant)
    originals = {run.correlation_key: run for run in Run.objects.filter(tenant=tenant)}
    for run in originals.values():
        record_steps(run, (FAILED_AT, "FAILED", {"step_id": "capture", "name": "Capture"}))
    for key in KEYS[:2]:
        executed(originals[key])
    job = preview(client, incident)
    start(client, job, first_only="on", repeats="accept")
    end_replays(complete_job(job), "WAITING")
    new_run = Run.objects.get(tenant=tenant, replay_of=originals["PAY-3"])
    record_steps(new_run, (FAILED_AT, "SUCCEEDED", {"step_id": "capture", "name": "Capture"}), ended_at=None)
    question = reverse("admin:workflows_bulkjob_resume", args=[job.id])
    job_page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    asked = text_of(client, question)
    assert "</a>) has passed “<bdi>Capture</bdi>”, where the original failed. It waits" in asked
    repeated = f'<a href="{job_page}?outcome=pending&amp;repeats=yes">2 of these runs</a> will execute “<bdi>'
    assert f"<b>{repeated}" in asked
    for address in (page_of(incident), job_page):
        shown = text_of(client, address)
        assert "The first replay has passed “<bdi>Capture</bdi>”, where the original failed" in shown, address
        assert re.search(r'class="btn (sm )?primary" href="[^"]*/resume/[^"]*">Start the other 2…', shown), address


def test_preview_of_the_failures_again_has_no_reason_of_the_earlier_job(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "FAILED", "FAILED", "FAILED", reason="v3 fixes the path")
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident", "outcome": "failed"}
    again = client.post(reverse("admin:workflows_bulkjob_again", args=[job.id]), fields)
    form = text_of(client, again.url).split('id="id_reason"')[1].split(">")[0]
    assert 'value=""' in form
    assert BulkJob.objects.filter(tenant=tenant).latest("created_at").reason == ""


def test_results_count_the_newest_replay_of_each_run_and_leave_out_none(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "CANCELED", "RUNNING", "FAILED")
    shown = text_of(client, page_of(incident))
    for text in (
        "1 of 3 replays on version 2 failed", "1 is open.", "1 was canceled or terminated.",
        "Of 3 failed runs, <a", "3 replayed</a>: 0 succeeded, 1 open, 1 canceled, <a",
        "0 of 3 succeeded, 1 failed, 1 open",
    ):  # fmt: skip
        assert text in shown, text
    assert shown.index(f"h-r-{job.id}") < shown.index('id="h-w"')  # its place is the same as before its end
    again = preview(client, incident)
    card = text_of(client, f"{page_of(incident)}?preview={again.id}").split('id="replay"')[1].split("</section>")[0]
    canceled = card.split("The newest replay of 1 run was canceled or terminated:")[1].split("</div>")[0]
    assert "<bdi>PAY-3</bdi>" in canceled
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident", "outcome": "failed"}
    client.post(reverse("admin:workflows_bulkjob_again", args=[job.id]), fields)
    failed = BulkJob.objects.filter(tenant=tenant).latest("created_at")
    start(client, failed)
    end_replays(complete_job(failed), "FAILED")
    shown = text_of(client, page_of(incident))
    card = shown.split('id="h-r-all"')[1].split("</section>")[0]
    for text in (
        "Of 3 failed runs, <a", "3 replayed</a>: 0 succeeded, 1 open, 1 canceled, <a", "<b>1 failed again</b></a>",
        "(1 not grouped yet).",
    ):  # fmt: skip
        assert text in card, text
    earlier = shown.split('id="h-r-earlier"')[1].split("</table>")[0]
    for text in (">0</b> of 3 succeeded", ">1</b> failed", ">1</b> open", ">1</b> canceled"):
        assert text in earlier, text


def test_age_of_a_replay_that_has_ended_is_the_age_of_its_end(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "FAILED", "RUNNING", "FAILED")
    ended, running, _ = job.items.order_by("position").values_list("new_run_id", flat=True)
    now = timezone.now()
    set_run(ended, created_at=now - timedelta(hours=9), ended_at=now - timedelta(hours=5))
    set_run(running, created_at=now - timedelta(hours=7), ended_at=None)
    shown = text_of(client, page_of(incident))
    assert "9 h ago" not in shown
    for run_id, text in ((ended, "5 h ago"), (running, "7 h ago")):
        links = shown.split(f'href="{reverse("admin:workflows_run_change", args=[run_id])}">')[1:]
        shown_ages = [link.split("</a>")[0] for link in links if " ago" in link.split("</a>")[0]]
        assert len(shown_ages) == 2, text  # the runs of the job, and the newest failures
        assert all(text in age and ("started" in age) == (run_id == running) for age in shown_ages), shown_ages


def test_list_of_jobs_shows_the_result_of_each_job_and_is_live(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    preview(client, incident)
    job = replay(client, incident, "FAILED", "SUCCEEDED", "RUNNING")
    address = reverse("admin:workflows_bulkjob_changelist")
    shown = text_of(client, address)
    for text in (
        '<b class="tint c-green">1</b> of 3 succeeded', '<b class="tint c-red">1</b> failed',
        '<b class="tint c-blue">1</b> open', "Nothing has started.",
    ):  # fmt: skip
        assert text in shown, text
    end_replays(job, "FAILED", "SUCCEEDED", "SUCCEEDED")
    later = text_of(client, address)
    assert '<b class="tint c-green">2</b> of 3 succeeded' in later
    before, after = (page.split('data-live data-version="')[1].split(".")[0] for page in (shown, later))
    assert before != after


def test_runs_that_were_not_replayed_come_before_those_that_failed_again(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    assert "not_replayed" not in text_of(client, page_of(incident))
    newest = Run.objects.get(tenant=tenant, correlation_key="PAY-3")
    end_replays(complete_job(start_job(tenant, CommandAction.REPLAY, ids=[newest.id])), "FAILED")
    shown = text_of(client, page_of(incident))
    assert "Preview only the 2 not replayed</button>" in shown
    assert "Replay these 3 runs" not in shown  # only some of them can start
    everything = preview(client, incident)
    assert [run["label"] for run in preview_facts(everything).first] == ["PAY-2", "PAY-3", "PAY-1"]
    post(client, incident, "replay", runs="not_replayed")
    job = BulkJob.objects.filter(tenant=tenant).latest("created_at")
    labels = [item_label(item) for item in job.items.order_by("position")]
    assert (labels, job.replay_version) == (["PAY-2", "PAY-1"], "published")
    assert selection_in_words(job) == "incident is INC-1, and only runs that were never replayed"


def test_job_of_the_run_list_is_the_last_replay_of_the_incident(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    replay(client, incident, "FAILED", "SUCCEEDED", "CANCELED")
    failed = Run.objects.get(tenant=tenant, replay_of__isnull=False, status="FAILED")
    other = fail_run(failed.definition_version, "Another cause.", code="OTHER")
    listed = complete_job(start_job(tenant, CommandAction.REPLAY, ids=[failed.id, other.id]))
    end_replays(listed, "RUNNING", "SUCCEEDED")
    for state, advice in (("running", "Wait for its end"), ("paused", "Start its other runs")):
        BulkJob.objects.filter(id=listed.id).update(state=state, ended_at=None)
        shown = text_of(client, page_of(incident))
        assert f"A replay of these runs is in progress. {advice}, or stop it, before you replay again." in shown
    BulkJob.objects.filter(id=listed.id).update(state="done", ended_at=timezone.now())
    shown = text_of(client, page_of(incident))
    card = shown.split("Result of the last replay")[1].split("</section>")[0]
    assert reverse("admin:workflows_bulkjob_change", args=[listed.id]) in card
    assert "<b>2</b> started" in card  # the sentence above has other numbers
    assert "Earlier replays" in shown
    (same,) = [one for one in grow_incidents(tenant) if one.code == "OTHER"]
    assert f"h-r-{listed.id}" in text_of(client, page_of(same))
    unrelated = complete_job(start_job(tenant, CommandAction.REPLAY, ids=[make_run(tenant, status="FAILED").id]))
    assert str(unrelated.id) not in text_of(client, page_of(incident))


def test_open_replay_names_its_step_and_the_failed_step_that_it_has_passed(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    for run in Run.objects.filter(tenant=tenant):
        record_steps(run, (FAILED_AT, "FAILED", {"step_id": "capture", "name": "Capture"}))
    job = replay(client, incident, "WAITING", "WAITING", "WAITING")
    passed, elsewhere, in_loop = Run.objects.filter(tenant=tenant, replay_of__isnull=False)
    now_at = {"current_step_path": "root.steps[1]", "ended_at": None}
    settle = ("root.steps[1]", "RUNNING", {"step_id": "settle", "name": "Bank confirms settlement"})
    own = {"step_id": "capture", "name": "Capture"}
    record_steps(passed, (FAILED_AT, "FAILED", own), (FAILED_AT, "SUCCEEDED", {**own, "attempt": 2}), settle, **now_at)
    record_steps(elsewhere, (FAILED_AT, "SUCCEEDED", {"step_id": "other", "name": "Other"}), settle, **now_at)
    record_steps(in_loop, (FAILED_AT, "SUCCEEDED", {**own, "iteration": "0"}), settle, **now_at)
    for address in (reverse("admin:workflows_bulkjob_change", args=[job.id]), page_of(incident)):
        shown = text_of(client, address)
        assert shown.count("at “<bdi>Bank confirms settlement</bdi>”") == 3, address
        assert shown.count("passed “<bdi>Capture</bdi>”, where the original failed") == 1, address


def test_lists_of_incidents_count_the_newest_replay_of_each_run_and_link_to_it(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    addresses = [reverse("admin:workflows_incident_changelist"), reverse(DASHBOARD)]
    assert not any("failed again" in text_of(client, address) for address in [*addresses, page_of(incident)])
    replay(client, incident, "FAILED", "FAILED", "FAILED")
    job = replay(client, incident, "FAILED", "SUCCEEDED", "RUNNING")
    runs = f"{reverse('admin:workflows_run_changelist')}?incident={incident.number}&amp;replays=newest"
    versions = []
    for address in addresses:
        shown = text_of(client, address)
        for text in (
            f'Of 3 failed runs, <a href="{runs}">3 replayed</a>: 1 succeeded, 1 open, <a',
            f'<a class="tint c-red" href="{runs}&amp;status__exact=FAILED"><b>1 failed again</b></a>',
        ):  # fmt: skip
            assert text in shown, (address, text)
        versions.append(shown.split('data-live data-version="')[1].split('"')[0])
    on_page = client.get(page_of(incident)).context_data
    assert on_page is not None
    assert on_page["work"]["replays"] == incident_rows([incident])[0].replays
    newest = [item.new_run_id for item in job.items.order_by("position")]
    for query, wanted in (("", set(newest)), ("&status__exact=FAILED", {newest[0]})):
        listed = client.get(runs.replace("&amp;", "&") + query).context_data
        assert listed is not None
        assert {row.run.id for row in listed["rows"]} == wanted
    end_replays(job, "TIMED_OUT", "CANCELED", "SUCCEEDED")
    for address, before in zip(addresses, versions, strict=True):
        shown = text_of(client, address)
        assert "1 succeeded, 0 open, 1 canceled, <a" in shown
        assert f'<a class="tint c-red" href="{runs}&amp;status__exact=TIMED_OUT"><b>1 timed out</b></a>' in shown
        assert before not in shown, "the page is not live"
        assert ", 0 failed again (1 not grouped yet)" in shown


def test_new_cause_of_replays_has_an_incident_and_needs_attention(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    same = {**NEW_CAUSE, "code": "NOT_FOUND", "message": "No payment with the id PAY-9 exists."}
    unowned = f"{reverse('admin:workflows_run_changelist')}?problem=unowned"
    replay(client, incident, "FAILED", "FAILED", "FAILED", error=same)
    assert len(grow_incidents(tenant)) == 1  # the same cause counts with the originals
    assert client.get(unowned).content.decode().count('class="rk"') == 3
    replay(client, incident, "FAILED", "FAILED", "FAILED")
    _, new = grow_incidents(tenant)
    assert (new.code, new.run_count) == ("BANK_CLOSED", 3)
    # A run and its two replays are one piece of work: the newest run decides.
    assert client.get(unowned).content.decode().count('class="rk"') == 3
    dashboard = text_of(client, reverse(DASHBOARD))
    assert '<b class="cnt">3</b>' in dashboard
    assert f'<b>3 failed again</b></a> (3 other cause: <a href="{page_of(new)}">INC-{new.number}</a>)' in dashboard
    assert f"INC-{new.number}" in dashboard
    assert f'This is another cause: <a href="{page_of(new)}">INC-{new.number}</a>' in text_of(client, page_of(incident))


def test_head_and_versions_count_replays_that_failed_with_another_cause_and_those_that_are_open(
    tenant: Any, incident: Incident
) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "FAILED", "FAILED", "RUNNING")
    set_run(job.items.order_by("position")[2].new_run_id, ended_at=None)
    _, new = grow_incidents(tenant)
    shown = text_of(client, page_of(new))
    head = shown.split("Last hour:")[1].split("</span>")[0]
    assert '<b class="tint c-red">2 of 2</b> closed replays failed here (100 %)' in head
    assert "closed runs failed here" not in head  # a 0 beside new failures
    versions = shown.split('<table class="mini cards">')[1].split("</table>")[0]
    assert "all are replays, 1 open" in versions
    fail_run(Definition.objects.get(tenant=tenant).published_version, NEW_CAUSE["message"], code=NEW_CAUSE["code"])
    grow_incidents(tenant)
    head = text_of(client, page_of(new)).split("Last hour:")[1].split("</span>")[0]
    for text in ("failed here (100 %), <b", '<b class="tint c-red">1 of 4</b> closed runs failed here (25 %)'):
        assert text in head, text


def test_all_pages_count_the_time_of_a_run_from_its_start(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    job = replay(client, incident, "FAILED", "FAILED", "FAILED")
    new_run, now = job.items.order_by("position")[0].new_run_id, timezone.now()
    times = [now - timedelta(seconds=seconds) for seconds in (95, 43, 0)]
    set_run(new_run, **dict(zip(("created_at", "started_at", "ended_at"), times, strict=True)))
    run_list = reverse("admin:workflows_run_changelist")
    for address in (
        page_of(incident), reverse("admin:workflows_bulkjob_change", args=[job.id]), run_list,
        reverse("admin:workflows_run_change", args=[new_run]),
        f"{reverse('admin:workflows_definition_change', args=[incident.definition_id])}?tab=starts",
    ):  # fmt: skip
        assert ("43 s" in (shown := text_of(client, address)), "95 s</td>" in shown) == (True, False), address


def test_preview_names_the_runs_that_are_left_out_with_their_reasons(tenant: Any, incident: Incident) -> None:
    client = member_of(tenant)
    schema = {"type": "object", "required": ["currency"]}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Pay.v1", schema=schema)
    published = publish(tenant, CAPTURE, payloadSchemaRef="payload.Pay.v1")
    with projection_writer("test"):
        Run.objects.filter(tenant=tenant, correlation_key="PAY-1").update(input={})
    make_run(tenant, definition_version=published, correlation_key="PAY-2")
    job = preview(client, incident)
    shown = text_of(client, f"{page_of(incident)}?preview={job.id}")
    for text in (
        "<b>will start</b> on version 3, one run for each key",
        "<bdi>PAY-1</bdi></b> <bdi>the input does not fit payload.Pay.v1: &#x27;currency&#x27; is missing</bdi>",
        'another run of the key is open. <b class="left"><bdi>PAY-2</bdi></b>',
        "Runs that fail after",
    ):
        assert text in shown, text
    for machine_text in ("REPLAY_RUN_OPEN", "incident is", "1 failed", f"{published.definition.key}@1"):
        assert machine_text not in shown.split('id="replay"')[1].split("</section>")[0], machine_text
    Definition.objects.filter(tenant=tenant).update(is_paused=True)
    job = preview(client, incident)
    shown = text_of(client, f"{page_of(incident)}?preview={job.id}")
    assert "left out because the definition is paused, and an author must resume it first." in shown
    assert "Start 1 first" not in shown

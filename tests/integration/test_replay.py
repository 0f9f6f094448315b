"""Replays: version, rules, preview and outcome of a bulk job (docs/reference/authority.md#control-matrix)."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api
from tests.support.bulk_jobs import (
    accept_starts,
    complete_job,
    end_replays,
    executed,
    item_of,
    preview_job,
    reload_job,
)
from tests.support.factories import make_actor, make_run, make_token, publish
from tests.support.management_commands import run_command
from tests.support.members import member_of
from workflows.errors import Conflict, InputInvalid
from workflows.models import BulkItem, BulkJob, Command, PayloadSchema, Run
from workflows.services.bulk.jobs import bulk_resume, bulk_start
from workflows.services.bulk.results import bulk_outcomes, bulk_preview_again, items_with_outcome
from workflows.services.bulk.selectors import bulk_split
from workflows.services.runs.replay import run_replay
from workflows.services.runs.replay_checks import replay_facts_of_job, replay_has_succeeded
from workflows.statuses import BulkOutcome, CommandAction, ReplayVersion, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

REPLAY = CommandAction.REPLAY
STEP = {"id": "s", "type": "state.set", "config": {"state": "X"}}


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_starts(monkeypatch)


def two_versions(tenant: Any) -> Any:
    """Publish a version, then a version whose payload needs `currency`. Return the first."""
    first = publish(tenant, STEP)
    schema = {"type": "object", "required": ["currency"], "properties": {"amount": {"type": "integer", "minimum": 1}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Pay.v1", schema=schema)
    publish(tenant, STEP, payloadSchemaRef="payload.Pay.v1")
    return first


# -- The replay of one run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"status": "WAITING", "correlation_key": "K"}, "REPLAY_RUN_OPEN"),
        ({"status": "SUCCEEDED", "correlation_key": "K"}, "REPLAY_RUN_SUCCEEDED"),
        ({"status": "WAITING", "is_replay": True}, "REPLAY_RUN_OPEN"),
        ({"status": "SUCCEEDED", "is_replay": True}, "REPLAY_RUN_SUCCEEDED"),
        ({"status": "FAILED", "correlation_key": "K"}, None),
        ({"status": "WAITING", "correlation_key": "L"}, None),
        ({"status": "SUCCEEDED", "correlation_key": "K", "created_at": timezone.now() - timedelta(days=9)}, None),
    ],
)
def test_second_run_of_a_key_needs_the_option(
    tenant: Any, temporal: None, other: dict[str, Any], code: str | None
) -> None:
    old = make_run(tenant, status="FAILED", correlation_key="K", created_at=timezone.now() - timedelta(hours=1))
    replay_of = old if other.pop("is_replay", False) else None
    found = make_run(tenant, definition_version=old.definition_version, replay_of=replay_of, **other)
    request = {"actor": make_actor(tenant), "run_id": old.id}
    if code is None:
        assert Run.objects.get(id=run_replay(**request)[0]).replay_of_id == old.id
        return
    with pytest.raises(Conflict) as raised:
        run_replay(**request)
    assert (raised.value.code, raised.value.details["runId"]) == (code, str(found.id))
    assert Command.objects.get(run=old).state == "refused"
    assert run_replay(**request, allow_another_run=True)[1].state == "accepted"


def test_replay_repeats_an_effect_only_if_it_is_accepted(tenant: Any, temporal: None) -> None:
    old = make_run(tenant, status="FAILED")
    executed(old, "http.request")  # idempotent
    executed(old, key="invoice-7")  # a replay has the same key, so it takes the stored result
    request = {"actor": make_actor(tenant), "run_id": old.id, "allow_another_run": True}
    run_replay(**request)
    executed(old)
    with pytest.raises(InputInvalid) as raised:
        run_replay(**request)
    assert (raised.value.code, raised.value.details["actions"]) == (
        "REPLAY_REPEATS_EFFECTS", [{"action": "email.send@1", "runs": 1}],
    )  # fmt: skip
    run_replay(**request, accept_repeats=True)
    assert old.replays.count() == 2


def test_replay_on_the_published_version_checks_the_input_with_its_schema(tenant: Any, temporal: None) -> None:
    old = make_run(tenant, definition_version=two_versions(tenant), status="FAILED", input={"amount": 0})
    api = Api(make_token(tenant))
    refused = api.post(f"/runs/{old.id}/replay", {"version": "published"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "PAYLOAD_INVALID")
    assert not old.replays.exists()
    body = {"version": "published", "payload": {"amount": 1, "currency": "EUR"}}
    new = Run.objects.get(id=api.post(f"/runs/{old.id}/replay", body).json()["run_id"])
    assert (new.version, new.input, new.trigger_metadata["isEdited"]) == (2, body["payload"], True)
    shown = run_command("control_run", "replay", str(old.id), "--allow-another-run")
    assert "result is not known yet" in shown
    assert old.replays.latest("created_at").version == 1


def test_page_shows_every_problem_beside_its_field_and_stores_nothing(tenant: Any, temporal: None) -> None:
    old = make_run(
        tenant, definition_version=two_versions(tenant), status="FAILED", input={"amount": 0}, correlation_key="K"
    )
    executed(old)
    make_run(tenant, definition_version=old.definition_version, correlation_key="K")
    client, url = member_of(tenant), reverse("admin:workflows_run_replay", args=[old.id])
    form = {"on": "published", "payload": '{"amount": 0}', "reason": "again", "confirmed": "yes"}
    page = client.post(url, form).content.decode()
    for text in ("currency", "/amount must be at least 1", "Look at the other run", "Check the effect of each action"):
        assert text in page, text
    assert page.count('value="again"') == 1
    assert not Command.objects.filter(run=old).exists()
    form |= {"payload": '{"amount": 2, "currency": "EUR"}'}
    checked = {name: value for name, value in form.items() if name != "confirmed"}
    assert "The input is changed" in client.post(url, checked).content.decode()
    done = client.post(url, {**form, "allow_another_run": "on", "accept_repeats": "on"}, follow=True)
    assert "Its result is not known yet" in done.content.decode()
    assert old.replays.get().version == 2


def test_viewer_sees_the_reason_and_no_form(tenant: Any) -> None:
    old = make_run(tenant, status="FAILED")
    page = member_of(tenant, role=Role.VIEWER).get(reverse("admin:workflows_run_replay", args=[old.id]))
    assert "You need the role operator to replay runs." in page.content.decode()
    assert 'name="payload"' not in page.content.decode()


def test_replay_of_a_canceled_run_repeats_who_canceled_it_and_why(tenant: Any) -> None:
    old, failed = make_run(tenant, status="CANCELED"), make_run(tenant, status="FAILED")
    for run, actor in ((old, "Maya"), (failed, "Ines")):
        values = {"action": "cancel", "target_type": "run", "target_id": str(run.id), "source": "admin"}
        Command.objects.create(
            tenant=tenant, run=run, actor_type="user", actor_name=actor, state="observed", reason="<b>twice", **values
        )
    client = member_of(tenant)
    page = client.get(reverse("admin:workflows_run_replay", args=[old.id])).content.decode()
    for text in ("<bdi>Maya</bdi> canceled this run", "“&lt;b&gt;twice”.</bdi>"):
        assert text in page, text
    assert "Ines" not in client.get(reverse("admin:workflows_run_replay", args=[failed.id])).content.decode()


# -- The preview of many replays ---------------------------------------------------------------------------------------


def test_preview_starts_one_run_for_each_key_and_leaves_out_the_others(tenant: Any) -> None:
    first = two_versions(tenant)
    now = timezone.now()

    def failed(key: str, minutes: int = 60, **fields: Any) -> Run:
        values = {"status": "FAILED", "input": {"currency": "EUR"}, **fields}
        created = now - timedelta(minutes=minutes)
        return make_run(tenant, definition_version=first, correlation_key=key, created_at=created, **values)

    good, older, newest = failed("A"), failed("B", 50), failed("B", 40)
    is_open, done, misfit, keyless = failed("C"), failed("D"), failed("E", input={}), failed("")
    make_run(tenant, definition_version=first, correlation_key="C")
    make_run(tenant, definition_version=first, correlation_key="D", status="SUCCEEDED")
    make_run(tenant, definition_version=first, replay_of=good, status="FAILED", correlation_key="A")
    make_run(tenant, definition_version=first, replay_of=keyless, status="TIMED_OUT")
    executed(good), executed(newest), executed(older)
    ids = [run.id for run in (good, older, newest, is_open, done, misfit, keyless)]
    job = preview_job(tenant, REPLAY, ids=ids, replay_version=ReplayVersion.PUBLISHED)
    assert {run.correlation_key: item_of(job, run).code for run in (is_open, done, misfit)} == {
        "C": "REPLAY_RUN_OPEN", "D": "REPLAY_RUN_SUCCEEDED", "E": "PAYLOAD_INVALID",
    }  # fmt: skip
    assert (item_of(job, older).code, item_of(job, newest).code) == ("REPLAY_KEY_TWICE", "")
    assert bulk_split(job)["by_status"] == {"FAILED": 3}
    facts = replay_facts_of_job(job)
    assert (facts.replayed, facts.failed_replays, facts.repeated[0].runs) == (2, 2, 2)
    shown = member_of(tenant).get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    for text in ("Already replayed.", "Not idempotent.", "another run of the key is open", "Start 1 first"):
        assert text in shown, text
    body = Api(make_token(tenant)).get(f"/bulk/{job.id}").json()
    assert body["preview"]["repeats"] == [{"action": "email.send@1", "runs": 2}]
    assert body["outcomes"]["left_out"] == 4
    again = bulk_preview_again(actor=make_actor(tenant), job_id=job.id, replay_version="pinned", allow_another_run=True)
    assert bulk_split(again) == {"by_status": {"FAILED": 7}, "ineligible": {}}


def test_statements_of_a_preview_name_the_runs_and_search_no_table_inside_another(tenant: Any) -> None:
    """A subquery per item made a preview of 41 runs take 17 s, on tables whose size PostgreSQL did not know yet."""
    first = two_versions(tenant)
    runs = [make_run(tenant, definition_version=first, status="FAILED", correlation_key=f"K-{n}") for n in range(3)]
    with CaptureQueriesContext(connection) as captured:
        preview_job(tenant, REPLAY, ids=[run.id for run in runs], replay_version=ReplayVersion.PUBLISHED)
    read = [query["sql"].split("; ", 1)[-1] for query in captured if "workflow_runs" in query["sql"]]
    assert len(read) >= 6
    for sql in read:
        assert not re.search(r"EXISTS|IN \(SELECT|JOIN \"?workflow_bulk_items", sql), sql


def test_open_run_is_not_in_the_way_of_its_own_replay(tenant: Any) -> None:
    run = make_run(tenant, status="RUNNING", correlation_key="K")
    job = preview_job(tenant, REPLAY, ids=[run.id])
    assert item_of(job, run).code == ""
    make_run(tenant, definition_version=run.definition_version, status="WAITING", correlation_key="K")
    assert item_of(preview_job(tenant, REPLAY, ids=[run.id]), run).code == "REPLAY_RUN_OPEN"


def test_start_needs_the_tick_and_keeps_what_was_typed(tenant: Any, temporal: None) -> None:
    run = make_run(tenant, status="FAILED")
    executed(run)
    job = preview_job(tenant, REPLAY, ids=[run.id], reason="")
    client, url = member_of(tenant), reverse("admin:workflows_bulkjob_start", args=[job.id])
    page = client.post(url, {"reason": "the bank is back"}).content.decode()
    assert 'id="e-repeats"' in page
    assert 'value="the bank is back"' in page
    assert reload_job(job).state == "preview"
    assert client.post(url, {"reason": "x", "accept_repeats": "on"}).status_code == 302
    assert bulk_outcomes(complete_job(job))["open"] == 1


# -- The outcome -------------------------------------------------------------------------------------------------------


def test_outcome_is_the_state_of_the_new_runs_and_failures_can_be_replayed_again(tenant: Any, temporal: None) -> None:
    runs = [make_run(tenant, status="FAILED") for _ in range(4)]
    job = preview_job(tenant, REPLAY, ids=[run.id for run in runs])
    make_run(tenant, definition_version=runs[3].definition_version, replay_of=runs[3])  # open since the preview
    bulk_start(actor=make_actor(tenant), job_id=job.id)
    job = complete_job(job)
    api, client = Api(make_token(tenant)), member_of(tenant)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    outcomes = {name: number for name, number in bulk_outcomes(job).items() if number}
    assert outcomes == {"open": 3, "refused": 1}
    assert "<b>0</b> succeeded" in client.get(page).content.decode()
    end_replays(job, "FAILED", "TIMED_OUT", "SUCCEEDED")
    outcomes = {name: number for name, number in bulk_outcomes(job).items() if number}
    assert outcomes == {"failed": 2, "succeeded": 1, "refused": 1}
    assert api.get(f"/bulk/{job.id}").json()["outcomes"]["failed"] == 2
    items = api.get(f"/bulk/{job.id}/items?outcome=failed").json()["results"]
    assert [(item["outcome"], item["new_run_status"]) for item in items] == [
        ("failed", "FAILED"), ("failed", "TIMED_OUT"),
    ]  # fmt: skip
    shown = client.get(page).content.decode()
    assert "1 of 4 succeeded, 2 failed, 1 refused</span>" in shown
    assert [shown.index(str(runs[n].id)) for n in (0, 1, 3, 2)] == sorted(shown.index(str(run.id)) for run in runs)
    shown = client.get(f"{page}?outcome=failed").content.decode()
    assert "Replay the 2 failures again" in shown
    assert [str(run.id) in shown for run in runs] == [True, True, False, False]
    again = client.post(
        reverse("admin:workflows_bulkjob_again", args=[job.id]),
        {"outcome": "failed", "idempotency_key": str(uuid.uuid4())},
    )
    new = BulkJob.objects.exclude(id=job.id).get(tenant=tenant)
    assert again.url == reverse("admin:workflows_bulkjob_change", args=[new.id])
    assert list(new.items.order_by("position").values_list("target_id", flat=True)) == [runs[0].id, runs[1].id]
    text = run_command("bulk_runs", "replay", "--tenant", tenant.slug, "--job", str(job.id), "--outcome", "failed")
    assert "2 replayed before; 2 of these replays failed" in text
    by_api = api.post("/bulk", {"action": "replay", "job": str(job.id), "outcome": "succeeded"})
    assert (by_api.status_code, by_api.json()["preview"]["ineligible"]) == (201, {"REPLAY_RUN_SUCCEEDED": 1})


@pytest.mark.parametrize("outcome", BulkOutcome.values)
def test_filter_and_counts_agree_for_each_outcome(tenant: Any, outcome: str) -> None:
    for action in (REPLAY, CommandAction.CANCEL):
        statuses = ["WAITING", "SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", None]
        states = ["pending", "accepted", "refused", "failed", "unknown", "ineligible", "stopped"]
        runs = [make_run(tenant, status=status or "FAILED") for status in statuses]
        job = preview_job(tenant, action, ids=[run.id for run in runs], allow_another_run=True)
        BulkItem.objects.filter(job=job).update(state="accepted")
        for state, status, item in zip(states, statuses, job.items.order_by("position"), strict=True):
            new_run = item.target_id if status and state in ("accepted", "unknown") else uuid.uuid4()
            BulkItem.objects.filter(id=item.id).update(state=state, new_run_id=new_run)
        assert items_with_outcome(job, outcome).count() == bulk_outcomes(job)[outcome]
        assert sum(bulk_outcomes(job).values()) == 7


def test_first_run_is_requested_alone_and_the_others_after_a_look(tenant: Any, temporal: None) -> None:
    runs = [make_run(tenant, status="FAILED") for _ in range(3)]
    job = preview_job(tenant, REPLAY, ids=[run.id for run in runs])
    client = member_of(tenant)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    client.post(reverse("admin:workflows_bulkjob_start", args=[job.id]), {"first_only": "on"})
    job = complete_job(job)
    assert (job.state, bulk_outcomes(job)["open"], bulk_outcomes(job)["pending"]) == ("paused", 1, 2)
    assert "It has no result yet" in client.get(page).content.decode()
    assert not replay_has_succeeded(job)
    end_replays(job, "SUCCEEDED")
    assert replay_has_succeeded(job)
    assert "The first replay has succeeded. Start the other 2." in client.get(page).content.decode()
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    job = complete_job(job)
    assert (job.state, bulk_outcomes(job)["open"]) == ("done", 2)


def test_others_are_started_after_a_failed_first_run_only_by_a_confirmation(tenant: Any, temporal: None) -> None:
    runs = [make_run(tenant, status="FAILED") for _ in range(3)]
    job = preview_job(tenant, REPLAY, ids=[run.id for run in runs])
    client = member_of(tenant)
    client.post(reverse("admin:workflows_bulkjob_start", args=[job.id]), {"first_only": "on"})
    end_replays(complete_job(job), "FAILED")
    resume = reverse("admin:workflows_bulkjob_resume", args=[job.id])
    shown = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert f'href="{resume}">Start the other 2 anyway…</a>' in shown
    assert f'action="{resume}"' not in shown
    asked = client.get(resume).content.decode()
    assert ("The job starts 2 more runs. The first run (" in asked, "Start 2 more runs</button>" in asked) == (
        True,
    ) * 2
    client.post(resume, {"idempotency_key": str(uuid.uuid4())})
    assert bulk_outcomes(complete_job(job))["open"] == 2

"""Bulk jobs by API, admin and shell: all three have the same permissions and results.

Source: docs/reference/screens.md#run-list
"""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.bulk_jobs import complete_job, item_counts, make_runs, preview_job, reload_job, start_job, unknown_id
from tests.support.factories import make_actor, make_run, make_tenant, make_token, publish
from tests.support.failed_runs import CAPTURE, fail_run
from tests.support.incident_pages import text_of
from tests.support.members import member_of
from workflows.models import BulkJob, Command
from workflows.services.bulk.jobs import bulk_pause, bulk_start
from workflows.statuses import CommandAction, Role
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

STEPS = ("start", "pause", "resume", "stop", "retry-failures")


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant))


@pytest.fixture
def cancel_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Temporal accept every cancel."""
    monkeypatch.setattr(gateway, "cancel_run", lambda **_: None)


# -- API ---------------------------------------------------------------------------------------------------------------


def test_api_shows_a_job_from_preview_to_results(api: Api, tenant: Any, cancel_accepted: None) -> None:
    runs = make_runs(tenant, 3, status="RUNNING")
    make_run(tenant)
    closed = make_run(tenant, status="FAILED", definition_version=runs[0].definition_version)
    body = {
        "action": "cancel",
        "filters": {"definition": runs[0].definition_key, "version": 1},
        "reason": "a bad rollout",
    }
    response = api.post("/bulk", body, **{"Idempotency-Key": "k"})
    job = response.json()
    assert (response.status_code, job["state"], job["total"]) == (201, "preview", 4)
    assert (job["counts"]["pending"], job["preview"]) == (
        3, {"by_status": {"RUNNING": 3}, "ineligible": {"WORKFLOW_RUN_CLOSED": 1}},
    )  # fmt: skip
    assert api.post("/bulk", body, **{"Idempotency-Key": "k"}).json()["id"] == job["id"]
    started = api.post(f"/bulk/{job['id']}/start")
    assert (started.status_code, started.json()["state"], started.json()["preview"]) == (202, "running", None)
    complete_job(BulkJob.objects.get(id=job["id"]))
    done = api.get(f"/bulk/{job['id']}").json()
    assert (done["state"], done["counts"]["accepted"], done["selection"]["filters"]["version"]) == ("done", 3, 1)
    items = api.get(f"/bulk/{job['id']}/items?page_size=2").json()
    assert [item["run"] for item in items["results"]] == [str(run.id) for run in runs[:2]]
    assert (items["results"][0]["command_state"], items["next"] is None) == ("accepted", False)
    (ineligible,) = api.get(f"/bulk/{job['id']}/items?state=ineligible").json()["results"]
    assert (ineligible["run"], ineligible["code"], ineligible["command"]) == (
        str(closed.id),
        "WORKFLOW_RUN_CLOSED",
        None,
    )
    assert [row["id"] for row in api.get("/bulk?state=done").json()["results"]] == [job["id"]]
    command = api.get(f"/commands/{done['command']}").json()
    assert (command["action"], command["target"], command["state"]) == ("bulk", job["id"], "observed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": {"definition": "x"}}, "action"),
        ({"action": "resume", "filters": {"definition": "x"}}, "action"),
        ({"action": "cancel"}, "non_field_errors"),
        ({"action": "cancel", "filters": {"definition": "x"}, "ids": []}, "non_field_errors"),
        ({"action": "cancel", "filters": {}}, "filters"),
        ({"action": "cancel", "filters": {"statu": "FAILED"}}, "statu"),
        ({"action": "cancel", "filters": {"status": "NONSENSE"}}, "status"),
        ({"action": "cancel", "filters": {"status": []}}, "status"),
        ({"action": "cancel", "filters": {"definition": ""}}, "definition"),
        ({"action": "cancel", "filters": {"definition": None}}, "definition"),
        ({"action": "cancel", "filters": {"created_after": "yesterday"}}, "created_after"),
        ({"action": "cancel", "ids": ["x"]}, "ids"),
    ],
)
def test_unclear_selection_is_refused(api: Api, tenant: Any, body: dict[str, Any], field: str) -> None:
    make_run(tenant)
    error = error_of(api.post("/bulk", body), 400)
    assert (error["code"], field in error["details"]["fields"]) == ("VALIDATION_ERROR", True)
    assert not BulkJob.objects.filter(tenant=tenant).exists()


def test_filter_with_several_values_selects_runs_of_each(api: Api, tenant: Any) -> None:
    make_run(tenant, status="WAITING"), make_run(tenant, status="RUNNING"), make_run(tenant, status="STARTING")
    job = api.post("/bulk", {"action": "cancel", "filters": {"status": ["WAITING", "RUNNING"]}}).json()
    assert job["preview"]["by_status"] == {"WAITING": 1, "RUNNING": 1}


def test_api_hides_jobs_of_another_tenant(api: Api, tenant: Any) -> None:
    other = make_tenant()
    theirs = make_run(other)
    job = preview_job(other)
    for path in ("", "/items"):
        error_of(api.get(f"/bulk/{job.id}{path}"), 404)
    for step in STEPS:
        assert error_of(api.post(f"/bulk/{job.id}/{step}"), 404)["code"] == "BULK_JOB_NOT_FOUND"
    assert api.get("/bulk").json()["results"] == []
    mine = api.post("/bulk", {"action": "cancel", "ids": [str(theirs.id)]}).json()
    (item,) = api.get(f"/bulk/{mine['id']}/items").json()["results"]
    assert (item["code"], item["label"], item["status_then"]) == ("RUN_NOT_FOUND", "", "")
    assert (
        error_of(api.post("/bulk", {"action": "cancel", "filters": {"root_run": str(theirs.id)}}), 400)["code"]
        == "BULK_NO_RUNS"
    )


def test_api_requires_the_role_of_the_action(tenant: Any) -> None:
    run = make_run(tenant)
    viewer, operator = Api(make_token(tenant, Role.VIEWER)), Api(make_token(tenant))
    body = {"action": "cancel", "ids": [str(run.id)]}
    assert error_of(viewer.post("/bulk", body), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(operator.post("/bulk", {**body, "action": "terminate"}), 403)["details"]["needed"] == "admin"
    job = operator.post("/bulk", body).json()
    assert viewer.get(f"/bulk/{job['id']}").status_code == 200
    for step in STEPS:
        error_of(viewer.post(f"/bulk/{job['id']}/{step}"), 403)
        if step in ("pause", "resume", "retry-failures"):
            assert error_of(operator.post(f"/bulk/{job['id']}/{step}"), 409)["code"] == "BULK_JOB_STATE"


# -- Admin -------------------------------------------------------------------------------------------------------------


def post_action(client: Any, action: str, runs: list[Any], query: str = "", **more: str) -> Any:
    data = {"action": action, "_selected_action": [str(run.id) for run in runs], "index": "0", **more}
    return client.post(reverse("admin:workflows_run_changelist") + query, data)


def test_list_action_creates_a_job_and_shows_its_preview(tenant: Any, cancel_accepted: None) -> None:
    runs = make_runs(tenant, 3)
    closed = make_run(tenant, status="FAILED")
    client = member_of(tenant)
    response = post_action(client, "cancel_runs", [*runs[:2], closed])
    job = BulkJob.objects.get(tenant=tenant)
    assert response.url == reverse("admin:workflows_bulkjob_change", args=[job.id])
    shown = client.get(response.url).content.decode()
    assert "Cancel 2 runs?" in shown
    assert "the run had already ended" in shown
    assert not Command.objects.filter(run__in=runs).exists()
    assert client.get(reverse("admin:workflows_bulkjob_start", args=[job.id])).status_code == 302
    assert reload_job(job).state == "preview"  # a GET starts nothing
    started_page = client.post(
        reverse("admin:workflows_bulkjob_start", args=[job.id]), {"reason": "twice"}, follow=True
    )
    assert "<b>2</b> not requested yet" in started_page.content.decode()
    job = complete_job(job)
    assert (item_counts(job), job.reason) == ({"accepted": 2, "ineligible": 1}, "twice")
    page = " ".join(client.get(response.url).content.decode().split())
    assert "<b>0</b> canceled" in page  # accepted is not canceled
    assert "<b>2</b> requested, still open" in page
    BulkJob.objects.filter(id=job.id).update(ended_at=timezone.now() - timedelta(hours=1))
    assert "data-live data-version" in client.get(response.url).content.decode()  # the runs are still open
    filtered = client.get(f"{response.url}?outcome=left_out").content.decode()
    assert (str(closed.id) in filtered, str(runs[0].id) in filtered) == (True, False)


def test_select_all_selects_every_run_of_the_filter(tenant: Any) -> None:
    make_runs(tenant, 60)
    make_run(tenant, status="RUNNING")
    client = member_of(tenant)
    selected = make_run(tenant)
    shown = client.get(reverse("admin:workflows_run_changelist")).content.decode()
    assert "Select all 62" in " ".join(shown.split())
    assert "9999999999" not in shown
    post_action(client, "cancel_runs", [selected], "?status__exact=WAITING", select_across="1")
    job = BulkJob.objects.get(tenant=tenant)
    assert "status is waiting" in client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert "bulk job" in client.get(reverse("admin:workflows_command_changelist")).content.decode()
    assert (job.total, item_counts(job), job.selection) == (
        61,
        {"pending": 61},
        {"list": {"status__exact": ["WAITING"]}},
    )


def test_list_replays_on_the_published_version_and_warns_before_the_version_on_which_the_runs_failed(
    tenant: Any,
) -> None:
    version = publish(tenant, CAPTURE)
    runs = [fail_run(version) for _ in range(2)]
    publish(tenant, {**CAPTURE, "config": {"state": "Y"}})
    client = member_of(tenant)
    for selected, words in (
        ({}, "2 single runs"),
        ({"select_across": "1", "all_runs": "on"}, "all runs of the tenant"),
    ):
        response = post_action(client, "replay_runs", runs, **selected)
        first = text_of(client, response.url)
        assert "<b>2</b> <span> <b>will start</b> on version 2" in first
        assert "The same version." not in first
        assert f"The job has 2 runs: {words}." in first
        job = BulkJob.objects.filter(tenant=tenant).latest("created_at")
        fields = {"replay_version": "pinned", "idempotency_key": str(unknown_id())}
        changed = client.post(reverse("admin:workflows_bulkjob_again", args=[job.id]), fields)
        shown = text_of(client, changed.url)
        assert "<b>The same version.</b> 2 of the 2 runs failed on version 1." in shown
        assert f"The job has 2 runs: {words}." in shown  # a change of the version is no new selection


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"cancel_runs", "replay_runs"}),
        (Role.ADMIN, {"cancel_runs", "replay_runs", "terminate_runs"}),
    ],
)
def test_list_offers_the_actions_of_the_role(tenant: Any, role: Role, offered: set[str]) -> None:
    run = make_run(tenant)
    client = member_of(tenant, role=role)
    shown = client.get(reverse("admin:workflows_run_changelist")).content.decode()
    for action in ("cancel_runs", "replay_runs", "terminate_runs"):
        assert (f'value="{action}"' in shown) is (action in offered)
        post_action(client, action, [run])
    assert {f"{job.action}_runs" for job in BulkJob.objects.filter(tenant=tenant)} == offered


def test_job_page_posts_requests_and_stop_asks_for_confirmation(tenant: Any, cancel_accepted: None) -> None:
    make_runs(tenant, 3)
    client, viewer = member_of(tenant), member_of(tenant, role=Role.VIEWER)
    job = start_job(tenant)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])

    def step(name: str, by: Any = client) -> str:
        return by.post(
            reverse(f"admin:workflows_bulkjob_{name}", args=[job.id]), {"reason": "r"}, follow=True
        ).content.decode()

    assert "data-live data-version" in client.get(page).content.decode()
    assert "You need the role operator." in viewer.get(page).content.decode()
    assert "PERMISSION_DENIED" in step("stop", viewer)
    assert "The job is paused." in step("pause")
    assert (
        "sends no more requests" in client.get(reverse("admin:workflows_bulkjob_stop", args=[job.id])).content.decode()
    )
    assert reload_job(job).state == "paused"
    assert "data-live-moment><bdi>The job continues.<" in step("resume")
    assert "The job is stopped." in step("stop")
    assert "BULK_JOB_STATE" in step("resume")
    assert (reload_job(job).state, item_counts(job)) == ("stopped", {"stopped": 3})
    listed = client.get(reverse("admin:workflows_bulkjob_changelist")).content.decode()
    assert '<b class="tint c-grey">3</b> not requested' in " ".join(listed.split())
    assert "0 of 3 canceled, 3 not requested</span>" in client.get(page).content.decode()


def test_results_are_paginated(tenant: Any, cancel_accepted: None) -> None:
    make_runs(tenant, 120)
    job = complete_job(start_job(tenant))
    client = member_of(tenant)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    first = client.get(page).content.decode()
    assert first.count("<bdi>made-") == 50
    assert "after=open.50" in first
    assert client.get(f"{page}?outcome=open&after=open.100").content.decode().count("<bdi>made-") == 20
    assert client.get(f"{page}?outcome=nonsense&after=x").status_code == 400


def test_pages_of_another_tenants_job_are_not_found(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant)
    stranger = member_of(make_tenant())
    assert stranger.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).status_code == 404
    for step in STEPS:
        address = reverse(f"admin:workflows_bulkjob_{step}", args=[job.id])
        assert stranger.post(address).status_code == 404
    assert stranger.get(reverse("admin:workflows_bulkjob_stop", args=[job.id])).status_code == 404
    assert reload_job(job).state == "preview"


@pytest.mark.parametrize("role", Role.values)
def test_terminate_page_asks_only_admins_for_a_reason(tenant: Any, role: str) -> None:
    make_run(tenant)
    job = preview_job(tenant, CommandAction.TERMINATE, reason="")
    client = member_of(tenant, role=role)
    shown = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert ('name="reason"' in shown) is (role == "admin")
    too_long = client.post(reverse("admin:workflows_bulkjob_start", args=[job.id]), {"reason": "x" * 2001}, follow=True)
    assert "at most 2000 characters" in too_long.content.decode()
    response = client.post(reverse("admin:workflows_bulkjob_start", args=[job.id]), {"reason": ""}, follow=True)
    expected = "Give a reason. It is kept in the command ledger." if role == "admin" else "PERMISSION_DENIED"
    assert expected in response.content.decode()


# -- Shell -------------------------------------------------------------------------------------------------------------


def test_shell_command_previews_and_starts_with_an_option(tenant: Any, cancel_accepted: None) -> None:
    make_runs(tenant, 2)
    make_run(tenant, status="RUNNING"), make_run(tenant, status="SUCCEEDED")
    arguments = [
        "bulk_runs",
        "cancel",
        "--tenant",
        tenant.slug,
        "--filter",
        "status=WAITING",
        "--filter",
        "status=SUCCEEDED",
    ]
    out = StringIO()
    call_command(*arguments, stdout=out)
    assert "preview: " in out.getvalue()
    assert "2 WAITING" in out.getvalue()
    assert "1 not eligible: WORKFLOW_RUN_CLOSED" in out.getvalue()
    call_command(*arguments, "--start", "--reason", "night", stdout=out)
    job = BulkJob.objects.get(tenant=tenant, state="running")
    assert (item_counts(complete_job(job)), job.source, job.reason) == (
        {"accepted": 2, "ineligible": 1},
        "cli",
        "night",
    )


@pytest.mark.parametrize("value", ["nonsense", "statu=FAILED", "status="])
def test_shell_command_reports_wrong_arguments(tenant: Any, value: str) -> None:
    with pytest.raises(CommandError, match="KEY=VALUE|VALIDATION_ERROR"):
        call_command("bulk_runs", "cancel", "--tenant", tenant.slug, "--filter", value)
    with pytest.raises(CommandError, match="no tenant"):
        call_command("bulk_runs", "cancel", "--tenant", str(unknown_id()), "--filter", "status=FAILED")


def test_api_shows_the_reason_of_a_pause(api: Api, tenant: Any) -> None:
    make_runs(tenant, 2)
    job = bulk_start(actor=make_actor(tenant), job_id=preview_job(tenant).id)
    bulk_pause(actor=make_actor(tenant, name="Olga"), job_id=job.id)
    assert api.get(f"/bulk/{job.id}").json()["pause_reason"] == "paused by Olga"

"""Bulk jobs on a real Temporal with real workers, during an outage, and with killed processes.

Source: docs/reference/screens.md#run-list
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.devstack.servers import Servers
from tests.support import bulk_worker
from tests.support.api import Api
from tests.support.bulk_jobs import complete_job, expire_claims, item_counts, make_runs, reload_job, start_job
from tests.support.factories import eventually, make_token, publish, wait_for_reply
from tests.support.forked import ForkedProgram
from tests.support.tenant_driver import TenantDriver
from workflows import tasks  # noqa: F401  the Celery worker must know the task
from workflows.models import BulkJob, Command, Run
from workflows.services.bulk import work as work
from workflows.services.bulk.jobs import bulk_resume
from workflows.services.bulk.selectors import bulk_pause_reason
from workflows.services.runs.launch import workflow_id_of
from workflows.statuses import CommandAction, Role
from workflows.temporal import gateway


@pytest.fixture
def waiting(driver: TenantDriver) -> list[Run]:
    publish(driver.tenant, wait_for_reply())
    runs = [driver.start({"ticketId": f"T-{number}"}) for number in range(6)]
    for run in runs:
        driver.wait_for_run("WAITING", id=run.id)
    return runs


@pytest.mark.parametrize(("action", "status"), [("cancel", "CANCELED"), ("terminate", None), ("replay", "WAITING")])
def test_celery_completes_a_job_that_the_api_started(
    driver: TenantDriver, waiting: list[Run], action: str, status: str | None
) -> None:
    api = Api(make_token(driver.tenant, Role.ADMIN))
    body = {"action": action, "filters": {"status": "WAITING"}, "reason": "a bad rollout", "rate_per_second": 4}
    job = api.post("/bulk", body).json()
    assert api.post(f"/bulk/{job['id']}/start").status_code == 202
    done = eventually(
        lambda: (found := api.get(f"/bulk/{job['id']}").json())["ended_at"] and found, what="the job is done"
    )
    assert (done["state"], done["counts"]["accepted"]) == ("done", 6)
    row = BulkJob.objects.get(id=job["id"])
    assert row.ended_at is not None
    assert row.started_at is not None
    # Four items at once, then two at four per second. A slow worker returns items, and the time that they would take.
    assert row.ended_at - row.started_at >= timedelta(seconds=0.5)
    for run in waiting:
        if action == "replay":
            driver.wait_for_run("WAITING", replay_of=run)
        elif status:
            driver.wait_for_run(status, id=run.id)
        else:
            driver.history_types_until(run, "WORKFLOW_EXECUTION_TERMINATED")
    items = api.get(f"/bulk/{job['id']}/items").json()["results"]
    new_runs = {(item["run"], item["new_run"], item["new_run_status"]) for item in items}
    replays = {run: Run.objects.filter(replay_of=run).first() for run in waiting}
    assert new_runs == {
        (str(run.id), str(replay.id) if replay else None, "WAITING" if replay else None)
        for run, replay in replays.items()
    }
    if action == "cancel":
        eventually(lambda: Command.objects.filter(parent=row.command_id, state="observed").count() == 6)


def test_temporal_outage_pauses_the_job_and_refuses_no_run(
    driver: TenantDriver,
    waiting: list[Run],
    servers: Servers,
    restart_temporal: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.CELERY_TASK_DEFAULT_QUEUE = "no-worker"
    monkeypatch.setattr(work, "OUTAGE_PAUSE", timedelta(0))
    job = start_job(driver.tenant)
    servers.temporal.kill()
    try:
        job = complete_job(job)
        counts = item_counts(job)
        assert job.state == "paused"
        assert set(counts) <= {"pending", "unknown"}, counts
        assert "connect" in bulk_pause_reason(job)
        assert {run.status for run in Run.objects.filter(tenant=driver.tenant)} == {"WAITING"}
    finally:
        restart_temporal()
    bulk_resume(actor=driver.actor, job_id=job.id)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {**({"unknown": counts["unknown"]} if "unknown" in counts else {}),
                                               "accepted": 6 - counts.get("unknown", 0)})  # fmt: skip
    driver.wait_for_run("CANCELED", id=waiting[-1].id)


def test_killed_processes_start_no_run_twice(driver: TenantDriver, settings: Any, servers: Servers) -> None:
    """The job replays runs, because a second request would be visible as a second run."""
    settings.CELERY_TASK_DEFAULT_QUEUE = "no-worker"
    runs = make_runs(driver.tenant, 40, status="FAILED")
    job = start_job(driver.tenant, CommandAction.REPLAY)
    replays = Command.objects.filter(tenant=driver.tenant, action="replay")
    kills = 0
    while not reload_job(job).ended_at:
        goal = replays.count() + 14
        most = goal if goal < 40 else 0
        worker = ForkedProgram(bulk_worker.main, job.id, most, TEMPORAL_TASK_QUEUE="no-worker")
        try:
            eventually(lambda goal=goal, worker=worker: replays.count() >= goal or worker.poll() is not None)
            kills += worker.poll() is None
        finally:
            worker.kill()
            worker.wait(60)
        expire_claims(job)
    assert kills == 2
    assert item_counts(reload_job(job)) == {"accepted": 40}
    assert replays.count() == 40
    assert set(replays.values_list("state", flat=True)) <= {"accepted", "observed"}
    assert [run.replays.count() for run in runs] == [1] * 40
    for run in Run.objects.filter(tenant=driver.tenant, trigger_type="replay"):
        assert gateway.describe_run(workflow_id=workflow_id_of(run.id)).status == "RUNNING"

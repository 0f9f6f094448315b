"""Steps of bulk jobs: pause, resume, stop and retry, each once in the ledger.

Source: docs/reference/screens.md#run-list
"""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import (
    WorkerKilled,
    complete_job,
    expire_claims,
    item_counts,
    make_runs,
    preview_job,
    reload_job,
    start_job,
)
from tests.support.factories import make_actor
from tests.support.fake_temporal import FakeTemporal
from tests.support.members import member_of
from workflows.errors import Conflict
from workflows.models import BulkJob, Command
from workflows.services.bulk import claims
from workflows.services.bulk.claims import job_waits_for_worker
from workflows.services.bulk.jobs import bulk_pause, bulk_resume, bulk_start, bulk_stop
from workflows.services.bulk.selectors import bulk_pause_reason
from workflows.services.bulk.work import bulk_work

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def test_pause_takes_effect_within_a_batch(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 5)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    job = start_job(tenant)
    request = fake_temporal.request

    def request_and_pause(name: str, **call: Any) -> str:
        if len(fake_temporal.requests) == 1:
            bulk_pause(actor=make_actor(tenant), job_id=job.id, reason="wait")
        return request(name, **call)

    monkeypatch.setattr(fake_temporal, "request", request_and_pause)
    assert bulk_work(job_id=job.id, seconds=30) is None
    job = reload_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"accepted": 2, "pending": 3})
    assert bulk_pause_reason(job) == "wait"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 5}


@pytest.mark.parametrize("is_killed", [False, True])
def test_stop_keeps_results_of_sent_requests_and_sends_no_more(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 9)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    monkeypatch.setattr(claims, "BATCH", 6)
    job = start_job(tenant)
    request = fake_temporal.request

    def request_and_stop(name: str, **call: Any) -> str:
        request(name, **call)
        if len(fake_temporal.requests) == 2:
            bulk_stop(actor=make_actor(tenant), job_id=job.id)
            assert item_counts(reload_job(job)) == {"accepted": 1, "pending": 5, "stopped": 3}
            if is_killed:
                raise WorkerKilled
        return "x"

    monkeypatch.setattr(fake_temporal, "request", request_and_stop)
    if is_killed:
        with pytest.raises(WorkerKilled):
            bulk_work(job_id=job.id, seconds=30)
        assert reload_job(job).ended_at is None
        expire_claims(job)
    job = complete_job(job)
    expected = {"accepted": 1, "unknown": 1, "stopped": 7} if is_killed else {"accepted": 2, "stopped": 7}
    assert (job.state, item_counts(job), len(fake_temporal.requests)) == ("stopped", expected, 2)
    assert job.ended_at is not None
    assert (job.command.state, job.command.details["counts"]["stopped"]) == ("observed", 7)
    with pytest.raises(Conflict):
        bulk_resume(actor=make_actor(tenant), job_id=job.id)


def test_stopped_preview_has_sent_no_request(tenant: Any, fake_temporal: FakeTemporal) -> None:
    make_runs(tenant, 2)
    job = bulk_stop(actor=make_actor(tenant), job_id=preview_job(tenant).id)
    assert (job.state, item_counts(reload_job(job)), fake_temporal.requests) == ("stopped", {"stopped": 2}, [])
    assert job.ended_at is not None


def test_every_job_request_is_in_the_ledger_and_a_repeated_request_only_once(
    tenant: Any, fake_temporal: FakeTemporal
) -> None:
    make_runs(tenant, 2)
    actor = make_actor(tenant)
    first = preview_job(tenant, idempotency_key="p")
    assert preview_job(tenant, idempotency_key="p").id == first.id
    for _ in range(2):
        assert bulk_start(actor=actor, job_id=first.id, idempotency_key="s").state == "running"
    bulk_pause(actor=actor, job_id=first.id)
    bulk_resume(actor=actor, job_id=first.id)
    bulk_stop(actor=actor, job_id=first.id)
    rows = Command.objects.filter(target_id=str(first.id)).order_by("requested_at")
    assert [row.payload["operation"] for row in rows] == ["preview", "start", "pause", "resume", "stop"]
    assert {row.state for row in rows} == {"observed"}


def test_reasons_of_later_steps_are_on_the_page_and_in_the_commands_of_later_items(
    tenant: Any, fake_temporal: FakeTemporal
) -> None:
    make_runs(tenant, 3)
    actor = make_actor(tenant)
    job = bulk_start(actor=actor, job_id=preview_job(tenant).id, first_only=True)
    complete_job(job)
    bulk_resume(actor=actor, job_id=job.id, reason="the first <b>succeeded</b>")
    BulkJob.objects.filter(id=job.id).update(rate_per_second=1)
    bulk_work(job_id=job.id, seconds=0)
    reasons = Command.objects.filter(parent=reload_job(job).command).order_by("requested_at").values_list("reason")
    assert [reason for (reason,) in reasons] == ["a test", "a test; the first <b>succeeded</b>"]
    bulk_stop(actor=actor, job_id=job.id, reason="one is enough")
    page = member_of(tenant).get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert "Reason: <bdi>a test; the first &lt;b&gt;succeeded&lt;/b&gt;</bdi>" in page
    assert "<bdi>One is enough</bdi>" in page


def test_running_job_waits_for_a_worker_until_one_begins_and_when_its_slice_is_late(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant, rate_per_second=1)
    client, address = member_of(tenant), reverse("admin:workflows_bulkjob_change", args=[job.id])
    page = client.get(address)
    text = page.content.decode()
    assert ("The job begins." in text, "Waiting for a worker" in text) == (True, False)
    with monkeypatch.context() as later:
        later.setattr(BulkJob, "TAKEN_WITHIN", timedelta(0))  # as after 10 s, without a change of the job
        text = client.get(address, headers={"If-None-Match": f'"{page.context_data["live_version"]}"'}).content.decode()
        assert ("Waiting for a worker" in text, "celery -A portal worker" in text) == (True, True)
        assert "The job begins." not in text
        listed = client.get(reverse("admin:workflows_bulkjob_changelist") + "?state=running")
        assert [row["state"] for row in listed.context_data["rows"]] == ["waiting"]
    bulk_work(job_id=job.id, seconds=0)
    job = reload_job(job)
    assert (job.state, job_waits_for_worker(job)) == ("running", False)
    BulkJob.objects.filter(id=job.id).update(next_slice_at=timezone.now() - 2 * BulkJob.TAKEN_WITHIN)
    assert job_waits_for_worker(reload_job(job))
    assert not job_waits_for_worker(bulk_pause(actor=make_actor(tenant), job_id=job.id))

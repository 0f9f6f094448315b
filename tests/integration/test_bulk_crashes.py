"""Bulk jobs whose workers are killed: each item is requested once, and the counts always add up.

Source: docs/reference/screens.md#run-list
"""

import os
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.bulk_jobs import (
    WorkerKilled,
    complete_job,
    expire_claims,
    insert_open_runs,
    item_counts,
    make_runs,
    preview_job,
    reload_job,
    start_job,
)
from tests.support.factories import make_actor, make_run
from tests.support.fake_temporal import FakeTemporal
from workflows.errors import Conflict
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk import claims, outcomes
from workflows.services.bulk.jobs import bulk_retry_failures, bulk_start
from workflows.services.bulk.work import bulk_work
from workflows.statuses import CommandAction
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CANCEL, TERMINATE, REPLAY = CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.REPLAY


# -- Killed workers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, REPLAY])
@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_requests_of_a_killed_worker_are_repeated_with_the_same_ids(
    tenant: Any, fake_temporal: FakeTemporal, action: CommandAction, point: str
) -> None:
    runs = make_runs(tenant, 4)
    job = start_job(tenant, action)
    setattr(fake_temporal, point, 3)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    # Each result was recorded before the next request.
    assert item_counts(reload_job(job)) == {"accepted": 2, "pending": 2}
    BulkJob.objects.filter(id=job.id).update(next_slice_at=job.started_at)
    requests = list(fake_temporal.requests)
    assert bulk_work(job_id=job.id, seconds=30) is None
    assert fake_temporal.requests == requests  # no other worker claims the items before the claims have expired
    assert reload_job(job).next_slice_at == job.items.exclude(claimed_until=None).first().claimed_until
    expire_claims(job)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 4})
    assert Command.objects.filter(tenant=tenant, action=action).count() == 4
    repeated = [request for request, number in Counter(fake_temporal.requests).items() if number > 1]
    assert len(set(fake_temporal.requests)) == 4
    assert len(repeated) == (1 if point == "killed_after" else 0)  # same request id: Temporal executes it once
    if action == REPLAY:
        assert [run.replays.count() for run in runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_terminate_of_a_killed_worker_is_unknown_and_not_repeated(
    tenant: Any, fake_temporal: FakeTemporal, point: str
) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant, TERMINATE)
    setattr(fake_temporal, point, 2)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    expire_claims(job)
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "unknown": 1}
    assert max(Counter(fake_temporal.requests).values()) == 1
    item = BulkItem.objects.get(job=job, state="unknown")
    assert (item.command.state, item.code) == ("unknown", "BULK_WORKER_LOST")
    Command.objects.filter(id=item.command_id).update(state="observed")  # the reconciler has found the result
    with pytest.raises(Conflict, match="nothing failed"):
        bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)


def test_slow_worker_with_expired_claim_does_not_overwrite_the_result(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tenant)
    job = start_job(tenant)
    request = fake_temporal.request

    def slow_request(name: str, **call: Any) -> str:
        monkeypatch.setattr(fake_temporal, "request", request)
        expire_claims(job)
        complete_job(job)
        raise gateway.TemporalRefused("too late")

    monkeypatch.setattr(fake_temporal, "request", slow_request)
    bulk_work(job_id=job.id, seconds=30)
    job = reload_job(job)
    assert item_counts(job) == {"accepted": 1}
    assert Command.objects.get(parent=job.command).state == "accepted"


def test_sweep_notifies_for_a_job_whose_queue_notification_was_lost(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 2)
    job = start_job(tenant)
    notified: list[Any] = []
    monkeypatch.setattr(work, "notify_bulk_dispatcher", notified.append)
    work.bulk_sweep()
    assert job.id not in notified  # the notification may still be in the queue
    expire_claims(job)
    BulkJob.objects.filter(id=job.id).update(next_slice_at=job.started_at - 2 * claims.LATE)
    work.bulk_sweep()
    assert job.id in notified
    complete_job(job)
    notified.clear()
    work.bulk_sweep()
    assert job.id not in notified


# -- Large jobs --------------------------------------------------------------------------------------------------------


def test_large_job_with_killed_workers_has_exact_counts(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run 5,000 items (BULK_TEST_RUNS sets the number) with a fake request. Every 997th request kills the worker."""
    number = int(os.environ.get("BULK_TEST_RUNS", "5000"))
    insert_open_runs(tenant, number - 40)
    for n in range(40):
        make_run(tenant, status="FAILED" if n % 2 else "WAITING", engine="temporal" if n % 2 else "db")
    requested: Counter[Any] = Counter()
    results: dict[Any, str] = {}

    def fake_request(job: BulkJob, item: BulkItem) -> Command:
        requested[item.target_id] += 1
        count = len(requested)
        if count % 997 == 0 and requested[item.target_id] == 1:
            raise WorkerKilled
        kind = next(
            (kind for part, kind in ((11, "refused"), (13, "failed"), (17, "unknown")) if count % part == 0), "accepted"
        )
        results[item.target_id] = kind
        if kind == "refused":
            raise Conflict("refused by the test", code="SOME_REFUSAL")
        return Command(id=None, state=kind)

    monkeypatch.setattr(outcomes, "item_request", fake_request)
    began = time.monotonic()
    job = preview_job(tenant)
    frozen = time.monotonic() - began
    assert (job.total, item_counts(job)) == (number, {"pending": number - 40, "ineligible": 40})
    job = bulk_start(actor=make_actor(tenant), job_id=job.id)
    killed = 0
    while not reload_job(job).ended_at:
        try:
            complete_job(job)
        except WorkerKilled:
            killed += 1
        expire_claims(job)
    job = reload_job(job)
    counts = item_counts(job)
    print(
        f"\n{number} runs: preview in {frozen:.2f} s, execution in {time.monotonic() - began - frozen:.2f} s,"
        f" {killed} workers killed"
    )
    assert killed >= (number - 40) // 997
    assert (job.state, len(requested)) == ("done", number - 40)
    assert counts == {"ineligible": 40, **Counter(results.values())}
    assert sum(counts.values()) == number
    assert job.command.details["counts"]["accepted"] == counts["accepted"]

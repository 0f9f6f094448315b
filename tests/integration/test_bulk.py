"""Bulk jobs: one request for each item with its own command, at the rate of the job.

Source: docs/reference/screens.md#run-list
"""

from typing import Any

import pytest

from tests.support.bulk_jobs import (
    complete_job,
    insert_open_runs,
    item_counts,
    item_of,
    make_runs,
    reload_job,
    start_job,
)
from tests.support.factories import make_actor, make_run
from tests.support.fake_temporal import FakeTemporal
from workflows.models import BulkItem, Command
from workflows.services.bulk import claims, outcomes
from workflows.services.bulk.jobs import bulk_retry_failures
from workflows.services.bulk.work import bulk_work
from workflows.statuses import CommandState, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


# -- Execution ---------------------------------------------------------------------------------------------------------


def test_every_item_has_a_command_below_the_command_of_the_job(tenant: Any, fake_temporal: FakeTemporal) -> None:
    runs = make_runs(tenant, 3)
    make_run(tenant, status="SUCCEEDED")
    job = complete_job(start_job(tenant, actor=make_actor(tenant, Role.OPERATOR, "Olga")))
    assert (job.state, item_counts(job)) == ("done", {"accepted": 3, "ineligible": 1})
    assert job.ended_at is not None
    assert (job.command.state, job.command.details["counts"]["accepted"]) == ("observed", 3)
    for run in runs:
        command, item = Command.objects.get(run=run), item_of(job, run)
        assert (command.parent_id, command.state, command.actor_name, command.reason) == (
            job.command_id,
            "accepted",
            "Olga",
            "a test",
        )
        assert (item.command_id, command.idempotency_key) == (command.id, f"bulk:{job.id}:{item.id}:1")
    assert len(fake_temporal.requests) == 3


def test_run_that_ended_after_the_preview_is_refused_and_no_other(tenant: Any, fake_temporal: FakeTemporal) -> None:
    from tests.support.records import run_record, write

    runs = make_runs(tenant, 3)
    job = start_job(tenant)
    write(runs[1], run_record(3, "SUCCEEDED"))
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "refused": 1}
    assert item_of(job, runs[1]).code == "WORKFLOW_RUN_CLOSED"


def test_internal_error_at_one_run_is_recorded_and_stops_no_other(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs(tenant, 3)
    request = fake_temporal.request

    def request_with_bug(name: str, **call: Any) -> str:
        if call["workflow_id"] == runs[1].temporal_workflow_id:
            raise ZeroDivisionError
        return request(name, **call)

    monkeypatch.setattr(fake_temporal, "request", request_with_bug)
    job = complete_job(start_job(tenant))
    assert item_counts(job) == {"accepted": 2, "failed": 1}
    assert item_of(job, runs[1]).code == "INTERNAL_ERROR"
    assert Command.objects.get(run=runs[1]).state == "failed"
    monkeypatch.setattr(fake_temporal, "request", request)
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 3}
    assert [c.idempotency_key[-2:] for c in Command.objects.filter(run=runs[1]).order_by("requested_at")] == [
        ":1",
        ":2",
    ]


# -- Rate --------------------------------------------------------------------------------------------------------------


def test_rate_limits_several_workers_together(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate 30 s of two workers that request work every 0.1 s, with a pause of 5 s."""
    from datetime import timedelta
    from types import SimpleNamespace

    monkeypatch.setattr(outcomes, "item_request", lambda job, item: Command(id=None, state=CommandState.ACCEPTED))
    insert_open_runs(tenant, 400)
    job = start_job(tenant, rate_per_second=10)
    begin = job.next_slice_at
    clock = {"now": begin}
    monkeypatch.setattr(claims, "timezone", SimpleNamespace(now=lambda: clock["now"]))
    done: list[int] = []
    for tick in range(300):  # 10 ticks per second
        second = tick / 10
        clock["now"] = begin + timedelta(seconds=second)
        for _ in range(0 if 20 <= second < 25 else 2):
            bulk_work(job_id=job.id, seconds=30)
        done.append(BulkItem.objects.filter(job=job, state="accepted").count())
    assert all(done[n + 10] - done[n] <= 10 for n in range(190))  # never more than 10 items per second
    assert done[190] == 200
    assert done[250] - done[240] == 30  # after the pause, the job catches up at most 2 s
    assert done[299] == 10 * 30 - 30
    assert reload_job(job).state == "running"

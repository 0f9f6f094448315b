"""Bulk jobs during an outage of Temporal: the job pauses, and no item fails.

Source: docs/reference/screens.md#run-list
"""

from typing import Any

import pytest

from tests.support.bulk_jobs import (
    complete_job,
    expire_claims,
    item_counts,
    item_of,
    make_runs,
    reload_job,
    start_job,
)
from tests.support.factories import make_actor, make_run
from tests.support.fake_temporal import FakeTemporal
from workflows.errors import Conflict
from workflows.models import Command
from workflows.projections.transaction import projection_writer
from workflows.services.bulk.jobs import bulk_resume, bulk_retry_failures
from workflows.services.bulk.selectors import bulk_pause_reason
from workflows.services.bulk.work import OUTAGES, bulk_work
from workflows.statuses import CommandAction
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CANCEL, TERMINATE, REPLAY = CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.REPLAY


@pytest.mark.parametrize("action", [CANCEL, TERMINATE, REPLAY])
def test_outage_pauses_the_job_and_fails_no_item(
    tenant: Any, fake_temporal: FakeTemporal, action: CommandAction
) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant, action)
    fake_temporal.outage = "down"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 30})
    assert Command.objects.filter(parent=job.command).count() == OUTAGES
    assert "connection refused" in bulk_pause_reason(job)
    assert bulk_work(job_id=job.id, seconds=30) is None
    fake_temporal.outage = ""
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 30})
    assert bulk_pause_reason(job) == ""


def test_short_outage_does_not_pause_the_job(tenant: Any, fake_temporal: FakeTemporal) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant)
    fake_temporal.outage = "down"
    pause = bulk_work(job_id=job.id, seconds=30)
    assert pause is not None
    assert 1 < pause <= 2
    assert item_counts(reload_job(job)) == {"pending": 3}
    fake_temporal.outage = ""
    expire_claims(job)
    assert item_counts(complete_job(job)) == {"accepted": 3}


def test_hanging_server_pauses_the_job_after_a_few_unknown_items(tenant: Any, fake_temporal: FakeTemporal) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant)
    fake_temporal.outage = "silent"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 25, "unknown": OUTAGES})
    fake_temporal.outage = ""
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert reload_job(job).state == "paused"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 30}


def test_refusals_by_temporal_do_not_pause_the_job(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tenant, 2 * OUTAGES)
    job = start_job(tenant)

    def refuse(**_: Any) -> None:
        raise gateway.TemporalNotFound("workflow not found")

    monkeypatch.setattr(gateway, "cancel_run", refuse)
    assert item_counts(complete_job(job)) == {"refused": 2 * OUTAGES}


def test_replay_with_unknown_result_is_not_repeated(
    tenant: Any, fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tenant, status="FAILED")
    job = start_job(tenant, REPLAY)
    fake_temporal.outage = "silent"
    job = complete_job(job)
    assert item_counts(job) == {"unknown": 1}
    fake_temporal.outage = ""
    with pytest.raises(Conflict) as raised:
        bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert raised.value.code == "BULK_NOTHING_TO_RETRY"
    assert run.replays.count() == 1
    command = item_of(job, run).command
    Command.objects.filter(id=command.id).update(state="failed")  # the reconciler found that it never started
    with projection_writer("test"):
        run.replays.update(status="FAILED")
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 1}

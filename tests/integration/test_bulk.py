"""Bulk jobs: a frozen selection, one request for each item even after kills, and item counts that always add up.

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
    item_of,
    make_runs,
    preview_job,
    reload_job,
    start_job,
    unknown_id,
)
from tests.support.factories import make_actor, make_run, make_tenant
from workflows.errors import Conflict, InputInvalid, NotFound, PermissionRefused
from workflows.ledger import command_open
from workflows.models import BulkItem, BulkJob, Command, Run
from workflows.projections.transaction import projection_writer
from workflows.services.bulk import claims, outcomes
from workflows.services.bulk.jobs import bulk_pause, bulk_resume, bulk_retry_failures, bulk_start, bulk_stop
from workflows.services.bulk.selectors import bulk_pause_reason, bulk_split
from workflows.services.bulk.work import OUTAGES, bulk_work
from workflows.statuses import CommandAction, CommandState, Role
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CANCEL, TERMINATE, REPLAY = CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.REPLAY


class FakeTemporal:
    """Replacement for the gateway that records the requests.

    With the outage "down" the server is unreachable, with "silent" it does not respond. `killed_before` and
    `killed_after` are the number of the request at which the worker is killed.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.outage = ""
        self.killed_before = self.killed_after = 0

    def request(self, name: str, **call: Any) -> str:
        if self.outage == "down":
            raise gateway.TemporalUnreachable("connect error: connection refused")
        if self.outage == "silent":
            raise gateway.TemporalTimeout("no response in time")
        if len(self.requests) + 1 == self.killed_before:
            self.killed_before = 0
            raise WorkerKilled
        self.requests.append(f"{name} {call.get('request_id') or call['workflow_id']}")
        if len(self.requests) == self.killed_after:
            self.killed_after = 0
            raise WorkerKilled
        return "temporal-run-id"


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> FakeTemporal:
    server = FakeTemporal()
    monkeypatch.setattr(gateway, "cancel_run", lambda **call: server.request("cancel", **call))
    monkeypatch.setattr(gateway, "terminate_run", lambda **call: server.request("terminate", **call))
    monkeypatch.setattr(gateway, "start_run", lambda run, **call: server.request("start", **call))
    monkeypatch.setattr(gateway, "check_reachable", lambda: server.outage == "down" and server.request("check"))
    return server


# -- Preview -----------------------------------------------------------------------------------------------------------


def test_preview_freezes_the_selection_and_marks_ineligible_runs(tenant: Any) -> None:
    other = make_run(make_tenant())
    waiting, running = make_run(tenant), make_run(tenant, status="RUNNING")
    closed, legacy = make_run(tenant, status="FAILED"), make_run(tenant, engine="db")
    canceling = make_run(tenant)
    command_open(actor=make_actor(tenant), action=CANCEL, target_type="run", target_id=str(canceling.id), run=canceling)
    Command.objects.filter(run=canceling).update(state="accepted")
    job = preview_job(
        tenant, runs=Run.objects.filter(id__in=[waiting.id, running.id, closed.id, legacy.id, canceling.id, other.id])
    )
    make_run(tenant)  # created after the preview, so not part of the selection
    assert (job.state, job.total, item_counts(job)) == ("preview", 5, {"pending": 2, "ineligible": 3})
    assert bulk_split(job) == {
        "by_status": {"WAITING": 1, "RUNNING": 1},
        "ineligible": {"WORKFLOW_RUN_CLOSED": 1, "WORKFLOW_LEGACY_RUN_READ_ONLY": 1, "BULK_ALREADY_ASKED": 1},
    }
    assert [item.target_id for item in job.items.order_by("position")] == [
        waiting.id,
        running.id,
        closed.id,
        legacy.id,
        canceling.id,
    ]
    assert item_of(job, waiting).target_label.startswith(f"{waiting.definition_key}@1")
    row = Command.objects.get(target_id=str(job.id))
    assert (row.action, row.target_type, row.state, row.details["total"]) == ("bulk", "bulk job", "observed", 5)


def test_unknown_ids_and_ids_of_another_tenant_get_the_same_code(tenant: Any) -> None:
    own, others = make_run(tenant), make_run(make_tenant())
    job = preview_job(tenant, ids=[others.id, own.id, unknown_id(), own.id])
    assert item_counts(job) == {"pending": 1, "ineligible": 2}
    assert bulk_split(job)["ineligible"] == {"RUN_NOT_FOUND": 2}
    assert item_of(job, others).target_label == item_of(job, others).status_then == ""


def test_preview_of_replay_accepts_ended_runs(tenant: Any) -> None:
    make_run(tenant, status="FAILED"), make_run(tenant, engine="db")
    assert item_counts(preview_job(tenant, REPLAY)) == {"pending": 1, "ineligible": 1}


def test_preview_freezes_query_sets_with_percent_signs_and_joins(tenant: Any) -> None:
    from workflows.selectors.runs import runs_with_open_cancel

    make_run(tenant, correlation_key="100%"), make_run(tenant, correlation_key="x")
    runs = runs_with_open_cancel(Run.objects.filter(correlation_key__contains="0%"))
    assert preview_job(tenant, runs=runs.extra(where=["correlation_key LIKE '%%0%%'"])).total == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"ids": []}, "BULK_NO_RUNS"),
        ({"runs": Run.objects.none()}, "BULK_NO_RUNS"),
        ({"rate_per_second": 0}, "VALIDATION_ERROR"),
        ({"rate_per_second": float("nan")}, "VALIDATION_ERROR"),
        ({"rate_per_second": 1e9}, "VALIDATION_ERROR"),
    ],
)
def test_preview_without_runs_or_with_invalid_rate_is_refused(tenant: Any, more: dict[str, Any], code: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        preview_job(tenant, **more)
    assert raised.value.code == code
    assert not BulkJob.objects.filter(tenant=tenant).exists()


def test_preview_over_the_limit_is_refused_and_stores_nothing(tenant: Any, settings: Any) -> None:
    settings.BULK_MAX_RUNS = 2
    runs = make_runs(tenant, 3)
    for selection in ({}, {"ids": [run.id for run in runs]}):
        with pytest.raises(InputInvalid) as raised:
            preview_job(tenant, **selection)
        assert raised.value.code == "BULK_TOO_MANY_RUNS"
    assert not BulkItem.objects.filter(tenant=tenant).exists()
    assert preview_job(tenant, ids=[run.id for run in runs[:2]]).total == 2


# -- Permissions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "role"), [(CANCEL, Role.VIEWER), (REPLAY, Role.VIEWER), (TERMINATE, Role.AUTHOR)])
def test_each_request_needs_the_role_of_the_action_and_refusals_are_recorded(
    tenant: Any, action: CommandAction, role: Role
) -> None:
    make_run(tenant)
    actor = make_actor(tenant, role)
    with pytest.raises(PermissionRefused):
        preview_job(tenant, action, actor=actor)
    job = preview_job(tenant, action)
    for step in (bulk_start, bulk_pause, bulk_resume, bulk_stop, bulk_retry_failures):
        with pytest.raises(PermissionRefused):
            step(actor=actor, job_id=job.id)
    assert Command.objects.filter(tenant=tenant, action="bulk", code="PERMISSION_DENIED").count() == 6
    assert reload_job(job).state == "preview"


def test_job_of_another_tenant_is_not_found(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant)
    for step in (bulk_start, bulk_stop):
        with pytest.raises(NotFound):
            step(actor=make_actor(make_tenant()), job_id=job.id)


def test_terminate_needs_a_reason_and_requests_need_the_right_state(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant, TERMINATE, reason="")
    with pytest.raises(InputInvalid, match="reason"):
        bulk_start(actor=make_actor(tenant), job_id=job.id)
    for step in (bulk_pause, bulk_resume, bulk_retry_failures):
        with pytest.raises(Conflict) as raised:
            step(actor=make_actor(tenant), job_id=job.id)
        assert raised.value.code == "BULK_JOB_STATE"
    job = bulk_start(actor=make_actor(tenant), job_id=job.id, reason="stuck")
    assert (job.state, job.reason) == ("running", "stuck")
    empty = preview_job(tenant, ids=[unknown_id()])
    with pytest.raises(Conflict) as raised:
        bulk_start(actor=make_actor(tenant), job_id=empty.id)
    assert raised.value.code == "BULK_NOTHING_TO_DO"


# -- Execution ---------------------------------------------------------------------------------------------------------


def test_every_item_has_a_command_below_the_command_of_the_job(tenant: Any, temporal: FakeTemporal) -> None:
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
    assert len(temporal.requests) == 3


def test_run_that_ended_after_the_preview_is_refused_and_no_other(tenant: Any, temporal: FakeTemporal) -> None:
    from tests.support.records import run_record, write

    runs = make_runs(tenant, 3)
    job = start_job(tenant)
    write(runs[1], run_record(3, "SUCCEEDED"))
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "refused": 1}
    assert item_of(job, runs[1]).code == "WORKFLOW_RUN_CLOSED"


def test_internal_error_at_one_run_is_recorded_and_stops_no_other(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs(tenant, 3)
    request = temporal.request

    def request_with_bug(name: str, **call: Any) -> str:
        if call["workflow_id"] == runs[1].temporal_workflow_id:
            raise ZeroDivisionError
        return request(name, **call)

    monkeypatch.setattr(temporal, "request", request_with_bug)
    job = complete_job(start_job(tenant))
    assert item_counts(job) == {"accepted": 2, "failed": 1}
    assert item_of(job, runs[1]).code == "INTERNAL_ERROR"
    assert Command.objects.get(run=runs[1]).state == "failed"
    monkeypatch.setattr(temporal, "request", request)
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 3}
    assert [c.idempotency_key[-2:] for c in Command.objects.filter(run=runs[1]).order_by("requested_at")] == [
        ":1",
        ":2",
    ]


# -- Killed workers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, REPLAY])
@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_requests_of_a_killed_worker_are_repeated_with_the_same_ids(
    tenant: Any, temporal: FakeTemporal, action: CommandAction, point: str
) -> None:
    runs = make_runs(tenant, 4)
    job = start_job(tenant, action)
    setattr(temporal, point, 3)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    assert item_counts(reload_job(job)) == {"pending": 4}  # the counts add up, although the worker recorded no result
    BulkJob.objects.filter(id=job.id).update(next_slice_at=job.started_at)
    requests = list(temporal.requests)
    assert bulk_work(job_id=job.id, seconds=30) is None
    assert temporal.requests == requests  # no other worker claims the items before the claims have expired
    assert reload_job(job).next_slice_at == job.items.first().claimed_until
    expire_claims(job)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 4})
    assert Command.objects.filter(tenant=tenant, action=action).count() == 4
    repeated = [request for request, number in Counter(temporal.requests).items() if number > 1]
    assert len(set(temporal.requests)) == 4
    assert len(repeated) == (1 if point == "killed_after" else 0)  # same request id: Temporal executes it once
    if action == REPLAY:
        assert [run.replays.count() for run in runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_terminate_of_a_killed_worker_is_unknown_and_not_repeated(
    tenant: Any, temporal: FakeTemporal, point: str
) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant, TERMINATE)
    setattr(temporal, point, 2)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    expire_claims(job)
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "unknown": 1}
    assert max(Counter(temporal.requests).values()) == 1
    item = BulkItem.objects.get(job=job, state="unknown")
    assert (item.command.state, item.code) == ("unknown", "BULK_WORKER_LOST")
    Command.objects.filter(id=item.command_id).update(state="observed")  # the reconciler has found the result
    with pytest.raises(Conflict, match="nothing failed"):
        bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)


def test_slow_worker_with_expired_claim_does_not_overwrite_the_result(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tenant)
    job = start_job(tenant)
    request = temporal.request

    def slow_request(name: str, **call: Any) -> str:
        monkeypatch.setattr(temporal, "request", request)
        expire_claims(job)
        complete_job(job)
        raise gateway.TemporalRefused("too late")

    monkeypatch.setattr(temporal, "request", slow_request)
    bulk_work(job_id=job.id, seconds=30)
    job = reload_job(job)
    assert item_counts(job) == {"accepted": 1}
    assert Command.objects.get(parent=job.command).state == "accepted"


def test_sweep_notifies_for_a_job_whose_queue_notification_was_lost(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
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


# -- Outages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, TERMINATE, REPLAY])
def test_outage_pauses_the_job_and_fails_no_item(tenant: Any, temporal: FakeTemporal, action: CommandAction) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant, action)
    temporal.outage = "down"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 30})
    assert Command.objects.filter(parent=job.command).count() == OUTAGES
    assert "connection refused" in bulk_pause_reason(job)
    assert bulk_work(job_id=job.id, seconds=30) is None
    temporal.outage = ""
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 30})
    assert bulk_pause_reason(job) == ""


def test_short_outage_does_not_pause_the_job(tenant: Any, temporal: FakeTemporal) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant)
    temporal.outage = "down"
    pause = bulk_work(job_id=job.id, seconds=30)
    assert pause is not None
    assert 1 < pause <= 2
    assert item_counts(reload_job(job)) == {"pending": 3}
    temporal.outage = ""
    expire_claims(job)
    assert item_counts(complete_job(job)) == {"accepted": 3}


def test_hanging_server_pauses_the_job_after_a_few_unknown_items(tenant: Any, temporal: FakeTemporal) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant)
    temporal.outage = "silent"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 25, "unknown": OUTAGES})
    temporal.outage = ""
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert reload_job(job).state == "paused"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 30}


def test_refusals_by_temporal_do_not_pause_the_job(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tenant, 2 * OUTAGES)
    job = start_job(tenant)

    def refuse(**_: Any) -> None:
        raise gateway.TemporalNotFound("workflow not found")

    monkeypatch.setattr(gateway, "cancel_run", refuse)
    assert item_counts(complete_job(job)) == {"refused": 2 * OUTAGES}


def test_replay_with_unknown_result_is_not_repeated(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tenant, status="FAILED")
    job = start_job(tenant, REPLAY)
    temporal.outage = "silent"
    job = complete_job(job)
    assert item_counts(job) == {"unknown": 1}
    temporal.outage = ""
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


# -- Pause, stop, retry ------------------------------------------------------------------------------------------------


def test_pause_takes_effect_within_a_batch(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 5)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    job = start_job(tenant)
    request = temporal.request

    def request_and_pause(name: str, **call: Any) -> str:
        if len(temporal.requests) == 1:
            bulk_pause(actor=make_actor(tenant), job_id=job.id, reason="wait")
        return request(name, **call)

    monkeypatch.setattr(temporal, "request", request_and_pause)
    assert bulk_work(job_id=job.id, seconds=30) is None
    job = reload_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"accepted": 2, "pending": 3})
    assert bulk_pause_reason(job) == "wait"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 5}


@pytest.mark.parametrize("is_killed", [False, True])
def test_stop_keeps_results_of_sent_requests_and_sends_no_more(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 9)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    monkeypatch.setattr(claims, "BATCH", 6)
    job = start_job(tenant)
    request = temporal.request

    def request_and_stop(name: str, **call: Any) -> str:
        request(name, **call)
        if len(temporal.requests) == 2:
            bulk_stop(actor=make_actor(tenant), job_id=job.id)
            assert item_counts(reload_job(job)) == {"pending": 6, "stopped": 3}
            if is_killed:
                raise WorkerKilled
        return "x"

    monkeypatch.setattr(temporal, "request", request_and_stop)
    if is_killed:
        with pytest.raises(WorkerKilled):
            bulk_work(job_id=job.id, seconds=30)
        assert reload_job(job).ended_at is None
        expire_claims(job)
    job = complete_job(job)
    expected = {"accepted": 1, "unknown": 1, "stopped": 7} if is_killed else {"accepted": 2, "stopped": 7}
    assert (job.state, item_counts(job), len(temporal.requests)) == ("stopped", expected, 2)
    assert job.ended_at is not None
    assert (job.command.state, job.command.details["counts"]["stopped"]) == ("observed", 7)
    with pytest.raises(Conflict):
        bulk_resume(actor=make_actor(tenant), job_id=job.id)


def test_stopped_preview_has_sent_no_request(tenant: Any, temporal: FakeTemporal) -> None:
    make_runs(tenant, 2)
    job = bulk_stop(actor=make_actor(tenant), job_id=preview_job(tenant).id)
    assert (job.state, item_counts(reload_job(job)), temporal.requests) == ("stopped", {"stopped": 2}, [])
    assert job.ended_at is not None


def test_every_job_request_is_in_the_ledger_and_a_repeated_request_only_once(
    tenant: Any, temporal: FakeTemporal
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


# -- Rate --------------------------------------------------------------------------------------------------------------


def test_rate_limits_several_workers_together(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
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


# -- Large jobs --------------------------------------------------------------------------------------------------------


def test_large_job_with_killed_workers_has_exact_counts(
    tenant: Any, temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
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

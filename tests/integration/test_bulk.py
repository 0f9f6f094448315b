"""Bulk jobs: a frozen set, every item asked once whatever is killed, and an account that is always whole (docs/reference/screens.md#run-list)."""

import os
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.bulk_jobs import (
    WorkerKilled,
    complete_job,
    expire_leases,
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
from workflows.services.bulk import claims, outcomes
from workflows.services.bulk.jobs import bulk_pause, bulk_resume, bulk_retry_failures, bulk_start, bulk_stop
from workflows.services.bulk.selectors import bulk_pause_reason, bulk_split
from workflows.services.bulk.work import OUTAGES, bulk_work
from workflows.statuses import CommandAction, CommandState, Role
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CANCEL, TERMINATE, REPLAY = CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.REPLAY


class Temporal:
    """What the gateway was asked. `down` answers as a server that is not there, `silent` as one that hangs."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.mood = ""
        self.killed_before = self.killed_after = 0

    def take(self, name: str, **call: Any) -> str:
        if self.mood == "down":
            raise gateway.TemporalUnreachable("connect error: nobody listens")
        if self.mood == "silent":
            raise gateway.TemporalTimeout("no answer in time")
        if len(self.asked) + 1 == self.killed_before:
            self.killed_before = 0
            raise WorkerKilled
        self.asked.append(f"{name} {call.get('request_id') or call['workflow_id']}")
        if len(self.asked) == self.killed_after:
            self.killed_after = 0
            raise WorkerKilled
        return "temporal-run-id"


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Temporal:
    server = Temporal()
    monkeypatch.setattr(gateway, "cancel_run", lambda **call: server.take("cancel", **call))
    monkeypatch.setattr(gateway, "terminate_run", lambda **call: server.take("terminate", **call))
    monkeypatch.setattr(gateway, "start_run", lambda run, **call: server.take("start", **call))
    monkeypatch.setattr(gateway, "check_reachable", lambda: server.mood == "down" and server.take("check"))
    return server


# -- Preview -----------------------------------------------------------------------------------------------------------


def test_a_preview_freezes_its_set_and_says_what_is_not_eligible(tenant: Any) -> None:
    other = make_run(make_tenant())
    waiting, running = make_run(tenant), make_run(tenant, status="RUNNING")
    closed, legacy, asked = make_run(tenant, status="FAILED"), make_run(tenant, engine="db"), make_run(tenant)
    command_open(actor=make_actor(tenant), action=CANCEL, target_type="run", target_id=str(asked.id), run=asked)
    Command.objects.filter(run=asked).update(state="accepted")
    job = preview_job(
        tenant, runs=Run.objects.filter(id__in=[waiting.id, running.id, closed.id, legacy.id, asked.id, other.id])
    )
    make_run(tenant)  # comes later, and is none of it
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
        asked.id,
    ]
    assert item_of(job, waiting).target_label.startswith(f"{waiting.definition_key}@1")
    row = Command.objects.get(target_id=str(job.id))
    assert (row.action, row.target_type, row.state, row.details["total"]) == ("bulk", "bulk job", "observed", 5)


def test_ids_that_are_not_there_or_anothers_are_told_alike(tenant: Any) -> None:
    own, others = make_run(tenant), make_run(make_tenant())
    job = preview_job(tenant, ids=[others.id, own.id, unknown_id(), own.id])
    assert item_counts(job) == {"pending": 1, "ineligible": 2}
    assert bulk_split(job)["ineligible"] == {"RUN_NOT_FOUND": 2}
    assert item_of(job, others).target_label == item_of(job, others).status_then == ""


def test_a_run_that_has_ended_can_be_replayed(tenant: Any) -> None:
    make_run(tenant, status="FAILED"), make_run(tenant, engine="db")
    assert item_counts(preview_job(tenant, REPLAY)) == {"pending": 1, "ineligible": 1}


def test_filters_of_a_screen_with_percent_signs_and_joins_are_frozen_too(tenant: Any) -> None:
    from workflows.selectors import runs_with_open_cancel

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
def test_a_preview_of_nothing_or_at_no_rate_is_refused(tenant: Any, more: dict[str, Any], code: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        preview_job(tenant, **more)
    assert refused.value.code == code
    assert not BulkJob.objects.filter(tenant=tenant).exists()


def test_more_runs_than_the_limit_are_refused_and_leave_nothing(tenant: Any, settings: Any) -> None:
    settings.BULK_MAX_RUNS = 2
    runs = make_runs(tenant, 3)
    for chosen in ({}, {"ids": [run.id for run in runs]}):
        with pytest.raises(InputInvalid) as refused:
            preview_job(tenant, **chosen)
        assert refused.value.code == "BULK_TOO_MANY_RUNS"
    assert not BulkItem.objects.filter(tenant=tenant).exists()
    assert preview_job(tenant, ids=[run.id for run in runs[:2]]).total == 2


# -- Who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "role"), [(CANCEL, Role.VIEWER), (REPLAY, Role.VIEWER), (TERMINATE, Role.AUTHOR)])
def test_each_step_needs_the_role_of_the_action_and_denials_are_recorded(
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


def test_another_tenants_job_is_not_there(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant)
    for step in (bulk_start, bulk_stop):
        with pytest.raises(NotFound):
            step(actor=make_actor(make_tenant()), job_id=job.id)


def test_terminate_needs_a_reason_and_a_job_its_states(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant, TERMINATE, reason="")
    with pytest.raises(InputInvalid, match="reason"):
        bulk_start(actor=make_actor(tenant), job_id=job.id)
    for step in (bulk_pause, bulk_resume, bulk_retry_failures):
        with pytest.raises(Conflict) as refused:
            step(actor=make_actor(tenant), job_id=job.id)
        assert refused.value.code == "BULK_JOB_STATE"
    job = bulk_start(actor=make_actor(tenant), job_id=job.id, reason="stuck")
    assert (job.state, job.reason) == ("running", "stuck")
    nothing = preview_job(tenant, ids=[unknown_id()])
    with pytest.raises(Conflict) as refused:
        bulk_start(actor=make_actor(tenant), job_id=nothing.id)
    assert refused.value.code == "BULK_NOTHING_TO_DO"


# -- Work --------------------------------------------------------------------------------------------------------------


def test_every_item_is_a_request_of_its_own_below_the_jobs(tenant: Any, temporal: Temporal) -> None:
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
    assert len(temporal.asked) == 3


def test_a_run_that_ended_meanwhile_is_refused_alone(tenant: Any, temporal: Temporal) -> None:
    from tests.support.records import run_record, write

    runs = make_runs(tenant, 3)
    job = start_job(tenant)
    write(runs[1], run_record(3, "SUCCEEDED"))
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "refused": 1}
    assert item_of(job, runs[1]).code == "WORKFLOW_RUN_CLOSED"


def test_a_bug_at_one_run_is_told_and_stops_no_other(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs(tenant, 3)
    take = temporal.take

    def broken(name: str, **call: Any) -> str:
        if call["workflow_id"] == runs[1].temporal_workflow_id:
            raise ZeroDivisionError
        return take(name, **call)

    monkeypatch.setattr(temporal, "take", broken)
    job = complete_job(start_job(tenant))
    assert item_counts(job) == {"accepted": 2, "failed": 1}
    assert item_of(job, runs[1]).code == "INTERNAL_ERROR"
    assert Command.objects.get(run=runs[1]).state == "failed"
    monkeypatch.setattr(temporal, "take", take)
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 3}
    assert [c.idempotency_key[-2:] for c in Command.objects.filter(run=runs[1]).order_by("requested_at")] == [
        ":1",
        ":2",
    ]


# -- Killed workers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, REPLAY])
@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_what_a_killed_worker_asked_is_taken_up_as_the_same_request(
    tenant: Any, temporal: Temporal, action: CommandAction, point: str
) -> None:
    runs = make_runs(tenant, 4)
    job = start_job(tenant, action)
    setattr(temporal, point, 3)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    assert item_counts(reload_job(job)) == {
        "pending": 4
    }  # the account is whole, though nothing of the batch was written down
    BulkJob.objects.filter(id=job.id).update(next_slice_at=job.started_at)
    asked = list(temporal.asked)
    assert bulk_work(job_id=job.id, seconds=30) is None
    assert temporal.asked == asked  # nobody else may have them before the lease is over
    assert reload_job(job).next_slice_at == job.items.first().claimed_until
    expire_leases(job)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 4})
    assert Command.objects.filter(tenant=tenant, action=action).count() == 4
    repeated = [request for request, number in Counter(temporal.asked).items() if number > 1]
    assert len(set(temporal.asked)) == 4
    assert len(repeated) == (1 if point == "killed_after" else 0)  # under the same id, which Temporal takes once
    if action == REPLAY:
        assert [run.replays.count() for run in runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("point", ["killed_before", "killed_after"])
def test_a_terminate_that_a_killed_worker_asked_is_unknown_and_not_asked_again(
    tenant: Any, temporal: Temporal, point: str
) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant, TERMINATE)
    setattr(temporal, point, 2)
    with pytest.raises(WorkerKilled):
        bulk_work(job_id=job.id, seconds=30)
    expire_leases(job)
    job = complete_job(job)
    assert item_counts(job) == {"accepted": 2, "unknown": 1}
    assert max(Counter(temporal.asked).values()) == 1
    item = BulkItem.objects.get(job=job, state="unknown")
    assert (item.command.state, item.code) == ("unknown", "BULK_WORKER_LOST")
    Command.objects.filter(id=item.command_id).update(state="observed")  # the reconciler has seen what happened
    with pytest.raises(Conflict, match="nothing failed"):
        bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)


def test_a_worker_that_was_thought_dead_does_not_overwrite_the_result(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tenant)
    job = start_job(tenant)
    take = temporal.take

    def slow(name: str, **call: Any) -> str:
        monkeypatch.setattr(temporal, "take", take)
        expire_leases(job)
        complete_job(job)
        raise gateway.TemporalRefused("too late")

    monkeypatch.setattr(temporal, "take", slow)
    bulk_work(job_id=job.id, seconds=30)
    job = reload_job(job)
    assert item_counts(job) == {"accepted": 1}
    assert Command.objects.get(parent=job.command).state == "accepted"


def test_the_sweep_finds_a_job_whose_message_was_lost(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 2)
    job = start_job(tenant)
    rung: list[Any] = []
    monkeypatch.setattr(work, "notify_bulk_dispatcher", rung.append)
    work.bulk_sweep()
    assert job.id not in rung  # its message may be on its way
    expire_leases(job)
    BulkJob.objects.filter(id=job.id).update(next_slice_at=job.started_at - 2 * work.LATE)
    work.bulk_sweep()
    assert job.id in rung
    complete_job(job)
    rung.clear()
    work.bulk_sweep()
    assert job.id not in rung


# -- An outage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, TERMINATE, REPLAY])
def test_an_outage_pauses_the_job_and_costs_no_item(tenant: Any, temporal: Temporal, action: CommandAction) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant, action)
    temporal.mood = "down"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 30})
    assert Command.objects.filter(parent=job.command).count() == OUTAGES
    assert "nobody listens" in bulk_pause_reason(job)
    assert bulk_work(job_id=job.id, seconds=30) is None
    temporal.mood = ""
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("done", {"accepted": 30})
    assert bulk_pause_reason(job) == ""


def test_a_short_outage_pauses_nothing(tenant: Any, temporal: Temporal) -> None:
    make_runs(tenant, 3)
    job = start_job(tenant)
    temporal.mood = "down"
    wait = bulk_work(job_id=job.id, seconds=30)
    assert wait is not None
    assert 1 < wait <= 2
    assert item_counts(reload_job(job)) == {"pending": 3}
    temporal.mood = ""
    expire_leases(job)
    assert item_counts(complete_job(job)) == {"accepted": 3}


def test_a_server_that_hangs_pauses_the_job_after_a_few_unknown_ones(tenant: Any, temporal: Temporal) -> None:
    make_runs(tenant, 30)
    job = start_job(tenant)
    temporal.mood = "silent"
    job = complete_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"pending": 25, "unknown": OUTAGES})
    temporal.mood = ""
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert reload_job(job).state == "paused"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 30}


def test_refusals_of_temporal_pause_nothing(tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runs(tenant, 2 * OUTAGES)
    job = start_job(tenant)

    def refuse(**_: Any) -> None:
        raise gateway.TemporalNotFound("workflow not found")

    monkeypatch.setattr(gateway, "cancel_run", refuse)
    assert item_counts(complete_job(job)) == {"refused": 2 * OUTAGES}


def test_a_replay_of_which_nobody_knows_is_not_asked_again(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tenant, status="FAILED")
    job = start_job(tenant, REPLAY)
    temporal.mood = "silent"
    job = complete_job(job)
    assert item_counts(job) == {"unknown": 1}
    temporal.mood = ""
    with pytest.raises(Conflict) as refused:
        bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert refused.value.code == "BULK_NOTHING_TO_RETRY"
    assert run.replays.count() == 1
    command = item_of(job, run).command
    Command.objects.filter(id=command.id).update(state="failed")  # the reconciler: it was never started
    bulk_retry_failures(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 1}


# -- Pause, stop, retry ------------------------------------------------------------------------------------------------


def test_pause_takes_effect_within_the_batch(tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 5)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    job = start_job(tenant)
    take = temporal.take

    def paused_meanwhile(name: str, **call: Any) -> str:
        if len(temporal.asked) == 1:
            bulk_pause(actor=make_actor(tenant), job_id=job.id, reason="wait")
        return take(name, **call)

    monkeypatch.setattr(temporal, "take", paused_meanwhile)
    assert bulk_work(job_id=job.id, seconds=30) is None
    job = reload_job(job)
    assert (job.state, item_counts(job)) == ("paused", {"accepted": 2, "pending": 3})
    assert bulk_pause_reason(job) == "wait"
    bulk_resume(actor=make_actor(tenant), job_id=job.id)
    assert item_counts(complete_job(job)) == {"accepted": 5}


@pytest.mark.parametrize("is_killed", [False, True])
def test_stop_leaves_what_was_asked_its_result_and_never_asks_the_rest(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    from workflows.services.bulk import work as work

    make_runs(tenant, 9)
    monkeypatch.setattr(work, "STATE_CHECK_SECONDS", 0)
    monkeypatch.setattr(claims, "BATCH", 6)
    job = start_job(tenant)
    take = temporal.take

    def stopped_meanwhile(name: str, **call: Any) -> str:
        take(name, **call)
        if len(temporal.asked) == 2:
            bulk_stop(actor=make_actor(tenant), job_id=job.id)
            assert item_counts(reload_job(job)) == {"pending": 6, "stopped": 3}
            if is_killed:
                raise WorkerKilled
        return "x"

    monkeypatch.setattr(temporal, "take", stopped_meanwhile)
    if is_killed:
        with pytest.raises(WorkerKilled):
            bulk_work(job_id=job.id, seconds=30)
        assert reload_job(job).ended_at is None
        expire_leases(job)
    job = complete_job(job)
    expected = {"accepted": 1, "unknown": 1, "stopped": 7} if is_killed else {"accepted": 2, "stopped": 7}
    assert (job.state, item_counts(job), len(temporal.asked)) == ("stopped", expected, 2)
    assert job.ended_at is not None
    assert (job.command.state, job.command.details["counts"]["stopped"]) == ("observed", 7)
    with pytest.raises(Conflict):
        bulk_resume(actor=make_actor(tenant), job_id=job.id)


def test_a_preview_that_is_stopped_has_asked_nothing(tenant: Any, temporal: Temporal) -> None:
    make_runs(tenant, 2)
    job = bulk_stop(actor=make_actor(tenant), job_id=preview_job(tenant).id)
    assert (job.state, item_counts(reload_job(job)), temporal.asked) == ("stopped", {"stopped": 2}, [])
    assert job.ended_at is not None


def test_every_step_stands_in_the_ledger_and_a_repeat_is_one_step(tenant: Any, temporal: Temporal) -> None:
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


# -- The rate ----------------------------------------------------------------------------------------------------------


def test_the_rate_holds_over_several_workers(tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute of two workers that look whenever they like; for five seconds none comes."""
    from datetime import timedelta
    from types import SimpleNamespace

    monkeypatch.setattr(outcomes, "item_request", lambda job, item: Command(id=None, state=CommandState.ACCEPTED))
    insert_open_runs(tenant, 400)
    job = start_job(tenant, rate_per_second=10)
    begin = job.next_slice_at
    clock = {"now": begin}
    monkeypatch.setattr(claims, "timezone", SimpleNamespace(now=lambda: clock["now"]))
    done: list[int] = []
    for tick in range(300):  # ten a second
        second = tick / 10
        clock["now"] = begin + timedelta(seconds=second)
        for _ in range(0 if 20 <= second < 25 else 2):
            bulk_work(job_id=job.id, seconds=30)
        done.append(BulkItem.objects.filter(job=job, state="accepted").count())
    assert all(done[n + 10] - done[n] <= 10 for n in range(190))  # never more than ten in a second
    assert done[190] == 200
    assert done[250] - done[240] == 30  # who comes late catches up two seconds, no more
    assert done[299] == 10 * 30 - 30
    assert reload_job(job).state == "running"


# -- Fifty thousand ----------------------------------------------------------------------------------------------------


def test_a_big_job_with_killed_workers_has_an_exact_account(
    tenant: Any, temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BULK_TEST_RUNS=50000 for the real size. A stand-in answers for the service of one run; every 997th worker dies."""
    number = int(os.environ.get("BULK_TEST_RUNS", "5000"))
    insert_open_runs(tenant, number - 40)
    for n in range(40):
        make_run(tenant, status="FAILED" if n % 2 else "WAITING", engine="temporal" if n % 2 else "db")
    asked: Counter[Any] = Counter()
    answered: dict[Any, str] = {}

    def stand_in(job: BulkJob, item: BulkItem) -> Command:
        asked[item.target_id] += 1
        count = len(asked)
        if count % 997 == 0 and asked[item.target_id] == 1:
            raise WorkerKilled
        kind = next(
            (kind for part, kind in ((11, "refused"), (13, "failed"), (17, "unknown")) if count % part == 0), "accepted"
        )
        answered[item.target_id] = kind
        if kind == "refused":
            raise Conflict("no", code="SOME_REFUSAL")
        return Command(id=None, state=kind)

    monkeypatch.setattr(outcomes, "item_request", stand_in)
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
        expire_leases(job)
    job = reload_job(job)
    counts = item_counts(job)
    print(
        f"\n{number} runs: frozen in {frozen:.2f} s, worked in {time.monotonic() - began - frozen:.2f} s, {killed} workers killed"
    )
    assert killed >= (number - 40) // 997
    assert (job.state, len(asked)) == ("done", number - 40)
    assert counts == {"ineligible": 40, **Counter(answered.values())}
    assert sum(counts.values()) == number
    assert job.command.details["counts"]["accepted"] == counts["accepted"]

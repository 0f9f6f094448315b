"""Sweep of the reconciler, tested without Temporal.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from tests.support.factories import make_actor, make_run, publish, wait_for_reply
from tests.support.own_sweep import sweep_only
from workflows.errors import PortalError
from workflows.ledger import command_finish, command_open
from workflows.models import Command, Run
from workflows.projections.ends import RunEnd
from workflows.projections.repairs import record_end
from workflows.services import command_reconcile
from workflows.services.idempotency import command_request
from workflows.services.runs import candidates, launch, rebuild, reconcile_sweep, verify
from workflows.services.runs.reconcile import Reconciled
from workflows.services.runs.reconcile_sweep import MAX_LINES, runs_reconcile, runs_reconcile_all
from workflows.services.runs.replay import run_replay
from workflows.services.runs.unstarted import unstarted_runs
from workflows.services.runs.verify import run_repair
from workflows.statuses import CommandAction, CommandState
from workflows.temporal import contracts, gateway
from workflows.temporal.history import INPUTS

pytestmark = pytest.mark.usefixtures("database", "no_dispatcher")


def busy() -> None:
    raise gateway.TemporalBusy("the run continues as a new execution")


def too_slow() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 20")
        cursor.execute("SELECT pg_sleep(5)")


def lost() -> None:
    raise InterfaceError("the connection is closed")


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> dict[uuid.UUID, Callable[[], None]]:
    """Return a dict of functions that the comparison of a run calls, by run id. All other runs are equal."""
    found: dict[uuid.UUID, Callable[[], None]] = {}

    def reconcile(*, run_id: uuid.UUID, **_: Any) -> Reconciled:
        found.get(run_id, lambda: None)()
        return Reconciled(run_id, "equal")

    monkeypatch.setattr(reconcile_sweep, "run_reconcile", reconcile)
    return found


@pytest.mark.parametrize(("failure", "outcome"), [(busy, "busy"), (too_slow, "failed")])
def test_failed_comparison_of_a_run_stops_no_other(
    tenant: Any, failures: dict[uuid.UUID, Callable[[], None]], failure: Callable[[], None], outcome: str
) -> None:
    first, _ = sorted([make_run(tenant).id, make_run(tenant).id])
    failures[first] = failure
    report = runs_reconcile_all(tenant_id=tenant.id)
    assert (dict(report.counts), report.problem) == ({outcome: 1, "equal": 1}, "")
    assert report.lines[0].startswith(f"{first} {outcome}: ")


def test_lost_database_connection_ends_the_sweep(tenant: Any, failures: dict[uuid.UUID, Callable[[], None]]) -> None:
    failures[make_run(tenant).id] = lost
    with pytest.raises((InterfaceError, OperationalError)):
        runs_reconcile_all(tenant_id=tenant.id)


def test_report_has_a_limited_number_of_lines(
    tenant: Any, failures: dict[uuid.UUID, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [uuid.uuid4() for _ in range(MAX_LINES + 5)]
    failures.update(dict.fromkeys(ids, busy))
    monkeypatch.setattr(reconcile_sweep, "ids_of", lambda rows: iter(ids))
    report = runs_reconcile_all(tenant_id=tenant.id)
    assert (report.counts["busy"], len(report.lines)) == (len(ids), MAX_LINES)


def test_many_changed_runs_leave_time_for_the_walk_and_the_commands(
    monkeypatch: pytest.MonkeyPatch, failures: dict[uuid.UUID, Callable[[], None]]
) -> None:
    walked, decided = uuid.uuid4(), []
    compared: list[uuid.UUID] = []
    failures[walked] = lambda: compared.append(walked)

    def endless(_: Any, **__: Any) -> Any:
        while True:
            time.sleep(0.01)
            yield uuid.uuid4()

    monkeypatch.setattr(reconcile_sweep, "changed_runs", endless)
    monkeypatch.setattr(reconcile_sweep, "walked_runs", lambda **_: iter([walked]))

    def decide(*, stop_at: float) -> dict[str, int]:
        decided.append(stop_at > time.monotonic())
        return {}

    monkeypatch.setattr(reconcile_sweep, "commands_reconcile", decide)
    report = runs_reconcile(budget_seconds=1)
    assert (compared, decided, report.counts["out of time"]) == ([walked], [True], 1)


def test_command_of_a_busy_run_stops_no_other(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    sweep_only(tenant, monkeypatch)
    monkeypatch.setitem(command_reconcile.DECIDERS, CommandAction.CANCEL, lambda _: busy())
    commands = [
        command_open(actor=make_actor(tenant), action=action, target_type="run", target_id="x")
        for action in (CommandAction.CANCEL, CommandAction.PAUSE)
    ]
    command_reconcile.commands_reconcile(stop_at=time.monotonic() + 60)
    for command in commands:
        command.refresh_from_db()
    assert [command.state for command in commands] == ["requested", "failed"]


def test_runs_to_rebuild_are_read_in_pages(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "PAGE", 2)
    monkeypatch.setattr(rebuild, "list_runs", lambda: iter([]))
    made = sorted(make_run(tenant).id for _ in range(5))
    assert list(rebuild.runs_to_rebuild(tenant_id=tenant.id)) == made


@pytest.mark.parametrize(
    ("outcome", "state"), [("equal", "observed"), ("rebuilt", "observed"), ("busy", "failed"), ("drift", "failed")]
)
def test_repair_is_observed_only_if_the_projection_is_correct(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, outcome: str, state: str
) -> None:
    run = make_run(tenant)
    monkeypatch.setattr(verify, "run_reconcile", lambda **_: Reconciled(run.id, outcome, "a detail"))
    command, _ = run_repair(actor=make_actor(tenant), run_id=run.id)
    assert (command.state, (command.details or {})["outcome"]) == (state, outcome)


def test_start_of_a_run_without_records_is_observed_at_its_end(tenant: Any) -> None:
    """Record the end of a run that was terminated before it wrote any record."""
    run = make_run(tenant, status="STARTING", temporal_first_run_id="a-run-id")
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.START_RUN, target_type="run", target_id=str(run.id)
    )
    command_finish(command, CommandState.ACCEPTED)
    assert record_end(run, RunEnd("a-run-id", "TERMINATED", timezone.now()))
    command.refresh_from_db()
    assert command.state == "observed"


class Killed(BaseException):
    """Kill of the process at this point. No handler of the code under test catches it."""


def test_replay_that_temporal_may_have_started_is_not_deleted(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the worker of a bulk job after Temporal has the run. Then repeat the item while Temporal is unreachable."""
    version = publish(tenant, wait_for_reply())
    run = make_run(tenant, status="FAILED", definition_version=version, input={"ticketId": "T-1"})
    actor = make_actor(tenant)
    bulk_command = command_request(
        actor=actor, action=CommandAction.BULK, target_type="bulk job", target_id="j"
    ).command
    request: dict[str, Any] = {
        "actor": actor,
        "run_id": run.id,
        "idempotency_key": "bulk:j:i:1",
        "part_of": bulk_command,
    }

    def kill(**_: Any) -> None:
        raise Killed

    def unreachable() -> None:
        raise gateway.TemporalUnreachable("connection refused")

    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    monkeypatch.setattr(gateway, "start_run", lambda *_, **__: "a-run-id")
    monkeypatch.setattr(launch, "record_first_run_id", kill)
    with pytest.raises(Killed):
        run_replay(**request)
    monkeypatch.setattr(gateway, "check_reachable", unreachable)
    with pytest.raises(PortalError) as raised:
        run_replay(**request)
    assert raised.value.details["outcome"] == "unknown"
    assert Run.objects.filter(replay_of=run, status="STARTING").count() == 1
    assert Command.objects.get(tenant=tenant, action=CommandAction.REPLAY).state == "unknown"


@pytest.mark.parametrize(
    ("status", "state"), [("CANCELED", "observed"), ("SUCCEEDED", "failed"), ("WAITING", "accepted")]
)
def test_accepted_cancel_is_decided_by_the_end_of_the_run(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, status: str, state: str
) -> None:
    """Decide a command whose process was killed after Temporal's response. The run has ended since then."""
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    sweep_only(tenant, monkeypatch)
    run = make_run(tenant, status=status)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run
    )
    command_finish(command, CommandState.ACCEPTED)
    command_reconcile.commands_reconcile(stop_at=time.monotonic() + 60)
    command.refresh_from_db()
    assert command.state == state


def test_a_sweep_stops_at_its_budget_whatever_it_finds(
    monkeypatch: pytest.MonkeyPatch, failures: dict[uuid.UUID, Callable[[], None]]
) -> None:
    """Each comparison takes 0.1 s of a simulated clock. Each sweep may take a fifth of the interval of 10 s."""
    now = [1_000.0]
    monkeypatch.setattr(reconcile_sweep.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(reconcile_sweep, "changed_runs", lambda _, **__: iter([]))
    monkeypatch.setattr(reconcile_sweep, "commands_reconcile", lambda **_: {})

    def slow() -> None:
        now[0] += 0.1

    ids = [uuid.uuid4() for _ in range(200)]
    failures.update(dict.fromkeys(ids, slow))
    monkeypatch.setattr(reconcile_sweep, "walked_runs", lambda **_: iter(ids))
    report = runs_reconcile()
    assert (report.counts["equal"] <= 18, report.counts["out of time"]) == (True, 1)


def test_drifted_rows_do_not_delay_the_walk(tenant: Any) -> None:
    """After the loss of Temporal's database, most open rows are marked as drift."""
    long_ago = timezone.now() - timedelta(days=2)
    drifted = {
        make_run(tenant, projected_at=long_ago, drift_reason="lost", drift_found_at=long_ago).id
        for _ in range(candidates.DRIFTED_BATCH + 3)
    }
    healthy = make_run(tenant, projected_at=timezone.now() - timedelta(hours=1)).id
    rows = Run.objects.filter(tenant=tenant, engine="temporal")
    assert list(candidates.walk_of_tenant(rows, now=timezone.now())) == [healthy]
    found = set(candidates.walk_of_drifted(rows, now=timezone.now()))
    assert (len(found), found <= drifted) == (candidates.DRIFTED_BATCH, True)


def test_list_of_changes_is_long_once_in_five_minutes(settings: Any) -> None:
    settings.RECONCILE_INTERVAL_SECONDS = 10
    start = datetime(2026, 1, 1, tzinfo=UTC)
    windows = [candidates.changed_window(start + timedelta(seconds=second)) for second in range(0, 600, 10)]
    assert (max(windows), windows.count(max(windows))) == (timedelta(seconds=610), 2)
    assert min(windows) == timedelta(seconds=80)


@pytest.mark.parametrize(
    ("query", "index"),
    [(candidates.walk_of_tenant, "workflow_runs_walk"), (candidates.walk_of_drifted, "workflow_runs_drifted")],
)
def test_walk_reads_only_its_index(tenant: Any, query: Callable[..., Any], index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_bitmapscan = off")
        cursor.execute("SET enable_sort = off")  # in a small table, another index and a sort cost the same
        try:
            plan = query(Run.objects.filter(tenant=tenant, engine="temporal"), now=timezone.now()).explain()
        finally:
            cursor.execute("RESET enable_seqscan")
            cursor.execute("RESET enable_bitmapscan")
            cursor.execute("RESET enable_sort")
    assert (f"Index Only Scan using {index}" in plan, "Sort" in plan) == (True, False), plan


@pytest.mark.parametrize(
    ("count", "close", "note"),
    [(0, None, ""), (2, None, "2 activities are in progress"), (1, "closed", "Temporal ended the run during 1")],
)
def test_differences_by_unfinished_activities_are_explained(count: int, close: Any, note: str) -> None:
    history: Any = SimpleNamespace(unfinished_activities=count, close=close)
    notes = rebuild._unfinished_writes(history)
    assert (len(notes), all(text.startswith(note) for text in notes)) == (int(count > 0), True)


def test_a_rebuild_reads_the_records_of_every_activity() -> None:
    """An activity that is not listed in INPUTS would lose its records in a rebuild."""
    activities = {value for name, value in vars(contracts).items() if name.startswith("ACTIVITY_")}
    assert activities - {contracts.ACTIVITY_FIRE_SCHEDULE} == set(INPUTS)  # that activity only starts a run


def test_query_of_unstarted_runs_uses_an_index(tenant: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = unstarted_runs().explain()
        finally:
            cursor.execute("SET enable_seqscan = on")
    assert "workflow_runs_starting" in plan

"""Rows that differ from Temporal, and their repair by the reconciler.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal.devstack.servers import Servers
from tests.support.api import Api, error_of
from tests.support.factories import eventually, make_run, make_token, publish, wait_for_reply
from tests.support.history_cases import for_each, human_task, open_wait_of
from tests.support.management_commands import run_command
from tests.support.members import member_of
from tests.support.own_sweep import sweep_only
from tests.support.projection_rows import rows_of_runs
from tests.support.records import run_record, wait_record
from tests.support.table_owner import execute_as_owner
from tests.support.tenant_driver import TenantDriver
from workflows.engine.clock import ms_of_datetime
from workflows.ledger import command_finish, command_open
from workflows.models import Command, Event, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projections.batches import record_batch
from workflows.projections.ends import RunEnd
from workflows.projections.repairs import record_drift, record_end
from workflows.projections.transaction import projection_writer
from workflows.selectors.counts import problem_counts
from workflows.services import command_reconcile
from workflows.services.runs import candidates
from workflows.services.runs import reconcile as run_reconcile_module
from workflows.services.runs.launch import workflow_id_of
from workflows.services.runs.rebuild import run_rebuild
from workflows.services.runs.reconcile import run_reconcile
from workflows.services.runs.reconcile_sweep import ReconcileReport, runs_reconcile
from workflows.statuses import CommandAction, CommandState, Role
from workflows.temporal import gateway, run_history
from workflows.temporal.history import HistoryUnreadable


@pytest.fixture(autouse=True)
def no_minimum_age(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reconciler compare runs and commands of any age. A sweep compares only the runs of this test."""
    sweep_only(driver.tenant, monkeypatch)
    for module in (run_reconcile_module, candidates):
        monkeypatch.setattr(module, "QUIET_AFTER", timedelta(0))
        monkeypatch.setattr(module, "UNSTARTED_AFTER", timedelta(0))
    monkeypatch.setattr(candidates, "SUSPECT_AFTER", timedelta(0))
    monkeypatch.setattr(command_reconcile, "DECIDE_AFTER", timedelta(0))


def cli(servers: Servers, run: Run, *arguments: str) -> None:
    options = ["--workflow-id", run.temporal_workflow_id, "--reason", "by hand", "--address", servers.temporal_address]
    done = subprocess.run(
        [str(servers.temporal_cli), "workflow", *arguments, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def sweep() -> ReconcileReport:
    """Run a sweep with a budget for a loaded machine. A sweep of 2 s may end among the runs of other tests."""
    return runs_reconcile(budget_seconds=30)


def sweep_line(run: Run) -> str:
    """Sweep until a report has a line about this run, and return it. Temporal's lists are slightly out of date."""

    def look() -> str | None:
        return next((line for line in sweep().lines if line.startswith(str(run.id))), None)

    return eventually(look, what="a sweep finds the run").removeprefix(f"{run.id} ")


def test_termination_in_temporal_closes_the_run_and_its_open_rows(driver: TenantDriver, servers: Servers) -> None:
    publish(
        driver.tenant,
        for_each("loop", "[1]", human_task(completeOn={"eventName": "E", "correlationKey": {"$expr": "'k'"}})),
    )
    run = driver.start()
    wait = open_wait_of(run, kind="human")
    event = Event.objects.create(
        tenant=driver.tenant,
        event_id="e-1",
        event_type="E",
        body_hash="",
        source="rest",
        correlation_status="explicit",
        routed_at=timezone.now(),
        outcome="routing",
    )
    later = timezone.now() + timedelta(hours=1)
    delivery = EventDelivery.objects.create(
        tenant=driver.tenant, event=event, kind="wait", wait=wait, run=run, next_attempt_at=later
    )
    terminate = command_open(
        actor=driver.actor, action=CommandAction.TERMINATE, target_type="run", target_id=str(run.id), run=run
    )
    command_finish(terminate, CommandState.ACCEPTED)
    cli(servers, run, "terminate")
    execution = gateway.describe_run(workflow_id=run.temporal_workflow_id)

    assert sweep_line(run).startswith("ended: Temporal reports TERMINATED")
    run.refresh_from_db()
    assert (run.status, run.ended_at, run.error["code"]) == ("TERMINATED", execution.closed_at, "RUN_TERMINATED")
    assert "by hand" in run.error["message"]
    assert {step.status for step in RunStep.objects.filter(run=run)} == {"CANCELED"}
    assert [wait.status for wait in RunWait.objects.filter(run=run)] == ["CANCELED"]
    assert HumanTask.objects.get(run=run).status == "canceled"
    delivery.refresh_from_db()
    event.refresh_from_db()
    assert (delivery.status, event.outcome) == ("late", "unmatched")
    terminate.refresh_from_db()
    assert terminate.state == "observed"
    before = rows_of_runs(run)
    assert (run_rebuild(run_id=run.id).outcome, run_reconcile(run_id=run.id).outcome) == ("equal", "equal")
    # The run's own records that arrive after its end reopen nothing. Only a reset does.
    at = ms_of_datetime(timezone.now())
    late = [run_record(50, "WAITING", at=at), wait_record(51, "WAITING", str(wait.id))]
    record_batch(late, tenant_id=str(run.tenant_id), run_id=str(run.id), epoch=run.projection_epoch, first_run_id="",
                 current_epoch=lambda: run.projection_epoch)  # fmt: skip
    assert rows_of_runs(run) == before
    record_batch(
        [run_record(50, "WAITING", at=at)],
        tenant_id=str(run.tenant_id),
        run_id=str(run.id),
        epoch="reset",
        first_run_id="",
        current_epoch=lambda: "reset",
    )
    run.refresh_from_db()
    delivery.refresh_from_db()
    assert (run.status, run.ended_at, HumanTask.objects.get(run=run).status) == ("WAITING", None, "pending")
    assert {step.status for step in RunStep.objects.filter(run=run)} == {"STARTED"}
    assert (RunWait.objects.get(run=run).status, delivery.decided_at) == ("WAITING", None)
    # Temporal has no such reset, so the reconciler closes the run again.
    assert run_reconcile(run_id=run.id).outcome == "ended"
    assert rows_of_runs(run) == before


def test_end_is_not_written_over_newer_records(driver: TenantDriver) -> None:
    run = make_run(driver.tenant, projection_epoch="e-1")
    end = RunEnd("e-1", "TERMINATED", timezone.now())
    stale = Run.objects.get(id=run.id)
    record_batch(
        [run_record(7, "RUNNING")],
        tenant_id=str(run.tenant_id),
        run_id=str(run.id),
        epoch="e-1",
        first_run_id="",
        current_epoch=lambda: "e-1",
    )
    assert (record_end(stale, end), record_drift(stale, "no"), Run.objects.get(id=run.id).status) == (
        False,
        False,
        "RUNNING",
    )
    assert record_end(Run.objects.get(id=run.id), end)
    assert Run.objects.get(id=run.id).status == "TERMINATED"


def test_end_is_recorded_even_if_the_history_is_unreadable(
    driver: TenantDriver, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)

    def unreadable(**_: Any) -> Any:
        raise HistoryUnreadable("the key is missing")

    monkeypatch.setattr(run_history, "read_history", unreadable)
    assert run_reconcile(run_id=run.id).outcome == "unreadable"
    assert "the key is missing" in Run.objects.get(id=run.id).drift_reason
    cli(servers, run, "terminate")
    assert run_reconcile(run_id=run.id).outcome == "ended"
    run.refresh_from_db()
    assert (run.status, run.drift_reason, [wait.status for wait in RunWait.objects.filter(run=run)]) == (
        "TERMINATED", "", ["CANCELED"],
    )  # fmt: skip


def test_interrupted_launch_is_started_once(driver: TenantDriver) -> None:
    version = publish(driver.tenant, wait_for_reply())
    fields = {"definition_version": version, "status": "STARTING", "input": {"ticketId": "T-1"}}
    run, child, old = (
        make_run(driver.tenant, **fields),
        make_run(driver.tenant, **fields),
        make_run(driver.tenant, **fields),
    )
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(temporal_workflow_id=workflow_id_of(run.id))
        Run.objects.filter(id=child.id).update(
            trigger_type="child", parent_run=make_run(driver.tenant, status="SUCCEEDED")
        )
        Run.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=3))
    assert "started" in run_command("reconcile_runs", "--run", str(run.id), "--dry-run")
    assert run_reconcile(run_id=run.id).outcome == "started"
    assert run_reconcile(run_id=run.id).outcome != "started"
    first = driver.wait_for_run("WAITING", id=run.id).temporal_first_run_id
    execution = gateway.describe_run(workflow_id=workflow_id_of(run.id))
    assert (execution.first_run_id, execution.run_id) == (first, first)
    # No process starts the child of a closed run, or a run so old that Temporal would not remember it.
    assert (run_reconcile(run_id=child.id).outcome, run_reconcile(run_id=old.id).outcome) == (
        "unstarted child",
        "ended",
    )
    assert Run.objects.get(id=child.id).status == "CANCELED"
    ended = Run.objects.get(id=old.id)
    assert (ended.status, ended.error_code) == ("FAILED", "RUN_NOT_STARTED")


def test_run_that_temporal_no_longer_knows_is_marked_and_not_restarted(driver: TenantDriver) -> None:
    run = make_run(
        driver.tenant, temporal_first_run_id="a-run-id", temporal_workflow_id=workflow_id_of(driver.tenant.id)
    )
    closed = make_run(driver.tenant, status="SUCCEEDED", temporal_first_run_id="another")
    assert [run_reconcile(run_id=run.id).outcome for _ in range(2)] == ["drift", "still drift"]
    assert run_reconcile(run_id=closed.id).outcome == "equal"
    run.refresh_from_db()
    assert (run.status, "does not know" in run.drift_reason) == ("WAITING", True)
    assert problem_counts().marked_runs >= 1
    with pytest.raises(gateway.TemporalNotFound):
        gateway.describe_run(workflow_id=run.temporal_workflow_id)
    client = member_of(driver.tenant)
    assert "This page may be wrong" in client.get(f"/admin/workflows/run/{run.id}/change/").content.decode()
    assert ">Runs that differ from Temporal<" in client.get("/admin/").content.decode()
    shown = Api(make_token(driver.tenant)).get(f"/runs/{run.id}").json()
    assert (shown["drift_reason"], shown["projection_age_seconds"] < 60) == (run.drift_reason, True)


def test_reset_into_an_open_wait_is_found_before_the_run_continues(driver: TenantDriver, servers: Servers) -> None:
    publish(driver.tenant, wait_for_reply(), {"id": "s", "type": "state.set", "config": {"state": "DONE"}})
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)
    eventually(lambda: "ACTIVITY_TASK_COMPLETED" in driver.history_types(run), what="the wait is open in Temporal")
    eventually(lambda: driver.history_types(run).count("WORKFLOW_TASK_COMPLETED") == 2)
    point = len(driver.history(run))
    event = driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    old = driver.wait_for_run("SUCCEEDED", id=run.id)
    driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")
    cli(servers, run, "reset", "--event-id", str(point), "--reapply-exclude", "Signal")
    assert Run.objects.get(id=run.id).status == "SUCCEEDED"

    line = sweep_line(run)
    assert line.startswith("rebuilt: Temporal reports RUNNING")
    assert "status: SUCCEEDED -> WAITING" in line
    # The event is free again, the reopened wait finds it, and the run ends again.
    again = eventually(
        lambda: Run.objects.filter(id=run.id, status="SUCCEEDED").exclude(projection_epoch=old.projection_epoch).first()
    )
    assert (again.event_count, [wait.event_id for wait in RunWait.objects.filter(run=run)]) == (1, [event.id])
    driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")
    assert run_rebuild(run_id=run.id).differences == []


def test_walk_finds_changed_rows_and_moves_on(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "COMPARE_AFTER", timedelta(days=5))  # excludes runs of other tests
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    wait = open_wait_of(run)
    assert run_reconcile(run_id=run.id).outcome == "equal"
    seen = driver.wait_for_run("WAITING", id=run.id)
    assert (seen.history_event_count >= 5, seen.history_bytes > 500) == (True, True)
    execute_as_owner(f"UPDATE workflow_run_waits SET status = 'CANCELED' WHERE id = '{wait.id}'",
             f"UPDATE workflow_runs SET history_event_count = 0 WHERE id = '{run.id}'",
             make_oldest(run))  # fmt: skip
    assert sweep_line(run).startswith("rebuilt: ")
    assert RunWait.objects.get(id=wait.id).status == "WAITING"
    execute_as_owner(make_oldest(run))

    def is_compared() -> bool:
        sweep()
        return Run.objects.filter(id=run.id, projected_at__gt=timezone.now() - timedelta(minutes=1)).exists()

    eventually(is_compared, what="a sweep compares the run and moves on")


def make_oldest(run: Run) -> str:
    """Return SQL that makes this run the one that was compared longest ago."""
    return f"UPDATE workflow_runs SET projected_at = now() - interval '9 days' WHERE id = '{run.id}'"


def test_nothing_is_written_while_temporal_is_down(
    driver: TenantDriver, kill_temporal: Callable[[], None], restart_temporal: Callable[[], None]
) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)
    before, stamp = rows_of_runs(run), Run.objects.get(id=run.id).projected_at
    kill_temporal()
    try:
        assert "does not respond" in sweep().problem
        for arguments in (("reconcile_runs", "--run", str(run.id)), ("rebuild_projections", "--run", str(run.id))):
            with pytest.raises(CommandError, match="does not respond"):
                call_command(*arguments)
        api = Api(make_token(driver.tenant))
        for body in ({}, {"repair": True}):
            assert error_of(api.post(f"/runs/{run.id}/verify", body), 503)["code"] == "TEMPORAL_UNAVAILABLE"
        assert list(Command.objects.filter(run=run).values_list("action", "state")) == [("repair", "refused")]
        assert (rows_of_runs(run), Run.objects.get(id=run.id).projected_at) == (before, stamp)
    finally:
        restart_temporal()
    assert run_reconcile(run_id=run.id).outcome == "equal"


def test_commands_with_unknown_outcome_are_decided_from_temporal(driver: TenantDriver, settings: Any) -> None:
    settings.TEMPORAL_TASK_QUEUE = f"no-worker-{driver.tenant.slug}"  # no worker runs, so a cancel stays requested
    publish(driver.tenant, wait_for_reply())
    run, other = driver.start({"ticketId": "T-1"}), driver.start({"ticketId": "T-2"})

    def unknown(action: CommandAction, run: Run, target: str = "") -> Command:
        made = command_open(
            actor=driver.actor, action=action, target_type="run", target_id=target or str(run.id), run=run
        )
        command_finish(made, CommandState.UNKNOWN, code="X", message="unknown")
        return made

    arrived, lost = unknown(CommandAction.CANCEL, run), unknown(CommandAction.CANCEL, other)
    gateway.cancel_run(workflow_id=run.temporal_workflow_id, first_run_id="", reason="", request_id=str(arrived.id))
    still_running, start = unknown(CommandAction.TERMINATE, other), unknown(CommandAction.START_RUN, other)
    never = unknown(CommandAction.START_RUN, other, target=str(driver.tenant.id))
    eventually(
        lambda: sweep().problem == "" and not Command.objects.filter(tenant=driver.tenant, state="unknown").exists()
    )
    wanted = {arrived: "observed", lost: "failed", still_running: "failed", start: "observed", never: "failed"}
    for made, state in wanted.items():
        made.refresh_from_db()
        assert (made.action, made.state, bool(made.message)) == (made.action, state, True)


def test_workflow_without_a_row_is_reported_and_its_row_not_created(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)
    tables = ("workflow_run_logs", "workflow_run_steps", "workflow_run_waits", "workflow_runs")
    execute_as_owner(*(f"DELETE FROM {table} WHERE tenant_id = '{driver.tenant.id}'" for table in tables))
    eventually(lambda: run.temporal_workflow_id in sweep().without_row, what="the workflow is reported")
    assert not Run.objects.filter(id=run.id).exists()
    assert run_rebuild(run_id=run.id).outcome == "rebuilt"
    assert driver.wait_for_run("WAITING", id=run.id).input == {"ticketId": "T-1"}


def test_member_compares_and_operator_repairs(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)
    viewer, operator = (Api(make_token(driver.tenant, role)) for role in (Role.VIEWER, Role.OPERATOR))
    address = f"/runs/{run.id}/verify"
    assert viewer.post(address).json()["equal"] is True
    execute_as_owner(f"UPDATE workflow_runs SET state = 'ALTERED', input = '{{\"secret\": 1}}' WHERE id = '{run.id}'")
    found = viewer.post(address).json()
    assert (found["equal"], {one["field"] for one in found["differences"]}) == (False, {"state", "input"})
    assert "secret" not in str(found)
    assert error_of(viewer.post(address, {"repair": True}), 403)["code"] == "PERMISSION_DENIED"
    client = member_of(driver.tenant, role="operator")
    page = f"/admin/workflows/run/{run.id}/verify/"
    assert "Nothing is changed" in client.get(page).content.decode()
    assert "2 fields differ" in client.post(page).content.decode()
    assert client.get(f"/admin/workflows/run/{run.id}/repair/").status_code == 302
    assert Run.objects.get(id=run.id).state == "ALTERED"
    assert client.post(f"/admin/workflows/run/{run.id}/repair/", {"reason": "odd"}).status_code == 302
    assert (Run.objects.get(id=run.id).state, "Equal" in client.post(page).content.decode()) == ("", True)
    repaired = operator.post(address, {"repair": True}).json()
    assert (repaired["equal"], repaired["repair"]["outcome"]) == (True, "equal")
    assert list(Command.objects.filter(run=run).order_by("requested_at").values_list("action", "state")) == [
        ("repair", "refused"), ("repair", "observed"), ("repair", "observed"),
    ]  # fmt: skip
    legacy = make_run(driver.tenant, engine="db")
    assert error_of(viewer.post(f"/runs/{legacy.id}/verify"), 409)["code"] == "WORKFLOW_LEGACY_RUN_READ_ONLY"

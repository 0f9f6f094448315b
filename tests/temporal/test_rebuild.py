"""Rebuild of rows from Temporal's history alone, field by field.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import threading
from typing import Any

import pytest

from portal.devstack.servers import Servers
from tests.support.factories import eventually, expr, make_run, publish, wait_for_reply
from tests.support.fakes import fake_api
from tests.support.history_cases import (
    assign,
    call_child,
    complete_task,
    failing_action,
    for_each,
    human_task,
    open_wait_of,
    set_state,
    short_wait,
    store_value,
    try_catch,
)
from tests.support.management_commands import run_command
from tests.support.projection_rows import rows_of_runs
from tests.support.resets import reset
from tests.support.table_owner import execute_as_owner
from tests.support.tenant_driver import TenantDriver
from workflows.models import HumanTask, Run, RunLog, RunStep, RunWait
from workflows.projections.batches import record_batch
from workflows.services.runs.rebuild import run_rebuild
from workflows.statuses import TaskStatus
from workflows.temporal import gateway, performing, run_history
from workflows.temporal.attempt_records import end_records
from workflows.temporal.contracts import ActionRequest
from workflows.temporal.history import read_history
from workflows.temporal.run_history import read_run_history

EVERYTHING = [
    set_state("s"),
    for_each("loop", "[1, 2]", store_value("keep", "'k' & toString(it)"), assign("a", **{"vars.n": expr("it")})),
    try_catch("try", failing_action("f", retry={"maxAttempts": 2, "backoffMs": 20}), catch=[set_state("caught")]),
    short_wait("z", 20),
    call_child(onError={"policy": "continue"}),
    human_task(),
    wait_for_reply(filters=[{"path": "n", "op": "=", "value": 2}], timeoutMs=600_000),
    {"id": "end", "type": "control.if", "condition": expr("vars.event.n = 2"), "then": [set_state("t")], "else": []},
]


@pytest.fixture
def everything(driver: TenantDriver) -> list[Run]:
    """Return a run with every kind of projection row, started by an event, and its child run."""
    publish(driver.tenant, wait_for_reply(timeoutMs=20), key="child")
    publish(driver.tenant, *EVERYTHING, trigger={"type": "event", "eventName": "TICKET_CREATED"})
    driver.send("TICKET_CREATED", {"ticketId": "T-1", "n": 3})
    run = eventually(
        lambda: Run.objects.filter(tenant=driver.tenant, parent_run=None).first(), what="the run is started"
    )
    open_wait_of(run, kind="human")
    complete_task(driver, run)
    wait = open_wait_of(run, kind="event")
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": 1})
    eventually(lambda: wait.deliveries.filter(status="filtered").exists(), what="an event is filtered")
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": 2})
    return [driver.wait_for_run("SUCCEEDED", id=run.id), driver.wait_for_run("FAILED", parent_run=run)]


def messages_of(*runs: Run) -> list[tuple[str, str]]:
    lines = RunLog.objects.filter(run__in=runs).order_by("run_id", "at", "id")
    return list(lines.values_list("level", "message"))


def test_changed_and_deleted_rows_are_restored(driver: TenantDriver, everything: list[Run]) -> None:
    run, _ = everything
    before = rows_of_runs(*everything)
    assert len(before) >= 24
    assert "equal" in run_command("rebuild_projections", "--run", str(run.id), "--dry-run")
    execute_as_owner(
        f"UPDATE workflow_runs SET status = 'FAILED', state = 'X', input = '{{}}', requested_by = 'me', "
        f'correlation_key = \'\', error = \'{{"category": "no", "message": "no", "nodePath": ""}}\', '
        f"projection_seq = 999 WHERE id = '{run.id}'",
        f"UPDATE workflow_run_steps SET output = NULL, child_run_id = NULL WHERE run_id = '{run.id}'",
        f"DELETE FROM workflow_run_steps WHERE run_id = '{run.id}' AND step_id IN ('keep', 'f')",
        f"UPDATE workflow_run_waits SET status = 'WAITING', correlation_key = 'T-9' "
        f"WHERE run_id = '{run.id}' AND kind = 'event'",
        f"DELETE FROM workflow_run_waits WHERE run_id = '{run.id}' AND kind = 'retry'",
        f"UPDATE workflow_tasks SET response = NULL, status = 'pending' WHERE run_id = '{run.id}'",
    )
    damaged = rows_of_runs(*everything)
    output = run_command("rebuild_projections", "--run", str(run.id), "--dry-run")
    assert ("run status: FAILED -> SUCCEEDED" in output, "1 would be rebuilt" in output) == (True, True)
    assert rows_of_runs(*everything) == damaged != before
    assert "1 rebuilt" in run_command("rebuild_projections", "--run", str(run.id))
    assert rows_of_runs(*everything) == before


def test_all_rows_of_a_tenant_are_restored(driver: TenantDriver, everything: list[Run]) -> None:
    before = rows_of_runs(*everything)
    lines = messages_of(*everything)
    assert len(lines) >= 12
    tables = ("workflow_run_logs", "workflow_tasks", "workflow_run_steps", "workflow_run_waits", "workflow_runs")
    execute_as_owner(*(f"DELETE FROM {table} WHERE tenant_id = '{driver.tenant.id}'" for table in tables))
    assert rows_of_runs(*everything) == {}
    assert "rebuilt" in run_command("rebuild_projections", "--tenant", driver.tenant.slug)
    assert rows_of_runs(*everything) == before
    assert messages_of(*everything) == lines
    assert "2 equal" in run_command("rebuild_projections", "--tenant", driver.tenant.slug)


def test_rebuild_after_a_reset_keeps_waits_with_deliveries(driver: TenantDriver, servers: Servers) -> None:
    never = wait_for_reply("never", filters=[{"path": "n", "op": "=", "value": 9}])
    publish(driver.tenant, short_wait("z", 20), human_task(), never)
    run = driver.start({"ticketId": "T-1"})
    person = open_wait_of(run, kind="human")
    complete_task(driver, run)
    undone = open_wait_of(run, kind="event")
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": 1})
    eventually(lambda: undone.deliveries.filter(status="filtered").exists(), what="an event is filtered")
    reset(driver, servers, run, "--reapply-exclude", "All")
    waits = RunWait.objects.filter(run=run)
    eventually(lambda: waits.get(id=undone.id).status == "CANCELED" and waits.get(id=person.id).status == "WAITING")
    before = rows_of_runs(Run.objects.get(id=run.id))
    assert undone.deliveries.get().status == "late"
    assert run_rebuild(run_id=run.id).differences == []
    execute_as_owner(f"DELETE FROM workflow_run_waits WHERE run_id = '{run.id}'")
    assert run_rebuild(run_id=run.id).outcome == "rebuilt"
    assert rows_of_runs(run) == before


def test_run_with_many_executions(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the first history, the rows of that time stay and the later ones are rebuilt."""
    monkeypatch.setattr(performing, "MAX_MESSAGES", 2)
    publish(driver.tenant, for_each("loop", "[1..5]", wait_for_reply()))
    run = driver.start({"ticketId": "T-1"})
    for number in range(5):
        open_wait_of(run)
        driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": number})
        eventually(lambda n=number: run.waits.filter(status="RESOLVED").count() > n, what="the run consumes the event")
    run = driver.wait_for_run("SUCCEEDED", id=run.id)
    before = rows_of_runs(run)
    assert len({row["projection_epoch"] for row in before.values()}) > 1
    assert run_rebuild(run_id=run.id).differences == []
    damage = (
        f"DELETE FROM workflow_run_steps WHERE run_id = '{run.id}' AND projection_epoch = '{run.projection_epoch}'",
        f"UPDATE workflow_runs SET status = 'WAITING', ended_at = NULL WHERE id = '{run.id}'",
    )
    execute_as_owner(*damage, f"DELETE FROM workflow_run_waits WHERE run_id = '{run.id}'")
    assert run_rebuild(run_id=run.id).outcome == "rebuilt"
    assert rows_of_runs(run) == before
    execute_as_owner(*damage)
    first = run.temporal_first_run_id

    def without_first_history(*, workflow_id: str, run_id: str) -> Any:
        if run_id == first:
            raise gateway.TemporalNotFound("Temporal's retention has deleted it")
        return read_history(workflow_id=workflow_id, run_id=run_id)

    monkeypatch.setattr(run_history, "read_history", without_first_history)
    rebuilt = run_rebuild(run_id=run.id)
    assert (rebuilt.outcome, run.temporal_first_run_id in rebuilt.notes[0]) == ("rebuilt", True)
    assert rows_of_runs(run) == before


def test_history_that_temporal_has_deleted_is_reported_and_rows_stay(driver: TenantDriver) -> None:
    run = make_run(driver.tenant, status="SUCCEEDED")
    before = rows_of_runs(run)
    assert "1 gone" in run_command("rebuild_projections", "--run", str(run.id))
    assert rows_of_runs(run) == before


def test_end_of_an_attempt_that_is_not_yet_in_the_history_is_kept(driver: TenantDriver, servers: Servers) -> None:
    may_respond = threading.Event()
    with fake_api(lambda _: (200 if may_respond.wait(30) else 500, {"ok": True})) as api:
        config = {"actionId": "http.request", "version": 1, "inputMapping": {"url": api.url}}
        publish(driver.tenant, {"id": "call", "type": "action.call", "config": config}, human_task(), wait_for_reply())
        run = driver.start({"ticketId": "T-1"})
        eventually(lambda: api.requests, what="the action is running")
        run.refresh_from_db()
        assert run_rebuild(run_id=run.id).differences == []
        recorded = next(iter(read_run_history(workflow_id=run.temporal_workflow_id).begin.activities.values()))
        assert isinstance(recorded.request, ActionRequest)
        end = end_records(recorded.request, now_ms=1_700_000_000_000, output={"early": True})
        record_batch(end, tenant_id=str(run.tenant_id), run_id=str(run.id), epoch=run.projection_epoch,
                     first_run_id="", current_epoch=lambda: run.projection_epoch)  # fmt: skip
        rebuild_restores(rows_of_runs(run), run)
        assert RunStep.objects.get(run=run).output == {"early": True}
        may_respond.set()
        open_wait_of(run, kind="human")
    assert run_rebuild(run_id=run.id).outcome == "rebuilt"
    assert RunStep.objects.get(run=run, step_id="call").output["status"] == 200  # now the history has it


def test_holder_of_a_task_is_kept(driver: TenantDriver) -> None:
    publish(driver.tenant, human_task())
    run = driver.start()
    open_wait_of(run, kind="human")
    HumanTask.objects.filter(run=run).update(status=TaskStatus.CLAIMED, claimed_at=run.created_at)
    rebuild_restores(rows_of_runs(Run.objects.get(id=run.id)), run)


def rebuild_restores(before: dict[str, Any], run: Run) -> None:
    """Change the row, rebuild the run, and compare all rows with `before`."""
    execute_as_owner(f"UPDATE workflow_runs SET state = 'altered' WHERE id = '{run.id}'")
    assert run_rebuild(run_id=run.id).outcome == "rebuilt"
    assert rows_of_runs(run) == before

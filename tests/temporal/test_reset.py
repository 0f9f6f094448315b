"""Resets with Temporal's CLI. The projection follows the new execution, and undone rows are taken back.

Source: docs/reference/engine.md#event-waits
"""

import pytest

from portal.devstack.servers import Servers
from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.resets import reset
from tests.support.tenant_driver import TenantDriver
from workflows.models import EventDelivery, Run, RunStep, RunWait


@pytest.mark.parametrize("options", [(), ("--reapply-exclude", "Signal")], ids=["signals again", "without signals"])
def test_reset_before_an_event_wait(driver: TenantDriver, servers: Servers, options: tuple[str, ...]) -> None:
    keep = {"vars.got": expr("vars.event.n"), "meta.state": expr("'got ' & toString(vars.event.n)")}
    publish(
        driver.tenant,
        {"id": "s", "type": "state.set", "config": {"state": "BEFORE"}},
        wait_for_reply(assign=keep),
        wait_for_reply("second", filters=[{"path": "n", "op": "=", "value": 2}]),
        {"id": "after", "type": "state.set", "config": {"state": "AFTER"}},
    )
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    first = driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": 1})
    eventually(lambda: RunWait.objects.filter(run=run, step_id="second", status="WAITING").exists())
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": 2})
    old = driver.wait_for_run("SUCCEEDED", id=run.id)
    driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")

    reset(driver, servers, run, *options)
    eventually(lambda: Run.objects.get(id=run.id).projection_epoch != old.projection_epoch, what="a new epoch")
    again = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert (again.projection_epoch != old.projection_epoch, again.state, again.event_count) == (True, "AFTER", 2)
    # Batches of records are written in parallel, so the last one written may be an early one.
    done = [(step, 1, "SUCCEEDED") for step in ("s", "reply", "second", "after")]
    eventually(lambda: driver.steps(again) == done, what="all steps have ended")
    waits = RunWait.objects.filter(run=run)
    resolved = [("reply", "RESOLVED"), ("second", "RESOLVED")]
    eventually(lambda: sorted(waits.values_list("step_id", "status")) == resolved, what="both waits are resolved")
    older_rows = RunStep.objects.filter(run=run).exclude(projection_epoch=again.projection_epoch).exclude(step_id="s")
    eventually(lambda: not older_rows.exists(), what="no row of the old execution is left")
    matched = EventDelivery.objects.filter(run=run, status="matched").values_list("wait__step_id", "event_id")
    eventually(
        lambda: len(matched.all()) == 2 and ("reply", first.id) in matched.all(), what="each event is consumed once"
    )


def test_rows_that_a_reset_has_undone_are_closed_until_they_happen_again(
    driver: TenantDriver, servers: Servers
) -> None:
    """The new execution takes another path. Steps of the old one are deleted and its waits are closed."""
    nap = {"id": "nap", "type": "time.wait", "config": {"mode": "duration", "durationMs": 100}}
    publish(driver.tenant, nap, wait_for_reply(), wait_for_reply("never"))
    run = driver.start({"ticketId": "T-1"})
    eventually(lambda: RunWait.objects.filter(run=run, step_id="reply", status="WAITING").exists())
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    eventually(lambda: RunWait.objects.filter(run=run, step_id="never", status="WAITING").exists())
    reset(driver, servers, run, "--reapply-exclude", "Signal")
    # The delivery was taken back, so the wait that opens again finds the event.
    eventually(
        lambda: (
            RunWait.objects.filter(run=run, step_id="never", status="WAITING")
            .exclude(projection_epoch=run.projection_epoch)
            .exists()
            and Run.objects.get(id=run.id).event_count == 1
        )
    )
    assert RunWait.objects.filter(run=run, step_id="reply", status="RESOLVED").count() == 1
    assert Run.objects.get(id=run.id).status == "WAITING"


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "open"])
def test_reset_before_a_child_starts_another_child(driver: TenantDriver, servers: Servers, is_finished: bool) -> None:
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}}, key="child")
    step = {"id": "child", "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 1}
    publish(driver.tenant, step, *([] if is_finished else [wait_for_reply()]), key="parent")
    run = driver.start({"ticketId": "T-1"}, key="parent")
    wanted = "SUCCEEDED" if is_finished else "WAITING"
    old = driver.wait_for_run(wanted, id=run.id)
    if is_finished:
        driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")
    reset(driver, servers, run)
    eventually(lambda: Run.objects.filter(parent_run=run, status="SUCCEEDED").count() == 2, what="a second child")
    again = eventually(
        lambda: Run.objects.filter(id=run.id, status=wanted).exclude(projection_epoch=old.projection_epoch).first(),
        what="the run has its former status",
    )
    step_row = RunStep.objects.get(run=again, step_id="child")
    assert (step_row.status, step_row.attempt) == ("SUCCEEDED", 1)
    assert step_row.child_run_id == Run.objects.filter(parent_run=run).order_by("-created_at").first().id

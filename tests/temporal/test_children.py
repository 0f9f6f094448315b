"""Child runs: rows, links, outputs, errors, retries, and cancellation of parent and child.

Source: docs/reference/language.md#step-types
"""

from typing import Any

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run, RunStep, RunWait
from workflows.services.runs.control import run_cancel


def calling(step_id: str = "child", key: str = "child", version: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.callWorkflow", "workflowId": key, "workflowVersion": version, **more}


def child_of(driver: TenantDriver, run: Run) -> Run:
    return eventually(lambda: Run.objects.filter(tenant=driver.tenant, parent_run=run).first(), what="a child row")


def test_child_has_its_own_row_and_returns_outputs(driver: TenantDriver) -> None:
    double = {
        "id": "d",
        "type": "transform.assign",
        "config": {"assign": {"vars.twice": expr("payload.n * 2"), "meta.m": 1}},
    }
    publish(driver.tenant, double, key="child")
    mapped = {"vars.result": expr("childRun.vars.twice"), "vars.next": expr("vars.result + childRun.meta.m"),
              "vars.of": expr("childRun.system.workflowId"), "vars.in": expr("childRun.payload.n")}  # fmt: skip
    each = {"id": "each", "type": "control.forEach", "items": expr("[1, 2]"), "itemVar": "n",
            "body": [calling(inputMapping={"n": expr("n")}, outputMapping=mapped)]}  # fmt: skip
    publish(driver.tenant, each, {"id": "s", "type": "state.set", "config": {"state": "DONE"}}, key="parent")
    run = driver.wait_for_run("SUCCEEDED", id=driver.start(key="parent").id)
    children = list(Run.objects.filter(parent_run=run).order_by("created_at"))
    assert [(c.status, c.trigger_type, c.root_run_id, c.parent_step_path, c.input) for c in children] == [
        ("SUCCEEDED", "child", run.id, "root.steps[0].body.steps[0]", {"n": n}) for n in (1, 2)
    ]
    rows = RunStep.objects.filter(run=run, step_id="child").order_by("projection_seq")
    assert [(r.iteration, r.status, r.child_run_id) for r in rows] == [
        ("0", "SUCCEEDED", children[0].id), ("1", "SUCCEEDED", children[1].id)
    ]  # fmt: skip
    from workflows.temporal import connection

    async def result(client: Any) -> Any:
        return await client.get_workflow_handle(run.temporal_workflow_id).result()

    assert connection.call(result)["vars"] == {"result": 4, "next": 5, "of": "child", "in": 2}


def test_parent_catches_the_error_of_a_failed_child(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(timeoutMs=50), key="child")
    state = "problem.category & ' ' & problem.code & ' ' & problem.details.error.category"
    guarded = {
        "id": "try",
        "type": "control.tryCatch",
        "captureErrorAs": "problem",
        "try": [calling(inputMapping={"ticketId": "T"})],
        "catch": [{"id": "c", "type": "transform.assign", "config": {"assign": {"meta.state": expr(state)}}}],
    }
    publish(driver.tenant, guarded, key="parent")
    run = driver.wait_for_run("SUCCEEDED", id=driver.start(key="parent").id)
    assert run.state == "ChildWorkflowError EVENT_WAIT_TIMEOUT TimeoutError"
    assert child_of(driver, run).status == "FAILED"
    failed = RunStep.objects.get(run=run, step_id="child")
    assert (failed.status, failed.child_run_id) == ("FAILED", child_of(driver, run).id)


def test_each_retry_is_a_new_child_run(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(timeoutMs=20), key="child")
    step = calling(inputMapping={"ticketId": "T"}, retry={"maxAttempts": 3, "backoffMs": 10, "jitter": False})
    publish(driver.tenant, step, key="parent")
    run = driver.wait_for_run("FAILED", id=driver.start(key="parent").id)
    assert run.error_category == "ChildWorkflowError"
    assert Run.objects.filter(parent_run=run, status="FAILED").count() == 3
    rows = RunStep.objects.filter(run=run, step_id="child").order_by("attempt")
    assert [(r.attempt, r.status) for r in rows] == [(1, "RETRY_SCHEDULED"), (2, "RETRY_SCHEDULED"), (3, "FAILED")]
    assert len({r.child_run_id for r in rows}) == 3
    assert list(RunWait.objects.filter(run=run).values_list("kind", "status")) == [("retry", "RESOLVED")] * 2


def test_unknown_child_definition_fails_the_step(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        calling(key="unknown", onError={"policy": "continue"}),
        calling("again", key="child", version=7),
        key="parent",
    )
    run = driver.wait_for_run("FAILED", id=driver.start(key="parent").id)
    assert (run.error_category, run.error_code) == ("ChildWorkflowError", "CHILD_NOT_FOUND")
    assert [(s, st) for s, _, st in driver.steps(run)] == [("child", "FAILED"), ("again", "FAILED")]
    assert not Run.objects.filter(parent_run=run).exists()


def test_cancelling_the_parent_cancels_the_child(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(), key="child")
    guarded = {"id": "try", "type": "control.tryCatch", "try": [calling(inputMapping={"ticketId": "T-1"})], "catch": []}
    publish(driver.tenant, guarded, key="parent")
    run = driver.start(key="parent")
    child = child_of(driver, run)
    driver.wait_for_run("WAITING", id=child.id)
    run_cancel(actor=driver.actor, run_id=run.id)
    driver.wait_for_run("CANCELED", id=run.id)
    driver.wait_for_run("CANCELED", id=child.id)
    assert [(s, st) for s, _, st in driver.steps(run)] == [("child", "CANCELED"), ("try", "CANCELED")]
    assert not RunWait.objects.filter(run__in=[run, child], status="WAITING").exists()
    driver.history_types_until(run, "WORKFLOW_EXECUTION_CANCELED")


def test_cancelling_the_child_fails_the_parent(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(), key="child")
    publish(driver.tenant, calling(inputMapping={"ticketId": "T-1"}), key="parent")
    run = driver.start(key="parent")
    child = child_of(driver, run)
    driver.wait_for_run("WAITING", id=child.id)
    run_cancel(actor=driver.actor, run_id=child.id)
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert (failed.error_category, failed.error_code) == ("ChildWorkflowError", "CHILD_CANCELED")
    assert failed.error["details"]["childRunId"] == str(child.id)


def test_definition_that_calls_itself_fails_at_the_depth_limit(driver: TenantDriver, monkeypatch: Any) -> None:
    from workflows.temporal.activities import children

    monkeypatch.setattr(children, "MAX_CHILD_DEPTH", 3)
    publish(driver.tenant, calling(key="flow", version=1))
    run = driver.wait_for_run("FAILED", id=driver.start().id)
    assert run.error_code == "CHILD_TOO_DEEP"
    assert Run.objects.filter(root_run=run).count() == 3

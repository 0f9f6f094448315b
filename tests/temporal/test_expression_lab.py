"""Expression lab on real runs: the engine repeats a run from its rows and has the scopes that the run had."""

from typing import Any

import pytest

from tests.support.action_steps import action_step
from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.fakes import fake_api
from tests.support.tenant_driver import TenantDriver
from workflows.engine.expressions.contract import compile_expression
from workflows.errors import InputInvalid
from workflows.models import HumanTask, Run, RunWait, Tenant
from workflows.services.expression_lab import expression_evaluate
from workflows.services.human_tasks import task_complete
from workflows.services.run_scopes import run_scopes


def assign(step_id: str, **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def value_of(driver: TenantDriver, run: Run, expression: str, step_path: str = "", iteration: str = "") -> Any:
    result, _ = expression_evaluate(
        actor=driver.actor, expression=expression, run_id=run.id, step_path=step_path, iteration=iteration
    )
    assert result.error is None, result.error
    return result.value


def full_run(driver: TenantDriver, url: str) -> Run:
    """Return a run that succeeded: a child run, a loop with a branch, two actions, an event and a task."""
    publish(driver.tenant, assign("made", result=expr("payload.n * 2")), key="child")
    body = [
        assign("add", total=expr("(vars.total ? vars.total : 0) + local.item")),
        {
            "id": "big",
            "type": "control.if",
            "condition": expr("local.item > 2"),
            "then": [assign("keep", big=expr("local.item"))],
            "else": [assign("drop", small=expr("local.item"))],
        },
    ]
    publish(
        driver.tenant,
        {
            "id": "sub",
            "type": "control.callWorkflow",
            "workflowId": "child",
            "workflowVersion": 1,
            "inputMapping": {"n": expr("payload.n")},
            "outputMapping": {"doubled": expr("childRun.vars.result")},
        },
        {"id": "each", "type": "control.forEach", "items": expr("[1, 2, 3]"), "itemVar": "n", "body": body},
        {
            "id": "safe",
            "type": "control.tryCatch",
            "captureErrorAs": "problem",
            "try": [
                action_step("first", inputMapping={"method": "POST", "url": url}),
                action_step("second", inputMapping={"method": "POST", "url": url}),
            ],
            "catch": [assign("caught", code=expr("vars.problem.code"))],
        },
        wait_for_reply(),
        {"id": "ask", "type": "human.task", "config": {"taskType": "t", "title": "Review"}},
        assign("last", done=True),
    )
    run = driver.start({"ticketId": "T-1", "n": 21, "secret_token": "s-4711"})
    eventually(lambda: RunWait.objects.filter(run=run, status="WAITING", kind="event").exists())
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "text": "hello"}, workflow_correlation_key="T-1")
    task = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first())
    task_complete(actor=driver.actor, task_id=task.id, response={"approved": True})
    return driver.wait_for_run("SUCCEEDED", id=run.id)


def test_scopes_at_the_end_are_the_output_of_the_run(driver: TenantDriver) -> None:
    with fake_api(lambda number: (200, {"ok": number}) if number == 1 else (404, {"error": "gone"})) as api:
        run = full_run(driver, api.url)
    traced = run_scopes(run)
    assert traced.is_end
    assert run.output is not None
    assert {name: traced.view[name] for name in ("vars", "meta")} == {
        name: run.output[name] for name in ("vars", "meta")
    }
    assert traced.view["payload"] == {**run.output["payload"], "secret_token": "[redacted]"}
    assert value_of(driver, run, "total", "root.steps[1].body.steps[0]", "2") == 3
    assert value_of(driver, run, "local.item", "root.steps[1].body.steps[1]", "1") == 2
    assert value_of(driver, run, "[doubled, event.text, code]", "root.steps[4]") == [
        42,
        "hello",
        run.output["vars"]["code"],
    ]
    assert value_of(driver, run, "payload.secret_token") == "[redacted]"
    source = "[payload.secret_token = 's-4711', len(payload.secret_token)]"
    result, _ = expression_evaluate(actor=driver.actor, expression=source, run_id=run.id)
    assert (result.value, result.error and result.error.code) == (None, "LAB_HIDDEN_VALUE")
    with pytest.raises(InputInvalid, match="does not come to this step") as refused:
        value_of(driver, run, "1", "root.steps[1].body.steps[0]", "7")
    assert refused.value.code == "LAB_STEP_NOT_REACHED"


def test_branch_that_a_hidden_value_decides_is_refused(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        {
            "id": "secret",
            "type": "control.if",
            "condition": expr("payload.pin = '4711'"),
            "then": [assign("yes", first=expr("4"))],
            "else": [assign("no", first=expr("0"))],
        },
        assign("last", done=True),
    )
    Tenant.objects.filter(id=driver.tenant.id).update(redaction_rules=["pin"])
    run = driver.wait_for_run("SUCCEEDED", id=driver.start({"pin": "4711"}).id)
    with pytest.raises(InputInvalid, match="another branch") as refused:
        value_of(driver, run, "first", "root.steps[1]")
    assert refused.value.code == "LAB_STEP_NOT_REACHED"
    assert compile_expression("payload.pin").evaluate(run_scopes(run, step_path="root.steps[0]").view, now_ms=0) == (
        "[redacted]"
    )


def test_open_run_has_the_scopes_of_its_wait(driver: TenantDriver) -> None:
    publish(driver.tenant, assign("first", seen=expr("payload.ticketId")), wait_for_reply())
    run = driver.start({"ticketId": "T-9"})
    driver.wait_for_run("WAITING", id=run.id)
    traced = run_scopes(Run.objects.get(id=run.id))
    assert (traced.is_end, traced.position.path if traced.position else "") == (False, "root.steps[1]")
    assert value_of(driver, run, "vars.seen") == "T-9"

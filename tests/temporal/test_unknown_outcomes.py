"""Unknown outcomes of actions on a real Temporal: the decision, its form, the ledger, late results, old semantics."""

import threading
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.action_steps import action_step
from tests.support.api import Api, error_of
from tests.support.factories import eventually, make_token, publish
from tests.support.tenant_driver import TenantDriver
from workflows.actions import registry
from workflows.models import ActionInvocation, Command, HumanTask, Run, RunStep, RunWait
from workflows.services.late_results import late_results_report
from workflows.services.runs import rebuild
from workflows.statuses import Role
from workflows.tenancy import system_scope, tenant_scope


class Charge(BaseModel):
    amount: int = 5


class Receipt(BaseModel):
    number: int


class Payments:
    """An action with effects that its target cannot recognise. Its first execution hangs until `release` is set."""

    def __init__(self) -> None:
        self.release, self.calls, self.fails = threading.Event(), [], False

    def __call__(self, value: Charge, context: registry.ActionContext) -> Receipt:
        self.calls.append(context.idempotency_key)
        if len(self.calls) == 1:
            self.release.wait(60)
            if self.fails:
                raise registry.ActionFailed("the card was refused", code="CARD_REFUSED")
        return Receipt(number=len(self.calls))


@pytest.fixture
def payments(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Payments()
    action = registry.Action(
        id="test.charge",
        version=1,
        label="",
        input_model=Charge,
        output_model=Receipt,
        run=found,
        timeout_seconds=0.3,
    )
    monkeypatch.setitem(registry._actions, ("test.charge", 1), action)
    yield found
    found.release.set()


def asked(driver: TenantDriver, **config: Any) -> tuple[Run, HumanTask]:
    publish(driver.tenant, action_step(action="test.charge", inputMapping={"amount": 7}, **config))
    run = driver.start()
    return run, eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="the decision")


def complete(driver: TenantDriver, task: HumanTask, response: Any, role: Role = Role.OPERATOR, **more: Any) -> Any:
    return Api(make_token(driver.tenant, role)).post(f"/tasks/{task.id}/complete", {"response": response, **more})


def test_decision_that_the_effect_happened(driver: TenantDriver, payments: Payments) -> None:
    run, task = asked(driver)
    key = f"{run.id}/root.steps[0]"
    assert (task.task_type, task.assigned_roles, task.due_at is not None) == (
        "action.decide_outcome", ["operator"], True,
    )  # fmt: skip
    context = task.context_data
    assert (context["request"], context["idempotencyKey"], context["attempts"]) == ({"amount": 7}, key, 1)
    assert driver.steps(run) == [("call", 1, "STARTED")]
    assert Run.objects.get(id=run.id).status == "WAITING"

    refused = complete(driver, task, {"outcome": "happened", "output": {"number": 1}, "reason": "r"}, Role.VIEWER)
    assert error_of(refused, 403)["code"] == "PERMISSION_DENIED"
    wrong_output = {"outcome": "happened", "output": {"number": "x"}, "reason": "r"}
    for wrong in ({"outcome": "happened", "reason": "r"}, wrong_output, {"outcome": "fail"}):
        assert error_of(complete(driver, task, wrong), 400)["code"] == "TASK_RESPONSE_INVALID"

    accepted = complete(driver, task, {"outcome": "happened", "output": {"number": 41}}, reason="the bank shows it")
    assert accepted.status_code == 202, accepted.content
    driver.wait_for_run("SUCCEEDED", id=run.id)
    step = RunStep.objects.get(run=run)
    assert (step.status, step.attempt, step.output, step.input) == ("SUCCEEDED", 1, {"number": 41}, {"amount": 7})
    invocation = ActionInvocation.objects.get(run=run)
    assert (invocation.status, invocation.output, invocation.executions) == ("SUCCEEDED", {"number": 41}, 1)
    assert payments.calls == [key]
    command = Command.objects.get(id=accepted.json()["command_id"])
    assert (command.state, command.reason, command.payload["output"]) == (
        "observed", "the bank shows it", {"number": 41},
    )  # fmt: skip
    with system_scope():
        assert rebuild.run_rebuild(run_id=run.id, is_dry_run=True).differences == []


def test_decision_that_it_did_not_happen_executes_once_more_with_the_same_key(
    driver: TenantDriver, payments: Payments
) -> None:
    run, task = asked(driver)
    complete(driver, task, {"outcome": "did_not_happen", "reason": "the bank has no charge"})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert payments.calls == [f"{run.id}/root.steps[0]"] * 2
    assert (RunStep.objects.get(run=run).output, ActionInvocation.objects.get(run=run).executions) == ({"number": 2}, 2)
    # The lost execution ends now. Its result comes after the decision and changes nothing.
    payments.release.set()
    assert ActionInvocation.objects.get(run=run).output == {"number": 2}


def test_decision_to_fail(driver: TenantDriver, payments: Payments) -> None:
    run, task = asked(driver, retry={"maxAttempts": 3, "backoffMs": 1})
    complete(driver, task, {"outcome": "fail", "reason": "the bank does not respond"})
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert (failed.error_category, failed.error_code) == ("ActionError", "ACTION_OUTCOME_UNKNOWN")
    assert (driver.steps(run), len(payments.calls)) == ([("call", 1, "FAILED")], 1)
    step = RunStep.objects.get(run=run)
    assert (step.input, step.action_id) == ({"amount": 7}, "test.charge")
    with system_scope():
        assert rebuild.run_rebuild(run_id=run.id, is_dry_run=True).differences == []


def test_step_fails_if_no_decision_comes_in_time(driver: TenantDriver, payments: Payments, settings: Any) -> None:
    settings.ACTION_DECISION_SECONDS = 4
    run, task = asked(driver)
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert failed.error_code == "ACTION_OUTCOME_UNKNOWN"
    task.refresh_from_db()
    assert (task.status, RunWait.objects.get(run=run).status) == ("expired", "TIMED_OUT")


def test_author_can_choose_that_the_step_fails_at_once(driver: TenantDriver, payments: Payments) -> None:
    publish(driver.tenant, action_step(action="test.charge", onUnknownOutcome="fail"))
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_code, HumanTask.objects.filter(run=failed).count()) == ("ACTION_OUTCOME_UNKNOWN", 0)


@pytest.mark.parametrize("fails", [False, True])
def test_late_result_is_used_and_closes_the_task(driver: TenantDriver, payments: Payments, fails: bool) -> None:
    payments.fails = fails
    run, task = asked(driver)
    payments.release.set()
    eventually(
        lambda: ActionInvocation.objects.exclude(status="STARTED").filter(run=run).exists(), what="the late result"
    )
    with tenant_scope(driver.tenant.id):
        assert late_results_report()["late results"] == 1
    ended = driver.wait_for_run("FAILED" if fails else "SUCCEEDED", id=run.id)
    task.refresh_from_db()
    assert (task.status, task.completed_by_name) == ("completed", "late result of the action")
    command = Command.objects.get(run=run, action="complete_task")
    assert (command.state, command.actor_type, command.source) == ("observed", "system", "system")
    assert ended.error_code == ("CARD_REFUSED" if fails else "")
    assert len(payments.calls) == 1
    with tenant_scope(driver.tenant.id):
        assert late_results_report() == {}


def test_person_cannot_report_a_late_result(driver: TenantDriver, payments: Payments) -> None:
    _, task = asked(driver)
    refused = complete(driver, task, {"outcome": "arrived", "reason": "r"})
    assert error_of(refused, 400)["code"] == "TASK_RESPONSE_INVALID"


def test_another_run_with_the_key_uses_the_decision(driver: TenantDriver, payments: Payments) -> None:
    run, task = asked(driver, idempotencyKey={"$expr": "'order-1'"})
    other = driver.start()
    second = eventually(lambda: HumanTask.objects.filter(run=other, status="pending").first(), what="its decision")
    complete(driver, task, {"outcome": "happened", "output": {"number": 3}, "reason": "r"})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    with tenant_scope(driver.tenant.id):
        late_results_report()
    driver.wait_for_run("SUCCEEDED", id=other.id)
    assert (HumanTask.objects.get(id=second.id).status, RunStep.objects.get(run=other).output) == (
        "completed", {"number": 3},
    )  # fmt: skip

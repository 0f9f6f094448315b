"""Human tasks: forms, claims, completion by update or event, and expiry (docs/reference/engine.md#human-tasks)."""

from collections.abc import Callable
from typing import Any

from tests.support.api import Api, error_of
from tests.support.factories import eventually, expr, make_token, publish
from tests.support.system_scope import in_system_scope
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, EventDelivery, HumanTask, Run, RunWait
from workflows.services import human_tasks
from workflows.services.runs.control import run_cancel
from workflows.statuses import Role

FORM = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "note": {"type": "string", "pattern": "^[a-z ]*$"}},
    "required": ["approved"],
    "additionalProperties": False,
}


def approval(**config: Any) -> dict[str, Any]:
    return {
        "id": "approve",
        "type": "human.task",
        "config": {
            "taskType": "approval",
            "title": expr("'Approve ' & payload.ticketId"),
            "contextData": {"ticket": expr("payload.ticketId")},
            "formSchema": FORM,
            "assign": {"meta.state": expr("vars.event.approved ? 'YES' : 'NO'")},
            **config,
        },
    }


def open_task(driver: TenantDriver, **config: Any) -> tuple[Run, HumanTask]:
    publish(driver.tenant, approval(**config))
    run = driver.start({"ticketId": "T-1"})
    task = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="an open task")
    return run, task


def test_task_opens_with_a_form_and_is_completed_by_an_update(driver: TenantDriver) -> None:
    run, task = open_task(driver)
    assert (task.title, task.context_data, task.form_schema, task.due_at) == (
        "Approve T-1",
        {"ticket": "T-1"},
        FORM,
        None,
    )
    assert driver.wait_for_run("WAITING", id=run.id).current_step_path == "root.steps[0]"
    api = Api(make_token(driver.tenant))
    body = {"response": {"approved": True}, "reason": "fine"}
    first = api.post(f"/tasks/{task.id}/complete", body, **{"Idempotency-Key": "k1"})
    again = api.post(f"/tasks/{task.id}/complete", body, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["command_id"] == again.json()["command_id"]
    done = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert done.state == "YES"
    task.refresh_from_db()
    assert (task.status, task.response, task.completed_by_name) == ("completed", {"approved": True}, "operator token")
    assert Command.objects.get(id=first.json()["command_id"]).state == "observed"
    assert list(RunWait.objects.filter(run=run).values_list("kind", "status")) == [("human", "RESOLVED")]
    types = driver.history_types(run)
    assert types.count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == 1
    assert error_of(api.post(f"/tasks/{task.id}/complete", body), 409)["code"] == "TASK_NOT_OPEN"


def test_invalid_response_is_refused_and_not_in_the_history(driver: TenantDriver, monkeypatch: Any) -> None:
    run, task = open_task(driver)
    api = Api(make_token(driver.tenant))
    wrong = {"response": {"approved": "yes"}}
    error = error_of(api.post(f"/tasks/{task.id}/complete", wrong), 400)
    assert (error["code"], "/approved" in error["message"]) == ("TASK_RESPONSE_INVALID", True)
    # Without the check of the service, the workflow's validator refuses the response.
    monkeypatch.setattr(human_tasks, "form_problems", lambda schema, response: [])
    error = error_of(api.post(f"/tasks/{task.id}/complete", wrong), 400)
    assert (error["code"], "/approved" in error["message"]) == ("TASK_RESPONSE_INVALID", True)
    task.refresh_from_db()
    assert task.status == "pending"
    assert not [t for t in driver.history_types(run) if "UPDATE" in t]
    assert set(Command.objects.filter(run=run, action="complete_task").values_list("state", "code")) == {
        ("refused", "TASK_RESPONSE_INVALID")
    }


def test_run_refuses_a_closed_task(driver: TenantDriver) -> None:
    run, task = open_task(driver)
    run_cancel(actor=driver.actor, run_id=run.id)
    driver.wait_for_run("CANCELED", id=run.id)
    assert HumanTask.objects.get(id=task.id).status == "canceled"
    HumanTask.objects.filter(id=task.id).update(status="pending")  # an outdated projection
    error = error_of(
        Api(make_token(driver.tenant)).post(f"/tasks/{task.id}/complete", {"response": {"approved": True}}), 409
    )
    assert error["code"] == "TASK_NOT_OPEN"
    assert HumanTask.objects.get(id=task.id).status == "pending"


def test_claim_release_and_assignees(driver: TenantDriver) -> None:
    from django.contrib.auth.models import User

    from tests.support.factories import make_actor, make_tenant
    from workflows.actors import Actor
    from workflows.models import TenantMembership
    from workflows.services import human_tasks, task_access, task_holders
    from workflows.statuses import CommandSource

    _, task = open_task(driver, assignees={"roles": ["author"]})
    actors = []
    for name, role in (("ann", Role.AUTHOR), ("bob", Role.AUTHOR), ("op", Role.OPERATOR), ("view", Role.VIEWER)):
        user = User.objects.create_user(f"{name}-{driver.tenant.slug}")
        TenantMembership.objects.create(tenant=driver.tenant, user=user, role=role)
        actors.append(Actor("user", str(user.id), user.username, driver.tenant.id, role, CommandSource.ADMIN))
    ann, bob, operator, viewer = actors
    for outsider in (operator, viewer):
        assert (
            refusal(lambda o=outsider: human_tasks.task_complete(actor=o, task_id=task.id, response={"approved": True}))
            == "PERMISSION_DENIED"
        )
    assert task_holders.task_claim(actor=ann, task_id=task.id).status == "claimed"
    assert refusal(lambda: task_holders.task_claim(actor=bob, task_id=task.id)) == "TASK_CLAIMED"
    assert (
        refusal(lambda: human_tasks.task_complete(actor=bob, task_id=task.id, response={"approved": True}))
        == "TASK_CLAIMED"
    )
    assert refusal(lambda: task_holders.task_release(actor=bob, task_id=task.id)) == "TASK_NOT_CLAIMED"
    assert task_holders.task_release(actor=ann, task_id=task.id).status == "pending"
    assert task_holders.task_assign(actor=operator, task_id=task.id, username=bob.name).claimed_by_id == int(bob.id)
    assert (
        refusal(lambda: task_holders.task_assign(actor=operator, task_id=task.id, username="nobody"))
        == "MEMBER_UNKNOWN"
    )
    assert refusal(lambda: task_holders.task_claim(actor=ann, task_id=task.id)) == "TASK_CLAIMED"
    # The task is assigned to a member who is no longer an assignee: only the holder may act.
    HumanTask.objects.filter(id=task.id).update(assigned_users=[ann.name], assigned_roles=[])
    assert (
        refusal(lambda: human_tasks.task_complete(actor=ann, task_id=task.id, response={"approved": True}))
        == "TASK_CLAIMED"
    )
    human_tasks.task_complete(actor=bob, task_id=task.id, response={"approved": False})
    assert driver.wait_for_run("SUCCEEDED").state == "NO"
    stranger = make_actor(make_tenant())
    assert refusal(lambda: task_access.task_find(actor=stranger, task_id=task.id)) == "TASK_NOT_FOUND"


def refusal(work: Callable[[], Any]) -> str:
    from workflows.errors import PortalError

    try:
        work()
    except PortalError as error:
        return error.code
    raise AssertionError("the request was not refused")


def test_event_that_fits_the_form_completes_a_task(driver: TenantDriver) -> None:
    run, task = open_task(driver, completeOn={"eventName": "APPROVED", "correlationKey": expr("payload.ticketId")})
    driver.send("APPROVED", {"approved": "perhaps"}, workflow_correlation_key="T-1")
    refused = eventually(lambda: EventDelivery.objects.filter(run=run, status="filtered").first(), what="a verdict")
    assert "form" in refused.reason
    assert HumanTask.objects.get(id=task.id).status == "pending"
    driver.send("APPROVED", {"approved": True}, workflow_correlation_key="T-1")
    assert driver.wait_for_run("SUCCEEDED", id=run.id).state == "YES"
    task.refresh_from_db()
    assert (task.status, task.response) == ("completed", {"approved": True})


def test_task_event_finds_the_task_by_its_id(driver: TenantDriver) -> None:
    run, task = open_task(driver)
    driver.send("HUMAN_TASK_COMPLETED", {"response": {"approved": True}}, workflow_correlation_key=str(task.id))
    assert driver.wait_for_run("SUCCEEDED", id=run.id).state == "YES"


def test_uncompleted_task_expires_as_a_timeout(driver: TenantDriver) -> None:
    publish(driver.tenant, approval(dueInMs=100))
    run = driver.wait_for_run("FAILED", id=driver.start({"ticketId": "T-1"}).id)
    assert (run.error_category, run.error_code) == ("TimeoutError", "HUMAN_TASK_EXPIRED")
    task = HumanTask.objects.get(run=run)
    assert (task.status, task.due_at is not None) == ("expired", True)


def test_concurrent_responses_resume_the_run_once(driver: TenantDriver) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    from workflows.services.human_tasks import task_complete

    run, task = open_task(driver)

    @in_system_scope
    def answer(approved: bool) -> str:
        try:
            task_complete(actor=driver.actor, task_id=task.id, response={"approved": approved})
            return "accepted"
        except Exception as error:  # noqa: BLE001  the caller checks the code
            return str(getattr(error, "code", error))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, [True, False, True, False]))
    assert answers.count("accepted") == 1, answers
    assert set(answers) <= {"accepted", "TASK_NOT_OPEN", "TASK_BEING_DECIDED"}
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert driver.history_types(run).count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == 1


def test_task_stays_open_while_temporal_is_down(
    driver: TenantDriver, kill_temporal: Callable[[], None], restart_temporal: Callable[[], None]
) -> None:
    run, task = open_task(driver)
    api = Api(make_token(driver.tenant))
    kill_temporal()
    try:
        error = error_of(api.post(f"/tasks/{task.id}/complete", {"response": {"approved": True}}), 503)
        assert error["code"] == "TEMPORAL_UNAVAILABLE"
        assert HumanTask.objects.get(id=task.id).status == "pending"
    finally:
        restart_temporal()
    assert api.post(f"/tasks/{task.id}/complete", {"response": {"approved": True}}).status_code == 202
    driver.wait_for_run("SUCCEEDED", id=run.id)

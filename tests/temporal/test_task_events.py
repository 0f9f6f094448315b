"""Completion of human tasks by events: the task's rules apply to the sender, and the ledger has every completion."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from ingress.intake.receive import event_receive
from tests.support.api import Api
from tests.support.factories import eventually, expr, make_token, publish
from tests.support.tenant_driver import TenantDriver
from workflows.actors import Actor
from workflows.models import Command, Event, EventDelivery, HumanTask, Run, TenantMembership
from workflows.services.task_holders import task_claim
from workflows.statuses import CommandSource, EventSource, Role

FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
RESPONSE = {"response": {"ok": True}}


def open_task(driver: TenantDriver, **config: Any) -> tuple[Run, HumanTask]:
    task = {"taskType": "approval", "title": "Approve", "formSchema": FORM, **config}
    publish(driver.tenant, {"id": "approve", "type": "human.task", "config": task})
    run = driver.start({"ticketId": "T-1"})
    return run, eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="an open task")


def member(driver: TenantDriver, name: str, role: Role = Role.OPERATOR) -> Actor:
    user = get_user_model().objects.create_user(f"{name}-{driver.tenant.slug}")
    TenantMembership.objects.create(tenant=driver.tenant, user=user, role=role)
    return Actor("user", str(user.id), user.username, driver.tenant.id, role, CommandSource.API)


def send(
    driver: TenantDriver,
    task: HumanTask,
    sender: Actor | str,
    source: EventSource = EventSource.REST,
    payload: Any = RESPONSE,
    **value: Any,
) -> Event:
    value = {
        "event_type": "HUMAN_TASK_COMPLETED",
        "workflow_correlation_key": str(task.id),
        "payload": payload,
        **value,
    }
    return event_receive(tenant_id=driver.tenant.id, value=value, source=source, sender=sender).event


def delivery_of(event: Event, status: str) -> EventDelivery:
    return eventually(
        lambda: EventDelivery.objects.filter(event=event, status=status).first(), what=f"a delivery that is {status}"
    )


def row_of(task: HumanTask) -> Command:
    """Return the newest ledger row of a completion of the task."""
    return Command.objects.filter(target_id=str(task.id), action="complete_task").order_by("-requested_at")[0]


def refused(driver: TenantDriver, task: HumanTask, event: Event, code: str) -> Command:
    """Check that the event did not complete the task, and that trace and ledger say why. Return the ledger row."""
    delivery = delivery_of(event, "filtered")
    assert code in delivery.reason
    task.refresh_from_db()
    assert task.status in ("pending", "claimed")
    row = row_of(task)
    assert (row.state, row.code, row.run_id) == ("refused", code, task.run_id)
    return row


def test_sender_who_is_not_an_assignee_cannot_complete_the_task_by_event(driver: TenantDriver) -> None:
    ann = member(driver, "ann")
    run, task = open_task(driver, assignees={"users": [ann.name]})
    api = Api(make_token(driver.tenant))
    assert api.post(f"/tasks/{task.id}/complete", RESPONSE).status_code == 403
    body = {"event_type": "HUMAN_TASK_COMPLETED", "workflow_correlation_key": str(task.id), "payload": RESPONSE}
    sent = api.post("/events", body)
    assert sent.status_code == 202, sent.content
    event = Event.objects.get(id=sent.json()["id"])
    assert (event.sender_type, event.sender, event.sender_role) == ("token", "operator token", "operator")
    row = refused(driver, task, event, "PERMISSION_DENIED")
    assert (row.actor_type, row.actor_name, row.source) == ("token", "operator token", "api")

    event = send(driver, task, ann)
    driver.wait_for_run("SUCCEEDED", id=run.id)
    row = row_of(task)
    assert (row.state, row.actor_type, row.actor_id, row.reason) == (
        "observed", "user", ann.id, f"event {event.event_id}",
    )  # fmt: skip
    assert Event.objects.get(id=event.id).sender_id == ann.id


def test_role_that_is_not_assigned_is_refused_and_an_admin_is_not(driver: TenantDriver) -> None:
    run, task = open_task(driver, assignees={"roles": ["author"]})
    refused(driver, task, send(driver, task, member(driver, "op")), "PERMISSION_DENIED")
    send(driver, task, member(driver, "boss", Role.ADMIN))
    driver.wait_for_run("SUCCEEDED", id=run.id)


def test_claimed_task_is_completed_by_events_of_its_holder_only(driver: TenantDriver) -> None:
    run, task = open_task(driver)
    ann, bob = member(driver, "ann"), member(driver, "bob")
    task_claim(actor=ann, task_id=task.id)
    refused(driver, task, send(driver, task, bob), "TASK_CLAIMED")
    refused(driver, task, send(driver, task, "celery", EventSource.CELERY), "TASK_CLAIMED")
    send(driver, task, ann)
    driver.wait_for_run("SUCCEEDED", id=run.id)


def test_refused_event_does_not_delay_the_next_event(driver: TenantDriver) -> None:
    ann = member(driver, "ann")
    run, task = open_task(driver, assignees={"users": [ann.name]})
    with transaction.atomic():  # both are stored before either is routed
        first = send(driver, task, member(driver, "bob"))
        send(driver, task, ann)
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert "PERMISSION_DENIED" in delivery_of(first, "filtered").reason


@pytest.mark.parametrize("source", [EventSource.CELERY, EventSource.STREAM, EventSource.OUTBOX])
def test_definition_can_forbid_the_system_actor(driver: TenantDriver, source: EventSource) -> None:
    run, task = open_task(driver, allowSystemCompletion=False)
    row = refused(driver, task, send(driver, task, "a process", source), "TASK_SYSTEM_FORBIDDEN")
    assert (row.actor_type, row.actor_name, row.source) == ("system", "a process", "system")
    send(driver, task, member(driver, "ann"))
    driver.wait_for_run("SUCCEEDED", id=run.id)


def test_system_actor_may_complete_by_default_also_an_assigned_task(driver: TenantDriver) -> None:
    run, task = open_task(driver, assignees={"users": ["ann"]})
    send(driver, task, "celery", EventSource.CELERY)
    driver.wait_for_run("SUCCEEDED", id=run.id)
    row = row_of(task)
    assert (row.state, row.actor_type, row.actor_name) == ("observed", "system", "celery")


def test_complete_on_is_the_choice_of_the_author_and_has_a_ledger_row(driver: TenantDriver) -> None:
    complete_on = {"eventName": "APPROVED", "correlationKey": expr("payload.ticketId")}
    run, task = open_task(driver, completeOn=complete_on, assignees={"users": ["ann"]})
    bob = member(driver, "bob")
    send(driver, task, bob, event_type="APPROVED", workflow_correlation_key="T-1", payload={"ok": True})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    row = row_of(task)
    assert (row.state, row.actor_name, row.payload) == ("observed", bob.name, {"response": {"ok": True}})


def test_complete_on_does_not_override_that_the_system_is_forbidden(driver: TenantDriver) -> None:
    complete_on = {"eventName": "APPROVED", "correlationKey": expr("payload.ticketId")}
    _, task = open_task(driver, completeOn=complete_on, allowSystemCompletion=False)
    approved = {"event_type": "APPROVED", "workflow_correlation_key": "T-1", "payload": {"ok": True}}
    refused(driver, task, send(driver, task, "celery", EventSource.CELERY, **approved), "TASK_SYSTEM_FORBIDDEN")


def test_response_that_does_not_fit_fails_in_the_ledger_with_the_reason(driver: TenantDriver) -> None:
    run, task = open_task(driver)
    ann = member(driver, "ann")
    event = send(driver, task, ann, payload={"response": {"ok": "yes"}})
    assert "/ok" in delivery_of(event, "filtered").reason
    row = eventually(lambda: Command.objects.filter(target_id=str(task.id), state="failed").first(), what="the row")
    assert (row.code, "/ok" in row.message) == ("TASK_RESPONSE_INVALID", True)
    send(driver, task, ann)
    driver.wait_for_run("SUCCEEDED", id=run.id)
    late = send(driver, task, ann)
    eventually(lambda: Event.objects.filter(id=late.id).exclude(outcome__in=["received", "routing"]).exists())
    assert Command.objects.filter(target_id=str(task.id), state="observed").count() == 1

"""Signals and updates that any client of the namespace can send. None of them blocks a run.

Source: docs/reference/engine.md#signals-and-updates
"""

import uuid
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from tests.support.factories import eventually, publish, wait_for_reply
from tests.support.history_cases import human_task, open_wait_of
from tests.support.tenant_driver import TenantDriver
from workflows.models import HumanTask, Run
from workflows.services.human_tasks import task_complete
from workflows.temporal import connection, gateway

UNKNOWN = "0192f0c4-0000-7000-8000-0000000000aa"
NULL = Payload(metadata={"encoding": b"binary/null"})


def text(data: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data.encode())


def event_text(wait_id: str, **more: str) -> str:
    """Return a signal for this wait as JSON text. `more` replaces fields with JSON text."""
    fields = {
        "eventId": '"e"', "eventName": '"TICKET_CUSTOMER_REPLIED"', "correlationKey": '"T-1"',
        "waitId": f'"{wait_id}"', "payload": "{}", "receivedAt": '"now"',
    }  # fmt: skip
    return "{" + ", ".join(f'"{name}": {value}' for name, value in {**fields, **more}.items()) + "}"


def malformed_signals(wait_id: str) -> list[tuple[str, list[Payload]]]:
    """Return names and values of signals that no run can use. All but one name the open wait."""
    event = text(event_text(wait_id))
    broken = [
        event_text(wait_id, payload=r'{"a": "\u0000"}'),
        event_text(wait_id, payload="[" * 70 + "]" * 70),
        event_text(wait_id, payload="1e999"),
        event_text(wait_id, payload='"half \\ud800"'),
        event_text(wait_id, eventId="null"),
        event_text(wait_id, eventId='""'),
        event_text(wait_id, eventId=f'"{"e" * 201}"'),
        event_text(wait_id, eventName='{"a": 1}'),
        event_text(wait_id, correlationKey=f'"{"k" * 1001}"'),
        event_text(wait_id, commandId='"c-1"'),
        event_text("w-1"),
        event_text(wait_id.upper()),
        '{"a": 1}', "[]", "17", '"text"', "null", "{", "",
    ]  # fmt: skip
    return [
        ("event", [NULL]),
        ("event", []),
        ("event", [event, event]),
        ("event", [Payload(metadata={"encoding": b"unknown/encoding"}, data=b"x")]),
        ("event", [Payload(data=b"\xff\xfe")]),
        ("no-such-signal", [event]),
        ("no-such-signal", []),
        ("__temporal_no_such_signal", [NULL]),
        *(("event", [text(data)]) for data in broken),
    ]


def send_signal(run: Run, name: str, payloads: list[Payload]) -> None:
    async def work(client: Client) -> None:
        await client.workflow_service.signal_workflow_execution(
            SignalWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=run.temporal_workflow_id),
                signal_name=name,
                input=Payloads(payloads=payloads),
                request_id=str(uuid.uuid4()),
            )
        )

    connection.call(work)


def update_error(run: Run, name: str, *values: Any) -> ApplicationError:
    """Send an update that is refused, and return the error."""

    async def work(client: Client) -> BaseException | None:
        try:
            await client.get_workflow_handle(run.temporal_workflow_id).execute_update(name, args=list(values))
        except WorkflowUpdateFailedError as error:
            return error.cause
        return None

    error = connection.call(work)
    assert isinstance(error, ApplicationError), error
    return error


def assert_no_failed_task(driver: TenantDriver, run: Run) -> None:
    types = driver.history_types(run)
    assert not {"WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_TIMED_OUT"} & set(types), types


def test_malformed_signals_are_ignored(driver: TenantDriver, caplog: pytest.LogCaptureFixture) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    wait = open_wait_of(run)
    signals = malformed_signals(str(wait.id))
    for name, payloads in signals:
        send_signal(run, name, payloads)
    send_signal(run, "event", [text(event_text(UNKNOWN))])  # valid, but no wait has this id
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    ended = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert ended.event_count == 1
    driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")
    assert_no_failed_task(driver, run)
    ignored = [record for record in caplog.records if "a signal was ignored" in record.getMessage()]
    assert len(ignored) == len(signals)


def test_many_malformed_signals_do_not_use_up_the_limit_of_an_execution(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.temporal.performing.MAX_MESSAGES", 20)
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    open_wait_of(run)
    for _ in range(20):
        send_signal(run, "event", [NULL])
    first = Run.objects.get(id=run.id).projection_epoch
    # An event that arrives before the new execution ends the run in the first one.
    eventually(
        lambda: gateway.describe_run(workflow_id=run.temporal_workflow_id).run_id != first, what="a new execution"
    )
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    assert driver.wait_for_run("SUCCEEDED", id=run.id).projection_epoch != first


def test_updates_with_bad_arguments_are_refused_with_the_reason(driver: TenantDriver) -> None:
    publish(driver.tenant, human_task())
    run = driver.start()
    task_id = str(open_wait_of(run, kind="human").id)
    response = {"taskId": task_id, "response": {"ok": True}, "completedBy": "raw"}
    cases: list[tuple[str, list[Any], str]] = [
        ("complete-task", [None], "it is NoneType"),
        ("complete-task", [], "it has 0 values"),
        ("complete-task", [response, response], "it has 2 values"),
        ("complete-task", [{**response, "taskId": 5}], "its value is not a TaskResponse"),
        ("complete-task", [{**response, "taskId": "t-1"}], "taskId is not a UUID"),
        ("complete-task", [{**response, "response": {"ok": "\x00"}}], "/response/ok contains the character U+0000"),
        ("complete-task", [{**response, "completedBy": "x" * 201}], "completedBy has more than 200 characters"),
        ("no-such-update", [response], "a run has no message 'no-such-update'"),
    ]
    for name, values, reason in cases:
        error = update_error(run, name, *values)
        assert (error.type, error.details[0], reason in error.message) == (
            "TaskUpdateRefused", {"code": "UPDATE_INVALID"}, True,
        ), (name, values, error.message)  # fmt: skip
    assert HumanTask.objects.get(id=task_id).status == "pending"
    task_complete(actor=driver.actor, task_id=uuid.UUID(task_id), response={"ok": True})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert_no_failed_task(driver, run)

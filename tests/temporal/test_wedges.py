"""No input of an author or a sender blocks a workflow task. Each ends in a caught error, or ends the run.

Source: docs/reference/engine.md#errors
"""

from typing import Any

import pytest
from django.db import transaction

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.signals import send_signal
from tests.support.tenant_driver import TenantDriver
from workflows.engine.clock import MAX_MS
from workflows.models import Run, RunWait
from workflows.services.runs.control import run_cancel


def assign(step_id: str, **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def each(items: str, *body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "each", "type": "control.forEach", "items": expr(items), "itemVar": "it", "body": list(body)}


def assert_no_failed_task(driver: TenantDriver, run: Run) -> None:
    assert not [
        kind for kind in driver.history_types(run) if kind in ("WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_TIMED_OUT")
    ]


def test_long_loop_of_expensive_expressions_uses_several_tasks(driver: TenantDriver) -> None:
    publish(driver.tenant, each("[1..60]", assign("a", **{"vars.n": expr("[1..20000][$ > 19998][0]")})))
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert_no_failed_task(driver, run)
    assert driver.history_types(run).count("ACTIVITY_TASK_SCHEDULED") > 3, "the loop must be split over several tasks"


def test_empty_loop_over_many_items_does_not_block_the_task(driver: TenantDriver) -> None:
    publish(driver.tenant, each("[1..9000]"))
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert_no_failed_task(driver, run)


def test_scopes_over_the_size_limit_raise_a_catchable_error(driver: TenantDriver) -> None:
    grow = each(
        "[1..40]",
        assign("g", **{"vars.big": expr("coalesce(vars.big, '') & payload.chunk")}),
        assign("k", **{"vars.more": expr("append(coalesce(vars.more, []), vars.big)")}),
    )
    caught = {
        "id": "try",
        "type": "control.tryCatch",
        "captureErrorAs": "p",
        "try": [grow],
        "catch": [assign("c", **{"meta.state": expr("p.code")})],
    }
    publish(driver.tenant, caught)
    run = driver.wait_for_run("SUCCEEDED", id=driver.start({"chunk": "x" * 30_000}).id)
    assert run.state in ("SCOPE_TOO_LARGE", "EXPRESSION_TOO_LARGE")
    assert_no_failed_task(driver, run)


@pytest.mark.parametrize("step", [
    {"id": "w", "type": "time.wait", "config": {"mode": "duration", "durationMs": MAX_MS}},
    {"id": "w", "type": "time.wait", "config": {"mode": "until", "until": expr("'9999-12-31T23:59:59Z'")}},
    wait_for_reply("w", timeoutMs=MAX_MS),
])  # fmt: skip
def test_wait_for_the_longest_time_is_an_ordinary_wait(driver: TenantDriver, step: dict[str, Any]) -> None:
    publish(driver.tenant, step)
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    eventually(lambda: "TIMER_STARTED" in driver.history_types(run))
    run_cancel(actor=driver.actor, run_id=run.id)
    driver.wait_for_run("CANCELED", id=run.id)
    assert_no_failed_task(driver, run)


def test_signal_with_too_large_a_payload_fails_the_step(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    wait = eventually(lambda: RunWait.objects.filter(run=run).first())

    from workflows.temporal import contracts, gateway

    event = contracts.EventSignal("big", "TICKET_CUSTOMER_REPLIED", "T-1", str(wait.id), {"x": "x" * 1_200_000}, "now")
    gateway.signal_event(event, workflow_id=run.temporal_workflow_id, request_id="big")
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert failed.error_code == "SCOPE_TOO_LARGE"
    assert_no_failed_task(driver, run)


def test_many_verdicts_share_a_write(driver: TenantDriver) -> None:
    """Verdicts that arrive during a write are written together by the next one."""
    publish(driver.tenant, wait_for_reply(filters=[{"path": "n", "op": "<", "value": 0}]))
    run = driver.start({"ticketId": "T-1"})
    wait = eventually(lambda: RunWait.objects.filter(run=run).first())
    with transaction.atomic():  # the writes wait for this lock
        Run.objects.select_for_update().get(id=run.id)
        for number in range(300):
            send_signal(run, number, str(wait.id))
    send_signal(run, -1, str(wait.id))
    driver.wait_for_run("SUCCEEDED", id=run.id)
    # The wait, the first verdict, the other verdicts in batches of records, and the end.
    assert driver.history_types(run).count("ACTIVITY_TASK_SCHEDULED") < 20


def test_expensive_form_check_ends_in_time(driver: TenantDriver) -> None:
    form = {"properties": {"l": {"uniqueItems": True}}, "required": ["l"]}
    complete_on = {"eventName": "TICKET_CUSTOMER_REPLIED", "correlationKey": expr("payload.ticketId")}
    config = {"taskType": "t", "title": "T", "formSchema": form, "completeOn": complete_on}
    publish(driver.tenant, {"id": "t", "type": "human.task", "config": config})
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    mixed = [item for number in range(2_600) for item in (number, str(number))]
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "l": mixed})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert_no_failed_task(driver, run)


def test_engine_bug_during_a_resume_leaves_no_timer(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows.engine import event_steps

    def broken(*_args: Any, **_more: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(event_steps, "resume_from_event", broken)
    publish(driver.tenant, wait_for_reply(timeoutMs=3_600_000))
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert failed.error_category == "EngineCorruption"
    driver.history_types_until(run, "WORKFLOW_EXECUTION_FAILED")

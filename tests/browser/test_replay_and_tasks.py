"""Journeys of an operator: a replay with edited input on a new version, many replays, and the response to a task."""

import re
from typing import Any

from tests.support.browser import sign_in
from tests.support.factories import eventually, publish
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, HumanTask, PayloadSchema, Run, TaskDraft

STEP = {"id": "s", "type": "state.set", "config": {"state": "X"}}
FORM = {
    "type": "object",
    "required": ["decision", "amount", "payOn"],
    "properties": {
        "decision": {"enum": ["approve", "reject"]},
        "amount": {"type": "number", "maximum": 480, "title": "Amount to refund"},
        "payOn": {"type": "string", "format": "date"},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
}


def needs_currency(tenant: Any) -> None:
    """Publish a version whose payload needs a currency."""
    schema = {"type": "object", "required": ["currency"], "properties": {"currency": {"type": "string"}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Pay.v1", schema=schema)
    publish(tenant, STEP, payloadSchemaRef="payload.Pay.v1")


def test_replay_with_edited_input_on_a_new_version(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    publish(driver.tenant, STEP)
    old = driver.start({"amount": 7})
    driver.wait_for_run("SUCCEEDED", id=old.id)
    needs_currency(driver.tenant)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/{old.id}/replay/")
    page.get_by_label("2, published").check()
    page.get_by_role("button", name="Check the input").click()
    page.get_by_text("'currency' is missing").wait_for()
    page.fill("textarea[name=payload]", '{"amount": 7, "currency": "EUR"}')
    page.get_by_role("button", name="Check the input").click()
    page.get_by_role("heading", name="The input is changed").wait_for()
    assert not Command.objects.filter(run=old, action="replay").exists(), "a check must not send a command"
    page.get_by_role("button", name="Start the new run").click()
    page.get_by_text("Its result is not known yet").wait_for()
    new = driver.wait_for_run("SUCCEEDED", replay_of=old)
    assert (new.version, new.input) == (2, {"amount": 7, "currency": "EUR"})
    assert str(new.id) in page.url


def test_many_replays_start_with_one_and_show_the_state_of_each_new_run(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    publish(driver.tenant, STEP)
    runs = [driver.start({"n": n}) for n in range(3)]
    for run in runs:
        driver.wait_for_run("SUCCEEDED", id=run.id)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/")
    page.get_by_label("Select the runs on this page").check()
    page.get_by_role("button", name="Replay…").click()
    page.get_by_role("button", name="Start 1 first").click()
    page.get_by_role("heading", name="The first replay has succeeded. Start the other 2.").wait_for()
    assert Run.objects.filter(tenant=driver.tenant, trigger_type="replay").count() == 1
    page.get_by_role("button", name="Start the other 2").click()
    page.get_by_text("3 of 3 succeeded").wait_for()
    tally = page.get_by_role("group", name="Outcome of the runs").inner_text()
    assert re.sub(r"\s+", " ", tally).startswith("3 started 3 succeeded 0 failed")


def test_wrong_then_right_response_to_a_task_on_a_phone(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    config = {"taskType": "refund", "title": "Approve the refund", "formSchema": FORM}
    publish(driver.tenant, {"id": "decide", "type": "human.task", "config": config})
    run = driver.start({})
    task = eventually(lambda: HumanTask.objects.filter(tenant=driver.tenant).first(), what="the task is open")
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/humantask/")
    page.get_by_role("link", name="Approve the refund").click()
    page.get_by_label("Amount to refund").fill("4800")
    page.locator("[data-draft-state][data-zone=UTC]", has_text=re.compile(r"Draft saved at \d\d:\d\d UTC")).wait_for()
    assert TaskDraft.objects.get(task=task).user == member["operator"]
    page.reload()
    assert page.get_by_label("Amount to refund").input_value() == "4800"
    page.get_by_role("button", name="Send response").click()
    problems = page.get_by_role("alert").first.inner_text()
    assert "3 fields need a correction." in problems
    assert all(label in problems for label in ("Decision", "Amount to refund", "Pay on"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("radio", name="approve").check()
    page.get_by_label("Amount to refund").fill("480")
    page.get_by_label("Pay on").fill("2026-11-30")
    page.get_by_role("button", name="Add an entry").click()
    page.locator("input[name='response/reasons/0']").fill("late")
    page.get_by_role("button", name="Send response").click()
    page.get_by_text("The run has received the response.").wait_for()
    driver.wait_for_run("SUCCEEDED", id=run.id)
    task.refresh_from_db()
    assert task.response == {"decision": "approve", "amount": 480, "payOn": "2026-11-30", "reasons": ["late"]}
    assert not TaskDraft.objects.filter(task=task).exists()

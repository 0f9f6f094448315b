"""Computed durations, deadlines and dates in real runs (docs/reference/language.md#durations-and-deadlines)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.models import HumanTask, RunWait

CONTINUE = {"onError": {"policy": "continue"}}


def call(step_id: str, action: str, **value: Any) -> dict[str, Any]:
    config = {"actionId": action, "version": 1, "saveAs": f"vars.{step_id}", "inputMapping": value}
    return {"id": step_id, "type": "action.call", "config": config}


def task(**config: Any) -> dict[str, Any]:
    return {"id": "task", "type": "human.task", "config": {"taskType": "t", "title": "T", **config}, **CONTINUE}


def test_waits_have_the_deadlines_that_the_run_computes(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        call("due", "transform.date_add", value=expr("payload.from"), months=1),
        call("workday", "calendar.add_business_time", value=expr("due.result"), zone="Europe/Berlin", days=1),
        {**wait_for_reply("past", deadline=expr("payload.past")), **CONTINUE},
        task(deadline=expr("workday.ms")),
    )
    run = driver.start({"ticketId": "T-1", "from": "2031-01-31T12:00:00Z", "past": "2020-01-01T00:00:00Z"})
    opened = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="an open task")
    # One month after 31 January is 28 February, a Friday. The next working day is Monday, 3 March.
    assert opened.due_at == datetime(2031, 3, 3, 12, tzinfo=UTC)
    past = RunWait.objects.get(run=run, step_id="past")
    assert (past.status, past.deadline_at) == ("TIMED_OUT", datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("step", "code", "field"),
    [
        (wait_for_reply(timeoutMs=expr("payload.bad")), "DURATION_INVALID", "`timeoutMs`"),
        (task(deadline=expr("payload.bad")) | {"onError": {"policy": "fail"}}, "TIME_INVALID", "`deadline`"),
        (call("add", "transform.date_add", value=expr("payload.bad"), days=1), "TIME_INVALID", "`value`"),
    ],
)
def test_bad_value_fails_the_run_with_its_code_and_place(
    driver: TenantDriver, step: dict[str, Any], code: str, field: str
) -> None:
    publish(driver.tenant, step)
    run = driver.wait_for_run("FAILED", id=driver.start({"ticketId": "T-1", "bad": "soon"}).id)
    assert (run.error["code"], run.error["nodePath"]) == (code, "root.steps[0]")
    assert field in run.error["message"]
    assert not RunWait.objects.filter(run=run).exists()

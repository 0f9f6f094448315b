"""Workers that are killed with SIGKILL at critical points. The run must finish soon after the restart.

An effect that can be repeated or rolled back happens once. Any other ends as `ACTION_OUTCOME_UNKNOWN`. A second effect
without a report never happens.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import crashing_worker
from tests.support.database_proxy import DatabaseProxy
from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.fakes import fake_api
from tests.support.forked import ForkedProgram
from tests.support.history_cases import short_wait, store_value
from tests.support.schedules import EVERY_MINUTE, fire_every_second
from tests.support.tenant_driver import TenantDriver
from workflows.models import (
    ActionInvocation,
    EventDelivery,
    HumanTask,
    Notification,
    Run,
    RunStep,
    RunWait,
    ScheduleOccurrence,
)
from workflows.services.definitions.pause import definition_pause
from workflows.services.human_tasks import task_complete
from workflows.services.runs.rebuild import run_rebuild
from workflows.temporal import connection, contracts, gateway

Start = Callable[..., ForkedProgram]


@pytest.fixture
def start_worker(driver: TenantDriver, settings: Any, tmp_path: Path) -> Iterator[Start]:
    """Start workers on a task queue that only this test uses."""
    settings.TEMPORAL_TASK_QUEUE = queue = f"crash-{driver.tenant.slug}"
    started: list[ForkedProgram] = []

    def start(point: str = "no point", **more: Any) -> ForkedProgram:
        worker = ForkedProgram(
            partial(crashing_worker.main, point, tmp_path / "killed", **more),
            log=tmp_path / "worker.log",
            TEMPORAL_TASK_QUEUE=queue,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait(60)


def kill_and_restart(start: Start, point: str, begin: Callable[[], Run], **more: Any) -> Run:
    """Start a run with `begin`, let its worker be killed at the point, and start another worker. Return the run."""
    worker = start(point, **more)
    run = begin()
    assert worker.wait(60) == -9, "the worker was not killed"
    start("no point", **more)
    return run


def ends_soon(driver: TenantDriver, run: Run, status: str) -> Run:
    """Wait for the run's end.

    Temporal notices a lost activity after 12 s without heartbeats (4 s in these tests, except in the first one). It
    gives a lost workflow task to another worker after 2 s.
    """
    return eventually(lambda: Run.objects.filter(id=run.id, status=status).first(), what=f"{status} run {run.id}")


def call(url: str) -> dict[str, Any]:
    mapping = {"method": "POST", "url": url, "body": {"a": 1}}
    config = {"actionId": "http.request", "version": 1, "inputMapping": mapping, "saveAs": "answer"}
    return {"id": "call", "type": "action.call", "config": config}


def notify(driver: TenantDriver) -> dict[str, Any]:
    from django.contrib.auth.models import User

    from workflows.models import TenantMembership

    user = User.objects.create_user(f"member-{driver.tenant.slug}")
    TenantMembership.objects.create(tenant=driver.tenant, user=user, role="operator")
    mapping = {"recipients": {"roles": ["operator"]}, "severity": "info", "title": "Once"}
    config = {"actionId": "notifications.send_in_app", "version": 1, "inputMapping": mapping}
    return {"id": "notify", "type": "action.call", "config": config}


def test_kill_during_a_call_repeats_it_with_the_same_key(driver: TenantDriver, start_worker: Start) -> None:
    workers: list[ForkedProgram] = []

    def answer(number: int) -> tuple[int, Any]:
        if number == 1:
            workers[0].kill()
        return 200, {"number": number}

    with fake_api(answer) as api:
        publish(driver.tenant, call(api.url), {"id": "s", "type": "state.set", "config": {"state": "DONE"}})
        workers.append(start_worker("no point", has_real_timeouts=True))
        run = driver.start()
        assert workers[0].wait(60) == -9
        start_worker("no point", has_real_timeouts=True)
        ends_soon(driver, run, "SUCCEEDED")
        keys = {request.headers["Idempotency-Key"] for request in api.requests}
    assert (len(api.requests), keys) == (2, {f"{run.id}/root.steps[0]"})
    invocation = ActionInvocation.objects.get(run=run)
    assert (invocation.executions, invocation.status) == (2, "SUCCEEDED")
    assert driver.steps(run) == [("call", 1, "SUCCEEDED"), ("s", 1, "SUCCEEDED")]


@pytest.mark.parametrize("point", ["between activity and projection", "after the effect, before its outcome is stored"])
def test_kill_around_a_transactional_effect_leaves_one_effect(
    driver: TenantDriver, start_worker: Start, point: str
) -> None:
    publish(driver.tenant, notify(driver))
    run = kill_and_restart(start_worker, point, driver.start)
    ends_soon(driver, run, "SUCCEEDED")
    assert Notification.objects.filter(tenant=driver.tenant).count() == 1
    assert driver.steps(run) == [("notify", 1, "SUCCEEDED")]


@pytest.mark.parametrize("status", [200, 400])
def test_kill_after_the_end_of_a_step_was_written_leaves_rows_that_equal_the_history(
    driver: TenantDriver, start_worker: Start, status: int
) -> None:
    """The API gives another response to a second call. The first result counts, because it is in the row."""
    with fake_api(lambda number: (status if number == 1 else 600 - status, {"number": number})) as api:
        publish(driver.tenant, {**call(api.url), "onError": {"policy": "continue"}})
        run = kill_and_restart(start_worker, "after the end of a step was written", driver.start)
        ends_soon(driver, run, "SUCCEEDED")
        assert len(api.requests) == 1
    assert driver.steps(run) == [("call", 1, "SUCCEEDED" if status == 200 else "FAILED")]
    assert_equals_history(driver, run)


def test_kill_before_a_wait_is_written_leaves_rows_that_equal_the_history(
    driver: TenantDriver, start_worker: Start
) -> None:
    """The timer fires, and the next action writes the end of the wait, before Temporal repeats the lost activity."""
    publish(driver.tenant, short_wait("nap", 200), store_value("keep", "payload.ticketId"))
    begin = partial(driver.start, {"ticketId": "T-1", "n": 1})
    run = kill_and_restart(start_worker, "before a wait is written", begin, has_real_timeouts=True)
    run = ends_soon(driver, run, "SUCCEEDED")
    assert_equals_history(driver, run)


def assert_equals_history(driver: TenantDriver, run: Run) -> None:
    """Compare all rows of the run with its history, after the last activity has ended."""
    ends = ("WORKFLOW_EXECUTION_COMPLETED", "WORKFLOW_EXECUTION_FAILED")
    eventually(lambda: driver.history_types(run)[-1] in ends, what="the workflow has ended")
    found = run_rebuild(run_id=run.id, is_dry_run=True)
    assert (found.outcome, [str(one) for one in found.differences]) == ("equal", [])


def test_kill_after_an_effect_that_cannot_be_repeated_is_decided_by_an_operator(
    driver: TenantDriver, start_worker: Start
) -> None:
    mapping = {"to": ["someone@example.org"], "subject": "Once", "text": "A line."}
    config = {"actionId": "email.send", "version": 1, "inputMapping": mapping}
    mail = {"id": "mail", "type": "action.call", "retry": {"maxAttempts": 3, "backoffMs": 10}, "config": config}
    publish(driver.tenant, mail)
    run = kill_and_restart(start_worker, "after the effect, before its outcome is stored", driver.start)
    task = eventually(lambda: HumanTask.objects.filter(run=run).first(), what="the decision")
    assert (task.task_type, task.context_data["request"], task.context_data["attempts"]) == (
        "action.decide_outcome",
        mapping,
        1,
    )
    assert ActionInvocation.objects.get(run=run).executions == 1
    output = {"accepted": 1, "message_id": "<1@example.org>"}
    response = {"outcome": "happened", "output": output, "reason": "the mail server has it"}
    task_complete(actor=driver.actor, task_id=task.id, response=response)
    ends_soon(driver, run, "SUCCEEDED")
    assert ActionInvocation.objects.get(run=run).output == output


def test_kill_during_continue_as_new(driver: TenantDriver, start_worker: Start) -> None:
    publish(driver.tenant, wait_for_reply(filters=[{"path": "n", "op": "=", "value": 7}]))

    def begin() -> Run:
        run = driver.start({"ticketId": "T-1"})
        eventually(lambda: RunWait.objects.filter(run=run).first())
        for number in range(7):
            signal_number(run, number)
        return run

    run = kill_and_restart(start_worker, "during continue-as-new", begin)
    signal_number(run, 7)  # sent last: an earlier one could resume the run before it continues as new
    done = ends_soon(driver, run, "SUCCEEDED")
    assert done.event_count == 1
    assert RunWait.objects.get(run=run).status == "RESOLVED"


def signal_number(run: Run, number: int) -> None:
    wait = RunWait.objects.get(run=run)
    event = contracts.EventSignal(f"e-{number}", "TICKET_CUSTOMER_REPLIED", "T-1", str(wait.id), {"n": number}, "")

    def taken() -> bool:
        try:
            gateway.signal_event(event, workflow_id=run.temporal_workflow_id, request_id=f"r{number}")
        except gateway.TemporalBusy:
            return False
        return True

    eventually(taken, what="Temporal accepts the signal")


def test_kill_between_a_wait_and_its_lookback_loses_no_event(driver: TenantDriver, start_worker: Start) -> None:
    publish(driver.tenant, wait_for_reply())
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    run = kill_and_restart(
        start_worker, "after a wait was written, before the lookback", lambda: driver.start({"ticketId": "T-1"})
    )
    ends_soon(driver, run, "SUCCEEDED")
    assert EventDelivery.objects.filter(run=run, status="matched").count() == 1


def test_kill_before_the_start_of_a_child_starts_it_once(driver: TenantDriver, start_worker: Start) -> None:
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "CHILD"}}, key="child")
    step = {
        "id": "child",
        "type": "control.callWorkflow",
        "workflowId": "child",
        "workflowVersion": 1,
        "inputMapping": {"a": expr("1")},
    }
    publish(driver.tenant, step, key="parent")
    run = kill_and_restart(start_worker, "after a child's row was written", lambda: driver.start(key="parent"))
    ends_soon(driver, run, "SUCCEEDED")
    assert Run.objects.filter(parent_run=run, status="SUCCEEDED").count() == 1
    assert RunStep.objects.get(run=run).child_run is not None


@pytest.mark.parametrize("seconds", [float(os.environ.get("POINTSMAN_TEST_OUTAGE_SECONDS", "6"))])
def test_database_outage_delays_a_run_and_does_not_fail_it(
    driver: TenantDriver, start_worker: Start, seconds: float
) -> None:
    """The worker's connections to the database are blocked while its timer fires."""
    with fake_api() as api, DatabaseProxy(os.environ["DATABASE_URL"]) as proxy:
        nap = {"id": "nap", "type": "time.wait", "config": {"mode": "duration", "durationMs": 4_000}}
        publish(driver.tenant, nap, {**call(api.url), "retry": {"maxAttempts": 2, "backoffMs": 10}})
        start_worker("no point", database_url=proxy.url)
        run = driver.start()
        driver.wait_for_run("WAITING", id=run.id)
        proxy.refuse()
        tries = eventually(
            lambda: attempts_of_open_activity(run) >= 2 and attempts_of_open_activity(run),
            what="a write that failed",
        )
        restore_at = time.monotonic() + seconds
        eventually(lambda: attempts_of_open_activity(run) > tries, what="another failed attempt")
        eventually(lambda: time.monotonic() > restore_at, seconds=seconds + 10, what="the end of the outage")
        assert Run.objects.get(id=run.id).status == "WAITING"
        proxy.restore()
        ends_soon(driver, run, "SUCCEEDED")
        assert len(api.requests) == 1
    assert driver.steps(run) == [("nap", 1, "SUCCEEDED"), ("call", 1, "SUCCEEDED")]


def attempts_of_open_activity(run: Run) -> int:
    """Return the number of Temporal's attempts of the open activity."""

    async def ask(client: Any) -> int:
        described = await client.get_workflow_handle(run.temporal_workflow_id).describe()
        return max((a.attempt for a in described.raw_description.pending_activities), default=0)

    return int(connection.call(ask))


def test_killed_worker_loses_no_occurrence_of_a_schedule_and_starts_none_twice(
    driver: TenantDriver, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire_every_second(monkeypatch)
    worker = start_worker("after an occurrence was recorded")
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}}, trigger=EVERY_MINUTE)
    assert worker.wait(60) == -9, "the worker was not killed"
    start_worker()
    rows = ScheduleOccurrence.objects.filter(tenant=driver.tenant)

    def first_times() -> list[int]:
        """Return the first six scheduled times, in seconds since the first one."""
        times = sorted(rows.values_list("scheduled_at", flat=True))[:6]
        return [int((time - times[0]).total_seconds()) for time in times]

    eventually(lambda: first_times() == [0, 1, 2, 3, 4, 5], what="no occurrence is missing")
    first = rows.order_by("scheduled_at").values_list("event_id", flat=True)[:6]
    for event_id in first:
        driver.wait_for_run("SUCCEEDED", event_id=event_id)
        assert Run.objects.filter(event_id=event_id).count() == 1
    definition_pause(actor=driver.actor, key="flow", reason="enough")

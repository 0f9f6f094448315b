"""Long runs continue in new executions, and lose or repeat nothing (docs/reference/engine.md#long-runs)."""

from typing import Any

import pytest

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.signals import send_signal
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run, RunStep, RunWait
from workflows.temporal import connection as temporal_connection
from workflows.temporal import performing

SENDERS = 12


@pytest.fixture
def short_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continue as new after 5 messages and not after 1,500."""
    monkeypatch.setattr(performing, "MAX_MESSAGES", 5)


def executions(driver: TenantDriver, run: Run) -> int:
    async def count(client: Any) -> int:
        return (await client.count_workflows(f"WorkflowId = '{run.temporal_workflow_id}'")).count

    return int(temporal_connection.call(count))


def each_reply(count: int, **config: Any) -> dict[str, Any]:
    """Return a loop that waits for a reply in each iteration and collects the replies."""
    keep = {"vars.got": expr("append(coalesce(vars.got, []), vars.event.n)")}
    body = [wait_for_reply(assign=keep, **config)]
    items = expr(f"[1..{count}]")
    return {"id": "each", "type": "control.forEach", "items": items, "itemVar": "round", "body": body}


def result_of(run: Run) -> dict[str, Any]:
    async def result(client: Any) -> Any:
        return await client.get_workflow_handle(run.temporal_workflow_id).result()

    return dict(temporal_connection.call(result))


def test_events_resume_each_iteration_once_across_executions(driver: TenantDriver, short_executions: None) -> None:
    publish(driver.tenant, each_reply(14))
    run = driver.start({"ticketId": "T-1"})
    for number in range(14):
        driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "n": number})
    done = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert sorted(result_of(run)["vars"]["got"]) == list(range(14))
    assert done.event_count == 14
    assert RunWait.objects.filter(run=run, status="RESOLVED").count() == 14
    assert RunStep.objects.filter(run=run, step_id="reply", status="SUCCEEDED").count() == 14
    eventually(lambda: executions(driver, run) >= 3, what="several executions")


def test_wait_and_deadline_survive_continue_as_new(driver: TenantDriver, short_executions: None) -> None:
    publish(driver.tenant, wait_for_reply(filters=[{"path": "n", "op": ">", "value": 100}], timeoutMs=8_000))
    run = driver.start({"ticketId": "T-1"})
    wait = eventually(lambda: RunWait.objects.filter(run=run).first())
    for number in range(12):
        send_signal(run, number, str(wait.id))
    eventually(lambda: executions(driver, run) >= 2, what="a second execution")
    assert Run.objects.get(id=run.id).status == "WAITING"
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert failed.error_code == "EVENT_WAIT_TIMEOUT"
    assert RunWait.objects.get(run=run).status == "TIMED_OUT"
    assert failed.temporal_first_run_id == run.temporal_first_run_id


def test_cancel_reaches_the_current_execution(driver: TenantDriver, short_executions: None) -> None:
    from workflows.services.runs.control import run_cancel

    publish(driver.tenant, wait_for_reply(filters=[{"path": "n", "op": ">", "value": 100}]))
    run = driver.start({"ticketId": "T-1"})
    wait = eventually(lambda: RunWait.objects.filter(run=run).first())
    for number in range(12):
        send_signal(run, number, str(wait.id))
    eventually(lambda: executions(driver, run) >= 2, what="a second execution")
    run_cancel(actor=driver.actor, run_id=run.id)
    driver.wait_for_run("CANCELED", id=run.id)
    assert RunWait.objects.get(run=run).status == "CANCELED"


def test_ten_thousand_steps(driver: TenantDriver) -> None:
    items = expr("[1..2000]")
    body = [{"id": f"s{n}", "type": "state.set", "config": {"state": f"S{n}"}} for n in range(5)]
    loop = {"id": "each", "type": "control.forEach", "items": items, "itemVar": "n", "body": body}
    publish(driver.tenant, loop)
    run = driver.start()
    done = eventually(lambda: Run.objects.filter(id=run.id, status="SUCCEEDED").first(), seconds=200, what="the end")
    assert done.step_count == 10_001
    assert RunStep.objects.filter(run=run, status="SUCCEEDED").count() == 10_001


@pytest.mark.timeout(600)  # it needs mostly CPU time
def test_twelve_thousand_events_to_one_looping_run(driver: TenantDriver) -> None:
    """In each iteration, one event resumes the run. All others are for a wait that does not exist.

    Several threads send them, so that one workflow task takes several signals. The next iteration waits for the one
    before it, so at most 2,000 signals wait for the worker.
    """
    from concurrent.futures import ThreadPoolExecutor

    rounds, total = 12, 12_000
    publish(driver.tenant, each_reply(rounds))
    run = driver.start({"ticketId": "T-1"})
    stale = "00000000-0000-0000-0000-000000000000"
    with ThreadPoolExecutor(SENDERS) as pool:
        for round_number in range(rounds):
            wait = eventually(lambda: RunWait.objects.filter(run=run, status="WAITING").first())
            numbers = range(1 + round_number * (total // rounds), 1 + (round_number + 1) * (total // rounds))
            stale_signals = pool.map(lambda number: send_signal(run, number, stale), numbers)
            if round_number == rounds - 1:
                list(stale_signals)  # the next signal ends the run, which then takes no more signals
            send_signal(run, -round_number - 1, str(wait.id))
            eventually(lambda w=wait: RunWait.objects.get(id=w.id).status == "RESOLVED", what="the iteration ends")
            list(stale_signals)
    done = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert result_of(run)["vars"]["got"] == [-n - 1 for n in range(rounds)]
    assert (done.event_count, RunWait.objects.filter(run=run, status="RESOLVED").count()) == (rounds, rounds)

"""The run workflow: timers, many steps, corruption, queries and the history in Temporal."""

from typing import Any

import pytest

from tests.support.factories import eventually, expr, make_definition, make_run, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.engine.definition import canonical_text, definition_hash
from workflows.models import DefinitionVersion, Run, RunStep, RunWait
from workflows.services.runs.launch import run_start_workflow
from workflows.temporal import connection


def test_time_wait_is_a_durable_timer(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        {"id": "z", "type": "time.wait", "name": "Nap", "config": {"mode": "duration", "durationMs": 300}},
    )
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert [(w.kind, w.status, w.deadline_at is not None) for w in RunWait.objects.filter(run=run)] == [
        ("time", "RESOLVED", True)
    ]
    assert "TIMER_FIRED" in driver.history_types(run)


def test_expired_deadline_is_a_timeout_error(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(timeoutMs=200))
    failed = driver.wait_for_run("FAILED", id=driver.start({"ticketId": "T-1"}).id)
    assert (failed.error_category, failed.error_code) == ("TimeoutError", "EVENT_WAIT_TIMEOUT")
    assert RunWait.objects.get(run=failed).status == "TIMED_OUT"
    assert driver.steps(failed) == [("reply", 1, "FAILED")]


def test_run_of_pure_steps_costs_one_activity(driver: TenantDriver) -> None:
    publish(driver.tenant, *[{"id": f"s{n}", "type": "state.set", "config": {"state": f"S{n}"}} for n in range(50)])
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert driver.history_types(run).count("ACTIVITY_TASK_SCHEDULED") == 1
    assert (RunStep.objects.filter(run=run, status="SUCCEEDED").count(), run.step_count, run.state) == (50, 50, "S49")


def test_many_records_are_written_in_several_batches(driver: TenantDriver) -> None:
    publish(driver.tenant, *[{"id": f"s{n}", "type": "state.set", "config": {"state": "S"}} for n in range(450)])
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert driver.history_types(run).count("ACTIVITY_TASK_SCHEDULED") == 3
    assert RunStep.objects.filter(run=run).count() == 450


def test_run_keeps_its_version_when_another_is_published(driver: TenantDriver) -> None:
    old = publish(driver.tenant, wait_for_reply(), {"id": "s", "type": "state.set", "config": {"state": "OLD"}})
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "NEW"}})
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    ended = driver.wait_for_run("SUCCEEDED", id=run.id)
    assert (ended.state, ended.version, ended.definition_hash) == ("OLD", 1, old.definition_hash)
    assert driver.wait_for_run("SUCCEEDED", id=driver.start().id).state == "NEW"


def launch_with(driver: TenantDriver, **changed: Any) -> Run:
    """Launch a run whose pinned text or hash is wrong."""
    version = publish(driver.tenant, wait_for_reply())
    fields = {"definition_hash": version.definition_hash, **changed}
    run = make_run(driver.tenant, definition_version=version, status="STARTING", input={"ticketId": "T-1"}, **fields)
    run.definition_version = DefinitionVersion(
        definition=version.definition, version=1, canonical_text=changed.get("text", version.canonical_text)
    )
    run_start_workflow(run)
    return run


def test_definition_with_another_hash_ends_as_corruption(driver: TenantDriver) -> None:
    failed = driver.wait_for_run("FAILED", id=launch_with(driver, definition_hash="0" * 64).id)
    assert failed.error_category == "EngineCorruption"
    driver.history_types_until(failed, "WORKFLOW_EXECUTION_FAILED")


def test_records_that_cannot_be_stored_end_the_run(driver: TenantDriver) -> None:
    """Publishing refuses such a definition today. This one was published before that rule."""
    document = make_definition({"id": "x" * 300, "type": "state.set", "config": {"state": "X"}})
    version = publish(driver.tenant, wait_for_reply())
    text = canonical_text(document)
    run = make_run(driver.tenant, definition_version=version, status="STARTING", definition_hash=definition_hash(text))
    run.definition_version = DefinitionVersion(definition=version.definition, version=1, canonical_text=text)
    run_start_workflow(run)
    failed = driver.wait_for_run("FAILED", id=run.id)
    assert (failed.error_category, "cannot be stored" in failed.error["message"]) == ("EngineCorruption", True)
    driver.history_types_until(run, "WORKFLOW_EXECUTION_FAILED")


def test_engine_bug_ends_the_run(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows.engine import steps

    def broken(turn: Any, step: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(steps.HANDLERS, "state.set", broken)
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_category, "ZeroDivisionError" in failed.error["message"]) == ("EngineCorruption", True)
    assert "WORKFLOW_TASK_FAILED" not in driver.history_types(failed)


def test_malformed_signal_does_not_block_the_run(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)

    async def send(client: Any) -> None:
        handle = client.get_workflow_handle(run.temporal_workflow_id)
        await handle.signal("event", "not an object")
        await handle.signal("unknown-signal", {"a": 1})

    connection.call(send)
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
    driver.wait_for_run("SUCCEEDED", id=run.id)


def test_queries_return_the_state_of_a_run(driver: TenantDriver) -> None:
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "OPEN"}}, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)

    async def ask(client: Any) -> tuple[Any, Any, Any]:
        handle = client.get_workflow_handle(run.temporal_workflow_id)
        return await handle.query("current-step"), await handle.query("current-wait"), await handle.query("summary")

    step, wait, summary = connection.call(ask)
    assert (step, wait["key"], summary["phase"], summary["state"]) == ("root.steps[1]", "T-1", "event_wait", "OPEN")


def test_workflow_result_contains_the_scopes(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": expr("payload.n + 1"), "meta.y": 2}}},
    )
    run = driver.wait_for_run("SUCCEEDED", id=driver.start({"n": 1}).id)

    async def result(client: Any) -> Any:
        return await client.get_workflow_handle(run.temporal_workflow_id).result()

    found = eventually(lambda: connection.call(result))
    assert (found["vars"], found["meta"], found["payload"]) == ({"x": 2}, {"y": 2}, {"n": 1})

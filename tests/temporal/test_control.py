"""Cancel, start and delivery on a real Temporal (docs/reference/authority.md#control-matrix).

A cancel goes to Temporal first. A cancel that Temporal refused changes nothing.
"""

from collections.abc import Callable
from typing import Any

import pytest

from portal.devstack.servers import Servers
from tests.support.api import Api, error_of
from tests.support.factories import eventually, make_token, publish, wait_for_reply
from tests.support.projection_rows import serialized_rows
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, Event, EventDelivery, Run, RunStep, RunWait


def waiting_run(driver: TenantDriver, **config: Any) -> Run:
    publish(driver.tenant, wait_for_reply(**config))
    run = driver.start({"ticketId": "T-1"})
    return driver.wait_for_run("WAITING", id=run.id)


def test_cancel_is_recorded_by_the_workflow(driver: TenantDriver) -> None:
    run = waiting_run(driver, timeoutMs=600_000)
    response = Api(make_token(driver.tenant)).post(f"/runs/{run.id}/cancel", {"reason": "a duplicate"})
    assert (response.status_code, response.json()["state"]) in ((202, "accepted"), (202, "observed"))
    ended = driver.wait_for_run("CANCELED", id=run.id)
    assert ended.ended_at is not None
    assert [w.status for w in RunWait.objects.filter(run=run)] == ["CANCELED"]
    assert driver.steps(run) == [("reply", 1, "CANCELED")]
    assert "TIMER_CANCELED" in driver.history_types_until(run, "WORKFLOW_EXECUTION_CANCELED")
    command = eventually(lambda: Command.objects.filter(run=run, state="observed").first())
    assert (str(command.id), command.reason, command.actor_type) == (
        response.json()["command_id"],
        "a duplicate",
        "token",
    )


def test_cancel_is_refused_while_temporal_is_down(
    driver: TenantDriver, kill_temporal: Callable[[], None], restart_temporal: Callable[[], None]
) -> None:
    run = waiting_run(driver)
    api = Api(make_token(driver.tenant))
    before = serialized_rows(run)
    kill_temporal()
    try:
        error = error_of(api.post(f"/runs/{run.id}/cancel"), 409)
        assert error["code"] == "WORKFLOW_TEMPORAL_CANCEL_FAILED"
        assert "not changed" in error["details"]["hint"]
        assert "connect" in error["details"]["error"]
        assert (error["details"]["action"], error["details"]["engine"], error["details"]["runId"]) == (
            "cancel",
            "temporal",
            str(run.id),
        )
        assert serialized_rows(run) == before
        command = Command.objects.get(run=run)
        assert (command.state, command.code) == ("refused", "WORKFLOW_TEMPORAL_CANCEL_FAILED")
        refused = error_of(api.post("/runs", {"definition": "flow", "payload": {"ticketId": "T-2"}}), 503)
        assert refused["code"] == "TEMPORAL_UNAVAILABLE"
        assert Run.objects.filter(tenant=driver.tenant).count() == 1
        assert error_of(api.post(f"/runs/{run.id}/resume"), 409)["code"] == "WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED"
    finally:
        restart_temporal()
    assert serialized_rows(run) == before
    assert api.post(f"/runs/{run.id}/cancel").status_code == 202
    driver.wait_for_run("CANCELED", id=run.id)
    assert list(Command.objects.filter(run=run).order_by("requested_at").values_list("action", "state")) == [
        ("cancel", "refused"), ("resume", "refused"), ("cancel", "observed"),
    ]  # fmt: skip


def test_cancel_without_a_response_has_an_unknown_outcome(
    driver: TenantDriver, servers: Servers, settings: Any, restart_temporal: Callable[[], None]
) -> None:
    import os
    import signal

    run = waiting_run(driver)
    before = serialized_rows(run)
    usual, settings.TEMPORAL_RPC_TIMEOUT_SECONDS = settings.TEMPORAL_RPC_TIMEOUT_SECONDS, 1
    os.kill(servers.temporal.pid, signal.SIGSTOP)
    try:
        error = error_of(Api(make_token(driver.tenant)).post(f"/runs/{run.id}/cancel"), 409)
        assert serialized_rows(run) == before
        assert Command.objects.get(run=run).state == "unknown"
    finally:
        os.kill(servers.temporal.pid, signal.SIGCONT)
    assert (error["code"], error["details"]["outcome"]) == ("WORKFLOW_TEMPORAL_CANCEL_FAILED", "unknown")
    settings.TEMPORAL_RPC_TIMEOUT_SECONDS = usual
    restart_temporal()


def test_cancel_of_an_unknown_workflow_returns_temporals_message(driver: TenantDriver) -> None:
    from tests.support.factories import make_run

    run = make_run(driver.tenant)
    error = error_of(Api(make_token(driver.tenant)).post(f"/runs/{run.id}/cancel"), 409)
    assert (error["code"], "not found" in error["details"]["error"]) == ("WORKFLOW_TEMPORAL_CANCEL_FAILED", True)
    assert Run.objects.get(id=run.id).status == "WAITING"


def test_events_wait_during_an_outage_and_none_is_lost(
    driver: TenantDriver, servers: Servers, restart_temporal: Callable[[], None]
) -> None:
    from ingress.tasks import sweep_events

    run = waiting_run(driver)
    publish(driver.tenant, wait_for_reply(), key="by-event", trigger={"type": "event", "eventName": "TICKET_CREATED"})
    servers.temporal.kill()
    try:
        reply = driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
        created = driver.send("TICKET_CREATED", {"ticketId": "T-2"})
        waiting = EventDelivery.objects.filter(tenant=driver.tenant, status="pending")
        tried = waiting.filter(attempts__gte=1, reason__contains="Temporal did not respond")
        eventually(lambda: tried.exists() and waiting.count() == 2, what="one delivery was tried, and both wait")
    finally:
        restart_temporal()
    eventually(lambda: (sweep_events(), waiting.count() == 0)[1], what="the sweep has delivered both")
    assert not EventDelivery.objects.filter(
        tenant=driver.tenant, failures__gt=0
    ).exists()  # an outage does not count as a failure
    driver.wait_for_run("SUCCEEDED", id=run.id)
    driver.wait_for_run("WAITING", correlation_key="T-2")
    eventually(lambda: Event.objects.filter(id__in=[reply.id, created.id], outcome="delivered").count() == 2)


def test_sweep_starts_an_interrupted_launch(driver: TenantDriver) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from tests.support.factories import make_run
    from workflows.projections.transaction import projection_writer
    from workflows.services.runs.launch import workflow_id_of
    from workflows.services.runs.unstarted import sweep_unstarted_runs

    version = publish(driver.tenant, wait_for_reply())
    run = make_run(driver.tenant, definition_version=version, status="STARTING", input={"ticketId": "T-1"})
    with projection_writer("test"):
        old = timezone.now() - timedelta(minutes=1)
        Run.objects.filter(id=run.id).update(created_at=old, temporal_workflow_id=workflow_id_of(run.id))
    assert sweep_unstarted_runs() >= 1
    driver.wait_for_run("WAITING", id=run.id)


def test_run_that_temporal_cannot_accept_is_closed_and_delays_no_other(driver: TenantDriver) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from tests.support.factories import make_run
    from workflows.projections.transaction import projection_writer
    from workflows.services.runs.launch import workflow_id_of
    from workflows.services.runs.unstarted import sweep_unstarted_runs

    version = publish(driver.tenant, wait_for_reply())
    big, good = (
        make_run(driver.tenant, definition_version=version, status="STARTING", input={"ticketId": "T-1", "fill": fill})
        for fill in ("x" * 3_000_000, "")
    )
    with projection_writer("test"):
        for age, run in ((3, big), (2, good)):
            created = timezone.now() - timedelta(minutes=age)
            Run.objects.filter(id=run.id).update(created_at=created, temporal_workflow_id=workflow_id_of(run.id))
    sweep_unstarted_runs()
    driver.wait_for_run("WAITING", id=good.id)
    ended = Run.objects.get(id=big.id)
    assert (ended.status, ended.error_code) == ("FAILED", "TEMPORAL_REFUSED")


def test_cancel_in_the_same_workflow_task_as_a_timer(driver: TenantDriver, settings: Any) -> None:
    from tests.support.workers import running_temporal_worker
    from workflows.services.runs.control import run_cancel

    settings.TEMPORAL_TASK_QUEUE = f"own-{driver.tenant.slug}"
    nap = {"id": "nap", "type": "time.wait", "config": {"mode": "duration", "durationMs": 5000}}
    call = {
        "id": "call",
        "type": "action.call",
        "config": {
            "actionId": "notifications.send_in_app",
            "version": 1,
            "inputMapping": {"recipients": {}, "title": "T"},
        },
    }
    publish(driver.tenant, nap, call)
    run = driver.start()
    with running_temporal_worker():
        driver.wait_for_run("WAITING", id=run.id)
    eventually(lambda: "TIMER_FIRED" in driver.history_types(run), what="the timer fires while no worker runs")
    run_cancel(actor=driver.actor, run_id=run.id)
    with running_temporal_worker():
        driver.wait_for_run("CANCELED", id=run.id)
        driver.history_types_until(run, "WORKFLOW_EXECUTION_CANCELED")
    assert [w.status for w in RunWait.objects.filter(run=run)] == ["RESOLVED"]
    assert driver.steps(run)[:2] == [("nap", 1, "SUCCEEDED"), ("call", 1, "CANCELED")]


@pytest.mark.parametrize("version", [None, 1])
def test_manual_start_is_observed(driver: TenantDriver, version: int | None) -> None:
    publish(driver.tenant, wait_for_reply())
    api = Api(make_token(driver.tenant))
    body = {"definition": "flow", "version": version, "payload": {"ticketId": "T-1"}, "reason": "by hand"}
    first = api.post("/runs", body, **{"Idempotency-Key": "start-1"})
    again = api.post("/runs", body, **{"Idempotency-Key": "start-1"})
    assert (first.status_code, again.status_code, first.json()["id"]) == (202, 202, again.json()["id"])
    run = driver.wait_for_run("WAITING", id=first.json()["id"])
    assert (run.trigger_type, run.requested_by) == ("manual", "operator token")
    eventually(lambda: Command.objects.filter(target_id=str(run.id), state="observed").exists())
    assert api.get(f"/runs/{run.id}").json()["waiting_on"][0]["event_name"] == "TICKET_CUSTOMER_REPLIED"


def test_cancel_before_the_first_workflow_task_is_recorded(driver: TenantDriver, settings: Any) -> None:
    from tests.support.workers import running_temporal_worker
    from workflows.services.runs.control import run_cancel

    settings.TEMPORAL_TASK_QUEUE = f"late-{driver.tenant.slug}"
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    run_cancel(actor=driver.actor, run_id=run.id)
    assert Run.objects.get(id=run.id).status == "STARTING"
    with running_temporal_worker():
        ended = driver.wait_for_run("CANCELED", id=run.id)
    assert ended.ended_at is not None
    assert Command.objects.get(run=run).state == "observed"
    assert RunWait.objects.filter(run=run, status="WAITING").count() == 0
    assert RunStep.objects.filter(run=run, status="STARTED").count() == 0

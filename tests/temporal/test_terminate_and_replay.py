"""Terminate and replay by API and screen (docs/reference/authority.md#control-matrix)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.support.api import Api, error_of
from tests.support.factories import eventually, make_run, make_token, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.projection_rows import serialized_rows
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, Run
from workflows.statuses import Role


@pytest.fixture
def waiting(driver: TenantDriver) -> Run:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1", "note": "first"})
    return driver.wait_for_run("WAITING", id=run.id)


def admin_api(driver: TenantDriver) -> Api:
    return Api(make_token(driver.tenant, Role.ADMIN))


def test_terminate_ends_the_workflow_and_writes_no_projection(driver: TenantDriver, waiting: Run) -> None:
    before = serialized_rows(waiting)
    response = admin_api(driver).post(f"/runs/{waiting.id}/terminate", {"reason": "it does not react"})
    assert (response.status_code, response.json()["state"]) == (202, "accepted")
    assert serialized_rows(waiting) == before
    driver.history_types_until(waiting, "WORKFLOW_EXECUTION_TERMINATED")
    ended = driver.history(waiting)[-1]["workflowExecutionTerminatedEventAttributes"]
    assert ended["reason"] == "it does not react"


def test_terminate_needs_a_reason_and_the_role_admin(driver: TenantDriver, waiting: Run) -> None:
    address = f"/runs/{waiting.id}/terminate"
    assert error_of(admin_api(driver).post(address, {}), 400)["code"] == "REASON_REQUIRED"
    refused = Api(make_token(driver.tenant, Role.AUTHOR)).post(address, {"reason": "x"})
    assert error_of(refused, 403)["details"]["needed"] == "admin"
    assert Command.objects.get(run=waiting).state == "refused"
    assert driver.history_types(waiting)[-1] != "WORKFLOW_EXECUTION_TERMINATED"


def test_terminate_and_replay_write_only_the_ledger_while_temporal_is_down(
    driver: TenantDriver, waiting: Run, kill_temporal: Callable[[], None], restart_temporal: Callable[[], None]
) -> None:
    before = serialized_rows(waiting)
    kill_temporal()
    try:
        for address in ("terminate", "replay"):
            error = error_of(admin_api(driver).post(f"/runs/{waiting.id}/{address}", {"reason": "x"}), 503)
            assert (error["code"], "connect" in error["details"]["error"]) == ("TEMPORAL_UNAVAILABLE", True)
    finally:
        restart_temporal()
    assert serialized_rows(waiting) == before
    assert Run.objects.filter(tenant=driver.tenant).count() == 1
    assert set(Command.objects.filter(run=waiting).values_list("action", "state")) == {
        ("terminate", "refused"),
        ("replay", "refused"),
    }


@pytest.mark.parametrize("address", ["cancel", "terminate"])
def test_request_about_a_closed_run_is_refused(driver: TenantDriver, address: str) -> None:
    run = make_run(driver.tenant, status="SUCCEEDED")
    error = error_of(admin_api(driver).post(f"/runs/{run.id}/{address}", {"reason": "x"}), 409)
    assert (error["code"], error["details"]["action"], error["details"]["runId"]) == (
        "WORKFLOW_RUN_CLOSED",
        address,
        str(run.id),
    )


@pytest.mark.parametrize("address", ["cancel", "terminate", "replay", "resume", "retry", "requeue-event-wait"])
def test_run_of_an_older_engine_is_read_only(driver: TenantDriver, address: str) -> None:
    run = make_run(driver.tenant, engine="db")
    before = serialized_rows(run)
    error = error_of(admin_api(driver).post(f"/runs/{run.id}/{address}", {"reason": "x"}), 409)
    assert (error["code"], error["details"]["engine"]) == ("WORKFLOW_LEGACY_RUN_READ_ONLY", "db")
    assert serialized_rows(run) == before


def test_replay_is_a_new_run_of_the_pinned_version_linked_both_ways(driver: TenantDriver, waiting: Run) -> None:
    publish(driver.tenant, {"id": "other", "type": "state.set", "config": {"state": "X"}})  # version 2
    api = Api(make_token(driver.tenant))
    first = api.post(f"/runs/{waiting.id}/replay", {"reason": "again"}, **{"Idempotency-Key": "r-1"})
    again = api.post(f"/runs/{waiting.id}/replay", {"reason": "again"}, **{"Idempotency-Key": "r-1"})
    assert (first.status_code, again.json()["run_id"]) == (202, first.json()["run_id"])
    run = driver.wait_for_run("WAITING", id=first.json()["run_id"])
    assert (run.version, run.input, run.replay_of_id, run.trigger_type) == (1, waiting.input, waiting.id, "replay")
    assert (list(waiting.replays.all()), run.trigger_metadata["isEdited"]) == ([run], False)
    eventually(lambda: Command.objects.filter(run=waiting, action="replay", state="observed").exists())
    assert Run.objects.filter(tenant=driver.tenant).count() == 2
    assert Run.objects.get(id=waiting.id).status == "WAITING"


def test_replay_with_edited_input_shows_the_difference_first(driver: TenantDriver, waiting: Run) -> None:
    client = member_of(driver.tenant, role=Role.OPERATOR)
    address = f"/admin/workflows/run/{waiting.id}/replay/"
    edited = {"payload": '{"ticketId": "T-2", "note": "first"}', "reason": "the wrong ticket"}
    shown = client.post(address, edited).content.decode()
    assert "-  &quot;ticketId&quot;: &quot;T-1&quot;," in shown
    assert "+  &quot;ticketId&quot;: &quot;T-2&quot;," in shown
    assert Run.objects.filter(tenant=driver.tenant).count() == 1
    assert client.post(address, {**edited, "confirmed": "yes"}).status_code == 302
    run = driver.wait_for_run("WAITING", replay_of=waiting)
    assert (run.input["ticketId"], run.trigger_metadata["isEdited"]) == ("T-2", True)
    for page, link in ((run, waiting), (waiting, run)):
        assert f"/run/{link.id}/change/" in client.get(f"/admin/workflows/run/{page.id}/change/").content.decode()


def test_screens_require_a_reason_and_show_refusals(driver: TenantDriver, waiting: Run) -> None:
    address = f"/admin/workflows/run/{waiting.id}/terminate/"
    operator: Client = member_of(driver.tenant, role=Role.OPERATOR)
    assert "You need the role admin." in operator.get(f"/admin/workflows/run/{waiting.id}/change/").content.decode()
    page_text: Any = operator.post(address, {"reason": "x"}, follow=True).content.decode()
    assert "PERMISSION_DENIED" in page_text
    admin = member_of(driver.tenant, role=Role.ADMIN)
    assert "This field is required" in admin.post(address, {"reason": ""}).content.decode()
    assert admin.post(address, {"reason": "stuck"}).status_code == 302
    driver.history_types_until(waiting, "WORKFLOW_EXECUTION_TERMINATED")

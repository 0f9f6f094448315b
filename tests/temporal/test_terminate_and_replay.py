"""Terminate and replay by API and screen (docs/reference/authority.md#control-matrix)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from portal.devstack.servers import Servers
from tests.support.api import Api, error_of
from tests.support.desk import Desk
from tests.support.factories import eventually, make_run, make_token, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.projection_rows import rows_of
from workflows.models import Command, Run
from workflows.statuses import Role


@pytest.fixture
def waiting(desk: Desk) -> Run:
    publish(desk.tenant, wait_for_reply())
    run = desk.start({"ticketId": "T-1", "note": "first"})
    return desk.run_is("WAITING", id=run.id)


def admin_api(desk: Desk) -> Api:
    return Api(make_token(desk.tenant, Role.ADMIN))


def test_terminate_ends_the_workflow_and_writes_no_projection(desk: Desk, waiting: Run) -> None:
    before = rows_of(waiting)
    response = admin_api(desk).post(f"/runs/{waiting.id}/terminate", {"reason": "it does not react"})
    assert (response.status_code, response.json()["state"]) == (202, "accepted")
    assert rows_of(waiting) == before
    eventually(lambda: desk.history_types(waiting)[-1] == "WORKFLOW_EXECUTION_TERMINATED")
    ended = desk.history(waiting)[-1]["workflowExecutionTerminatedEventAttributes"]
    assert ended["reason"] == "it does not react"


def test_terminate_needs_a_reason_and_the_role_admin(desk: Desk, waiting: Run) -> None:
    address = f"/runs/{waiting.id}/terminate"
    assert error_of(admin_api(desk).post(address, {}), 400)["code"] == "REASON_REQUIRED"
    refused = Api(make_token(desk.tenant, Role.AUTHOR)).post(address, {"reason": "x"})
    assert error_of(refused, 403)["details"]["needed"] == "admin"
    assert Command.objects.get(run=waiting).state == "refused"
    assert desk.history_types(waiting)[-1] != "WORKFLOW_EXECUTION_TERMINATED"


def test_terminate_and_replay_write_only_the_ledger_while_temporal_is_down(
    desk: Desk, waiting: Run, servers: Servers, outage: Callable[[], None]
) -> None:
    before = rows_of(waiting)
    servers.temporal.kill()
    try:
        for address in ("terminate", "replay"):
            error = error_of(admin_api(desk).post(f"/runs/{waiting.id}/{address}", {"reason": "x"}), 503)
            assert (error["code"], "connect" in error["details"]["error"]) == ("TEMPORAL_UNAVAILABLE", True)
    finally:
        outage()
    assert rows_of(waiting) == before
    assert Run.objects.filter(tenant=desk.tenant).count() == 1
    assert set(Command.objects.filter(run=waiting).values_list("action", "state")) == {
        ("terminate", "refused"),
        ("replay", "refused"),
    }


@pytest.mark.parametrize("address", ["cancel", "terminate"])
def test_request_about_a_closed_run_is_refused(desk: Desk, address: str) -> None:
    run = make_run(desk.tenant, status="SUCCEEDED")
    error = error_of(admin_api(desk).post(f"/runs/{run.id}/{address}", {"reason": "x"}), 409)
    assert (error["code"], error["details"]["action"], error["details"]["runId"]) == (
        "WORKFLOW_RUN_CLOSED",
        address,
        str(run.id),
    )


@pytest.mark.parametrize("address", ["cancel", "terminate", "replay", "resume", "retry", "requeue-event-wait"])
def test_run_of_an_older_engine_is_read_only(desk: Desk, address: str) -> None:
    run = make_run(desk.tenant, engine="db")
    before = rows_of(run)
    error = error_of(admin_api(desk).post(f"/runs/{run.id}/{address}", {"reason": "x"}), 409)
    assert (error["code"], error["details"]["engine"]) == ("WORKFLOW_LEGACY_RUN_READ_ONLY", "db")
    assert rows_of(run) == before


def test_replay_is_a_new_run_of_the_pinned_version_linked_both_ways(desk: Desk, waiting: Run) -> None:
    publish(desk.tenant, {"id": "other", "type": "state.set", "config": {"state": "X"}})  # version 2
    api = Api(make_token(desk.tenant))
    first = api.post(f"/runs/{waiting.id}/replay", {"reason": "again"}, **{"Idempotency-Key": "r-1"})
    again = api.post(f"/runs/{waiting.id}/replay", {"reason": "again"}, **{"Idempotency-Key": "r-1"})
    assert (first.status_code, again.json()["run_id"]) == (202, first.json()["run_id"])
    run = desk.run_is("WAITING", id=first.json()["run_id"])
    assert (run.version, run.input, run.replay_of_id, run.trigger_type) == (1, waiting.input, waiting.id, "replay")
    assert (list(waiting.replays.all()), run.trigger_metadata["isEdited"]) == ([run], False)
    eventually(lambda: Command.objects.filter(run=waiting, action="replay", state="observed").exists())
    assert Run.objects.filter(tenant=desk.tenant).count() == 2
    assert Run.objects.get(id=waiting.id).status == "WAITING"


def test_replay_with_edited_input_shows_the_difference_first(desk: Desk, waiting: Run) -> None:
    client = member_of(desk.tenant, role=Role.OPERATOR)
    address = f"/admin/workflows/run/{waiting.id}/replay/"
    edited = {"payload": '{"ticketId": "T-2", "note": "first"}', "reason": "the wrong ticket"}
    shown = client.post(address, edited).content.decode()
    assert "-  &quot;ticketId&quot;: &quot;T-1&quot;," in shown
    assert "+  &quot;ticketId&quot;: &quot;T-2&quot;," in shown
    assert Run.objects.filter(tenant=desk.tenant).count() == 1
    assert client.post(address, {**edited, "confirmed": "yes"}).status_code == 302
    run = desk.run_is("WAITING", replay_of=waiting)
    assert (run.input["ticketId"], run.trigger_metadata["isEdited"]) == ("T-2", True)
    for page, link in ((run, waiting), (waiting, run)):
        assert f"/run/{link.id}/change/" in client.get(f"/admin/workflows/run/{page.id}/change/").content.decode()


def test_screens_require_a_reason_and_show_refusals(desk: Desk, waiting: Run) -> None:
    address = f"/admin/workflows/run/{waiting.id}/terminate/"
    operator: Client = member_of(desk.tenant, role=Role.OPERATOR)
    assert "You need the role admin." in operator.get(f"/admin/workflows/run/{waiting.id}/change/").content.decode()
    page_text: Any = operator.post(address, {"reason": "x"}, follow=True).content.decode()
    assert "PERMISSION_DENIED" in page_text
    admin = member_of(desk.tenant, role=Role.ADMIN)
    assert "This field is required" in admin.post(address, {"reason": ""}).content.decode()
    assert admin.post(address, {"reason": "stuck"}).status_code == 302
    eventually(lambda: desk.history_types(waiting)[-1] == "WORKFLOW_EXECUTION_TERMINATED")

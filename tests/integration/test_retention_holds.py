"""Legal holds, and what pages and responses say about deleted runs (docs/reference/retention.md#deleted-runs)."""

import threading
from typing import Any

import pytest
from django.db import close_old_connections, transaction
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_run, make_tenant, make_token
from tests.support.management_commands import run_command
from tests.support.members import member_of
from tests.support.old_runs import days_ago, fill_run, make_old_event, make_old_run, prune_batch
from tests.support.system_scope import in_system_scope
from workflows.errors import NotFound
from workflows.ledger import command_open
from workflows.models import Command, Event, EventDelivery, PrunedRun, Run, RunHold
from workflows.models.fields import short_id
from workflows.services.retention.holds import run_hold
from workflows.statuses import CommandAction, Role


@pytest.fixture
def admin(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.ADMIN))


def prune(tenant: Any) -> None:
    run_command("prune", "--tenant", tenant.slug)


def page(tenant: Any, name: str, *args: Any) -> tuple[int, str]:
    response = member_of(tenant, role="admin").get(reverse(f"admin:{name}", args=args))
    return response.status_code, response.content.decode()


def test_a_hold_keeps_a_run_until_it_is_released(tenant: Any, admin: Api) -> None:
    run = make_old_run(tenant)
    held = admin.post(f"/runs/{run.id}/hold", {"reason": "court case 17"})
    assert held.status_code == 200
    assert held.json()["legal_hold"]["reason"] == "court case 17"
    assert admin.get(f"/runs/{run.id}").json()["legal_hold"]["held_by"] == RunHold.objects.get(run=run).held_by_name
    status, text = page(tenant, "workflows_run_change", run.id)
    assert (status, "court case 17" in text, "Release legal hold" in text) == (200, True, True)
    prune(tenant)
    assert Run.objects.filter(id=run.id).exists()

    assert admin.post(f"/runs/{run.id}/release", {"reason": "case closed"}).json()["legal_hold"] is None
    commands = Command.objects.filter(tenant=tenant, run=run).order_by("requested_at")
    assert [(row.action, row.state, row.reason) for row in commands] == [
        ("hold_run", "observed", "court case 17"),
        ("release_run", "observed", "case closed"),
    ]
    prune(tenant)
    assert not Run.objects.filter(id=run.id).exists()


def test_requests_for_holds_that_are_refused(tenant: Any, admin: Api) -> None:
    run, foreign = make_run(tenant), make_run(make_tenant())
    operator = Api(make_token(tenant, Role.AUTHOR))
    assert error_of(operator.post(f"/runs/{run.id}/hold", {"reason": "r"}), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(admin.post(f"/runs/{run.id}/hold", {}), 400)["code"] == "REASON_REQUIRED"
    assert error_of(admin.post(f"/runs/{run.id}/release", {"reason": "r"}), 409)["code"] == "RUN_NOT_HELD"
    assert error_of(admin.post(f"/runs/{foreign.id}/hold", {"reason": "r"}), 404)["code"] == "RUN_NOT_FOUND"
    for _ in range(2):
        repeated = admin.post(f"/runs/{run.id}/hold", {"reason": "r"}, **{"Idempotency-Key": "once"})
        assert repeated.status_code == 200
    assert error_of(admin.post(f"/runs/{run.id}/hold", {"reason": "r"}), 409)["code"] == "RUN_HELD"
    assert RunHold.objects.filter(tenant=tenant).count() == 1


def test_the_page_sets_and_releases_a_hold(tenant: Any) -> None:
    run, browser = make_run(tenant), member_of(tenant, role="admin")
    for name, reason in (("hold", "audit 2026"), ("release", "audit done")):
        address = reverse(f"admin:workflows_run_{name}", args=[run.id])
        assert browser.get(address).status_code == 200
        assert "This field is required" in browser.post(address, {"reason": ""}).content.decode()
        assert RunHold.objects.filter(run=run).exists() == (name == "release")
        assert browser.post(address, {"reason": reason}).status_code == 302
    assert not RunHold.objects.filter(run=run).exists()
    viewer = member_of(tenant, role="operator")
    address = reverse("admin:workflows_run_hold", args=[run.id])
    assert [viewer.get(address).status_code, viewer.post(address, {"reason": "r"}).status_code] == [403, 403]
    assert Command.objects.filter(tenant=tenant, state="refused").count() == 1


def test_a_hold_waits_for_a_deletion_and_reports_it(tenant: Any) -> None:
    run = make_old_run(tenant)
    deleted, released, results = threading.Event(), threading.Event(), []

    @in_system_scope
    def delete() -> None:
        with transaction.atomic():
            prune_batch(tenant, limit=10)
            deleted.set()
            released.wait(60)
        close_old_connections()

    @in_system_scope
    def hold() -> None:
        try:
            results.append(run_hold(actor=make_actor(tenant), run_id=run.id, reason="r"))
        except NotFound as error:
            results.append(error.code)
        close_old_connections()

    deleting, holding = threading.Thread(target=delete), threading.Thread(target=hold)
    deleting.start()
    assert deleted.wait(30)
    holding.start()
    released.set()
    deleting.join()
    holding.join()
    assert results == ["RUN_DELETED"]
    assert not RunHold.objects.filter(tenant=tenant).exists()


# -- Deleted runs ------------------------------------------------------------------------------------------------------


def test_pages_and_responses_say_that_a_run_was_deleted(tenant: Any, admin: Api) -> None:
    run = make_old_run(tenant)
    fill_run(run, make_old_event(tenant))
    command_open(
        actor=make_actor(tenant), action=CommandAction.REPLAY, target_type="run", target_id=str(run.id), run=run
    )
    prune(tenant)
    row = PrunedRun.objects.get(id=run.id)
    words = f"was deleted on {row.pruned_at:%Y-%m-%d %H:%M} UTC by the retention policy (90 days)"
    for name in ("change", "cancel", "replay", "verify", "hold"):
        status, text = page(tenant, f"workflows_run_{name}", run.id)
        assert (status, words in text, "another tenant" in text) == (404, True, False), name
    for path in (f"/runs/{run.id}", f"/runs/{run.id}/steps"):
        error = error_of(admin.get(path), 404)
        assert error["code"] == "RUN_DELETED"
        assert error["details"]["retentionDays"] == 90
    assert error_of(admin.post(f"/runs/{run.id}/cancel", {}), 404)["code"] == "RUN_DELETED"
    stranger = make_tenant()
    assert error_of(Api(make_token(stranger)).get(f"/runs/{run.id}"), 404)["code"] == "RUN_NOT_FOUND"
    assert page(stranger, "workflows_run_change", run.id)[1].count("retention policy") == 0


def test_pages_that_refer_to_a_deleted_run_still_work(tenant: Any, admin: Api) -> None:
    event = make_old_event(tenant, days=100)
    run = make_old_run(tenant)
    fill_run(run, event)
    wait = {"waitId": str(run.waits.get().id), "runId": str(run.id), "stepPath": "root.steps[0]", "key": "K"}
    trace = {"waits": [{**wait, "eventName": "TICKET_CREATED", "why": "same key"}]}
    Event.objects.filter(id=event.id).update(received_at=days_ago(1), decision_trace=trace)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.REPLAY, target_type="run", target_id=str(run.id), run=run
    )
    part = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id="x", parent=command
    )
    prune(tenant)
    assert not EventDelivery.objects.filter(tenant=tenant).exists()
    status, text = page(tenant, "workflows_command_change", command.id)
    assert (status, "deleted by the retention policy" in text) == (200, True)
    assert page(tenant, "workflows_command_change", part.id)[0] == 200
    assert page(tenant, "workflows_command_changelist")[0] == 200
    status, text = page(tenant, "workflows_event_change", event.id)
    assert (status, f"run {short_id(run.id)} (deleted)" in text) == (200, True)
    assert admin.get(f"/events/{event.event_id}/trace").status_code == 200
    assert admin.get(f"/commands/{command.id}").json()["run"] == str(run.id)

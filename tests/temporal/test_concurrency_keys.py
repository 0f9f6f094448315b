"""Concurrency keys: one open run for each key (docs/reference/events.md#concurrency-keys)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from ingress.tasks import sweep_events
from tests.support.api import Api
from tests.support.factories import eventually, expr, make_actor, make_token, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.errors import Conflict
from workflows.models import Command, Definition, Event, EventDelivery, Run, TenantMembership
from workflows.services.runs import keys, queue, unstarted
from workflows.services.runs.control import run_cancel
from workflows.services.runs.rebuild import run_rebuild
from workflows.services.runs.replay import run_replay
from workflows.services.runs.start import run_start
from workflows.statuses import ReconcileOutcome, Role
from workflows.temporal import gateway
from workflows.tenancy import tenant_scope

CREATED, REPLIED = "TICKET_CREATED", "TICKET_CUSTOMER_REPLIED"
TRIGGER = {"type": "event", "eventName": CREATED}
KEY = "payload.customer"


def keyed(driver: TenantDriver, on_conflict: str, *steps: dict[str, Any], key: str = "flow", source: str = KEY) -> None:
    """Publish a definition whose runs wait for a reply, with one open run for each customer."""
    publish(driver.tenant, *(steps or (wait_for_reply(),)), key=key, trigger=TRIGGER if key == "flow" else None)
    rule = {"key": expr(source), "onConflict": on_conflict}
    Definition.objects.filter(tenant=driver.tenant, key=key).update(concurrency=rule)


def created(driver: TenantDriver, ticket: str, customer: str | None = "C-1") -> Event:
    return driver.send(CREATED, {"ticketId": ticket, "customer": customer})


def reply(driver: TenantDriver, ticket: str) -> None:
    driver.send(REPLIED, {"ticketId": ticket})


def run_of(event: Event, status: str) -> Run:
    return eventually(lambda: Run.objects.filter(event=event, status=status).first(), what=f"a {status} run")


def delivery_is(event: Event, status: str) -> EventDelivery:
    return eventually(lambda: EventDelivery.objects.filter(event=event, status=status).first(), what=status)


# -- Skip --------------------------------------------------------------------------------------------------------------


def test_two_starts_with_one_key_give_one_run_and_the_reason(driver: TenantDriver) -> None:
    keyed(driver, "skip")
    run = run_of(created(driver, "T-1"), "WAITING")
    skipped = delivery_is(created(driver, "T-2"), "skipped")
    assert str(run.id) in skipped.reason
    assert "CONCURRENCY_KEY_IN_USE" in skipped.reason
    api = Api(make_token(driver.tenant))
    refused = api.post("/runs", {"definition": "flow", "payload": {"ticketId": "T-3", "customer": "C-1"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONCURRENCY_KEY_IN_USE")
    assert refused.json()["error"]["details"]["runId"] == str(run.id)
    assert Command.objects.get(tenant=driver.tenant, action="start_run").state == "refused"
    run_of(created(driver, "T-4", "C-2"), "WAITING")
    for ticket in ("T-5", "T-6"):  # null is no key, so there is no limit
        run_of(created(driver, ticket, None), "WAITING")
    reply(driver, "T-1")
    first = driver.wait_for_run("SUCCEEDED", id=run.id)
    again = run_of(created(driver, "T-7"), "WAITING")
    with pytest.raises(Conflict) as replayed:
        run_replay(actor=make_actor(driver.tenant), run_id=first.id)
    assert replayed.value.details["runId"] == str(again.id)
    assert run_rebuild(run_id=again.id, is_dry_run=True).outcome == ReconcileOutcome.EQUAL


@pytest.mark.parametrize("on_conflict", ["skip", "queue"])
def test_starts_at_once_from_several_connections_give_one_open_run(driver: TenantDriver, on_conflict: str) -> None:
    keyed(driver, on_conflict)
    gate = threading.Barrier(4)

    def start(number: int) -> str:
        with tenant_scope(driver.tenant.id):
            try:
                gate.wait()
                payload = {"ticketId": f"T-{number}", "customer": "C-1"}
                run_start(actor=driver.actor, definition_key="flow", payload=payload)
                return "started"
            except Conflict as error:
                return str(error.code)
            finally:
                connection.close()

    with ThreadPoolExecutor(4) as threads:
        results = sorted(threads.map(start, range(4)))
    runs = Run.objects.filter(tenant=driver.tenant)
    if on_conflict == "skip":
        assert results == ["CONCURRENCY_KEY_IN_USE"] * 3 + ["started"]
        assert runs.count() == 1
        return
    assert results == ["started"] * 4
    for _ in range(4):
        eventually(lambda: runs.filter(status="WAITING").exists(), what="the next run of the queue")
        assert runs.filter(status__in=["STARTING", "RUNNING", "WAITING"], queued_until=None).count() == 1
        running = runs.get(status="WAITING")
        reply(driver, running.input["ticketId"])
        driver.wait_for_run("SUCCEEDED", id=running.id)
    assert runs.filter(status="SUCCEEDED").count() == 4


def test_key_that_cannot_be_computed_starts_nothing(driver: TenantDriver) -> None:
    keyed(driver, "skip", source="payload.missing")
    assert "CONCURRENCY_KEY_INVALID" in delivery_is(created(driver, "T-1"), "skipped").reason
    refused = Api(make_token(driver.tenant)).post("/runs", {"definition": "flow", "payload": {"ticketId": "T-1"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "CONCURRENCY_KEY_INVALID")
    assert not Run.objects.filter(tenant=driver.tenant).exists()
    assert Command.objects.get(tenant=driver.tenant, action="start_run").state == "refused"


# -- Queue -------------------------------------------------------------------------------------------------------------


def test_queued_starts_run_one_after_the_other_in_the_order_of_acceptance(driver: TenantDriver) -> None:
    keyed(driver, "queue")
    Definition.objects.filter(tenant=driver.tenant).update(concurrency_limit=2)
    first = run_of(created(driver, "T-1"), "WAITING")
    second = run_of(created(driver, "T-2"), "STARTING")
    assert "queued" in delivery_is(second.event, "started").reason
    api = Api(make_token(driver.tenant))
    started = api.post("/runs", {"definition": "flow", "payload": {"ticketId": "T-3", "customer": "C-1"}})
    assert (started.status_code, started.json()["warning"]["code"]) == (202, "START_QUEUED")
    third = Run.objects.get(id=started.json()["run_id"])
    assert [api.get(f"/runs/{run.id}").json()["is_queued"] for run in (first, second, third)] == [False, True, True]
    run_of(created(driver, "T-4", "C-2"), "WAITING")  # a queued start uses no slot
    member = User.objects.create_user(f"m-{driver.tenant.slug}", is_staff=True)
    TenantMembership.objects.create(tenant=driver.tenant, user=member, role=Role.VIEWER)
    client = Client()
    client.force_login(member)
    page = client.get(f"/admin/workflows/run/{second.id}/change/").content.decode()
    assert "The start is queued." in page
    assert f"Run {first.id}" in page
    assert "has not confirmed the start" not in page
    reply(driver, "T-1")
    driver.wait_for_run("WAITING", id=second.id)
    third.refresh_from_db()
    assert third.queued_until is not None
    reply(driver, "T-2")
    driver.wait_for_run("WAITING", id=third.id)
    assert eventually(lambda: Command.objects.get(id=started.json()["command_id"]).state == "observed")


def test_queued_start_can_be_cancelled(driver: TenantDriver) -> None:
    keyed(driver, "queue")
    run_of(created(driver, "T-1"), "WAITING")
    second, third = run_of(created(driver, "T-2"), "STARTING"), run_of(created(driver, "T-3"), "STARTING")
    assert run_cancel(actor=driver.actor, run_id=second.id).state == "observed"
    second.refresh_from_db()
    assert (second.status, second.queued_until, second.temporal_first_run_id) == ("CANCELED", None, "")
    reply(driver, "T-1")
    driver.wait_for_run("WAITING", id=third.id)


def test_killed_process_leaves_no_start_in_the_queue(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed(driver, "queue")
    first = run_of(created(driver, "T-1"), "WAITING")
    monkeypatch.setattr(keys, "notify_dispatcher", lambda *_: None)  # killed after the commit of the queued row
    second, _ = run_start(actor=driver.actor, definition_key="flow", payload={"ticketId": "T-2", "customer": "C-1"})
    reply(driver, "T-1")
    driver.wait_for_run("SUCCEEDED", id=first.id)
    eventually(lambda: sweep_events() and Run.objects.filter(id=second, status="WAITING").exists())


def test_outage_of_temporal_at_the_release_is_repaired(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed(driver, "queue")
    first = run_of(created(driver, "T-1"), "WAITING")
    second = run_of(created(driver, "T-2"), "STARTING")

    def down(_run: Run) -> None:
        raise gateway.TemporalUnreachable("down")

    with monkeypatch.context() as outage:
        outage.setattr(queue, "run_start_workflow", down)
        reply(driver, "T-1")
        driver.wait_for_run("SUCCEEDED", id=first.id)
        eventually(lambda: Run.objects.filter(id=second.id, queued_until=None).exists(), what="the release")
    monkeypatch.setattr(unstarted, "UNSTARTED_AFTER", unstarted.UNSTARTED_AFTER * 0)
    eventually(lambda: sweep_events() and Run.objects.filter(id=second.id, status="WAITING").exists())


# -- cancelOldest ------------------------------------------------------------------------------------------------------


def test_new_start_cancels_the_open_run_and_begins_after_its_end(driver: TenantDriver) -> None:
    keyed(driver, "cancelOldest")
    first = run_of(created(driver, "T-1"), "WAITING")
    second = run_of(created(driver, "T-2"), "WAITING")
    first = driver.wait_for_run("CANCELED", id=first.id)  # its row can be written after the second run has started
    assert second.started_at is not None
    assert first.ended_at is not None
    assert second.started_at >= first.ended_at
    cancel = Command.objects.get(tenant=driver.tenant, action="cancel")
    assert (cancel.run_id, cancel.actor_type, cancel.actor_name) == (first.id, "system", "concurrency key")
    assert str(second.id) in cancel.reason
    assert eventually(lambda: Command.objects.get(id=cancel.id).state == "observed")


# -- Children ----------------------------------------------------------------------------------------------------------


def parent(key: str = "child") -> dict[str, Any]:
    mapping = {"ticketId": expr("payload.ticketId"), "customer": expr("payload.customer")}
    return {
        "id": "call", "type": "control.callWorkflow", "workflowId": key, "workflowVersion": 1, "inputMapping": mapping,
    }  # fmt: skip


@pytest.mark.parametrize("on_conflict", ["skip", "queue", "cancelOldest"])
def test_child_obeys_the_key_of_its_definition(driver: TenantDriver, on_conflict: str) -> None:
    keyed(driver, on_conflict, key="child")
    publish(driver.tenant, parent(), key="parent")
    holder = driver.start({"ticketId": "T-1", "customer": "C-1"}, key="child")
    driver.wait_for_run("WAITING", id=holder.id)
    caller = driver.start({"ticketId": "T-2", "customer": "C-1"}, key="parent")
    if on_conflict == "skip":
        failed = driver.wait_for_run("FAILED", id=caller.id)
        assert failed.error["code"] == "CONCURRENCY_KEY_IN_USE"
        return
    if on_conflict == "queue":
        driver.wait_for_run("STARTING", parent_run=caller, queued_until__isnull=False)
        reply(driver, "T-1")
    holder = driver.wait_for_run("SUCCEEDED" if on_conflict == "queue" else "CANCELED", id=holder.id)
    child = driver.wait_for_run("WAITING", parent_run=caller)
    assert holder.ended_at is not None
    assert child.started_at is not None
    assert child.started_at >= holder.ended_at  # with cancelOldest, the child is queued only for a moment
    reply(driver, "T-2")
    driver.wait_for_run("SUCCEEDED", id=caller.id)


def test_child_does_not_wait_for_its_own_parent(driver: TenantDriver) -> None:
    keyed(driver, "queue", parent("flow"))
    run = driver.start({"ticketId": "T-1", "customer": "C-1"})
    assert driver.wait_for_run("FAILED", id=run.id).error["code"] == "CONCURRENCY_KEY_IN_USE"

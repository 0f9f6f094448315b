"""Maintenance of a tenant and of the portal (docs/reference/administration.md#maintenance)."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, transaction
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch import delivery
from tests.support.api import error_of
from tests.support.events import receive
from tests.support.factories import make_actor, make_run, make_tenant, publish
from tests.support.members import member_of
from tests.support.system_scope import in_system_scope
from tests.support.tenants import api_of, run_command, text_of, work
from tests.support.triggers import STATE, TRIGGER
from workflows.models import (
    Command,
    EventDelivery,
    PortalMaintenance,
    Run,
)
from workflows.services import maintenance
from workflows.services.maintenance import tenant_maintenance_end, tenant_maintenance_start
from workflows.services.runs.replay import run_replay
from workflows.services.schedules.edit import schedule_create
from workflows.services.schedules.field_checks import ScheduleFields
from workflows.services.schedules.fire import schedule_fire
from workflows.statuses import Role
from workflows.tenancy import system_scope

pytestmark = pytest.mark.usefixtures("no_dispatcher")
PAGE = "admin:workflows_tenant_change"


def test_maintenance_holds_new_starts_and_its_end_releases_them_in_order(tenant: Any, started: list[str]) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    closed = make_run(tenant, status="FAILED", ended_at=timezone.now())
    api, address = api_of(tenant), f"/tenants/{tenant.slug}/maintenance"
    fields = ScheduleFields(name="Nightly", cron="0 3 * * *", time_zone="UTC", payload={})
    schedule = schedule_create(actor=make_actor(tenant), definition_key="flow", fields=fields)
    shown = api.post(address, {"reason": "database move"}).json()
    assert (shown["maintenance_reason"], shown["maintenance_by_name"]) == ("database move", "admin token")
    for number in range(3):
        receive(tenant, workflow_correlation_key=None, event_id=f"m{number}")
        work(tenant)
    occurrence = schedule_fire(tenant_id=tenant.id, schedule_id=schedule.id, scheduled_at=timezone.now())
    assert occurrence is not None
    work(tenant)
    held = EventDelivery.objects.filter(tenant=tenant)
    assert (started, {row.status for row in held}, len(held)) == ([], {"pending"}, 4)
    assert all("in maintenance: " in row.reason and "database move" in row.reason for row in held)
    refused = error_of(api.post("/runs", {"definition": "flow", "payload": {}}), 409)
    assert (refused["code"], "database move" in refused["message"]) == ("TENANT_IN_MAINTENANCE", True)
    with pytest.raises(Exception, match="database move"):
        run_replay(actor=make_actor(tenant), run_id=closed.id)
    assert not Run.objects.filter(tenant=tenant).exclude(id=closed.id).exists()
    assert api.delete(address).json()["maintenance_since"] is None
    work(tenant)
    assert started == ["m0", "m1", "m2", f"schedule:{occurrence.id}"]
    assert error_of(api.delete(address), 409)["code"] == "MAINTENANCE_STATE"
    rows = Command.objects.filter(tenant=tenant, target_type="tenant").order_by("requested_at", "id")
    assert list(rows.values_list("action", "state", "reason")) == [
        ("start_maintenance", "observed", "database move"), ("end_maintenance", "observed", ""),
        ("end_maintenance", "refused", ""),
    ]  # fmt: skip


def test_banner_is_on_every_page_with_reason_and_time(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    page = reverse(PAGE, args=[tenant.id])
    assert "is in maintenance" not in text_of(client.get("/admin/"))
    form = {"what": "start", "reason": "move <b>now", "idempotency_key": str(uuid.uuid4())}
    make_run(tenant)
    unconfirmed = text_of(client.post(page, form))
    assert "Tick the box to confirm" in unconfirmed
    assert "In the last hour, 1 run started." in unconfirmed
    assert "is in maintenance" not in unconfirmed
    assert "The tenant is in maintenance" in text_of(client.post(page, {**form, "confirm": "on"}, follow=True))
    viewer = member_of(tenant, role="viewer")
    for address in ("/admin/", reverse("admin:workflows_run_changelist"), reverse("admin:support")):
        shown = text_of(viewer.get(address)).replace("</b>", "")
        assert ("This tenant is in maintenance" in shown, "move &lt;b&gt;now" in shown) == (True, True), address
    end = {"what": "end", "reason": "", "idempotency_key": str(uuid.uuid4())}
    assert "The maintenance has ended" in text_of(client.post(page, end, follow=True))
    assert "is in maintenance" not in text_of(client.get("/admin/"))


def test_maintenance_of_the_portal_holds_the_starts_of_all_tenants(
    tenant: Any, started: list[str], portal: Any
) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    address = "/api/v1/maintenance"
    json = {"content_type": "application/json"}
    assert portal.post(address, {"reason": "upgrade"}, **json).status_code == 200
    assert "The portal is in maintenance" in text_of(member_of(tenant).get("/admin/")).replace("</b>", "")
    receive(tenant, workflow_correlation_key=None, event_id="p")
    work(tenant)
    error = error_of(api_of(tenant).post("/runs", {"definition": "flow", "payload": {}}), 409)
    assert (started, error["code"]) == ([], "PORTAL_IN_MAINTENANCE")
    assert error_of(api_of(tenant).delete("/maintenance"), 403)["code"] == "PERMISSION_DENIED"
    assert "upgrade" in run_command("maintenance", "show")
    assert portal.delete(address).status_code == 204
    work(tenant)
    assert started == ["p"]
    assert portal.get(address).status_code == 204


def held_of(tenant: Any, event_id: str) -> EventDelivery:
    """Receive an event while the tenant is in maintenance, and return its held start."""
    receive(tenant, workflow_correlation_key=None, event_id=event_id)
    work(tenant)
    return EventDelivery.objects.get(tenant=tenant, event__event_id=event_id, held_since__isnull=False)


def in_another_process(change: Callable[[], Any]) -> None:
    """Make the change on another connection, and wait for it."""

    @in_system_scope
    def run() -> None:
        try:
            change()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_starts_that_are_held_while_maintenance_ends_are_not_forgotten(
    tenant: Any, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    actor, slug = make_actor(tenant, role=Role.ADMIN), tenant.slug
    tenant_maintenance_start(actor=actor, slug=slug, reason="move")
    record = delivery._record_attempts

    def end_and_record(attempted: Any) -> None:
        monkeypatch.setattr(delivery, "_record_attempts", record)
        tenant_maintenance_end(actor=actor, slug=slug)
        record(attempted)

    monkeypatch.setattr(delivery, "_record_attempts", end_and_record)
    receive(tenant, workflow_correlation_key=None, event_id="held after the end")
    work(tenant)
    assert started == ["held after the end"]

    tenant_maintenance_start(actor=actor, slug=slug, reason="move")
    late = held_of(tenant, "held before the commit")
    hold = {"held_since": late.held_since, "next_attempt_at": late.next_attempt_at}
    rows = EventDelivery.objects.filter(id=late.id)
    rows.update(held_since=None)
    with transaction.atomic():
        tenant_maintenance_end(actor=actor, slug=slug)
        in_another_process(lambda: rows.update(**hold))
    work(tenant)
    assert started == ["held after the end", "held before the commit"]


def test_end_of_the_maintenance_of_the_portal_is_one_transaction(
    tenant: Any, started: list[str], portal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process leaves the maintenance, and a repeat releases all held starts in their order."""
    others = [tenant, make_tenant()]
    for each in others:
        publish(each, STATE, trigger=TRIGGER)
    with system_scope():
        PortalMaintenance.objects.create(id=1, reason="upgrade", by_name="x")
    for number, each in enumerate([*others, *others]):
        held_of(each, f"k{number}")
    actor = replace(make_actor(tenant, role=Role.ADMIN), is_superuser=True)
    release = maintenance.held_starts_release

    def kill(tenant_id: Any) -> None:
        release(tenant_id)
        raise SystemExit

    monkeypatch.setattr(maintenance, "held_starts_release", kill)
    with pytest.raises(SystemExit):
        maintenance.portal_maintenance_end(actor=actor, tenants=others)
    for each in others:
        work(each)
    assert (started, PortalMaintenance.objects.count()) == ([], 1)
    monkeypatch.setattr(maintenance, "held_starts_release", release)
    maintenance.portal_maintenance_end(actor=actor, tenants=others)
    for each in others:
        work(each)
    assert started == ["k0", "k2", "k1", "k3"]


def test_page_asks_for_a_confirmation_before_the_maintenance_of_the_portal(tenant: Any, portal: Any) -> None:
    page = reverse("admin:workflows_tenant_portal")
    form = {"reason": "upgrade", "idempotency_key": str(uuid.uuid4())}
    shown = text_of(portal.post(page, form))
    assert "Tick the box to confirm" in shown
    assert "Hold the new starts of" in shown
    assert not PortalMaintenance.objects.exists()
    assert "The portal is in maintenance" in text_of(portal.post(page, {**form, "confirm": "on"}, follow=True))
    end = {"reason": "", "idempotency_key": str(uuid.uuid4())}
    assert "The maintenance of the portal has ended" in text_of(portal.post(page, end, follow=True))

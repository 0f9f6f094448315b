"""Limits, maintenance and the closing of tenants (docs/reference/administration.md#limits)."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from celery.exceptions import Retry
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.urls import reverse
from django.utils import timezone

from ingress import outbox
from ingress.dispatch import delivery
from ingress.dispatch.work import events_work
from ingress.intake import admission
from ingress.intake.admission import TenantOverLimit
from ingress.publish import publish_event
from ingress.stream import consumer
from ingress.tasks import consume_event
from portal.devstack.servers import Servers
from tests.support.api import Api, error_of
from tests.support.events import receive
from tests.support.factories import eventually, make_actor, make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from tests.support.stream_driver import StreamDriver
from tests.support.system_scope import in_system_scope
from tests.support.triggers import STATE, TRIGGER
from workflows.models import (
    Command,
    DataStoreEntry,
    Event,
    EventDelivery,
    Notification,
    OutboxEvent,
    PortalMaintenance,
    Run,
    Tenant,
)
from workflows.projections.transaction import projection_writer
from workflows.services import maintenance, tenant_usage
from workflows.services.maintenance import tenant_maintenance_end, tenant_maintenance_start
from workflows.services.runs.replay import run_replay
from workflows.services.schedules.edit import schedule_create
from workflows.services.schedules.field_checks import ScheduleFields
from workflows.services.schedules.fire import schedule_fire
from workflows.services.tenant_usage import stored_bytes, tenants_measure, uses_of
from workflows.statuses import Role
from workflows.temporal import gateway
from workflows.tenancy import system_scope
from workflows.tenant_starts import starts_at_limit_wake

pytestmark = pytest.mark.usefixtures("no_dispatcher")
PAGE = "admin:workflows_tenant_change"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the event ids of the runs that were started, in this order. Temporal is not called."""
    ids: list[str] = []

    def start(run: Any, **_: Any) -> str:
        ids.append(run.trigger_event_id)
        return f"first-{uuid.uuid4()}"

    monkeypatch.setattr(gateway, "start_run", start)
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    return ids


@pytest.fixture
def portal() -> Iterator[Any]:
    """Return a superuser of a new tenant. The maintenance of the portal ends with the test."""
    with system_scope():
        PortalMaintenance.objects.all().delete()
    yield member_of(make_tenant(), role="viewer", superuser=True)
    with system_scope():
        PortalMaintenance.objects.all().delete()


def api_of(tenant: Any, role: Role = Role.ADMIN) -> Api:
    return Api(make_token(tenant, role))


def work(tenant: Any) -> None:
    events_work(tenant_id=tenant.id, seconds=20)


def limit(tenant: Any, **limits: int | None) -> None:
    Tenant.objects.filter(id=tenant.id).update(**{f"{name}_limit": value for name, value in limits.items()})


def run_command(*words: str) -> str:
    out = StringIO()
    with system_scope():
        call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def event(number: int) -> dict[str, Any]:
    return {"event_type": "PAID", "event_id": f"e-{number}-{uuid.uuid4()}", "payload": {"n": number}}


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


# -- Maintenance -------------------------------------------------------------------------------------------------------


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
    assert all("in maintenance since" in row.reason and "database move" in row.reason for row in held)
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
    assert "The tenant is in maintenance" in text_of(client.post(page, form, follow=True))
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


# -- Limits ------------------------------------------------------------------------------------------------------------


def test_starts_over_the_limit_of_open_runs_wait_and_are_not_lost(tenant: Any, started: list[str]) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    limit(tenant, open_runs=2)
    open_run = make_run(tenant, status="RUNNING")
    for number in range(3):
        receive(tenant, workflow_correlation_key=None, event_id=f"l{number}")
        work(tenant)
    assert started == ["l0"]
    error = error_of(api_of(tenant).post("/runs", {"definition": "flow", "payload": {}}), 409)
    assert error["code"] == "TENANT_OPEN_RUNS_LIMIT"
    with projection_writer("test"):
        Run.objects.filter(id=open_run.id).update(status="SUCCEEDED", ended_at=timezone.now())
    starts_at_limit_wake(tenant.id)
    work(tenant)
    assert started == ["l0", "l1"]
    assert run_command("tenant", "limits", tenant.slug, "--open-runs", "0").startswith("events per second: no limit")
    work(tenant)
    assert started == ["l0", "l1", "l2"]


def test_rate_of_events_is_refused_with_a_time_and_stores_nothing(tenant: Any) -> None:
    limit(tenant, events_per_second=3)
    api = api_of(tenant)
    assert api.post("/events", {"events": [event(n) for n in range(3)]}).status_code == 207
    refused = api.post("/events", event(3))
    assert error_of(refused, 429)["code"] == "TENANT_EVENT_RATE"
    assert int(refused["Retry-After"]) >= 1
    too_large = error_of(api.post("/events", {"events": [event(n) for n in range(4)]}), 429)
    assert "a batch of at most 3 events" in too_large["message"]
    assert Event.objects.filter(tenant=tenant).count() == 3
    eventually(lambda: api.post("/events", event(4)).status_code == 202, what="the next second")
    other = api_of(make_tenant())
    assert other.post("/events", event(5)).status_code == 202


def test_full_tenant_refuses_events_and_loses_none_of_its_own(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(tenant, stored_bytes=1000)
    Tenant.objects.filter(id=tenant.id).update(usage={"storedBytes": 1000})
    refused = api_of(tenant).post("/events", event(1))
    assert (error_of(refused, 507)["code"], refused["Retry-After"]) == ("TENANT_STORAGE_LIMIT", "60")

    def retry(**options: Any) -> Retry:
        return Retry(exc=options["exc"], when=options["countdown"])

    monkeypatch.setattr(consume_event, "retry", retry)
    with pytest.raises(Retry) as kept:
        consume_event({"tenant": tenant.slug, **event(2)})
    assert kept.value.when == 60
    publish_event("PAID", {"n": 3}, tenant=tenant)
    outbox.outbox_relay_events(tenant_id=tenant.id)
    row = OutboxEvent.objects.get(tenant=tenant)
    assert (row.refused_at, "TENANT_STORAGE_LIMIT" in row.reason or "stores 1,000 bytes" in row.reason) == (None, True)
    limit(tenant, stored_bytes=None)
    OutboxEvent.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
    outbox.outbox_relay_events(tenant_id=tenant.id)
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_stream_keeps_entries_over_the_limit_and_serves_other_tenants(tenant: Any, servers: Servers) -> None:
    other, driver = make_tenant(), StreamDriver(servers.redis_url, tenant.slug)
    limit(tenant, stored_bytes=1)
    Tenant.objects.filter(id=tenant.id).update(usage={"storedBytes": 5})
    for number in range(3):
        driver.add(tenant, number)
    driver.add(other, 9)
    counts = driver.consumer(max_deliveries=1).consume_events(once=True)
    assert (counts.stored, counts.over_limit, counts.dead, len(driver.pending())) == (1, 3, 0, 3)
    limit(tenant, stored_bytes=None)
    assert driver.consumer(max_deliveries=1).consume_events(once=True).stored == 3
    assert (driver.pending(), driver.dead_letters()) == ({}, [])
    driver.close()


def test_entries_over_the_limit_do_not_delay_those_of_other_tenants(
    tenant: Any, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, driver = make_tenant(), StreamDriver(servers.redis_url, tenant.slug)
    limit(tenant, stored_bytes=1)
    Tenant.objects.filter(id=tenant.id).update(usage={"storedBytes": 5})
    monkeypatch.setattr(admission, "STORAGE_RETRY_SECONDS", 0)
    for number in range(6):
        driver.add(tenant, number)
    for number in range(3):
        driver.add(other, number)
    seen: list[str] = []
    store = consumer.stream_events_receive

    def record(**given: Any) -> Any:
        seen.extend("full" if str(tenant.slug).encode() in dict(entry.fields).values() else "other"
                    for entry in given["entries"])  # fmt: skip
        return store(**given)

    monkeypatch.setattr(consumer, "stream_events_receive", record)
    assert driver.consumer(batch=1).consume_events(once=True).stored == 3
    first = seen.index("other")
    assert "".join(seen[first:]).count("fullfull") == 0, seen
    limit(tenant, stored_bytes=None)
    assert driver.consumer(batch=1).consume_events(once=True).stored == 6
    driver.close()


def test_measurement_warns_at_80_and_100_percent(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = member_of(tenant, role="admin")
    receive(tenant)
    with system_scope():
        stored = stored_bytes()[tenant.id]
    assert stored > 100
    monkeypatch.setattr(tenant_usage, "stored_bytes", lambda: {tenant.id: 850})
    limit(tenant, stored_bytes=1000, open_runs=1, events_per_second=1000)
    make_run(tenant, status="RUNNING")
    with system_scope():
        assert tenants_measure() >= 1
        tenants_measure()
    measured = Tenant.objects.get(id=tenant.id)
    assert measured.usage_at is not None
    assert {use.name: use.level for use in uses_of(measured)} == {
        "events_per_second": 0, "open_runs": 100, "stored_bytes": 80
    }  # fmt: skip
    shown = sorted(Notification.objects.filter(tenant=tenant).values_list("severity", flat=True))
    assert shown == ["error", "warning"]  # one of each, although it was measured twice
    page = text_of(client.get("/admin/"))
    assert ("Open runs are at 100 % of the limit of 1" in page, "Stored bytes are at 85 % of" in page) == (True, True)
    assert "are at 100 %" not in text_of(member_of(tenant, role="author").get("/admin/"))


def test_deleted_rows_are_not_stored_bytes(tenant: Any) -> None:
    """The files of a table do not shrink. A tenant that shortens its retention must get below its limit again."""

    def stored() -> int:
        with system_scope():
            return stored_bytes()[tenant.id]

    rows = [DataStoreEntry(tenant=tenant, key=str(number), value=uuid.uuid4().hex * 60) for number in range(1_500)]
    DataStoreEntry.objects.bulk_create(rows)
    full = stored()
    DataStoreEntry.objects.filter(tenant=tenant).exclude(key__startswith="77").delete()
    assert (full > 1_000_000, stored() < full / 10) == (True, True), (full, stored())


# -- Tenants -----------------------------------------------------------------------------------------------------------


def test_closed_tenant_refuses_starts_and_events_and_running_work_goes_on(tenant: Any, started: list[str]) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    member, api = member_of(tenant, role="admin"), api_of(tenant)
    run = make_run(tenant, status="RUNNING")
    receive(tenant, workflow_correlation_key=None, event_id="c")
    assert "is closed" in run_command("tenant", "close", tenant.slug, "--reason", "contract ended")
    work(tenant)
    assert error_of(api.get("/runs"), 401)["code"] == "TENANT_CLOSED"
    assert member.get("/admin/").status_code == 302
    with pytest.raises(Exception, match="is closed and takes no events"):
        consume_event({"tenant": tenant.slug, **event(1)})
    assert (started, Run.objects.get(id=run.id).status) == ([], "RUNNING")
    run_command("tenant", "open", tenant.slug)
    work(tenant)
    assert (started, api.get("/runs").status_code, member.get("/admin/").status_code) == (["c"], 200, 200)


def test_outbox_rows_of_a_closed_tenant_wait_until_it_is_opened(tenant: Any, caplog: Any) -> None:
    publish_event("PAID", {"n": 1}, tenant=tenant)
    Tenant.objects.filter(id=tenant.id).update(is_active=False)
    assert outbox.outbox_relay_events(tenant_id=tenant.id) == 0
    row = OutboxEvent.objects.get(tenant=tenant)
    assert (row.refused_at, "is closed and takes no events" in row.reason) == (None, True)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    Tenant.objects.filter(id=tenant.id).update(is_active=True)
    OutboxEvent.objects.filter(tenant=tenant).update(next_attempt_at=timezone.now())
    assert outbox.outbox_relay_events(tenant_id=tenant.id) == 1
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_superuser_manages_every_tenant_and_an_administrator_only_the_own(portal: Any) -> None:
    slug, json = f"new-{uuid.uuid4().hex[:8]}", {"content_type": "application/json"}
    assert portal.post("/api/v1/tenants", {"slug": slug, "name": "New desk"}, **json).status_code == 201
    address = f"/api/v1/tenants/{slug}"
    changed = portal.patch(address, {"limits": {"open_runs": 5}, "name": "Newer", "reason": "ordered"}, **json).json()
    assert changed["name"] == "Newer"
    assert {one["name"]: one["limit"] for one in changed["limits"]} == {
        "events_per_second": None, "open_runs": 5, "stored_bytes": None
    }  # fmt: skip
    tenant = Tenant.objects.get(slug=slug)
    rows = Command.objects.filter(tenant=tenant).order_by("requested_at", "id")
    assert [(row.action, row.state, row.reason) for row in rows] == [
        ("create_tenant", "observed", ""), ("edit_tenant", "observed", "ordered")
    ]  # fmt: skip
    own, other = api_of(tenant), api_of(make_tenant())
    assert own.patch(f"/tenants/{slug}", {"name": "Own name"}).json()["name"] == "Own name"
    for body in ({"is_active": False}, {"limits": {"open_runs": None}}):
        assert error_of(own.patch(f"/tenants/{slug}", body), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(other.get(f"/tenants/{slug}"), 404)["code"] == "TENANT_NOT_FOUND"
    assert error_of(own.get("/tenants"), 403)["code"] == "PERMISSION_DENIED"
    taken = portal.post("/api/v1/tenants", {"slug": slug, "name": "Again"}, **json)
    assert error_of(taken, 409)["code"] == "TENANT_EXISTS"
    wrong = portal.patch(address, {"limits": {"open_runs": 0}}, **json)
    assert error_of(wrong, 400)["code"] == "TENANT_LIMIT_INVALID"
    assert Tenant.objects.get(slug=slug).open_runs_limit == 5


def test_pages_of_tenants(portal: Any) -> None:
    listing, key = reverse("admin:workflows_tenant_changelist"), {"idempotency_key": str(uuid.uuid4())}
    slug = f"page-{uuid.uuid4().hex[:8]}"
    wrong = text_of(portal.post(f"{listing}add/", {"name": "Typed", "slug": "Not A Slug", **key}))
    assert ("is not a slug" in wrong, 'value="Typed"' in wrong) == (True, True)
    assert slug in text_of(portal.post(f"{listing}add/", {"name": "Page desk", "slug": slug, **key}, follow=True))
    assert "not measured" in text_of(portal.get(listing)), "a new tenant has no numbers yet"
    tenant = Tenant.objects.get(slug=slug)
    page = reverse(PAGE, args=[tenant.id])
    for what, fields, shown in (
        ("rename", {"name": "Renamed"}, "Renamed"),
        ("limits", {"events_per_second": "7", "reason": "x"}, "The limits are saved"),
        ("close", {"reason": "over"}, "Open the tenant"),
        ("open", {"reason": "again"}, "Close the tenant"),
    ):
        form = {"what": what, "idempotency_key": str(uuid.uuid4()), **fields}
        assert shown in text_of(portal.post(page, form, follow=True)), what
    tenant.refresh_from_db()
    assert (tenant.name, tenant.events_per_second_limit, tenant.is_active) == ("Renamed", 7, True)
    admin = member_of(tenant, role="admin")
    own = text_of(admin.get(page))
    assert ("Superusers of the portal change the limits" in own, "Close the tenant" in own) == (True, False)
    assert admin.get(listing).status_code == 403
    assert admin.get(reverse(PAGE, args=[make_tenant().id])).status_code == 404
    assert member_of(tenant, role="author").get(page).status_code == 403


def test_command_changes_tenants(tenant: Any) -> None:
    assert "Renamed" in run_command("tenant", "rename", tenant.slug, "--name", "Renamed")
    shown = run_command("tenant", "limits", tenant.slug, "--open-runs", "9", "--stored-bytes", "1000")
    assert ("open runs: 9, not measured yet" in shown, "stored bytes: 1,000" in shown) == (True, True)
    run_command("tenant", "start-maintenance", tenant.slug, "--reason", "move")
    assert "(maintenance)" in next(line for line in run_command("tenant", "list").splitlines() if tenant.slug in line)
    with pytest.raises(CommandError, match="MAINTENANCE_STATE"):
        run_command("tenant", "start-maintenance", tenant.slug, "--reason", "again")
    run_command("tenant", "end-maintenance", tenant.slug)
    with pytest.raises(CommandError, match="REASON_REQUIRED"):
        run_command("tenant", "start-maintenance", tenant.slug)


def test_limit_error_has_the_limit_and_the_time(tenant: Any) -> None:
    error = TenantOverLimit("x", code="TENANT_EVENT_RATE", status=429, retry_after=2, limit=5)
    assert error.details == {"limit": 5, "retryAfter": 2}

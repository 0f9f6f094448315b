"""Limits and the closing of tenants (docs/reference/administration.md#limits)."""

import threading
import uuid
from typing import Any

import pytest
from celery.exceptions import Retry
from django.core.management import CommandError
from django.urls import reverse
from django.utils import timezone
from limits import RateLimitItemPerSecond

from ingress import outbox
from ingress.intake import admission
from ingress.intake.admission import TenantOverLimit
from ingress.publish import publish_event
from ingress.stream import consumer
from ingress.tasks import consume_event
from portal.devstack.servers import Servers
from tests.support.api import error_of
from tests.support.events import receive
from tests.support.factories import eventually, make_run, make_tenant, publish
from tests.support.members import member_of
from tests.support.stream_driver import StreamDriver
from tests.support.tenants import api_of, event, limit, run_command, text_of, work
from tests.support.triggers import STATE, TRIGGER
from workflows.models import (
    Command,
    DataStoreEntry,
    Event,
    Notification,
    OutboxEvent,
    Run,
    Tenant,
)
from workflows.projections.transaction import projection_writer
from workflows.services import tenant_usage
from workflows.services.rate_limits import rate_wait
from workflows.services.tenant_usage import stored_bytes, tenants_measure, uses_of
from workflows.tenancy import system_scope
from workflows.tenant_starts import starts_at_limit_wake

pytestmark = pytest.mark.usefixtures("no_dispatcher")
PAGE = "admin:workflows_tenant_change"


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


def test_new_starts_do_not_overtake_the_starts_that_wait(tenant: Any, started: list[str]) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    limit(tenant, open_runs=1)
    open_run = make_run(tenant, status="RUNNING")
    receive(tenant, workflow_correlation_key=None, event_id="old")
    work(tenant)
    with projection_writer("test"):  # the wake after the end of this run is late
        Run.objects.filter(id=open_run.id).update(status="SUCCEEDED", ended_at=timezone.now())
    error = error_of(api_of(tenant).post("/runs", {"definition": "flow", "payload": {}}), 409)
    assert (error["code"], started) == ("TENANT_OPEN_RUNS_LIMIT", [])
    receive(tenant, workflow_correlation_key=None, event_id="new")
    work(tenant)
    work(tenant)
    assert started == ["old"]


def test_rate_of_events_is_refused_with_a_time_and_stores_nothing(tenant: Any) -> None:
    limit(tenant, events_per_second=3)
    api = api_of(tenant)
    stored = 0

    def refused_event() -> Any:
        """Use up one second, and send one more event. Return the response if the second has not ended before."""
        nonlocal stored
        batch = api.post("/events", {"events": [event(n) for n in range(3)]})
        response = api.post("/events", event(3))
        stored += 3 * (batch.status_code == 207) + (response.status_code == 202)
        return response if response.status_code == 429 else None

    refused = eventually(refused_event, what="both requests arrive within one second")
    assert error_of(refused, 429)["code"] == "TENANT_EVENT_RATE"
    assert int(refused["Retry-After"]) >= 1
    too_large = error_of(api.post("/events", {"events": [event(n) for n in range(4)]}), 429)
    assert "a batch of at most 3 events" in too_large["message"]
    assert Event.objects.filter(tenant=tenant).count() == stored
    eventually(lambda: api.post("/events", event(4)).status_code == 202, what="the next second")
    other = api_of(make_tenant())
    assert other.post("/events", event(5)).status_code == 202


def test_small_requests_do_not_keep_a_full_batch_out(tenant: Any) -> None:
    limit(tenant, events_per_second=60)
    item, names = RateLimitItemPerSecond(60), ("tenant-events", str(tenant.id))
    assert rate_wait(item, *names, cost=59) == 0  # one event of this second is free
    assert rate_wait(item, *names, cost=60) == 0
    assert rate_wait(item, *names) >= 1, "the batch is counted, so the next request waits"
    assert rate_wait(item, "other", cost=61) >= 1, "a batch above the limit never fits"


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
    own = [record for record in caplog.records if record.thread == threading.get_ident()]
    assert not [record for record in own if record.levelname == "ERROR"]
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

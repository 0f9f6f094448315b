"""Outbox: an app's event exists exactly if the app's transaction commits.

Source: docs/reference/events.md#entry-points, docs/reference/events.md#crashes-and-outages
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DataError, OperationalError, connections, transaction
from django.utils import timezone

from ingress import outbox
from ingress.outbox import outbox_counts, outbox_relay_events
from ingress.publish import publish_event
from portal.devstack.child import PROJECT
from tests.support.factories import make_tenant
from tests.support.stream_driver import stored_event_ids
from tests.support.system_scope import in_system_scope
from workflows.errors import InputInvalid, NotFound
from workflows.models import Event, EventType, OutboxEvent, PayloadSchema, Tenant

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def publish(tenant: Any, number: int = 1, **others: Any) -> str:
    return publish_event("PAID", {"n": number}, tenant=tenant, **others)


def rows(tenant: Any) -> Any:
    return OutboxEvent.objects.filter(tenant=tenant)


def relay(tenant: Any, **others: Any) -> int:
    return outbox_relay_events(tenant_id=tenant.id, **others)


def failing(monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], number: int) -> None:
    """Make `events_receive` raise after it has stored a batch with this event."""
    receive = outbox.events_receive

    def events_receive(*, values: Any, **others: Any) -> Any:
        results = receive(values=values, **others)
        if any(value["payload"]["n"] == number for value in values):
            raise error()
        return results

    monkeypatch.setattr(outbox, "events_receive", events_receive)


# -- Publishing -------------------------------------------------------------------------------------------------------


def test_event_is_published_by_the_commit(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="s.v1", schema={})
    with transaction.atomic():
        event_id = publish(tenant, correlation_key=7, payload_schema_ref="s.v1", occurred_at=timezone.now())
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(on_own_connection, lambda: (rows(tenant).count(), relay(tenant))).result() == (0, 0)
    assert relay(tenant) == 1
    event = Event.objects.get(tenant=tenant)
    assert (event.event_id, event.event_type, event.payload) == (event_id, "PAID", {"n": 1})
    assert (event.source, event.sender, event.correlation_key) == ("outbox", "outbox", "7")
    assert (event.payload_schema_ref, event.occurred_at is not None) == ("s.v1", True)
    assert not rows(tenant).exists()


def test_event_is_rolled_back_with_its_transaction(tenant: Any) -> None:
    def write_and_fail() -> None:
        with transaction.atomic():
            publish(tenant, 1)
            raise RuntimeError("the app changed its mind")

    with pytest.raises(RuntimeError):
        write_and_fail()
    with transaction.atomic():
        publish(tenant, 2, event_id="kept")
        with pytest.raises(RuntimeError):
            write_and_fail()  # a savepoint
    relay(tenant)
    assert (stored_event_ids(tenant), rows(tenant).count()) == (["kept"], 0)


def test_dispatcher_is_notified_after_the_commit_only(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notified: list[int] = []
    monkeypatch.setattr(
        "workflows.dispatch_notification.notify_dispatcher", lambda tenant_id: notified.append(rows(tenant_id).count())
    )
    with transaction.atomic():
        publish(tenant)
        assert notified == []
    assert notified == [1]


@pytest.mark.parametrize("how", ["slug", "row"])
def test_tenant_can_be_a_row_or_a_slug(tenant: Any, how: str) -> None:
    publish(tenant.slug if how == "slug" else tenant, event_id="e-1")
    relay(tenant)
    assert stored_event_ids(tenant) == ["e-1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_type": ""}, {"payload": None}, {"payload": ["x"]}, {"payload": {"at": timezone.now()}},
        {"payload": {"n": float("nan")}}, {"payload": {"a": "\x00"}}, {"event_id": ""}, {"event_id": "x" * 201},
        {"correlation_key": {"a": 1}}, {"occurred_at": "yesterday"},
    ],
)  # fmt: skip
def test_invalid_event_is_refused_at_once(tenant: Any, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"event_type": "PAID", "payload": {"n": 1}, "tenant": tenant, **wrong}
    with transaction.atomic():
        with pytest.raises(InputInvalid) as raised:
            publish_event(**arguments)
        assert raised.value.code == "EVENT_INVALID"
        publish(tenant, event_id="after")  # the caller's transaction still works
    assert rows(tenant).count() == 1


def test_unknown_or_inactive_tenant_is_refused_at_once(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(is_active=False)
    tenant.refresh_from_db()
    for unknown in ("nobody", tenant, tenant.slug):
        with pytest.raises(NotFound) as raised:
            publish(unknown)
        assert raised.value.code == "TENANT_NOT_FOUND"


# -- Relaying ---------------------------------------------------------------------------------------------------------


def test_rows_are_relayed_once_and_in_order_for_every_tenant(tenant: Any) -> None:
    other = make_tenant()
    ids = [publish(who, number) for number in range(5) for who in (tenant, other)]
    assert outbox_counts(tenant_id=tenant.id).waiting == 5
    assert [relay(who) for who in (tenant, other)] == [5, 5]
    assert (stored_event_ids(tenant), stored_event_ids(other)) == (ids[::2], ids[1::2])
    assert outbox_counts(tenant_id=tenant.id) == outbox.OutboxCounts(0, 0, 0, None)
    assert (relay(tenant), stored_event_ids(tenant)) == (0, ids[::2])


def test_repeated_event_id_is_stored_once(tenant: Any) -> None:
    for _ in range(2):
        publish(tenant, 1, event_id="e-1")
    assert (relay(tenant), stored_event_ids(tenant), rows(tenant).count()) == (2, ["e-1"], 0)


def test_one_call_relays_one_batch(tenant: Any) -> None:
    ids = [publish(tenant, number) for number in range(5)]
    assert [relay(tenant, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert stored_event_ids(tenant) == ids


def test_kill_between_commit_and_relay_leaves_the_row_for_the_next_relay(tenant: Any) -> None:
    code = (
        "import django, os, signal; django.setup()\n"
        "from ingress.publish import publish_event\n"
        f"publish_event('PAID', {{'n': 1}}, tenant={tenant.slug!r}, event_id='e-1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env={**os.environ, "CELERY_QUEUE": "no-worker"}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert stored_event_ids(tenant) == []
    assert (relay(tenant), stored_event_ids(tenant)) == (1, ["e-1"])


def test_relay_that_dies_before_the_commit_leaves_the_row_and_no_event(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tenant, event_id="e-1")
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt, 1)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            relay(tenant)
    assert (stored_event_ids(tenant), rows(tenant).count()) == ([], 1)
    assert (relay(tenant), stored_event_ids(tenant)) == (1, ["e-1"])


def test_relay_skips_rows_that_another_relay_has_locked(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [publish(tenant, number) for number in range(4)]
    receive, inside, go_on = outbox.events_receive, threading.Event(), threading.Event()

    def slow(*, values: Any, **others: Any) -> Any:
        results = receive(values=values, **others)
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(60)
        return results

    monkeypatch.setattr(outbox, "events_receive", slow)
    with ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(on_own_connection, lambda: relay(tenant, limit=3))
        assert inside.wait(60)
        assert (relay(tenant), stored_event_ids(tenant)) == (1, ids[3:])
        go_on.set()
        assert first.result(60) == 3
    assert sorted(stored_event_ids(tenant)) == sorted(ids)
    assert Event.objects.filter(tenant=tenant).count() == 4


def test_concurrent_relays_store_each_event_once(tenant: Any) -> None:
    ids = [publish(tenant, number) for number in range(200)]

    def drain() -> int:
        done = 0
        while rows(tenant).exists():
            done += relay(tenant, limit=7)
        return done

    with ThreadPoolExecutor(4) as relays:
        done = [relays.submit(on_own_connection, drain) for _ in range(4)]
        assert sum(one.result(60) for one in done) == 200
    assert Event.objects.filter(tenant=tenant).count() == 200
    assert set(stored_event_ids(tenant)) == set(ids)


@in_system_scope
def on_own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


# -- Rows that cannot be relayed --------------------------------------------------------------------------------------


def test_row_that_can_never_be_an_event_is_kept_with_the_reason(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="n.v1", schema={"properties": {"n": {"type": "number"}}})
    EventType.objects.create(tenant=tenant, name="COUNTED", payload_schema_ref="n.v1")
    publish(tenant, 1, event_id="e-1")
    publish(tenant, 2, event_id="e-1")
    publish_event("COUNTED", {"n": "x"}, tenant=tenant, event_id="e-2")
    publish(tenant, 3, event_id="e-3")
    publish(tenant, 4, event_id="e-4", payload_schema_ref="unknown.v1")
    assert (relay(tenant), stored_event_ids(tenant)) == (5, ["e-1", "e-3"])
    refused = {row.envelope["event_id"]: row for row in rows(tenant)}
    assert {name: row.reason.split(":")[0] for name, row in refused.items()} == {
        "e-1": "EVENT_ID_CONFLICT", "e-2": "EVENT_PAYLOAD_INVALID", "e-4": "SCHEMA_UNKNOWN",
    }  # fmt: skip
    assert all(row.refused_at and row.attempts == 1 for row in refused.values())
    counts = outbox_counts(tenant_id=tenant.id)
    assert (counts.waiting, counts.refused, counts.oldest_at) == (0, 3, None)
    assert relay(tenant) == 0


def test_data_that_the_database_refuses_is_kept_as_refused(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, lambda: DataError("out of range"), 2)
    for number in (1, 2, 3):
        publish(tenant, number, event_id=f"e-{number}")
    assert (relay(tenant), stored_event_ids(tenant)) == (3, ["e-1", "e-3"])
    row = rows(tenant).get()
    assert (row.refused_at is not None, "out of range" in row.reason) == (True, True)


def test_failed_row_is_retried_with_growing_pauses_and_stops_no_other(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, lambda: RuntimeError("a bug"), 2)
        for number in (1, 2, 3):
            publish(tenant, number, event_id=f"e-{number}")
        assert (relay(tenant), stored_event_ids(tenant)) == (2, ["e-1", "e-3"])
        pauses = []
        for attempt in (1, 2, 3):
            row = rows(tenant).get()
            assert (row.attempts, row.refused_at) == (attempt, None)
            assert "RuntimeError: a bug" in row.reason
            pauses.append((row.next_attempt_at - timezone.now()).total_seconds())
            assert relay(tenant) == 0  # not due
            rows(tenant).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
            assert relay(tenant) == 0
        assert [round(pause) for pause in pauses] == [2, 4, 8]
        assert outbox_counts(tenant_id=tenant.id).failing == 1
    rows(tenant).update(next_attempt_at=timezone.now())
    assert (relay(tenant), stored_event_ids(tenant)) == (1, ["e-1", "e-3", "e-2"])


def test_row_is_retried_after_a_deadlock(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OperationalError("deadlock detected")
    error.__cause__ = psycopg.errors.DeadlockDetected()
    with monkeypatch.context() as patch:
        failing(patch, lambda: error, 1)
        publish(tenant, 1, event_id="e-1")
        assert relay(tenant) == 0
    assert rows(tenant).get().refused_at is None
    rows(tenant).update(next_attempt_at=timezone.now())
    assert (relay(tenant), stored_event_ids(tenant)) == (1, ["e-1"])


def test_database_outage_raises_and_changes_nothing(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tenant, event_id="e-1")

    def unavailable(*_: Any, **__: Any) -> Any:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_due", unavailable)
        with pytest.raises(OperationalError):
            relay(tenant)
    row = rows(tenant).get()
    assert (row.attempts, row.refused_at) == (0, None)

"""Redis stream entry point: every entry becomes one event or one dead letter, also after kills and outages.

Source: docs/reference/events.md#entry-points, docs/reference/events.md#crashes-and-outages
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.core.management import call_command
from django.db import InternalError, OperationalError, connections

from ingress.stream import storing
from ingress.stream.consumer import EventStream
from ingress.stream.group import StreamGroup
from portal.devstack.servers import Servers, embedded_servers
from tests.support.database_proxy import DatabaseProxy
from tests.support.factories import eventually, make_tenant
from tests.support.stream_driver import StreamDriver, stored_event_ids, wait_until_stored
from workflows.models import Event, EventType, PayloadSchema, Tenant

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture
def stream(servers: Servers, tenant: Any) -> Iterator[StreamDriver]:
    driver = StreamDriver(servers.redis_url, tenant.slug)
    yield driver
    driver.close()


@contextmanager
def running(consumer: EventStream, stop: threading.Event) -> Iterator[None]:
    def run() -> None:
        try:
            consumer.consume_events()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive(), "the consumer does not stop"


def failing(monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], number: int) -> None:
    """Make `events_receive` raise for a batch with this event."""
    receive = storing.events_receive

    def events_receive(*, values: Any, **others: Any) -> Any:
        if any(value["payload"].get("n") == number for value in values):
            raise error()
        return receive(values=values, **others)

    monkeypatch.setattr(storing, "events_receive", events_receive)


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# -- Entries ----------------------------------------------------------------------------------------------------------


def test_entries_are_stored_in_order_and_acknowledged(stream: StreamDriver, tenant: Any) -> None:
    other = make_tenant()
    for number in range(25):
        stream.add(tenant, number, timestamp="2026-01-01T10:00:00Z")
        stream.add(other, number)
    counts = stream.consumer().consume_events(once=True)
    assert stored_event_ids(tenant) == stored_event_ids(other) == [f"e-{number}" for number in range(25)]
    assert (counts.stored, counts.repeats, counts.dead, stream.pending(), stream.dead_letters()) == (50, 0, 0, {}, [])
    event = Event.objects.get(tenant=tenant, event_id="e-3")
    assert (event.source, event.sender) == ("stream", f"stream {stream.names.stream}")
    assert (event.correlation_key, event.payload, event.occurred_at and event.occurred_at.year) == (
        "K-3",
        {"n": 3},
        2026,
    )


def test_repeated_event_is_acknowledged_and_stored_once(stream: StreamDriver, tenant: Any) -> None:
    for _ in range(3):
        stream.add(tenant, 1)
    counts = stream.consumer().consume_events(once=True)
    assert (stored_event_ids(tenant), counts.stored, counts.repeats, stream.pending()) == (["e-1"], 1, 2, {})


def test_entry_that_can_never_be_an_event_is_a_dead_letter_with_the_reason(stream: StreamDriver, tenant: Any) -> None:
    inactive = make_tenant()
    Tenant.objects.filter(id=inactive.id).update(is_active=False)
    PayloadSchema.objects.create(tenant=tenant, ref="n.v1", schema={"properties": {"n": {"type": "number"}}})
    EventType.objects.create(tenant=tenant, name="COUNTED", payload_schema_ref="n.v1")
    stream.add(tenant, 1)
    wrong = {
        stream.add(tenant, 2, payload_json="{"): "EVENT_INVALID",
        stream.add(tenant, 3, colour="red"): "EVENT_INVALID",
        stream.add(tenant, 4, event_type=None): "EVENT_INVALID",
        stream.add(tenant, 5, event_type=" "): "EVENT_INVALID",
        stream.add(tenant, 6, payload_json='{"a": "\\u0000"}'): "EVENT_INVALID",
        stream.add(tenant, 7, event_id=b"\xff"): "EVENT_INVALID",
        stream.add("nobody", 8): "TENANT_NOT_FOUND",
        stream.add("no\x00body", 9): "TENANT_NOT_FOUND",
        stream.add(inactive, 10): "TENANT_CLOSED",
        stream.add(tenant, 1, payload_json='{"n": 11}'): "EVENT_ID_CONFLICT",
        stream.add(tenant, 15, payload_schema_ref="unknown.v1"): "SCHEMA_UNKNOWN",
        stream.add(tenant, 14, event_type="COUNTED", payload_schema_ref="payload.Any.v1"): "SCHEMA_MISMATCH",
        stream.add(tenant, 12, event_type="COUNTED", payload_json='{"n": "x"}'): "EVENT_PAYLOAD_INVALID",
    }
    stream.add(tenant, 13)
    counts = stream.consumer().consume_events(once=True)
    assert stored_event_ids(tenant) == ["e-1", "e-13"]
    dead = {letter["entry_id"]: letter for letter in stream.dead_letters()}
    assert {name: letter["code"] for name, letter in dead.items()} == wrong
    assert (counts.stored, counts.dead, stream.pending()) == (2, len(wrong), {})
    for name, letter in dead.items():
        assert letter["failed_at"].startswith("20")
        assert letter["reason"]
        original = {
            k.decode(): v.decode(errors="replace")
            for k, v in stream.redis.xrange(stream.names.stream, name, name)[0][1].items()
        }
        assert original.items() <= letter.items()
    reasons = [letter["reason"] for letter in dead.values()]
    assert "payload_json is not JSON" in reasons[0]
    assert "colour is not a known field" in reasons[1]
    assert "/n" in dead[list(wrong)[-1]]["details"]


def test_data_that_the_database_refuses_is_not_an_outage(
    stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index row that is too long raises OperationalError. A retry would fail in the same way."""
    failing(monkeypatch, lambda: caused_by(OperationalError("too long"), psycopg.errors.ProgramLimitExceeded()), 2)
    for number in (1, 2, 3):
        stream.add(tenant, number)
    stream.consumer().consume_events(once=True)
    assert stored_event_ids(tenant) == ["e-1", "e-3"]
    assert [(letter["event_id"], letter["code"]) for letter in stream.dead_letters()] == [("e-2", "EVENT_INVALID")]


def test_entry_that_fails_repeatedly_becomes_a_dead_letter_and_stops_no_other(
    stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, lambda: RuntimeError("a bug"), 2)
    ids = [stream.add(tenant, number) for number in (1, 2, 3)]
    stream.consumer().consume_events(once=True)
    assert (stored_event_ids(tenant), stream.pending(), stream.dead_letters()) == (["e-1", "e-3"], {ids[1]: 1}, [])
    assert stream.consumers() == {"one"}  # it must stay: Redis would forget its pending entries
    stream.consumer().consume_events(once=True)
    assert (stream.pending(), stream.dead_letters()) == ({ids[1]: 2}, [])
    stream.consumer().consume_events(once=True)
    (letter,) = stream.dead_letters()
    assert (letter["code"], letter["entry_id"], stream.pending()) == ("EVENT_ENTRY_FAILED", ids[1], {})
    assert "RuntimeError: a bug" in letter["reason"]


def test_entry_is_stored_when_the_bug_is_fixed_in_time(
    stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, lambda: RuntimeError("a bug"), 2)
        stream.add(tenant, 2)
        stream.consumer().consume_events(once=True)
    stream.consumer().consume_events(once=True)
    assert (stored_event_ids(tenant), stream.pending(), stream.dead_letters()) == (["e-2"], {}, [])


def test_broken_dead_letter_stream_does_not_stop_valid_entries(stream: StreamDriver, tenant: Any) -> None:
    stream.redis.set(stream.names.dead, "something else")
    bad = stream.add(tenant, 1, payload_json="{")
    stream.add(tenant, 2)
    stream.consumer().consume_events(once=True)
    assert (stored_event_ids(tenant), list(stream.pending())) == (["e-2"], [bad])
    stream.redis.delete(stream.names.dead)
    stream.consumer().consume_events(once=True)
    assert ([letter["entry_id"] for letter in stream.dead_letters()], stream.pending()) == ([bad], {})


# -- Repeated deliveries ----------------------------------------------------------------------------------------------


def test_lost_acknowledgement_gives_a_duplicate(
    stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the commit. An entry without event id is recognised by its place in the stream."""
    acknowledge, broken = StreamGroup.acknowledge, [True]

    def lost_once(self: StreamGroup, ids: Any) -> None:
        if ids and broken.pop():
            broken.append(False)
            raise redis.ConnectionError("cut")
        acknowledge(self, ids)

    monkeypatch.setattr(StreamGroup, "acknowledge", lost_once)
    place = stream.add(tenant, 1, event_id=None)
    stream.add(tenant, 2)
    counts = stream.consumer().consume_events(once=True)
    assert stored_event_ids(tenant) == [f"stream:{stream.names.stream}:{place}", "e-2"]
    assert (counts.stored, counts.repeats, stream.pending()) == (2, 2, {})


def test_idle_entries_of_a_dead_consumer_are_claimed(stream: StreamDriver, tenant: Any) -> None:
    stream.add(tenant, 1)
    assert stream.read_as("gone")
    stream.consumer(claim_seconds=60).consume_events(once=True)
    assert stored_event_ids(tenant) == []
    stop = threading.Event()
    with running(stream.consumer(claim_seconds=0.3, stop=stop), stop):
        wait_until_stored(tenant, "e-1")
        eventually(lambda: not stream.pending(), what="the entry is acknowledged")


def test_consumer_that_returns_stores_its_pending_entries_first(stream: StreamDriver, tenant: Any) -> None:
    """There are more pending entries than one page has."""
    for number in range(25):
        stream.add(tenant, number)
    assert len(stream.read_as("one", 22)) == 22
    stream.consumer("one").consume_events(once=True)
    assert (stored_event_ids(tenant), stream.pending()) == ([f"e-{number}" for number in range(25)], {})


@pytest.mark.parametrize("reader", ["one", "gone"])
def test_entry_trimmed_while_pending_is_logged_and_becomes_a_dead_letter(
    stream: StreamDriver, tenant: Any, reader: str, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [stream.add(tenant, number) for number in (1, 2, 3)]
    stream.read_as(reader, 2)
    stream.redis.xtrim(stream.names.stream, minid=ids[1], approximate=False)
    stream.consumer(claim_seconds=0).consume_events(once=True)
    (letter,) = stream.dead_letters()
    assert (letter["entry_id"], letter["code"]) == (ids[0], "EVENT_ENTRY_TRIMMED")
    assert "Redis trimmed the entry" in letter["reason"]
    assert (stored_event_ids(tenant), stream.pending()) == (["e-2", "e-3"], {})
    assert [record.levelno for record in caplog.records if ids[0] in record.getMessage()] == [logging.ERROR]


def test_consumer_leaves_the_group_only_without_pending_entries(stream: StreamDriver, tenant: Any) -> None:
    stream.add(tenant, 1)
    stream.read_as("one")
    assert not stream.group("one").leave()
    assert stream.pending()
    stream.consumer("one").consume_events(once=True)
    assert stream.consumers() == set()


def test_idle_consumers_without_entries_are_removed(stream: StreamDriver, tenant: Any) -> None:
    stream.add(tenant, 1)
    stream.read_as("gone, with an entry")
    stream.redis.xgroup_createconsumer(stream.names.stream, stream.names.group, "gone, with nothing")
    stream.group().forget_idle_consumers(idle_ms=3_600_000)
    assert len(stream.consumers()) == 2
    stream.group().forget_idle_consumers(idle_ms=-1)
    assert stream.consumers() == {"gone, with an entry"}


def test_only_entries_acknowledged_by_every_group_are_trimmed(stream: StreamDriver, tenant: Any) -> None:
    for number in range(1, 1001):
        stream.add(tenant, number, at=f"{number}-0")
    stream.redis.xgroup_create(stream.names.stream, "another", id="0")
    group = stream.group()
    group.ensure()
    group.acknowledge([entry.id for entry in group.read_new(count=700, block_ms=None) if entry.id != "500-0"])
    assert group.trim(keep_ms=0) == 0  # the other group has read nothing
    stream.redis.xgroup_destroy(stream.names.stream, "another")
    assert 300 < group.trim(keep_ms=0) < 500  # whole blocks of a hundred, and never beyond a pending entry
    assert stream.redis.xrange(stream.names.stream, "500-0", "500-0")
    group.acknowledge(["500-0"])
    group.trim(keep_ms=0)
    assert not stream.redis.xrange(stream.names.stream, "500-0", "500-0")
    assert stream.redis.xinfo_stream(stream.names.stream)["length"] >= 301


# -- Outages ----------------------------------------------------------------------------------------------------------


def test_flushed_group_is_created_again(stream: StreamDriver, tenant: Any, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    stream.add(tenant, 1)
    with running(stream.consumer(stop=stop), stop):
        wait_until_stored(tenant, "e-1")
        stream.redis.flushdb()
        stream.add(tenant, 2)
        wait_until_stored(tenant, "e-1", "e-2")
    assert "is created again" in caplog.text
    assert stream.dead_letters() == []


def test_redis_outage_is_logged_once_and_retried(tenant: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with embedded_servers(tmp_path, postgres=False, temporal=False) as own:
        stream, stop = StreamDriver(own.redis_url, tenant.slug), threading.Event()
        with running(stream.consumer(stop=stop), stop):
            stream.add(tenant, 1)
            wait_until_stored(tenant, "e-1")
            own.redis.stop()
            eventually(lambda: "Redis is unavailable" in caplog.text, what="the outage is logged")
            own.redis.start()
            stream.add(tenant, 2)
            wait_until_stored(tenant, "e-1", "e-2")
        assert stream.is_consumed()
        stream.close()
    assert caplog.text.count("Redis is unavailable") == caplog.text.count("Redis is available again") == 1


def test_database_outage_makes_no_dead_letters(stream: StreamDriver, tenant: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DatabaseProxy(os.environ["DATABASE_URL"]) as proxy:
        stream.start(log, "--consumer", "one", DATABASE_URL=proxy.url, EVENT_STREAM_MAX_DELIVERIES="1")
        stream.add(tenant, 1)
        wait_until_stored(tenant, "e-1")
        proxy.refuse()
        ids = [stream.add(tenant, number) for number in (2, 3)]
        eventually(lambda: "the database is unavailable" in log.read_text(), what="the outage is logged")
        stream.add(tenant, 4, payload_json="{")
        assert ids[0] in stream.pending()
        proxy.restore()
        wait_until_stored(tenant, "e-1", "e-2", "e-3")
        eventually(stream.is_consumed, what="all entries are acknowledged")
    assert [letter["event_id"] for letter in stream.dead_letters()] == ["e-4"]
    text = log.read_text()
    assert (text.count("the database is unavailable"), text.count("the database is available again")) == (1, 1)


def test_read_only_database_is_an_outage(
    stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failover, a connection may lead to a standby. Every write then raises InternalError."""
    stop = threading.Event()
    with monkeypatch.context() as patch, running(stream.consumer(stop=stop, max_deliveries=1), stop):
        read_only = psycopg.errors.ReadOnlySqlTransaction
        failing(patch, lambda: caused_by(InternalError("read only"), read_only()), 1)
        stream.add(tenant, 1)
        eventually(lambda: "the database is unavailable" in caplog.text, what="the outage is logged")
        patch.undo()
        wait_until_stored(tenant, "e-1")
    assert stream.dead_letters() == []


# -- Stops and kills --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_process_leaves_no_pending_entries(
    stream: StreamDriver, tenant: Any, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    process = stream.start(log, "--consumer", "one")
    stream.add(tenant, 1)
    wait_until_stored(tenant, "e-1")
    process.send_signal(number)
    assert process.wait(60) == 0, log.read_text()
    assert (stream.pending(), stream.consumers()) == ({}, set())
    assert "consumer one stopped: 1 stored" in log.read_text()


def test_stop_finishes_the_current_batch(stream: StreamDriver, tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, read_new = threading.Event(), StreamGroup.read_new

    def stopped_after_the_read(self: StreamGroup, **arguments: Any) -> Any:
        entries = read_new(self, **arguments)
        stop.set()
        return entries

    monkeypatch.setattr(StreamGroup, "read_new", stopped_after_the_read)
    for number in range(5):
        stream.add(tenant, number)
    stream.consumer(stop=stop, batch=3).consume_events()
    assert (stored_event_ids(tenant), stream.pending(), stream.consumers()) == (["e-0", "e-1", "e-2"], {}, set())


def test_stop_during_an_outage_keeps_the_pending_entries(stream: StreamDriver, tenant: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DatabaseProxy(os.environ["DATABASE_URL"]) as proxy:
        proxy.refuse()
        process = stream.start(log, "--consumer", "one", DATABASE_URL=proxy.url)
        entry = stream.add(tenant, 1)
        eventually(lambda: "the database is unavailable" in log.read_text(), what="the outage is logged")
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    assert (list(stream.pending()), stream.consumers()) == ([entry], {"one"})
    stream.consumer("one").consume_events(once=True)
    assert (stored_event_ids(tenant), stream.pending()) == (["e-1"], {})


@pytest.mark.parametrize("point", ["after the read", "after the commit", "after the acknowledgement"])
def test_kill_loses_and_duplicates_no_event(stream: StreamDriver, tenant: Any, tmp_path: Path, point: str) -> None:
    for number in range(20):
        stream.add(tenant, number, event_id=None)
    for expected in (-signal.SIGKILL, 0):
        process = stream.fork(
            tmp_path / "log", "--consumer", "one", "--once", dies=(point, tmp_path / "flag"), EVENT_STREAM_BATCH=10
        )
        assert process.wait(60) == expected, (tmp_path / "log").read_text()
    payloads = Event.objects.filter(tenant=tenant).values_list("payload", flat=True)
    assert sorted(payload["n"] for payload in payloads) == list(range(20))
    assert (stream.pending(), stream.dead_letters()) == ({}, [])


@pytest.mark.parametrize(
    ("point", "letters"), [("before the dead letter", 1), ("between dead letter and acknowledgement", 2)]
)
def test_kill_loses_no_dead_letter(stream: StreamDriver, tenant: Any, tmp_path: Path, point: str, letters: int) -> None:
    """A kill between the two writes gives two dead letters with the same entry id, and loses none."""
    bad = stream.add(tenant, 1, payload_json="{")
    stream.add(tenant, 2)
    for expected in (-signal.SIGKILL, 0):
        process = stream.fork(tmp_path / "log", "--consumer", "one", "--once", dies=(point, tmp_path / "flag"))
        assert process.wait(60) == expected, (tmp_path / "log").read_text()
    assert [letter["entry_id"] for letter in stream.dead_letters()] == [bad] * letters
    assert (stored_event_ids(tenant), stream.pending()) == (["e-2"], {})


def test_two_repeatedly_killed_processes_store_each_event_once(
    stream: StreamDriver, tenant: Any, tmp_path: Path
) -> None:
    settings = {"EVENT_STREAM_BATCH": 7, "EVENT_STREAM_CLAIM_SECONDS": 1, "EVENT_STREAM_MAX_DELIVERIES": 1}
    total = 400
    for number in range(total):
        stream.add(tenant, number)
    for round_number in range(3):
        pair = [stream.fork(tmp_path / "log", "--consumer", f"c{round_number}-{side}", **settings) for side in (0, 1)]
        more = len(stored_event_ids(tenant)) + 30
        eventually(lambda more=more: len(stored_event_ids(tenant)) >= more, what=f"{more} events")
        for process in pair:
            process.kill()
            process.wait(60)
    stream.fork(tmp_path / "log", "--consumer", "last", **settings)
    eventually(stream.is_consumed, what="all entries are acknowledged")
    assert sorted(stored_event_ids(tenant)) == sorted(f"e-{number}" for number in range(total))
    assert stream.dead_letters() == []


def test_command_with_once_stores_all_entries_and_stops(stream: StreamDriver, tenant: Any, settings: Any) -> None:
    settings.REDIS_URL = stream.url
    settings.EVENT_STREAM, settings.EVENT_STREAM_DEAD = stream.names.stream, stream.names.dead
    before = signal.getsignal(signal.SIGTERM)
    stream.add(tenant, 1)
    call_command("consume_events", "--once")
    assert stored_event_ids(tenant) == ["e-1"]
    assert signal.getsignal(signal.SIGTERM) == before

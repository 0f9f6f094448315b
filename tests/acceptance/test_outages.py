"""Outages of Redis and Temporal under load: afterwards every accepted event is in its final state.

Source: docs/reference/events.md#crashes-and-outages
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from ingress.intake.receive import event_receive
from portal.devstack.servers import Servers
from tests.support.crash_load import Load
from tests.support.crash_programs import Programs, loaded_programs, sweep_until, wait_until_settled
from tests.support.factories import eventually
from workflows.models import Event, EventDelivery
from workflows.statuses import EventSource

SEED = 2026
OUTAGE_SECONDS = float(os.environ.get("POINTSMAN_OUTAGE_SECONDS", "10"))
FLUSHES, LOAD_SECONDS, BURST = 4, 1.0, 15
FEED_SECONDS, SWEEP_SECONDS = 0.04, 0.5
MAX_BACKLOG = 20
MAX_RESPONSE_SECONDS = 0.9 * OUTAGE_SECONDS  # a request that waits for Temporal needs the whole outage
RECOVERY_SECONDS = 180


def load_for(seconds: float, programs: Programs, load: Load, feed: Callable[[], None]) -> None:
    """Send events as fast as they are processed, and start sweeps as Celery beat does."""
    deadline = time.monotonic() + seconds
    sweep_at = 0.0
    while (now := time.monotonic()) < deadline:
        if load.backlog() < MAX_BACKLOG:
            feed()
        if now > sweep_at:
            sweep_at = now + SWEEP_SECONDS
            load.sweep()
        programs.wait(FEED_SECONDS)


@pytest.mark.timeout(480)
def test_flushed_redis_loses_no_stored_event(
    tenant: Any, temporal_worker: None, celery_worker: None, servers: Servers, settings: Any, tmp_path: Path
) -> None:
    """Flush Redis four times under load. Stored events and outbox rows survive.

    The flush deletes stream entries and Celery messages that no process has read. Their sender sends them again.
    """
    redis_url, queue = settings.REDIS_URL, settings.CELERY_TASK_DEFAULT_QUEUE
    with loaded_programs(tenant, servers, settings, tmp_path, kills={}, seed=SEED) as (programs, load):

        def feed() -> None:
            load.feed(load.random.choice(("wait", "trigger", "any", "any", "any", "any")))

        for _ in range(FLUSHES):
            load_for(LOAD_SECONDS, programs, load, feed)
            for _ in range(BURST):
                feed()
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
            load_for(LOAD_SECONDS / 2, programs, load, feed)
        load.feed_remaining_waits()
        sweep_until(programs, load, load.is_taken_in, seconds=RECOVERY_SECONDS)
        missing = load.missing()
        assert [event_id for event_id in missing if load.is_in_database(load.sent[event_id])] == []
        for event_id in missing:
            load.send(load.sent[event_id], "rest")
        wait_until_settled(programs, load, seconds=RECOVERY_SECONDS)
        assert (load.result_errors(), load.sender_errors, programs.other_ends) == ({}, [], [])
        assert programs.log().count("the group is created again") > 1
        print(
            f"{FLUSHES} flushes, {len(load.sent)} events, {len(missing)} of them flushed unread;"
            f" responses {dict(load.responses)}"
        )
    # The flush also hit the Celery worker of the test session. The worker still receives queue notifications.
    settings.REDIS_URL, settings.CELERY_TASK_DEFAULT_QUEUE = redis_url, queue
    value = {"event_type": "UNMATCHED", "payload": {}}
    event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
    eventually(lambda: Event.objects.filter(id=event.id, routed_at__isnull=False).exists(), what="the event is routed")


@pytest.mark.timeout(480 + 3 * OUTAGE_SECONDS)
def test_temporal_outage_under_load_delays_deliveries_only(
    tenant: Any,
    temporal_worker: None,
    servers: Servers,
    settings: Any,
    restart_temporal: Callable[[], None],
    tmp_path: Path,
) -> None:
    """Accept every event quickly. The deliveries wait, and the outage counts no failed attempt."""
    with loaded_programs(tenant, servers, settings, tmp_path, kills={}, seed=SEED) as (programs, load):

        def feed() -> None:
            purposes = (
                ("wait", "trigger", "any", "any", "any") if load.keys else ("trigger", "unmatched", "keyless", "again")
            )
            load.feed(load.random.choice(purposes))

        load.start_runs()
        load_for(1, programs, load, feed)
        servers.temporal.kill()
        try:
            load_for(OUTAGE_SECONDS, programs, load, feed)
            waiting = EventDelivery.objects.filter(tenant=tenant, status="pending", attempts__gt=0)
            eventually(waiting.exists, what="an attempt that failed")
        finally:
            restart_temporal()
        restarted = time.monotonic()
        load.feed_remaining_waits()
        wait_until_settled(programs, load, seconds=RECOVERY_SECONDS + 2 * OUTAGE_SECONDS)
        print(
            f"Temporal was down for {OUTAGE_SECONDS:g} s, settled {time.monotonic() - restarted:.0f} s after it;"
            f" {len(load.sent)} events, responses {dict(load.responses)}, the slowest in {load.slowest_response:.2f} s"
        )
        assert (load.result_errors(), load.sender_errors, programs.other_ends) == ({}, [], [])
        assert not EventDelivery.objects.filter(tenant=tenant, failures__gt=0).exists()
        assert set(load.responses) <= {"200", "202"}
        assert load.slowest_response < MAX_RESPONSE_SECONDS

"""Servers that go away, or forget, under load on all doors: what was accepted is in its final state afterwards (docs/reference/events.md#crashes-and-outages)."""

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
from tests.support.crash_programs import Programs, loaded_programs, sweeping, until_settled
from tests.support.factories import eventually
from workflows.models import Event, EventDelivery
from workflows.statuses import EventSource

SEED = 2026
OUTAGE_SECONDS = float(os.environ.get("POINTSMAN_OUTAGE_SECONDS", "10"))
FLUSHES, LOAD_SECONDS, BURST = 4, 1.0, 15
FEED_SECONDS, SWEEP_SECONDS = 0.04, 0.5
MOST_WAITING = 20
QUICK_SECONDS = 5.0  # even where other programs keep the processors busy
RECOVERY_SECONDS = 90


def load_for(seconds: float, programs: Programs, load: Load, feed: Callable[[], None]) -> None:
    """Events as fast as they are taken, and sweeps, as beat does them."""
    until = time.monotonic() + seconds
    sweep_at = 0.0
    while (now := time.monotonic()) < until:
        if load.backlog() < MOST_WAITING:
            feed()
        if now > sweep_at:
            sweep_at = now + SWEEP_SECONDS
            load.sweep()
        programs.wait(FEED_SECONDS)


@pytest.mark.timeout(240)
def test_redis_forgets_everything_under_load(
    tenant: Any, temporal_worker: None, celery_worker: None, servers: Servers, settings: Any, tmp_path: Path
) -> None:
    """What was stored, or stands in the outbox, comes through. An entry of a stream or a message that was flushed before
    anybody had read it is lost, by what a flush is; its sender sends it again."""
    redis_url, queue = settings.REDIS_URL, settings.CELERY_TASK_DEFAULT_QUEUE
    with loaded_programs(tenant, servers, settings, tmp_path, lives={}, seed=SEED) as (programs, load):

        def feed() -> None:
            load.feed(load.random.choice(("wait", "trigger", "any", "any", "any", "any")))

        for _ in range(FLUSHES):
            load_for(LOAD_SECONDS, programs, load, feed)
            for _ in range(BURST):
                feed()
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
            load_for(LOAD_SECONDS / 2, programs, load, feed)
        load.feed_rest_of_waits()
        sweeping(programs, load, load.is_taken_in, seconds=RECOVERY_SECONDS)
        lost = load.missing()
        assert [event_id for event_id in lost if load.is_kept(load.sent[event_id])] == []
        for event_id in lost:
            load.send(load.sent[event_id], "rest")
        until_settled(programs, load, seconds=RECOVERY_SECONDS)
        assert (load.wrongs(), load.faults, programs.other_ends) == ({}, [], [])
        assert programs.log().count("made the group") > 1
        print(
            f"{FLUSHES} flushes, {len(load.sent)} events, {len(lost)} of them flushed unread; answers {dict(load.answers)}"
        )
    # The session's own Celery worker, which was flushed too, still hears its bell.
    settings.REDIS_URL, settings.CELERY_TASK_DEFAULT_QUEUE = redis_url, queue
    value = {"event_type": "NOBODY", "payload": {}}
    event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
    eventually(lambda: Event.objects.filter(id=event.id, routed_at__isnull=False).exists(), what="the bell is heard")


@pytest.mark.timeout(240 + 3 * OUTAGE_SECONDS)
def test_temporal_is_down_under_load(
    tenant: Any, temporal_worker: None, servers: Servers, settings: Any, outage: Callable[[], None], tmp_path: Path
) -> None:
    """Every event is taken, quickly; its deliveries wait, and none uses an attempt up."""
    with loaded_programs(tenant, servers, settings, tmp_path, lives={}, seed=SEED) as (programs, load):

        def feed() -> None:
            purposes = (
                ("wait", "trigger", "any", "any", "any") if load.keys else ("trigger", "nobody", "keyless", "again")
            )
            load.feed(load.random.choice(purposes))

        load.start_runs()
        load_for(1, programs, load, feed)
        servers.temporal.kill()
        try:
            load_for(OUTAGE_SECONDS, programs, load, feed)
            waiting = EventDelivery.objects.filter(tenant=tenant, status="pending", attempts__gt=0)
            eventually(waiting.exists, what="a delivery that was tried in vain")
        finally:
            outage()
        back = time.monotonic()
        load.feed_rest_of_waits()
        until_settled(programs, load, seconds=RECOVERY_SECONDS + 2 * OUTAGE_SECONDS)
        print(
            f"Temporal was down for {OUTAGE_SECONDS:g} s, all settled {time.monotonic() - back:.0f} s later; "
            f"{len(load.sent)} events, answers {dict(load.answers)}, the slowest in {load.slowest_answer:.2f} s"
        )
        assert (load.wrongs(), load.faults, programs.other_ends) == ({}, [], [])
        assert not EventDelivery.objects.filter(tenant=tenant, failures__gt=0).exists()
        assert set(load.answers) <= {"200", "202"}
        assert load.slowest_answer < QUICK_SECONDS

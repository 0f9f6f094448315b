"""Web servers, Celery workers and the stream consumer are killed under load at every crash point, twice.

Afterwards every accepted event is in exactly one final state, and every effect has happened exactly once. The Temporal
worker is killed in `tests/temporal/test_crashes.py`.

Source: docs/reference/events.md#crashes-and-outages
"""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from portal.devstack.servers import Servers
from tests.support.crash_load import Load
from tests.support.crash_points import Point, points
from tests.support.crash_programs import SWEEP_SECONDS, KillPlan, Programs, loaded_programs, wait_until_settled
from tests.support.crash_supervisor import SLOTS

SEED = int(os.environ.get("POINTSMAN_CRASH_SEED", "2026"))
ROUNDS = int(os.environ.get("POINTSMAN_CRASH_ROUNDS", "2"))  # kills at each point
KILLS_SECONDS, RECOVERY_SECONDS = 480, 180  # several times what an idle machine needs
FEED_SECONDS, LONGEST_FEED_SECONDS = 0.05, 0.8
MAX_BACKLOG = 10


@pytest.mark.timeout(KILLS_SECONDS + RECOVERY_SECONDS + 60)
def test_kills_at_every_crash_point_lose_and_double_no_event(
    tenant: Any, temporal_worker: None, servers: Servers, settings: Any, tmp_path: Path
) -> None:
    all_points = {point.title: point for point in points()}
    kills = kill_plan(list(all_points.values()), random.Random(SEED))
    with loaded_programs(tenant, servers, settings, tmp_path, kills=kills, seed=SEED) as (programs, load):
        began = time.monotonic()
        feed_until_all_are_killed(programs, load, all_points, count=sum(map(len, kills.values())))
        killed = time.monotonic()
        load.feed_remaining_waits()
        wait_until_settled(programs, load, seconds=RECOVERY_SECONDS)
        settled = time.monotonic()
        errors = load.result_errors()
        print(table(all_points, programs, load, errors))
        print(
            f"{programs.kills.total()} kills (seed {SEED}) in {killed - began:.0f} s, settled after"
            f" {settled - killed:.0f} s; {len(load.sent)} events, {len(load.loops)} runs with waits,"
            f" responses {dict(load.responses)}"
        )
        assert (errors, load.sender_errors, programs.other_ends) == ({}, [], [])
        assert programs.kills.total() >= 50 * ROUNDS
        assert set(programs.kills) == set(all_points)


def kill_plan(points: list[Point], rng: random.Random) -> KillPlan:
    """Plan `ROUNDS` kills at each point, at one of its first three visits, in an order that depends on the seed."""
    plan: KillPlan = {}
    for role in SLOTS:
        firsts = [point for point in points if point.role == role and not point.after] * ROUNDS
        rng.shuffle(firsts)
        seconds = {point.after: point for point in points if point.role == role and point.after}
        plan[role] = []
        for point in firsts:
            plan[role].append((point.title, rng.choice((1, 1, 2, 3))))
            if point.name in seconds:
                plan[role].append((seconds[point.name].title, 1))
    return plan


class Feeder:
    """Times at which a process gets its next event. The pauses grow, because every event costs time."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._due = 0.0
        self._pause = FEED_SECONDS

    def is_due(self, now: float) -> bool:
        if now < self._due:
            return False
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_FEED_SECONDS)
        return True


def feed_until_all_are_killed(programs: Programs, load: Load, all_points: dict[str, Point], *, count: int) -> None:
    """Send events that lead to the armed crash points, until every planned kill has happened."""
    deadline = time.monotonic() + KILLS_SECONDS
    feeders: dict[str, Feeder] = {}
    sweep_at = 0.0
    while programs.kills.total() < count:
        armed = {slot: title for slot, title in programs.armed.items() if title}
        now = time.monotonic()
        assert now < deadline, f"crash points not reached: {armed}; {programs.kills.total()} kills before"
        assert not programs.other_ends, "a program ended at no crash point"
        for slot, title in armed.items():
            if slot not in feeders or feeders[slot].pid != programs.pids[slot]:
                feeders[slot] = Feeder(programs.pids[slot])
            if load.backlog() < MAX_BACKLOG and feeders[slot].is_due(now):
                load.feed(all_points[title].needs, point=title)
        if now > sweep_at:
            sweep_at = now + SWEEP_SECONDS
            load.sweep()
        programs.wait(FEED_SECONDS / 2)


def table(all_points: dict[str, Point], programs: Programs, load: Load, errors: dict[str, str]) -> str:
    lines = [f"{'point':65} kills  events for it  ok"]
    for title in all_points:
        events = load.events_for(title)
        is_ok = not events & set(errors)
        lines.append(f"{title:65} {programs.kills[title]:5}  {len(events):13}  {'yes' if is_ok else 'NO'}")
    return "\n".join(lines)

"""Web, Celery workers and stream consumer are killed at every named point, over and over, under load (docs/reference/events.md#crashes-and-outages).

Afterwards every accepted event is in exactly one final state, and every effect was made exactly once. The Temporal worker
is not killed here, but in `tests/temporal/test_crashes.py`.
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
from tests.support.crash_programs import SWEEP_SECONDS, Lives, Programs, loaded_programs, until_settled
from tests.support.crash_stage import SLOTS

SEED = int(os.environ.get("POINTSMAN_CRASH_SEED", "2026"))
ROUNDS = int(os.environ.get("POINTSMAN_CRASH_ROUNDS", "4"))  # kills at each point
KILLS_SECONDS, RECOVERY_SECONDS = 240, 90
FEED_SECONDS, LONGEST_FEED_SECONDS = 0.05, 0.8
MOST_WAITING = 10


@pytest.mark.timeout(KILLS_SECONDS + RECOVERY_SECONDS + 60)
def test_whatever_is_killed_nothing_is_lost_and_nothing_doubled(
    tenant: Any, temporal_worker: None, servers: Servers, settings: Any, tmp_path: Path
) -> None:
    all_points = {point.title: point for point in points()}
    lives = planned(list(all_points.values()), random.Random(SEED))
    with loaded_programs(tenant, servers, settings, tmp_path, lives=lives, seed=SEED) as (programs, load):
        began = time.monotonic()
        feed_until_all_are_dead(programs, load, all_points, count=sum(map(len, lives.values())))
        killed = time.monotonic()
        load.feed_rest_of_waits()
        until_settled(programs, load, seconds=RECOVERY_SECONDS)
        settled = time.monotonic()
        wrongs = load.wrongs()
        print(table(all_points, programs, load, wrongs))
        print(
            f"{programs.kills.total()} kills (seed {SEED}) in {killed - began:.0f} s, settled {settled - killed:.0f} s later; "
            f"{len(load.sent)} events, {len(load.loops)} runs that waited, answers {dict(load.answers)}"
        )
        assert (wrongs, load.faults, programs.other_ends) == ({}, [], [])
        assert programs.kills.total() >= 50 * ROUNDS
        assert set(programs.kills) == set(all_points)


def planned(points: list[Point], rng: random.Random) -> Lives:
    """For each role its lives: each point `ROUNDS` times, at one of its first visits, in an order of the seed's."""
    plan: Lives = {}
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
    """When a life gets its next event: soon at first, then more and more rarely, since every event costs."""

    def __init__(self, life: int) -> None:
        self.life = life
        self._due = 0.0
        self._pause = FEED_SECONDS

    def is_due(self, now: float) -> bool:
        if now < self._due:
            return False
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_FEED_SECONDS)
        return True


def feed_until_all_are_dead(programs: Programs, load: Load, all_points: dict[str, Point], *, count: int) -> None:
    """Sends what leads to the points that are armed, until every planned life has ended."""
    deadline = time.monotonic() + KILLS_SECONDS
    feeders: dict[str, Feeder] = {}
    sweep_at = 0.0
    while programs.kills.total() < count:
        armed = {slot: title for slot, title in programs.armed.items() if title}
        now = time.monotonic()
        assert now < deadline, f"never reached: {armed}; {programs.kills.total()} kills before"
        assert not programs.other_ends, "a program ended of itself"
        for slot, title in armed.items():
            if slot not in feeders or feeders[slot].life != programs.lives[slot]:
                feeders[slot] = Feeder(programs.lives[slot])
            if load.backlog() < MOST_WAITING and feeders[slot].is_due(now):
                load.feed(all_points[title].needs, point=title)
        if now > sweep_at:
            sweep_at = now + SWEEP_SECONDS
            load.sweep()
        programs.wait(FEED_SECONDS / 2)


def table(all_points: dict[str, Point], programs: Programs, load: Load, wrongs: dict[str, str]) -> str:
    lines = [f"{'point':65} kills  events for it  ok"]
    for title in all_points:
        events = load.events_for(title)
        is_ok = not events & set(wrongs)
        lines.append(f"{title:65} {programs.kills[title]:5}  {len(events):13}  {'yes' if is_ok else 'NO'}")
    return "\n".join(lines)

"""The processes of `crash_stage.py` with senders before them, as a test sees them."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from portal.devstack.child import PROJECT
from portal.devstack.servers import Servers
from tests.support.crash_load import Load
from tests.support.crash_points import KILLED
from tests.support.crash_stage import SLOTS
from tests.support.factories import eventually, make_actor, make_token

# A database of Redis for these processes alone: workers of one database take up each other's messages.
REDIS_DATABASE = "6"
SWEEP_SECONDS = 0.3

Lives = dict[str, list[tuple[str, int]]]


class Programs:
    """What the stage's lines tell. `armed` names the point of each program that is to die, `lives` its process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._news = threading.Condition()
        self.port = 0
        self.armed: dict[str, str] = {}
        self.lives: dict[str, int] = {}
        self.kills: Counter[str] = Counter()
        self.other_ends: list[str] = []
        self._points: dict[int, str] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._hear(json.loads(line))
                self._news.notify_all()

    def _hear(self, what: dict[str, Any]) -> None:
        if "port" in what:
            self.port = what["port"]
            return
        slot, pid = what["slot"], what["pid"]
        if "point" in what:
            self.lives[slot] = pid
            self.armed[slot] = self._points[pid] = what["point"]
            return
        self.armed[slot] = ""
        if what["code"] == KILLED:
            self.kills[self._points[pid]] += 1
        else:
            self.other_ends.append(f"{slot} ended with {what['code']} ({self._points[pid] or 'no point'})")

    def are_started(self) -> bool:
        assert self._process.poll() is None, self.log()[-3000:]
        return self.armed.keys() == set(chain(*SLOTS.values()))

    def wait(self, seconds: float) -> None:
        """For news, or so long."""
        with self._news:
            self._news.wait(seconds)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def warnings(self) -> str:
        """The last of them, and tracebacks."""
        return "\n".join([line for line in self.log().splitlines() if " INFO " not in line][-40:])


@contextmanager
def running_programs(plan: dict[str, Any], folder: Path) -> Iterator[Programs]:
    (folder / "plan.json").write_text(json.dumps(plan))
    log = folder / "stage.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_stage", str(folder / "plan.json")], cwd=PROJECT, stdout=subprocess.PIPE, stderr=output,
            env={**os.environ, "CELERY_QUEUE": plan["queue"], "REDIS_URL": plan["redis"]},
        )  # fmt: skip
    try:
        programs = Programs(process, log)
        eventually(programs.are_started, what="the programs are started")
        yield programs
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def loaded_programs(
    tenant: Any, servers: Servers, settings: Any, folder: Path, *, lives: Lives, seed: int
) -> Iterator[tuple[Programs, Load]]:
    """Web, Celery workers and consumer of a queue and a stream of their own, and senders. Without lives nobody is killed."""
    settings.REDIS_URL = servers.redis_url.rsplit("/", 1)[0] + "/" + REDIS_DATABASE
    settings.CELERY_TASK_DEFAULT_QUEUE = f"crash-{tenant.slug}"
    plan = {
        "lives": lives, "redis": settings.REDIS_URL, "queue": settings.CELERY_TASK_DEFAULT_QUEUE,
        "stream": f"events-{tenant.slug}", "group": "portal", "dead": f"dead-{tenant.slug}",
    }  # fmt: skip
    with running_programs(plan, folder) as programs:
        load = Load(tenant, make_actor(tenant), token=make_token(tenant), port=programs.port, plan=plan, seed=seed)
        try:
            load.prepare()
            yield programs, load
        except AssertionError as error:
            raise AssertionError(f"{error}; {load.faults}; {programs.other_ends}; {programs.warnings()}") from error
        finally:
            load.close()


def until_settled(programs: Programs, load: Load, *, seconds: float) -> None:
    """Until nothing is under way any more."""
    try:
        sweeping(programs, load, load.is_settled, seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"not settled within {seconds:g} s: {load.under_way}") from error


def sweeping(programs: Programs, load: Load, look: Callable[[], bool], *, seconds: float) -> None:
    """Sweeps, as beat does, until the look is true."""

    def swept_look() -> bool:
        if look():
            return True
        load.sweep()
        programs.wait(SWEEP_SECONDS)
        return False

    eventually(swept_look, seconds=seconds, what=f"{look.__name__} with sweeps")

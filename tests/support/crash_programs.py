"""Programs of `crash_supervisor.py` and the load on them, as a test controls them."""

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
from tests.support.crash_supervisor import SLOTS
from tests.support.factories import eventually, make_actor, make_token

# Only these programs use this Redis database. Workers of one database restore each other's unacknowledged messages.
REDIS_DATABASE = "6"
SWEEP_SECONDS = 0.3

# For each role, the crash point and the visit that kill each program, in the order of the programs.
KillPlan = dict[str, list[tuple[str, int]]]


class Programs:
    """State of the programs, read from the supervisor's output.

    `armed` has the crash point of the program in each slot, and `pids` the process id.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._changed = threading.Condition()
        self.port = 0
        self.armed: dict[str, str] = {}
        self.pids: dict[str, int] = {}
        self.kills: Counter[str] = Counter()
        self.other_ends: list[str] = []
        self._points: dict[int, str] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._handle(json.loads(line))
                    self._changed.notify_all()

    def _handle(self, change: dict[str, Any]) -> None:
        if "port" in change:
            self.port = change["port"]
            return
        slot, pid = change["slot"], change["pid"]
        if "point" in change:
            self.pids[slot] = pid
            self.armed[slot] = self._points[pid] = change["point"]
            return
        self.armed[slot] = ""
        if change["code"] == KILLED:
            self.kills[self._points[pid]] += 1
        else:
            self.other_ends.append(f"{slot} ended with {change['code']} ({self._points[pid] or 'no point'})")

    def are_started(self) -> bool:
        assert self._process.poll() is None, self.log()[-3000:]
        return self.armed.keys() == set(chain(*SLOTS.values()))

    def wait(self, seconds: float) -> None:
        """Wait until a program starts or ends, or until the time is over."""
        with self._changed:
            self._changed.wait(seconds)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def warnings(self) -> str:
        """Return the last 40 log lines that are not of level INFO."""
        return "\n".join([line for line in self.log().splitlines() if " INFO " not in line][-40:])


@contextmanager
def running_programs(plan: dict[str, Any], folder: Path) -> Iterator[Programs]:
    (folder / "plan.json").write_text(json.dumps(plan))
    log = folder / "programs.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_supervisor", str(folder / "plan.json")], cwd=PROJECT,
            stdout=subprocess.PIPE, stderr=output,
            env={**os.environ, "CELERY_QUEUE": plan["queue"], "REDIS_URL": plan["redis"]},
        )  # fmt: skip
    try:
        programs = Programs(process, log)
        eventually(programs.are_started, what="the programs are started")
        yield programs
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def loaded_programs(
    tenant: Any, servers: Servers, settings: Any, folder: Path, *, kills: KillPlan, seed: int
) -> Iterator[tuple[Programs, Load]]:
    """Run web servers, Celery workers and a stream consumer under load, with a queue and a stream of their own.

    With an empty kill plan, no program is killed.
    """
    settings.REDIS_URL = servers.redis_url.rsplit("/", 1)[0] + "/" + REDIS_DATABASE
    settings.CELERY_TASK_DEFAULT_QUEUE = f"crash-{tenant.slug}"
    plan = {
        "kills": kills, "redis": settings.REDIS_URL, "queue": settings.CELERY_TASK_DEFAULT_QUEUE,
        "stream": f"events-{tenant.slug}", "group": "portal", "dead": f"dead-{tenant.slug}",
    }  # fmt: skip
    with running_programs(plan, folder) as programs:
        load = Load(tenant, make_actor(tenant), token=make_token(tenant), port=programs.port, plan=plan, seed=seed)
        try:
            load.prepare()
            yield programs, load
        except AssertionError as error:
            details = (load.sender_errors, programs.other_ends, programs.warnings())
            raise AssertionError("; ".join(map(str, (error, *details)))) from error
        finally:
            load.close()


def wait_until_settled(programs: Programs, load: Load, *, seconds: float) -> None:
    """Run sweeps until no event, delivery, run or message is in progress."""
    try:
        sweep_until(programs, load, load.is_settled, seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"after {seconds:g} s still in progress: {load.in_progress}") from error


def sweep_until(programs: Programs, load: Load, condition: Callable[[], bool], *, seconds: float) -> None:
    """Start sweeps, as Celery beat does, until the condition is true."""

    def is_true() -> bool:
        if condition():
            return True
        load.sweep()
        programs.wait(SWEEP_SECONDS)
        return False

    eventually(is_true, seconds=seconds, what=f"{condition.__name__} with sweeps")

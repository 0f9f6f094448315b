"""Random disturbances of a running development stack: SIGKILL, or a stop for some seconds."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from portal.devstack.control import Control
from portal.devstack.errors import StackError
from portal.devstack.supervision import Supervisor
from portal.devstack.waiting import NotReady

# Program and weight.
PROGRAMS = {"worker": 4, "web": 3, "celery": 3, "temporal": 2, "redis": 2, "postgres": 2, "stream": 1, "beat": 1}
PAUSE_SECONDS = (5.0, 20.0)
OUTAGE_SECONDS = (3.0, 45.0)
OUTAGES = 0.3  # share of the disturbances that are stops
RETRY_SECONDS = 3.0


class Kills:
    """A thread that disturbs the stack until `stop` is called. Then every program runs again."""

    def __init__(self, home: Path, chance: random.Random, say: Callable[[str], None]) -> None:
        self._control = Control(home, lambda line: None)
        self._supervisor = Supervisor(home)
        self._random = chance
        self._say = say
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed: Counter[str] = Counter()
        self.stopped: Counter[str] = Counter()
        self.stopped_seconds: Counter[str] = Counter()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        for name in PROGRAMS:
            self._start(name)

    def count(self) -> int:
        return self.killed.total() + self.stopped.total()

    def report(self) -> str:
        lines = ["program     kills  stops  seconds stopped"]
        for name in PROGRAMS:
            lines.append(f"{name:10}{self.killed[name]:7}{self.stopped[name]:7}{self.stopped_seconds[name]:17.0f}")
        return "\n".join(lines)

    def _run(self) -> None:
        while not self._end.wait(self._random.uniform(*PAUSE_SECONDS)):
            name = self._random.choices(list(PROGRAMS), list(PROGRAMS.values()))[0]
            if self._random.random() < OUTAGES:
                self._outage(name, self._random.uniform(*OUTAGE_SECONDS))
            else:
                self._kill(name)

    def _kill(self, name: str) -> None:
        """Kill the program, or one of the processes that it started. The supervisor starts it again."""
        state = self._supervisor.state(name)
        if not state.pid:
            return  # it is being restarted
        pids = [state.pid]
        if name == "celery":
            pids += [child.pid for child in psutil.Process(state.pid).children(recursive=True)]
        try:
            os.kill(self._random.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[name] += 1

    def _outage(self, name: str, seconds: float) -> None:
        self._control.stop(name)
        self._end.wait(seconds)
        self.stopped[name] += 1
        self.stopped_seconds[name] += seconds
        self._start(name)

    def _start(self, name: str) -> None:
        while True:
            try:
                self._control.start(name)
            except (StackError, NotReady) as error:
                self._say(f"{name} did not start, next try in {RETRY_SECONDS} s: {error}")
                threading.Event().wait(RETRY_SECONDS)
            else:
                return

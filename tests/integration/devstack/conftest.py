"""Homes and running stacks for these tests. Every started process is ended by its pid."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from portal.devstack.child import PROJECT
from portal.devstack.control import Control
from portal.devstack.supervision import State, Supervisor
from portal.devstack.waiting import wait_until

HERE = Path(__file__).parent
SECONDS = 60.0


@pytest.fixture
def home() -> Iterator[Path]:
    """Return the path of an empty home. It is outside of pytest's folder, because pytest resets folder permissions."""
    folder = Path(tempfile.mkdtemp(prefix="pointsman-test-"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


class SmallStack:
    """A process with a `devstack run` of small programs, and its output."""

    def __init__(self, home: Path, words: tuple[str, ...], output: int | None) -> None:
        self.home = home
        self.log = home.parent / "printed"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "small_stack.py"), str(home), *words],
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log,
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                start_new_session=True,
            )
        self.said: list[str] = []
        self.control = Control(home, self.said.append)

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    @staticmethod
    def eventually(what: str, check: Callable[[], object]) -> None:
        """Wait until `check` returns a true value. Fail with `what` after the timeout."""
        wait_until(what, lambda: "" if check() else "not yet", seconds=SECONDS)

    @staticmethod
    def all_gone(processes: list[psutil.Process]) -> bool:
        """Return True if none of the processes is running. A zombie counts as ended."""
        return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def state(self, name: str) -> State:
        return Supervisor(self.home).state(name)

    def await_up(self) -> "SmallStack":
        self.eventually("the small stack", lambda: "the banner" in self.printed or self.process.poll() is not None)
        assert self.process.poll() is None, self.printed
        return self

    def await_running(self, name: str) -> State:
        self.eventually(f"{name} is running", lambda: self.state(name).state == "RUNNING")
        return self.state(name)

    def family(self) -> list[psutil.Process]:
        """Return the process and all its current descendants."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def end(self, signum: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signum)
        return self.process.wait(timeout=SECONDS)


@pytest.fixture
def small_stack(home: Path) -> Iterator[Callable[..., SmallStack]]:
    """Return a function that starts a stack: `small_stack("base", "alpha", "beta:forking")`."""
    stacks: list[SmallStack] = []

    def start(*words: str, home: Path = home, output: int | None = None) -> SmallStack:
        home.parent.mkdir(parents=True, exist_ok=True)
        stack = SmallStack(home, words, output)
        stacks.append(stack)
        return stack

    yield start
    for stack in stacks:
        if stack.process.poll() is None:
            for process in stack.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            stack.process.wait(timeout=SECONDS)

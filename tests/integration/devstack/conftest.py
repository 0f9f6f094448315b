"""Homes and running stacks for these tests. Everything that they start is ended by its pid."""

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
    """An empty home. Not under pytest's own folder, whose permissions pytest corrects while PostgreSQL passes through."""
    folder = Path(tempfile.mkdtemp(prefix="pointsman-test-"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


class SmallStack:
    """A `devstack run` of small programs in a process of its own, and what it has printed so far."""

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
        """Waits until `check` is true; fails with `what` when it never is."""
        wait_until(what, lambda: "" if check() else "not yet", seconds=SECONDS)

    @staticmethod
    def all_gone(processes: list[psutil.Process]) -> bool:
        """Whether none of them lives. One that has ended and that nobody has collected yet does not live."""
        return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def state(self, name: str) -> State:
        return Supervisor(self.home).state(name)

    def await_up(self) -> "SmallStack":
        self.eventually("the small stack", lambda: "the banner" in self.printed or self.process.poll() is not None)
        assert self.process.poll() is None, self.printed
        return self

    def await_running(self, name: str) -> State:
        self.eventually(f"{name} runs", lambda: self.state(name).state == "RUNNING")
        return self.state(name)

    def family(self) -> list[psutil.Process]:
        """This process and all that descend from it now."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def end(self, signum: signal.Signals) -> int:
        """Its exit code, after a signal."""
        self.process.send_signal(signum)
        return self.process.wait(timeout=SECONDS)


@pytest.fixture
def small_stack(home: Path) -> Iterator[Callable[..., SmallStack]]:
    """Starts a stack: `small_stack("base", "alpha", "beta:forking")`."""
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

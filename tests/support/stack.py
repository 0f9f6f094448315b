"""The whole portal, started with `manage.py devstack run` in a folder of its own and on free ports."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.core.management import call_command
from django.test import override_settings

from portal.devstack import postgres
from portal.devstack.control import Control
from portal.devstack.ports import free_port
from portal.devstack.supervision import Supervisor
from tests.support.factories import eventually

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("PORT", "POSTGRES_PORT", "REDIS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")
READY_LINE = "Ctrl-C stops everything"
# Variables that point to the servers of the test session. The stack has servers of its own.
SESSION_VARIABLES = (
    *postgres.VARIABLES,
    "REDIS_URL",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_TASK_QUEUE",
    "HTTP_ALLOWED_PRIVATE_HOSTS",
    "DJANGO_SETTINGS_MODULE",
)


class Stack:
    def __init__(self, home: Path) -> None:
        self.home = home
        ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
        kept = {name: value for name, value in os.environ.items() if name not in SESSION_VARIABLES}
        kept.pop("WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON", None)
        self.env = {**kept, **ports, "POINTSMAN_HOME": str(home), "SWEEP_INTERVAL_SECONDS": "1"}
        self.log = home.parent / f"{home.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._credentials: dict[str, Any] = {}

    def start(self, *, seconds: float = 400) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "devstack", "run"], cwd=ROOT, env=self.env, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_up, seconds=seconds, what="the stack is started")

    def _is_up(self) -> bool:
        assert self.process is not None
        text = self.log.read_text(errors="replace")
        assert self.process.poll() is None, text[-4000:]
        return READY_LINE in text

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send SIGINT, as Ctrl-C does, or another signal. Return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(90)

    def processes(self) -> list[psutil.Process]:
        """Return the process of the stack and all processes below it."""
        assert self.process is not None
        try:
            parent = psutil.Process(self.process.pid)
        except psutil.NoSuchProcess:
            return []
        return [parent, *parent.children(recursive=True)]

    def manage(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def devstack(self, *arguments: str) -> None:
        """Run the command in this process, without the time that another process needs to start."""
        with override_settings(POINTSMAN_HOME=self.home):
            call_command("devstack", *arguments)

    def stop_program(self, name: str) -> None:
        """Stop a program as `devstack stop NAME` does, without the time that the command needs to start."""
        Control(self.home, lambda _: None).stop(name)

    def start_program(self, name: str) -> None:
        """Start a program as `devstack start NAME` does, without that time. The program may not be ready yet."""
        Control(self.home, lambda _: None).start(name)

    def pid_of(self, name: str) -> int:
        state = Supervisor(self.home).state(name)
        assert state.state == "RUNNING", f"the program {name} is not running: {state}"
        return state.pid

    # -- API with the token of the demo --------------------------------------------------------------------------------

    def credentials(self) -> dict[str, Any]:
        """Return the credentials that the stack has shown when it was started first."""
        if not self._credentials:
            done = self.manage("demo_credentials", "--json")
            assert done.returncode == 0, done.stderr
            self._credentials = json.loads(done.stdout)
        return self._credentials

    def client(self) -> httpx.Client:
        credentials = self.credentials()
        headers = {"Authorization": f"Bearer {credentials['token']}"}
        return httpx.Client(base_url=f"{credentials['url']}/api/v1", headers=headers, timeout=30, trust_env=False)


@contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    stack = Stack(home)
    try:
        stack.start()  # inside the `try`, so that a stack that did not become ready in time is stopped too
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()


def free_ports(count: int) -> list[int]:
    """Return different free ports, outside of the kernel's range for outgoing connections."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)

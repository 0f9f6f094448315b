"""Control of a running stack from another shell: `devstack status|stop|start|restart`."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from portal.devstack.errors import StackError
from portal.devstack.home import running_pid
from portal.devstack.supervision import AT_REST, RUNNING, State, Supervisor
from portal.devstack.waiting import NotReady, Probe, wait_until

NOT_RUNNING = 3
_STOP_SECONDS = 180
_START_SECONDS = 60
_COLUMNS = "{:<10} {:<11} {:>8} {:>10}  {}"


class StackNotRunning(StackError):
    """No stack is running in this home. The command ends with exit code NOT_RUNNING."""


class Control:
    """Control of the stack of one home. `say` receives each line of output."""

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None],
        *,
        probes: Mapping[str, Probe] | None = None,
        replaced: Mapping[str, str] | None = None,
    ) -> None:
        self._home = folder
        self._say = say
        self._probes = probes or {}  # by program; no probe: ready when the program has stayed up
        self._replaced = replaced or {}  # server -> variable that has the address of a real server
        self._supervisor = Supervisor(folder)

    def status(self) -> None:
        """Show each program. Errors: StackNotRunning."""
        pid = self._running_pid()
        self._say(f"The stack is running (pid {pid}) in {self._home}.")
        self._say(_COLUMNS.format("NAME", "STATE", "PID", "UPTIME", "").rstrip())
        for state in self._supervisor.states():
            self._say(_row(state))
        for name, variable in self._replaced.items():
            self._say(_COLUMNS.format(name, "elsewhere", "-", "-", f"address from {variable}"))

    def stop_all(self) -> None:
        """Stop the stack and return when `devstack run` has ended. Errors: StackNotRunning, NotReady."""
        pid = self._running_pid()
        os.kill(pid, signal.SIGTERM)

        def still_running() -> str:
            return "" if running_pid(self._home) is None else f"pid {pid} is still running"

        wait_until("the end of the stack", still_running, seconds=_STOP_SECONDS)
        self._say("The stack has stopped.")

    def stop(self, name: str) -> None:
        """Stop the program and return when it has ended. It stays stopped until `start` or the next run."""
        self._running_pid()

        def at_rest(state: State) -> bool:
            self._supervisor.stop(name)  # the request is repeated, because a restart may have been in progress
            return state.state in AT_REST

        self._await(name, at_rest, _STOP_SECONDS)
        self._show(name)

    def start(self, name: str) -> None:
        """Start the program. Return when the program has stayed up for START_SECONDS and its probe succeeds.

        A program may have no probe.
        """
        self._running_pid()
        self._supervisor.start(name)
        try:
            self._await(name, lambda state: state.state == RUNNING, _START_SECONDS)
            if probe := self._probes.get(name):
                wait_until(name, probe, seconds=_START_SECONDS)
        except NotReady as error:
            self._show(name)
            raise StackError(f"{error}\nThe program's output is in {self._home / 'logs' / f'{name}.log'}.") from error
        self._show(name)

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def _running_pid(self) -> int:
        pid = running_pid(self._home)
        if pid is None:
            raise StackNotRunning(f"The stack is not running in {self._home}. Start it with `make run`.")
        problem = self._supervisor.problem()
        if problem:
            self._say(f"The stack (pid {pid}) is starting or stopping: {problem}.")
        return pid

    def _await(self, name: str, wanted: Callable[[State], bool], seconds: float) -> None:
        def probe() -> str:
            state = self._supervisor.state(name)
            return "" if wanted(state) else f"its state is {state.state} {state.detail}".rstrip()

        wait_until(name, probe, seconds=seconds)

    def _show(self, name: str) -> None:
        self._say(_row(self._supervisor.state(name)))


def _row(state: State) -> str:
    pid = str(state.pid) if state.pid else "-"
    uptime = _duration(state.uptime) if state.pid else "-"
    return _COLUMNS.format(state.name, state.state, pid, uptime, state.detail).rstrip()


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"

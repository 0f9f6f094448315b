"""The supervisor: supervisord with three habits that it lacks.

- It ends when `devstack run` is killed, and its programs end when it is killed itself.
- The pause between restarts grows to MAX_BACKOFF_SECONDS and no further, and it never gives up.
- What a dead program leaves of its process group is ended: the children of a Celery worker that was killed would otherwise
  stay, hold its pipes and take its tasks.

As a program: `python -m portal.devstack.supervisord PARENT_PID CONFIG_FILE`.
"""

import os
import signal
import sys
import time
from typing import Any

import psutil
import supervisor.process
import supervisor.supervisord
from supervisor.states import ProcessStates

from portal.devstack.child import adopt_orphans, ask_for_death_signal, die_with_parent

MAX_BACKOFF_SECONDS = 30


class StackProcess(supervisor.process.Subprocess):
    """One program. Overrides three methods of supervisor 4.3, which is pinned; a test covers each."""

    delay: float
    parent: int

    def change_state(self, new_state: int, expected: bool = True) -> Any:
        changed = super().change_state(new_state, expected)
        if new_state == ProcessStates.BACKOFF:
            self.delay = min(self.delay, time.time() + MAX_BACKOFF_SECONDS)
        return changed

    def spawn(self) -> Any:
        self.parent = os.getpid()
        return super().spawn()

    def _spawn_as_child(self, filename: str, argv: list[str]) -> None:
        try:
            ask_for_death_signal(self.config.stopsignal)
        except OSError as error:
            os.write(2, f"no death signal: {error}\n".encode())
        if os.getppid() != self.parent:
            os._exit(0)
        super()._spawn_as_child(filename, argv)

    def finish(self, pid: int, sts: int) -> None:
        super().finish(pid, sts)
        end_group(pid)


def end_group(group: int) -> None:
    """Kills what is left of a dead program's process group. Its number cannot be another's: the session must be ours."""
    session = os.getsid(0)
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is not ours to look at


def main(parent: int, config_file: str) -> None:
    die_with_parent(signal.SIGTERM, parent)
    adopt_orphans()
    supervisor.process.Subprocess = StackProcess  # where supervisor looks the class up when it makes its processes
    supervisor.supervisord.main(["--nodaemon", "--configuration", config_file])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

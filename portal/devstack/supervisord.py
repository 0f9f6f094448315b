"""supervisord with three additions.

- If `devstack run` is killed, supervisord ends. If supervisord is killed, its programs end.
- The pause between restarts grows up to MAX_BACKOFF_SECONDS. supervisord never stops restarting a program.
- When a program dies, the rest of its process group is killed. Otherwise the children of a killed Celery worker would
  keep its pipes open and process its tasks.

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

from portal.devstack.child import adopt_orphans, die_with_parent, request_death_signal

MAX_BACKOFF_SECONDS = 30


class StackProcess(supervisor.process.Subprocess):
    """One program. The class overrides methods of supervisor 4.3. This version is pinned. A test covers each method."""

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
            request_death_signal(self.config.stopsignal)
        except OSError as error:
            os.write(2, f"The death signal could not be requested: {error}\n".encode())
        if os.getppid() != self.parent:
            os._exit(0)
        super()._spawn_as_child(filename, argv)

    def finish(self, pid: int, sts: int) -> None:
        super().finish(pid, sts)
        end_group(pid)


def end_group(group: int) -> None:
    """Kill the rest of a dead program's process group.

    Only processes of this session are killed. So no other process is killed if the system has reused the group number.
    """
    session = os.getsid(0)
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # the process has ended, or belongs to another user


def main(parent: int, config_file: str) -> None:
    die_with_parent(signal.SIGTERM, parent)
    adopt_orphans()
    supervisor.process.Subprocess = StackProcess  # supervisor looks the class up here
    supervisor.supervisord.main(["--nodaemon", "--configuration", config_file])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""Processes that end with their parent.

A parent that is killed with SIGKILL cannot stop its children. On Linux, a child can ask the kernel to send it a signal
when its parent dies. On other systems these calls do nothing, and only an orderly stop ends all children.

As a program, `python -m portal.devstack.child PARENT_PID SIGNAL COMMAND...` first requests this signal and then becomes
the command. This is a separate program because `preexec_fn` is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# The working directory in which `python -m portal.devstack...` finds this package.
PROJECT = Path(__file__).resolve().parents[2]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def request_death_signal(signum: int) -> None:
    """Let the kernel send `signum` when the parent dies. Check afterwards that the parent has not already died."""
    _prctl(PR_SET_PDEATHSIG, signum)


def die_with_parent(signum: int, parent: int) -> None:
    """Let the kernel send `signum` to this process when `parent` dies, or send it now if the parent has died.

    The request remains valid after `exec`, but not after a change of user. So a process that drops privileges calls
    this function afterwards.
    """
    request_death_signal(signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent dies.

    So this process can find and end these descendants.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def command_tied_to(parent: int, signum: signal.Signals, command: Sequence[str], *, python: str) -> list[str]:
    """Return a command that runs `command` and sends it `signum` when `parent` dies. Run it in the folder PROJECT."""
    return [python, "-m", "portal.devstack.child", str(parent), signum.name, *command]


def main(arguments: Sequence[str]) -> None:
    parent, signum, *command = arguments
    die_with_parent(signal.Signals[signum], int(parent))
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])

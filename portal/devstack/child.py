"""Processes that do not outlive their parent.

A parent that is killed with SIGKILL can stop nothing any more. On Linux the kernel does it then: a child names the signal
that it wants when its parent dies. Elsewhere these calls do nothing, and only an orderly stop leaves nothing behind.

As a program: `python -m portal.devstack.child PARENT_PID SIGNAL COMMAND...` ties itself to its parent, then becomes the
command. A wrapper, because `preexec_fn` is unsafe in a process that has threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# From where `python -m portal.devstack...` finds this package.
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


def ask_for_death_signal(signum: int) -> None:
    """Has the kernel send `signum` when the parent dies. The parent may have died just before: check it afterwards."""
    _prctl(PR_SET_PDEATHSIG, signum)


def die_with_parent(signum: int, parent: int) -> None:
    """Has the kernel send `signum` to this process when `parent` dies; sends it now when it has died already.

    Survives exec. Does not survive a change of user, so a process that drops privileges calls it afterwards.
    """
    ask_for_death_signal(signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent dies, so that it can still find and end them."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def command_tied_to(parent: int, signum: signal.Signals, command: Sequence[str], *, python: str) -> list[str]:
    """`command` so that it gets `signum` when `parent` dies. To be run in PROJECT."""
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

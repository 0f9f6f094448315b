"""Stop signals, and the end of all child processes."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One Ctrl-C can arrive twice, from the terminal and from the parent process.
_SAME_KEY_SECONDS = 0.5
_KILL_ROUNDS = 5


class StopRequest:
    """Flags for a requested stop. The flags are plain attributes, because a lock can deadlock in a signal handler."""

    def __init__(self) -> None:
        self.requested = False
        self.hurry = False
        self._requested_at = 0.0

    def __call__(self) -> bool:
        return self.requested

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal. The first signal requests a stop. A later Ctrl-C requests an immediate stop."""
        now = time.monotonic()
        if not self.requested:
            self.requested, self._requested_at = True, now
        elif signum == signal.SIGINT and now - self._requested_at > _SAME_KEY_SECONDS:
            self.hurry = True


@contextmanager
def stop_signals(request: StopRequest) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into stop requests during the block.

    If a stop was requested, the signals stay ignored after the block, because the process is about to end.
    """
    before = {signum: signal.signal(signum, request.receive) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if request.requested else handler)


def kill_descendants(*, patience: float = 0.0) -> list[str]:
    """Kill all descendants that still run after `patience` seconds. Return the processes that could not be killed.

    Call `adopt_orphans` before these descendants are started. Otherwise descendants whose parent has died cannot be
    found.
    """
    deadline = time.monotonic() + patience
    while _living_descendants() and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(_KILL_ROUNDS):  # a process may have started another process before it died
        living = _living_descendants()
        for process in living:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(living, timeout=1)
    return [f"pid {process.pid}" for process in _living_descendants()]


def _living_descendants() -> list[psutil.Process]:
    living = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
            elif process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return living

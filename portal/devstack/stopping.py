"""Being told to stop, and leaving no process behind."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One Ctrl-C can arrive twice, from the terminal and from whoever started us.
_SAME_KEY_SECONDS = 0.5
_KILL_ROUNDS = 5


class StopRequest:
    """Whether a stop was asked for, and whether in a hurry. Plain flags: a lock could deadlock in a signal handler."""

    def __init__(self) -> None:
        self.asked = False
        self.hurry = False
        self._asked_at = 0.0

    def __call__(self) -> bool:
        return self.asked

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal asks to stop, a later Ctrl-C hastens."""
        now = time.monotonic()
        if not self.asked:
            self.asked, self._asked_at = True, now
        elif signum == signal.SIGINT and now - self._asked_at > _SAME_KEY_SECONDS:
            self.hurry = True


@contextmanager
def stop_signals(request: StopRequest) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP only ask, as long as the block runs. Once asked we are leaving: later ones change nothing."""
    before = {signum: signal.signal(signum, request.receive) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if request.asked else handler)


def kill_descendants(*, patience: float = 0.0) -> list[str]:
    """Kills every process that descends from this one and is still there after `patience` seconds; returns who would not die.

    Needs `adopt_orphans`, or those whose parent has died are not ours to find.
    """
    deadline = time.monotonic() + patience
    while _living_descendants() and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(_KILL_ROUNDS):  # a process may have started another one before it died
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

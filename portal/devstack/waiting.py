"""Waiting with a deadline. If the deadline passes, the error gives the reason."""

import time
from collections.abc import Callable

from portal.devstack.errors import StackError

# A probe checks once. It returns "" if the target is ready, otherwise the problem. "Not ready yet" is never an
# exception.
Probe = Callable[[], str]

PAUSE_SECONDS = 0.1


class NotReady(StackError):
    """The deadline has passed. The message contains the last problem."""


class Abandoned(StackError):
    """The caller stopped waiting, because a stop was requested."""


def wait_until(
    what: str,
    probe: Probe,
    *,
    seconds: float,
    abandon: Callable[[], bool] = lambda: False,
    pause: float = PAUSE_SECONDS,
) -> None:
    """Wait until `probe` returns "". Errors: NotReady after `seconds`, Abandoned when `abandon` returns True."""
    deadline = time.monotonic() + seconds
    while problem := probe():
        if abandon():
            raise Abandoned(f"Waiting for {what} was canceled.")
        if time.monotonic() >= deadline:
            raise NotReady(f"{what} is not ready after {seconds:g} s: {problem}")
        time.sleep(pause)

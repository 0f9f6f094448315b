"""Waiting for something to become ready, with a deadline and a reason."""

import time
from collections.abc import Callable

from portal.devstack.errors import StackError

# A probe looks once. It returns "" when all is well, else what is wrong; it never raises for "not ready yet".
Probe = Callable[[], str]

PAUSE_SECONDS = 0.1


class NotReady(StackError):
    """The deadline passed; the message carries what the last look found."""


class Abandoned(StackError):
    """The caller no longer wants to wait (a stop was asked for)."""


def wait_until(
    what: str,
    probe: Probe,
    *,
    seconds: float,
    abandon: Callable[[], bool] = lambda: False,
    pause: float = PAUSE_SECONDS,
) -> None:
    """Returns when `probe` is content. Errors: NotReady after `seconds`, Abandoned when `abandon` turns true."""
    deadline = time.monotonic() + seconds
    while problem := probe():
        if abandon():
            raise Abandoned(f"no longer waiting for {what}")
        if time.monotonic() >= deadline:
            raise NotReady(f"{what} is not ready after {seconds:g} s: {problem}")
        time.sleep(pause)

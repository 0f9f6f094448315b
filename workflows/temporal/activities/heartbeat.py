"""Heartbeats from a thread, for activities that take their time.

They begin late, because one that reaches the server is billed; and they come from a thread under a copy of the activity's
context, because the action's own code does not know of them. A worker that dies is noticed when they stop.
"""

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity


@contextmanager
def heartbeats() -> Iterator[None]:
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(timeout.total_seconds() / 3):
            activity.heartbeat()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

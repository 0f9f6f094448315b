"""Heartbeats from a thread, for activities that take their time.

They begin late, because one that reaches the server is billed; and they come from a thread under a copy of the activity's
context, because the action's own code does not know of them. A worker that dies is noticed when they stop.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, connections
from temporalio import activity


@contextmanager
def heartbeats(at_each: Callable[[], None]) -> Iterator[None]:
    """`at_each` is called with every beat, in the thread that beats (with database connections of its own)."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(timeout.total_seconds() / 3):
            activity.heartbeat()
            try:
                at_each()
            except DatabaseError:
                activity.logger.warning("a lease could not be renewed", exc_info=True)
        connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

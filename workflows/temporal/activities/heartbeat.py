"""Heartbeats of long activities, sent from a separate thread.

The first heartbeat is sent late, because each heartbeat that reaches the server is billed. The thread has a copy of the
activity's context, so that the code of an action need not send heartbeats. If the heartbeats stop, Temporal considers
the worker lost.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, connections
from temporalio import activity


@contextmanager
def heartbeats(on_beat: Callable[[], None]) -> Iterator[None]:
    """Send heartbeats while the block runs. With each heartbeat, call `on_beat`.

    The calls run in a thread with its own database connections.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(timeout.total_seconds() / 3):
            activity.heartbeat()
            try:
                on_beat()
            except DatabaseError:
                activity.logger.warning("the claim of an invocation could not be renewed", exc_info=True)
        connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

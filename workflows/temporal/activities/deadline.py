"""The time limit of an action, enforced inside the activity (docs/reference/engine.md#actions).

Python cannot stop a thread. So an action that exceeds its limit keeps running in its thread, and the activity no longer
waits for this thread. The caller decides what this means for the effect of the action.
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


class DeadlinePassed(Exception):
    """The work has not ended within its time limit, and may still be running."""


def within(
    seconds: float, work: Callable[[], Any], late: Callable[[Any, BaseException | None], None] | None = None
) -> Any:
    """Run `work` in a thread with its own database connections. Return the result of `work`, or raise its error.

    If the work ends after the limit, its thread calls `late` with the result or the error.

    Errors: DeadlinePassed.
    """
    outcome: dict[str, Any] = {}
    lock, has_ended, is_late = threading.Lock(), threading.Event(), threading.Event()

    def run() -> None:
        try:
            try:
                outcome["value"] = work()
            except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
                outcome["error"] = error
            with lock:
                has_ended.set()
            if is_late.is_set() and late is not None:
                late(outcome.get("value"), outcome.get("error"))
        finally:
            connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="action", daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        if not has_ended.is_set():
            is_late.set()
    if is_late.is_set():
        raise DeadlinePassed(f"no outcome within {seconds:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]

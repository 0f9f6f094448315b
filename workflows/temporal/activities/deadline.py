"""An action's own timeout, kept inside the activity (docs/reference/engine.md#actions).

Python cannot end a thread, so an action that does not return in time is left behind: its thread goes on, its outcome is
not waited for. What that means for the effect is the caller's to say.
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


class DeadlinePassed(Exception):
    """The work has not returned in time, and may go on."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What `work` returns or raises. It runs in a thread of its own, with database connections of its own.

    Errors: DeadlinePassed.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = work()
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            outcome["error"] = error
        finally:
            connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="action", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise DeadlinePassed(f"no outcome within {seconds:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]

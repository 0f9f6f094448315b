"""The time limit of an action, enforced inside the activity (docs/reference/engine.md#actions).

Python cannot stop a thread. So an action that exceeds its limit keeps running in its thread, and the activity no longer
waits for it. The caller decides what that means for the action's effect.
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


class DeadlinePassed(Exception):
    """The work has not ended within its time limit, and may still be running."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Run `work` in a thread with its own database connections. Return its result, or raise its error.

    Errors: DeadlinePassed.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = work()
        except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
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

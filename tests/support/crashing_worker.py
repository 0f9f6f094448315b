"""Temporal worker that kills itself at a crash point, for `forked.py`.

The worker kills itself with SIGKILL at the first visit of the point and creates the file of `flag`. If the file exists,
the worker runs normally.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.db import connections


def dies_after(
    function: Callable[..., Any], flag: Path, when: Callable[..., bool] = lambda *_, **__: True
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        die(flag, when(*args, **kwargs))
        return result

    return run


def dies_before(function: Callable[..., Any], flag: Path) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        die(flag)
        return function(*args, **kwargs)

    return run


def die(flag: Path, now: bool = True) -> None:
    if now and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, flag: Path) -> None:
    from workflows.temporal import performing
    from workflows.temporal.activities import action, children, execution, records, schedules

    match point:
        case "after the effect, before its outcome is stored":
            execution._called = dies_after(execution._called, flag)  # type: ignore[assignment]
        case "between activity and projection":
            action._Attempt.write_end = dies_before(action._Attempt.write_end, flag)  # type: ignore[method-assign]
        case "after the end of a step was written":
            action._Attempt.write_end = dies_after(action._Attempt.write_end, flag)  # type: ignore[method-assign]
        case "before a wait is written":
            records._write = dies_before(records._write, flag)  # type: ignore[assignment]
        case "during continue-as-new":
            performing.fitting = dies_after(performing.fitting, flag, lambda p: bool(getattr(p, "checkpoint", None)))
        case "after a wait was written, before the lookback":
            records.wait_look_for_events = dies_before(records.wait_look_for_events, flag)  # type: ignore[assignment]
        case "after a child's row was written":
            children._run_input = dies_before(children._run_input, flag)  # type: ignore[assignment]
        case "after an occurrence was recorded":
            fire = dies_after(schedules.schedule_fire, flag, lambda **_: True)
            schedules.schedule_fire = fire  # type: ignore[assignment]
        case "no point":
            pass
        case _:
            raise SystemExit(f"there is no crash point {point!r}; `arm` in {__file__} lists them")


def main(point: str, flag: Path, *, has_real_timeouts: bool = False, database_url: str = "") -> None:
    """Run the worker. Without `has_real_timeouts`, Temporal notices the loss of its activities after 4 s."""
    from workflows.temporal import performing
    from workflows.temporal.serve import serve

    performing.MAX_MESSAGES = 5
    if not has_real_timeouts:
        performing.HEARTBEAT_TIMEOUT = performing.WRITE_TIMEOUT = timedelta(seconds=4)
    if database_url:
        address = urlsplit(database_url)
        connections["default"].settings_dict |= {"HOST": address.hostname, "PORT": address.port}
    arm(point, flag)
    asyncio.run(serve())

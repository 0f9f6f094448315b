"""Runs a recursive piece of work whatever the caller's own stack has left.

Rule: how deep an expression and the values it follows may go is counted (`limits`), so the interpreter's limit must never
decide. Where it stops the work, the limit is raised and the work is done again from the start; the work is pure, so doing
it twice shows only in the time.

The limit belongs to the whole interpreter. It is never lowered again: CPython ends the process when another thread is
deeper than a limit that is lowered under it. Python's own frames take no C stack, and what the contract needs at most is
a fraction of `_FRAMES`, so this happens once, if ever: the library raises the limit to 10,000 when it is imported.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from workflows.engine.expressions import errors

_FRAMES = 6_000
_CEILING = 30_000
_lock = threading.Lock()

Result = TypeVar("Result")


def with_headroom(work: Callable[[], Result]) -> Result:
    """The result of `work`.

    Errors: those of `work`; EXPRESSION_BUDGET in place of a RecursionError, where the caller itself is so deep that the
    limit would pass the ceiling.
    """
    try:
        return work()
    except RecursionError:
        _raise_limit()
    try:
        return work()
    except RecursionError:
        raise errors.ExpressionError(errors.BUDGET, "The interpreter's stack has no room left") from None


def _raise_limit() -> None:
    with _lock:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), min(sys.getrecursionlimit() + _FRAMES, _CEILING)))

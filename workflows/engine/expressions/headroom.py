"""Execution of recursive work, even if the caller has used most of the interpreter's stack.

Rule: `limits` counts the depth of expressions and values, so the interpreter's recursion limit must never decide. If
the interpreter stops the work, the limit is raised and the work starts again. The work is pure, so a repetition costs
only time.

The recursion limit belongs to the whole interpreter. This module never lowers the limit again, because CPython ends the
process if another thread is then deeper than the limit. Python frames take no C stack. The contract needs only a
fraction of `_FRAMES`, so the limit is raised at most once. Usually it is not raised at all, because the library sets
the limit to 10,000 on import.
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
    """Return the result of `work`.

    Errors: the errors of `work`. If the caller's stack is so deep that the raised limit would pass `_CEILING`,
    EXPRESSION_BUDGET instead of a RecursionError.
    """
    try:
        return work()
    except RecursionError:
        _raise_limit()
    try:
        return work()
    except RecursionError:
        raise errors.ExpressionError(
            errors.BUDGET, "The expression cannot be evaluated because the stack of the process is full"
        ) from None


def _raise_limit() -> None:
    with _lock:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), min(sys.getrecursionlimit() + _FRAMES, _CEILING)))

"""Fixtures for the tests of the expression contract."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

# The reference implementation needs Node. Without it, the vectors contain the results of the reference.
if not (os.environ.get("POINTSMAN_JSONATA") and shutil.which("node")):
    collect_ignore = ["test_reference.py"]


@pytest.fixture
def with_room() -> Iterator[Callable[[int, Callable[[], Any]], Any]]:
    """Return a function that calls `work` with room for only `frames` more frames on the interpreter's stack.

    The room is relative to the recursion limit at the start of the test.
    """
    limit = sys.getrecursionlimit()

    def used() -> int:
        count = 0
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            frame, count = frame.f_back, count + 1
        return count

    def descend(levels: int, work: Callable[[], Any]) -> Any:
        return work() if levels <= 0 else descend(levels - 1, work)

    yield lambda frames, work: descend(limit - used() - frames, work)
    sys.setrecursionlimit(limit)

"""Helpers for all tests of the expression contract."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

# The reference implementation is Node's; where it is not at hand, the vectors hold its answers.
if not (os.environ.get("POINTSMAN_JSONATA") and shutil.which("node")):
    collect_ignore = ["test_reference.py"]


@pytest.fixture
def with_room() -> Iterator[Callable[[int, Callable[[], Any]], Any]]:
    """Calls `work` where the interpreter's stack has room for `frames` frames more, by the limit at the test's start."""
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

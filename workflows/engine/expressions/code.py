"""What the compiler makes of a tree: closures, with the weight that a loop pays for running one.

Rule: a closure keeps no state of an evaluation. All of it is in the arguments (the context value, the frame of
variables, the budget), so one compiled expression serves any number of threads at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.values import UNDEFINED, Sequence


class Frame:
    """The variables of a block, over those around it."""

    __slots__ = ("bindings", "parent")

    def __init__(self, parent: Frame | None, bindings: dict[str, Any]) -> None:
        self.parent = parent
        self.bindings = bindings

    def lookup(self, name: str) -> Any:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.bindings:
                return frame.bindings[name]
            frame = frame.parent
        return UNDEFINED


Run = Callable[[Any, Frame, Budget], Any]


class Code(NamedTuple):
    """`weight`: the nodes that one run evaluates at most, loops inside it apart, which pay for themselves.

    `settled`: the result of a run is never a sequence that still has to unwrap.
    """

    run: Run
    weight: int
    settled: bool = False


def settle(sequence: Sequence) -> Any:
    """A sequence as a value: nothing, its only item, or itself."""
    if sequence.tuple_stream:
        return sequence
    if not sequence:
        return UNDEFINED
    if len(sequence) == 1 and not sequence.keep_singleton:
        return sequence[0]
    return sequence


def as_items(value: Any) -> list[Any]:
    """An array as it is, any other value (undefined too) as a sequence of one."""
    return value if isinstance(value, list) else Sequence((value,))

"""Compiled code: closures. Each closure has a weight, which is the price of one execution in a loop.

Rule: a closure stores nothing about an evaluation. Everything about the evaluation is in the arguments: the context
value, the frame of variables and the budget. Any number of threads can therefore use one compiled expression at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.values import UNDEFINED, Sequence


class Frame:
    """Variables of a block. A name that is not bound here is looked up in the parent frame."""

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
    """Compiled node.

    `weight` is the largest number of nodes that one execution evaluates. Loops inside the node do not count, because
    they pay separately. If `settled` is True, the result is never a sequence that must be unwrapped.
    """

    run: Run
    weight: int
    settled: bool = False


def settle(sequence: Sequence) -> Any:
    """Unwrap a sequence. An empty sequence gives undefined; a sequence of one item gives the item.

    Any other sequence is returned unchanged.
    """
    if sequence.tuple_stream:
        return sequence
    if not sequence:
        return UNDEFINED
    if len(sequence) == 1 and not sequence.keep_singleton:
        return sequence[0]
    return sequence


def as_items(value: Any) -> list[Any]:
    """Return an array unchanged. Return any other value, even undefined, as a sequence of one item."""
    return value if isinstance(value, list) else Sequence((value,))

"""Tuple streams, which carry the variables of paths with `@`, `#` and `%`.

Rule: a tuple is a dict of the variables that are bound so far. The item is under the key `@`. A tuple does not change
after the step that made it. The only exception is `#` after a predicate, as in the reference.
"""

from __future__ import annotations

from typing import Any

from workflows.engine.expressions.budget import ARRAY_ITEM, TUPLE, Budget
from workflows.engine.expressions.code import Code, Frame, as_items
from workflows.engine.expressions.values import UNDEFINED, Sequence


def frame_of(bindings: dict[str, Any], frame: Frame) -> Frame:
    """Return a frame in which the variables of a tuple are bound."""
    return Frame(frame, dict(bindings))


def merged(stream: list[Any], budget: Budget) -> dict[str, Any]:
    """Return one tuple for all tuples of a group. For each name, the values of all tuples are joined to one array."""
    result = dict(stream[0])
    grown: dict[str, list[Any]] = {}
    for bindings in stream[1:]:
        budget.spend(len(bindings))
        for name, value in bindings.items():
            result[name] = grow(result.get(name, UNDEFINED), value, grown, name, budget)
    return result


def grow(gathered: Any, value: Any, grown: dict[str, list[Any]], name: str, budget: Budget) -> Any:
    """Append `value` to `gathered`, as the reference does.

    `grown` holds the arrays that this evaluation made itself. Only these arrays may be extended in place.
    """
    if gathered is UNDEFINED:
        return value
    if value is UNDEFINED:
        return gathered
    array = grown.get(name)
    if array is None:
        first = as_items(gathered)
        budget.produce(ARRAY_ITEM * len(first))
        array = grown[name] = [*first]
    added = value if isinstance(value, list) else (value,)
    budget.produce(ARRAY_ITEM * len(added))
    array.extend(added)
    return array


class TupleStep:
    """One step of a tuple path: the code of the step and the variables that it binds."""

    __slots__ = ("ancestor", "code", "focus", "index")

    def __init__(self, code: Code, node: Any) -> None:
        self.code = code
        self.focus: str | None = node.focus
        self.index: str | None = node.index
        self.ancestor = node.ancestor

    def apply(self, stream: list[Any], frame: Frame, budget: Budget) -> Sequence:
        """Return the stream after this step.

        The step can give several results for one item. Each result makes one tuple.
        """
        result = Sequence()
        result.tuple_stream = True
        budget.spend(len(stream) * (5 + self.code.weight))
        for bindings in stream:
            found = self.code.run(bindings["@"], frame_of(bindings, frame), budget)
            if found is UNDEFINED:
                continue
            found_items = found if isinstance(found, list) else [found]
            budget.spend((5 + len(bindings) // 4) * len(found_items))
            budget.produce((TUPLE + ARRAY_ITEM * len(bindings)) * len(found_items))
            if type(found) is Sequence and found.tuple_stream:
                result.extend({**bindings, **inner} for inner in found)
            else:
                result.extend(self._bound(bindings, item, at) for at, item in enumerate(found_items))
        return result

    def _bound(self, bindings: dict[str, Any], item: Any, at: int) -> dict[str, Any]:
        new = dict(bindings)
        if self.focus:
            new[self.focus] = item
        else:
            new["@"] = item
        if self.index:
            new[self.index] = at
        if self.ancestor is not None:
            new[self.ancestor.label] = bindings["@"]
        return new

"""The values that exist inside an evaluation, beside plain JSON.

Rule: what JavaScript tells apart stays apart here. Undefined is not null; an array knows whether the evaluator made it
(a sequence, which unwraps) or the author did (an array constructor, which does not flatten); an object that an
expression built has no prototype, one from the scope has.

A plain `list` is an array of the scope or the result of an operator; it carries none of these marks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workflows.engine.expressions.budget import Budget


class _Undefined:
    """JavaScript's undefined: absent, and never a JSON value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "undefined"

    def __bool__(self) -> bool:
        return False


UNDEFINED = _Undefined()


class Sequence(list[Any]):
    """An array the evaluator made: empty it means undefined, with one item it means the item.

    `keep_singleton`: one item stays an array (`[]` was written). `tuple_stream`: its items are dicts of bindings with
    the item itself under `@`.
    """

    __slots__ = ("keep_singleton", "tuple_stream")

    def __init__(self, items: Any = ()) -> None:
        super().__init__(items)
        self.keep_singleton = False
        self.tuple_stream = False


class ConstructedArray(list[Any]):
    """An array constructor at the edge of a path (`a.[b]`): a step does not flatten it."""

    __slots__ = ()


class ConstructedObject(dict[str, Any]):
    """An object that the expression built: without a prototype it has no string form (`toString` of it is an error)."""

    __slots__ = ()


class FunctionValue:
    """A function as a value. It has no JSON form; `call` is None where the contract never lets it be called."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None = None) -> None:
        self.name = name
        self.call = call

    def __repr__(self) -> str:
        return f"<function {self.name}>"


def is_array_index(key: str) -> bool:
    """Whether JavaScript lists this key of an object before all others, in numeric order."""
    if not key.isascii() or not key.isdigit():
        return False
    return (key == "0" or key[0] != "0") and len(key) <= 10 and int(key) < 4294967295


def ordered_keys(mapping: dict[str, Any], budget: Budget | None = None) -> Any:
    """The keys in JavaScript's order: whole numbers ascending, then the others as they were added."""
    for key in mapping:
        if key[:1].isdigit() and is_array_index(key):
            if budget is not None:
                budget.spend(5 * len(mapping))
            indexes = sorted((k for k in mapping if is_array_index(k)), key=int)
            return [*indexes, *(k for k in mapping if not is_array_index(k))]
    return mapping

"""Types of values that exist only inside an evaluation, in addition to plain JSON.

Rule: if JavaScript distinguishes two kinds of values, this module has different types for them.

- Undefined is not null.
- An array that the evaluator made is a sequence, which unwraps.
- An array from an array constructor of the author does not flatten.
- An object that the expression built has no prototype. An object from the scope has a prototype.

A plain `list` is an array of the scope or the result of an operator. It never unwraps, and a step flattens it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workflows.engine.expressions.budget import Budget


class _Undefined:
    """JavaScript's undefined, which means that there is no value. It has no JSON form."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "undefined"

    def __bool__(self) -> bool:
        return False


UNDEFINED = _Undefined()


class Sequence(list[Any]):
    """Array that the evaluator made. An empty sequence means undefined; a sequence of one item means the item.

    If `keep_singleton` is True, a sequence of one item stays an array, because the author wrote `[]`. If `tuple_stream`
    is True, each entry is a dict of variables, with the item itself under `@`.
    """

    __slots__ = ("keep_singleton", "tuple_stream")

    def __init__(self, items: Any = ()) -> None:
        super().__init__(items)
        self.keep_singleton = False
        self.tuple_stream = False


class ConstructedArray(list[Any]):
    """Array from a constructor at the start or the end of a path (`a.[b]`).

    A step of a path does not flatten this array.
    """

    __slots__ = ()


class ConstructedObject(dict[str, Any]):
    """Object that the expression built.

    It has no prototype and thus no string form, so `toString` of it is an error.
    """

    __slots__ = ()


class FunctionValue:
    """Function as a value.

    It has no JSON form. `call` is None if the contract does not allow a call of this function.
    """

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None = None) -> None:
        self.name = name
        self.call = call

    def __repr__(self) -> str:
        return f"<function {self.name}>"


def is_array_index(key: str) -> bool:
    """Return True if JavaScript lists this key of an object before the other keys, in numeric order."""
    if not key.isascii() or not key.isdigit():
        return False
    return (key == "0" or key[0] != "0") and len(key) <= 10 and int(key) < 4294967295


def ordered_keys(mapping: dict[str, Any], budget: Budget | None = None) -> Any:
    """Return the keys in JavaScript's order: whole numbers ascending, then the other keys in order of insertion."""
    for key in mapping:
        if key[:1].isdigit() and is_array_index(key):
            if budget is not None:
                budget.spend(5 * len(mapping))
            indexes = sorted((k for k in mapping if is_array_index(k)), key=int)
            return [*indexes, *(k for k in mapping if not is_array_index(k))]
    return mapping

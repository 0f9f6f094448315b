"""Fields, wildcards and descendants of values.

Rule: each function pays for a value before it reads the value. No function uses recursion over the data.
"""

from __future__ import annotations

from typing import Any

from workflows.engine.expressions.budget import ARRAY_ITEM, Budget
from workflows.engine.expressions.values import UNDEFINED, Sequence, ordered_keys


def lookup(value: Any, name: str, budget: Budget) -> Any:
    """Return a field of an object. For an array, return this field of all objects in the array.

    If the array contains arrays, they are searched too, at any depth.
    """
    if isinstance(value, dict):
        return value.get(name, UNDEFINED)
    if not isinstance(value, list):
        return UNDEFINED
    found = Sequence()
    pending = [iter(value)]
    budget.spend(4 + len(value))
    while pending:
        for item in pending[-1]:
            if isinstance(item, list):
                budget.spend(2 + len(item))
                pending.append(iter(item))
                break
            if isinstance(item, dict) and name in item:
                _collect(found, item[name], budget)
        else:
            pending.pop()
    return found


def _collect(found: Sequence, value: Any, budget: Budget) -> None:
    if isinstance(value, list):
        budget.produce(ARRAY_ITEM * len(value))
        found.extend(value)
    else:
        found.append(value)


def wildcard(value: Any, budget: Budget) -> Any:
    """Return all values of an object or an array. If a value is an array, it is replaced by its items, at any depth."""
    found: list[Any] = Sequence()
    budget.spend(4)
    if isinstance(value, dict):
        budget.spend(len(value))
        for key in ordered_keys(value, budget):
            found = _with_flattened(found, value[key], budget)
    elif isinstance(value, list):
        budget.spend(len(value))
        for item in value:
            found = _with_flattened(found, item, budget)
        # The reference stores its marks of an array as properties of the array, so the marks appear among the values.
        if type(value) is Sequence:
            found.extend([True] * (2 if value.keep_singleton else 1))
    return found


def _with_flattened(found: list[Any], value: Any, budget: Budget) -> list[Any]:
    if not isinstance(value, list):
        found.append(value)
        return found
    # In the reference, the result is a sequence only until the first array. After that, it is a plain array.
    result = list(found) if type(found) is Sequence else found
    _flatten(value, result, budget)
    return result


def _flatten(array: list[Any], found: list[Any], budget: Budget) -> None:
    pending = [iter(array)]
    budget.spend(len(array))
    budget.produce(ARRAY_ITEM * len(array))
    while pending:
        for item in pending[-1]:
            if isinstance(item, list):
                budget.spend(len(item))
                budget.produce(ARRAY_ITEM * len(item))
                pending.append(iter(item))
                break
            found.append(item)
        else:
            pending.pop()


def descendants(value: Any, budget: Budget) -> Any:
    """Return the value and all values inside it, in document order, without the arrays themselves."""
    if value is UNDEFINED:
        return UNDEFINED
    budget.spend(4)
    found = Sequence()
    pending = [iter((value,))]
    while pending:
        for item in pending[-1]:
            if not isinstance(item, list):
                found.append(item)
            if isinstance(item, (list, dict)):
                budget.spend(1 + 3 * len(item))
                budget.produce(ARRAY_ITEM * len(item))
                pending.append(iter(item) if isinstance(item, list) else _values(item, budget))
                break
        else:
            pending.pop()
    return found[0] if len(found) == 1 else found


def _values(mapping: dict[str, Any], budget: Budget) -> Any:
    return iter([mapping[key] for key in ordered_keys(mapping, budget)])

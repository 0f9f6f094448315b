"""Object constructors and group-by.

Both are the same operation. An object constructor runs it over one value, group-by over many.

Rule: the keys of the result are in JavaScript's order. First all keys are evaluated. Then the values are evaluated in
the order of the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.budget import OBJECT, OBJECT_ENTRY, Budget
from workflows.engine.expressions.code import Code, Frame, as_items
from workflows.engine.expressions.tuples import frame_of, grow, merged
from workflows.engine.expressions.values import UNDEFINED, ConstructedObject, Sequence, ordered_keys

if TYPE_CHECKING:
    from workflows.engine.expressions.compiler import Compiler

# Names of fields in which the reference stores its own marks on objects.
_RESERVED = frozenset({"_jsonata_lambda", "_jsonata_function"})


def compile_object(node: Any, compiler: Compiler) -> Code:
    return compile_group(node.lhs_object, node.position, compiler)


def compile_group(pairs: Any, position: int, compiler: Compiler) -> Code:
    """Return code whose context value is the value to group."""
    codes = [(compiler.code(key), compiler.code(value)) for key, value in pairs]
    keys = [key.run for key, _ in codes]
    values = [value.run for _, value in codes]
    key_weight = 2 + sum(2 + key.weight for key, _ in codes)
    weight = 3 + sum(2 + key.weight + value.weight for key, value in codes)

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        items = as_items(value)
        is_tuples = type(items) is Sequence and items.tuple_stream
        if not items and not is_tuples:
            items = [UNDEFINED]
        if len(items) > 1:
            budget.spend(len(items) * key_weight)
        groups: dict[str, list[Any]] = {}
        grown: dict[str, list[Any]] = {}
        for item in items:
            _add_item(groups, grown, item, keys, is_tuples, frame, budget, position)
        if len(groups) > len(values):
            budget.spend(len(groups) * weight)
        return _evaluated(groups, values, is_tuples, frame, budget)

    return Code(run, weight, settled=True)


def _add_item(
    groups: dict[str, list[Any]],
    grown: dict[str, list[Any]],
    item: Any,
    keys: list[Any],
    is_tuple: bool,
    frame: Frame,
    budget: Budget,
    position: int,
) -> None:
    """Put an item into the groups of all its keys.

    Shapes: a group is `[index of the key-value pair, data]`.
    """
    context, inner = (item["@"], frame_of(item, frame)) if is_tuple else (item, frame)
    for index, run_key in enumerate(keys):
        key = run_key(context, inner, budget)
        if key is UNDEFINED:
            continue
        if type(key) is not str:
            raise errors.ExpressionError(
                errors.RUNTIME, "Each key of an object must be a string", position, reference="T1003"
            )
        if key in _RESERVED:
            raise errors.ExpressionError(
                errors.RUNTIME, f"The key {key} is reserved. Use another key", position, reference="D1013"
            )
        group = groups.get(key)
        if group is None:
            budget.produce(OBJECT_ENTRY)
            groups[key] = [index, item]
        elif group[0] != index:
            raise errors.ExpressionError(
                errors.RUNTIME,
                f"Two keys of the object are {key[:80]!r}, but each key must be unique",
                position,
                reference="D1009",
            )
        else:
            group[1] = grow(group[1], item, grown, key, budget)


def _evaluated(
    groups: dict[str, list[Any]], values: list[Any], is_tuples: bool, frame: Frame, budget: Budget
) -> ConstructedObject:
    budget.produce(OBJECT)
    result = ConstructedObject()
    for key in ordered_keys(groups, budget):
        index, data = groups[key]
        context, inner = data, frame
        if is_tuples:
            # The reference removes the item from the tuple if the group has a single tuple. So a second key-value pair
            # over the same tuple finds no item.
            bindings = merged(data, budget) if isinstance(data, list) else data
            context = bindings.pop("@", UNDEFINED)
            inner = Frame(frame, bindings)
        value = values[index](context, inner, budget)
        if value is not UNDEFINED:
            result[key] = value
    return result

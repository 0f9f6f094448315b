"""Outline of an expression for validation: what it reads, and which JSON types its value can have.

The outline leaves out what cannot be known without values: a predicate, a function that the expression binds, a path
through a computed value. Such parts have the kind `unknown`. The names inside them belong to another context than the
scope, so they are no reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from workflows.engine.expressions.headroom import with_headroom
from workflows.engine.expressions.parser import parse

MAX_DEPTH = 100
ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})
_OPERATORS = {"&": "string", **dict.fromkeys(("=", "!=", "<", "<=", ">", ">=", "in", "and", "or"), "boolean")}
_FUNCTIONS = {"len": "number", "toString": "string", "nowIso": "string"}


@dataclass(frozen=True)
class Outline:
    """Node of an outline.

    - `kind`: a JSON type, `read`, `choice`, `arithmetic` or `unknown`
    - `path` (only of a `read`): the names from the scope
    - `is_whole`: of a `read`, False if the expression goes on from the value in a way that the outline leaves out
    - `has_default`: of a `read`, True if the expression gives another value in place of a missing one
    - `parts`: the nodes inside; of a `choice`, the last `choices` of them are its possible values

    Units: `position` is an offset in the source in characters.
    """

    kind: str
    position: int = 0
    path: tuple[str, ...] = ()
    is_whole: bool = True
    has_default: bool = False
    parts: tuple[Outline, ...] = ()
    choices: int = 0

    def walk(self) -> Iterator[Outline]:
        """Yield this node and all nodes inside. A chain of operators can be long, so this does not recurse."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.parts)


@lru_cache(maxsize=256)
def outline_of(source: str) -> Outline:
    """Return the outline of a source that compiles.

    A source that binds variables has no outline, because a variable may replace a function of the contract.
    """
    if ":=" in source:
        return Outline("unknown")
    tree = parse(source)
    return with_headroom(lambda: _outline(tree, 0))


def _outline(node: Any, depth: int) -> Outline:
    position = int(node.position or 0)
    if depth > MAX_DEPTH or node.predicate is not None or node.group is not None or node.keep_array:
        return Outline("unknown", position)
    build = _BUILDERS.get(node.type)
    return Outline("unknown", position) if build is None else build(node, position, depth + 1)


def _path(node: Any, position: int, depth: int) -> Outline:
    names: list[str] = []
    for step in node.steps:
        if step.type != "name" or (not names and step is not node.steps[0]):
            break
        names.append(str(step.value))
        if any(part is not None for part in (step.stages, step.predicate, step.group, step.focus, step.index)):
            return Outline("read", int(node.steps[0].position or 0), tuple(names), is_whole=False)
    if not names:
        inner = _outline(node.steps[0], depth) if node.steps[0].type == "block" else None
        return Outline("unknown", position, parts=(inner,) if inner else ())
    is_whole = len(names) == len(node.steps) and not node.keep_singleton_array
    return Outline("read", int(node.steps[0].position or 0), tuple(names), is_whole=is_whole)


def _value(node: Any, position: int, _depth: int) -> Outline:
    return Outline("null" if node.value is None else "boolean", position)


def _binary(node: Any, position: int, depth: int) -> Outline:
    """Return the outline of a chain of operators. The chain is walked along its left sides without recursion."""
    chain = [node]
    while chain[-1].lhs.type == "binary" and chain[-1].lhs.predicate is None and chain[-1].lhs.group is None:
        chain.append(chain[-1].lhs)
    left = _outline(chain[-1].lhs, depth)
    for operation in reversed(chain):
        kind = "arithmetic" if operation.value in ARITHMETIC else _OPERATORS.get(operation.value, "unknown")
        left = Outline(kind, int(operation.position or 0), parts=(left, _outline(operation.rhs, depth)))
    return left


def _unary(node: Any, position: int, depth: int) -> Outline:
    if node.value == "-":
        return Outline("arithmetic", position, parts=(_outline(node.expression, depth),))
    if node.value == "[":
        return Outline("array", position, parts=tuple(_outline(each, depth) for each in node.expressions))
    pairs = (each for pair in node.lhs_object or () for each in pair)
    return Outline(
        "object" if node.value == "{" else "unknown", position, parts=tuple(_outline(e, depth) for e in pairs)
    )


def _condition(node: Any, position: int, depth: int) -> Outline:
    choices = [_outline(each, depth) for each in (node.then, node._else) if each is not None]
    return Outline("choice", position, parts=(_outline(node.condition, depth), *choices), choices=len(choices))


def _default(node: Any, position: int, depth: int) -> Outline:
    choices = _with_default([_outline(node.lhs, depth), _outline(node.rhs, depth)])
    return Outline("choice", position, parts=choices, choices=2)


def _with_default(parts: list[Outline]) -> tuple[Outline, ...]:
    return tuple(replace(part, has_default=True) for part in parts)


def _block(node: Any, position: int, depth: int) -> Outline:
    parts = tuple(_outline(each, depth) for each in node.expressions)
    return Outline("choice", position, parts=parts, choices=1) if parts else Outline("unknown", position)


def _function(node: Any, position: int, depth: int) -> Outline:
    parts = tuple(_outline(each, depth) for each in node.arguments)
    name = node.procedure.value if node.procedure.type == "variable" else None
    if name == "coalesce" and parts:
        return Outline("choice", position, parts=_with_default([*parts]), choices=len(parts))
    if name == "append":  # a missing list is left out
        return Outline("unknown", position, parts=_with_default([*parts]))
    return Outline(_FUNCTIONS.get(str(name), "unknown"), position, parts=parts)


def _apply(node: Any, position: int, depth: int) -> Outline:
    return Outline("unknown", position, parts=(_outline(node.lhs, depth),))


_BUILDERS: dict[str, Any] = {
    "path": _path,
    "string": lambda node, position, depth: Outline("string", position),
    "number": lambda node, position, depth: Outline("number", position),
    "value": _value,
    "binary": _binary,
    "unary": _unary,
    "condition": _condition,
    "default": _default,
    "block": _block,
    "function": _function,
    "apply": _apply,
}

"""Check that an expression calls only the five allowed functions, and cannot define or find another function.

Rule: the check visits every node of the tree, even a node that would never run. It reports the first violation in the
order of the source's structure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.functions import ALLOWED_NAMES

# Function names that authors know from JSONata, JavaScript and Python. Each is mapped to the function of this contract
# with the same purpose.
_SYNONYMS = {
    "length": "len",
    "count": "len",
    "size": "len",
    "string": "toString",
    "str": "toString",
    "now": "nowIso",
    "millis": "nowIso",
    "default": "coalesce",
    "ifnull": "coalesce",
    "concat": "append",
    "push": "append",
}
_BY_LOWER_CASE = {name.lower(): name for name in ALLOWED_NAMES}


def check(tree: Any) -> frozenset[str]:
    """Check a tree and return the names of the variables that the expression binds.

    Errors: ExpressionError for the first node that is not allowed; the author must act.
    """
    bound: set[str] = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        _check_node(node)
        bound.update(_names_bound(node))
        pending.extend(reversed(list(_children(node))))
    return frozenset(bound)


def is_constant(tree: Any) -> bool:
    """Return True if a tree is made only of literals and operators, so that it sees no scope and no time."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if node.type not in _CONSTANT:
            return False
        pending.extend(_children(node))
    return True


def _check_node(node: Any) -> None:
    if node.type == "lambda":
        raise errors.ExpressionError(errors.LAMBDA, "An expression cannot define a function", node.position)
    if node.type in {"function", "partial"}:
        _check_callee(node.procedure, node, errors.DYNAMIC_CALL, "A function can only be called by its name")
    elif node.type == "apply" and node.rhs.type not in {"function", "partial"}:
        _check_callee(node.rhs, node, errors.APPLY, "The right side of ~> must be an allowed function")


def _check_callee(callee: Any, node: Any, code: str, message: str) -> None:
    if callee.type == "lambda":
        return  # the check of this child node reports the error
    named = _named(callee)
    if named is None:
        raise errors.ExpressionError(code, message, _position(node))
    name = str(named.value)
    if name in ALLOWED_NAMES:
        return
    sigil = "$" if named.type == "variable" else ""
    hint = suggestion(name)
    suffix = "" if node.type == "apply" else "("
    raise errors.ExpressionError(
        errors.FUNCTION_NOT_ALLOWED,
        f"The function {sigil}{name} is not allowed. Use one of {', '.join(sorted(ALLOWED_NAMES))}",
        named.position,
        hint and f"{'$' if node.type == 'apply' else sigil}{hint}{suffix}",
    )


def _position(node: Any) -> int:
    return int(node.position)


def _named(callee: Any) -> Any:
    """Return the node that contains the name of the called function, or None.

    This node is a variable, the last field of a path, or either of these in parentheses.
    """
    while callee.type == "block" and len(callee.expressions) == 1 and callee.predicate is None:
        callee = callee.expressions[0]
    if callee.type == "path" and callee.steps[-1].type == "name":
        return callee.steps[-1]
    return callee if callee.type == "variable" else None


def suggestion(name: str) -> str | None:
    """Return the allowed function that the author probably meant, or None."""
    lowered = name.lower()
    exact = _BY_LOWER_CASE.get(lowered) or _SYNONYMS.get(lowered)
    if exact is not None:
        return exact
    close = difflib.get_close_matches(lowered[:40], sorted(_BY_LOWER_CASE), n=1, cutoff=0.6)
    return _BY_LOWER_CASE[close[0]] if close else None


def _names_bound(node: Any) -> Iterator[str]:
    if node.type == "bind":
        yield node.lhs.value
    if node.focus is not None:
        yield node.focus
    if type(node.index) is str:
        yield node.index
    for stage in node.stages or ():
        if stage.type == "index":
            yield stage.value


# Types of nodes whose value depends only on their children.
_CONSTANT = frozenset({"string", "number", "value", "binary", "unary", "condition", "block"})
_CHILDREN = (
    "procedure",
    "lhs",
    "rhs",
    "condition",
    "then",
    "_else",
    "expression",
    "pattern",
    "update",
    "delete",
    "body",
)
_LEAVES = frozenset({"name", "variable", "string", "number", "value", "wildcard", "descendant", "parent", "regex"})
_LISTS = ("arguments", "steps", "expressions")


def _children(node: Any) -> Iterator[Any]:
    """Yield every child node. The order is that of the source, except where the tree does not keep this order."""
    if node.type in _LEAVES and node.predicate is None and node.stages is None and node.group is None:
        return
    for name in _CHILDREN:
        child = getattr(node, name, None)
        if child is not None and name != "delete":
            yield child
    if node.delete is not None:
        yield node.delete
    for name in _LISTS:
        yield from getattr(node, name, None) or ()
    for term in node.terms or ():
        yield term.expression
    for pair in node.lhs_object or ():
        yield from pair
    for stage in (*(node.predicate or ()), *(node.stages or ())):
        if stage.type == "filter":
            yield stage.expr
    if node.group is not None:
        for pair in node.group.lhs_object:
            yield from pair

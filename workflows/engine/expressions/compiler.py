"""Compilation of the library's tree to closures. A table names one function for each type of node.

Rule: each of these functions returns the code of the node itself. Any node may also carry predicates, a group and `[]`.
`Compiler.code` adds the code for these and unwraps sequences. The reference does the same in `evaluate`, around its
switch over node types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.calls import compile_apply, compile_function, compile_partial
from workflows.engine.expressions.code import Code, Frame, settle
from workflows.engine.expressions.filters import compile_filters
from workflows.engine.expressions.groups import compile_group, compile_object
from workflows.engine.expressions.nodes import (
    compile_binary,
    compile_bind,
    compile_block,
    compile_condition,
    compile_default,
    compile_descendant,
    compile_literal,
    compile_name,
    compile_opaque,
    compile_parent,
    compile_unary,
    compile_variable,
    compile_wildcard,
)
from workflows.engine.expressions.paths import compile_path
from workflows.engine.expressions.values import Sequence


def compile_unary_node(node: Any, compiler: Compiler) -> Code:
    return compile_object(node, compiler) if node.value == "{" else compile_unary(node, compiler)


_TABLE: dict[str, Callable[[Any, Compiler], Code]] = {
    "path": compile_path,
    "binary": compile_binary,
    "unary": compile_unary_node,
    "name": compile_name,
    "string": compile_literal,
    "number": compile_literal,
    "value": compile_literal,
    "wildcard": compile_wildcard,
    "descendant": compile_descendant,
    "parent": compile_parent,
    "condition": compile_condition,
    "default": compile_default,
    "block": compile_block,
    "bind": compile_bind,
    "regex": compile_opaque,
    "transform": compile_opaque,
    "variable": compile_variable,
    "function": compile_function,
    "partial": compile_partial,
    "apply": compile_apply,
}


class Compiler:
    """Compiler for the nodes of one tree. `rebound` holds the names of all variables that the expression binds."""

    def __init__(self, rebound: frozenset[str]) -> None:
        self.rebound = rebound

    def code(self, node: Any) -> Code:
        """Return the code of a node with its predicates, group and `[]`. The results of this code are settled."""
        bare = _TABLE[node.type](node, self)
        has_group = node.group is not None and node.type != "path"
        if node.predicate is None and not has_group and not node.keep_array:
            return bare if bare.settled else _settling(bare, keep=False)
        if node.predicate is not None:
            bare = compile_filters(bare, node.predicate, self)
        if has_group:
            group = compile_group(node.group.lhs_object, node.group.position, self)
            bare = _grouping(bare, group)
        return _settling(bare, keep=node.keep_array)


def _settling(bare: Code, keep: bool) -> Code:
    run_bare = bare.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        result = run_bare(value, frame, budget)
        if type(result) is not Sequence:
            return result
        if keep and not result.tuple_stream:
            result.keep_singleton = True
        return settle(result)

    return Code(run, bare.weight, settled=True)


def _grouping(bare: Code, group: Code) -> Code:
    run_bare, run_group = bare.run, group.run

    def run(value: Any, frame: Frame, budget: Budget) -> Any:
        return run_group(run_bare(value, frame, budget), frame, budget)

    return Code(run, bare.weight + group.weight)

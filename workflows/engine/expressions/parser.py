"""The library's parser on top of our tokens, with corrections of its deviations from the reference.

Rule: the library defines the grammar. There are two kinds of overrides. Some correct one entry of `deviations`. The
others count the depth of the recursion, so that the interpreter's limit does not decide. A tree is built once per
source and is not kept.
"""

from __future__ import annotations

from typing import Any

from jsonata.jexception import JException
from jsonata.parser import Parser

from workflows.engine.expressions import errors, limits
from workflows.engine.expressions.grammar import SYMBOLS, Symbol
from workflows.engine.expressions.tokens import SourceTokens


def parse(source: str, *, exact: bool = True) -> Symbol:
    """Return the syntax tree of a source. If `exact` is True, whole numbers keep all their digits.

    Errors: ExpressionError EXPRESSION_SYNTAX; EXPRESSION_BUDGET or EXPRESSION_TOO_LARGE if the source exceeds a limit;
    the author must act.
    """
    try:
        return _SourceParser().parse_source(source, exact)
    except JException as error:
        raise _syntax_error(error, source) from None


def _syntax_error(error: JException, source: str) -> errors.ExpressionError:
    position = min(max(int(error.location), 0), len(source))
    return errors.ExpressionError(
        errors.SYNTAX, str(error), position, _operator_hint(source, position), reference=str(error.error)
    )


_FOREIGN_OPERATORS = (("===", "="), ("!==", "!="), ("&&", "and"), ("||", "or"), ("!", "= false"))


def _operator_hint(source: str, position: int) -> str | None:
    """Return the operator to suggest if the source has an operator of another language here. Otherwise return None."""
    for foreign, ours in _FOREIGN_OPERATORS:
        start = max(position - len(foreign) + 1, 0)
        if foreign in source[start : position + len(foreign)]:
            return ours
    return None


class _Processed(Parser.Symbol):
    """Left operand that was processed before. So a chain of operators is processed without recursion."""

    def __init__(self, tree: Symbol) -> None:
        self.tree = tree
        self.type = "processed"


class _SourceParser(Parser):
    """Parser for one source. It copies a shared table of symbols, because the table is slow to build."""

    def __init__(self) -> None:
        self.dbg = False
        self.recover = False
        self.node: Symbol = None
        self.symbol_table = SYMBOLS
        self.errors: list[Exception] = []
        self.ancestor_label = 0
        self.ancestor_index = 0
        self.ancestry: list[Symbol] = []
        self._depth = 0

    def parse_source(self, source: str, exact: bool) -> Symbol:
        self.source = source
        self.lexer = SourceTokens(source, exact)
        self.advance()
        tree = self.expression(0)
        if self.node.id != "(end)":
            raise JException("S0201", self.node.position, self.node.value)
        tree = self.process_ast(tree)
        if tree.type == "parent" or tree.seeking_parent is not None:
            raise JException("S0217", tree.position, tree.type)
        return tree

    def advance(self, id: str | None = None, infix: bool = False) -> Symbol:
        if id is not None and self.node.id != id:
            code = "S0203" if self.node.id == "(end)" else "S0202"
            raise JException(code, self.node.position, id, self.node.value)
        token = self.lexer.next(infix)
        if token is None:
            self.node = self._new_node("(end)")
            self.node.position = len(self.source)
            return self.node
        symbol_id = _symbol_id(token)
        if symbol_id not in self.symbol_table:
            raise JException("S0204", token.position, token.value)
        self.node = self._new_node(symbol_id)
        self.node.value = token.value
        self.node.type = token.type
        self.node.position = token.position
        return self.node

    def _new_node(self, symbol_id: str) -> Symbol:
        """Return a copy of a table entry as a new node. The library's own copy takes ten times as long."""
        prototype = self.symbol_table[symbol_id]
        node = object.__new__(type(prototype))
        node.__dict__ = {**prototype.__dict__, "_outer_instance": self}
        return node

    def expression(self, rbp: int) -> Symbol:
        self._depth += 1
        if self._depth > limits.MAX_NESTING:
            raise _nested_too_deep(self.node.position)
        token = self.node
        self.advance(None, True)
        left = token.nud()
        while rbp < self.node.lbp:
            token = self.node
            self.advance(None, False)
            left = token.led(left)
        self._depth -= 1
        return left

    def process_ast(self, expr: Symbol) -> Symbol:
        if expr is None or type(expr) is _Processed:
            return expr and expr.tree
        chain = []
        node = expr
        while node.type == "binary" and type(node.lhs) is not _Processed:
            chain.append(node)
            node = node.lhs
        self._depth += 1
        if self._depth > 2 * limits.MAX_NESTING:
            raise _nested_too_deep(expr.position)
        tree = self._process_node(node)
        for operation in reversed(chain):
            operation.lhs = _Processed(tree)
            tree = self._process_node(operation)
            if tree.type == "path" and len(tree.steps) > limits.MAX_PATH_STEPS:
                raise errors.ExpressionError(
                    errors.TOO_LARGE, f"The path has more than {limits.MAX_PATH_STEPS} steps", operation.position
                )
        self._depth -= 1
        return tree

    def _process_node(self, node: Symbol) -> Symbol:
        if node.type == "default":
            return self._process_default(node)
        if node.type == "unary" and node.value == "-":
            return self._process_minus(node)
        return super().process_ast(node)

    def _process_default(self, node: Symbol) -> Symbol:
        result = Parser.Symbol(self)
        result.type, result.value, result.position = node.type, node.value, node.position
        result.lhs = self.process_ast(node.lhs)
        self.push_ancestry(result, result.lhs)
        result.rhs = self.process_ast(node.rhs)
        self.push_ancestry(result, result.rhs)
        return _keeping_array(node, result)

    def _process_minus(self, node: Symbol) -> Symbol:
        operand = self.process_ast(node.expression)
        if operand.type == "number":
            operand.value = -operand.value
            return _keeping_array(node, operand)
        result = Parser.Symbol(self)
        result.type, result.value, result.position = node.type, node.value, node.position
        result.expression = operand
        self.push_ancestry(result, operand)
        return _keeping_array(node, result)


def _symbol_id(token: Any) -> str:
    if token.type == "operator":
        return str(token.value)
    if token.type in {"name", "variable"}:
        return "(name)"
    return "(regex)" if token.type == "regex" else "(literal)"


def _keeping_array(node: Symbol, result: Symbol) -> Symbol:
    if node.keep_array:
        result.keep_array = True
    return result


def _nested_too_deep(position: int) -> errors.ExpressionError:
    return errors.ExpressionError(
        errors.BUDGET, f"The expression is nested deeper than {limits.MAX_NESTING} levels", position
    )

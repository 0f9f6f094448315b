"""Corrections of the library's symbols that differ from the reference.

Rule: there is one class for each corrected symbol. The table with the corrected symbols is built once. After that, it
is only copied.
"""

from __future__ import annotations

from typing import Any

from jsonata.jexception import JException
from jsonata.parser import Parser

# A node of the library's tree. It has no better type, because the library has no type annotations.
Symbol = Any


class Minus(Parser.Infix):
    """Unary minus that keeps its position. The library loses the position."""

    def nud(self) -> Symbol:
        self.expression = self._outer_instance.expression(70)
        self.type = "unary"
        return self


class ObjectConstructor(Parser.InfixObjectConstructor):
    """Object constructor that keeps its position. The library loses the position."""

    def __init__(self, parser: Parser) -> None:
        super().__init__(parser, 70)

    def nud(self) -> Symbol:
        node = super().nud()
        node.position = self.position
        return node

    def led(self, left: Symbol) -> Symbol:
        node = super().led(left)
        node.position = self.position
        return node


class Default(Parser.Infix):
    """Operators `?:` and `??`. Their left side is in the tree once; the library puts it into the tree twice."""

    def led(self, left: Symbol) -> Symbol:
        self.type = "default"
        self.lhs = left
        self.rhs = self._outer_instance.expression(0)
        return self


class Invocation(Parser.InfixFunctionInvocation):
    """Call whose position is that of the function's name. The library uses the position of the parenthesis.

    The signature of a lambda is skipped, because the allowlist refuses every lambda.
    """

    def __init__(self, parser: Parser) -> None:
        super().__init__(parser, 80)

    def led(self, left: Symbol) -> Symbol:
        parser = self._outer_instance
        if left.type in {"name", "variable"}:
            self.position = left.position
        self.procedure = left
        self.type = "function"
        self.arguments: list[Symbol] = []
        if parser.node.id != ")":
            self._read_arguments(parser)
        parser.advance(")", True)
        if left.type == "name" and left.value in {"function", "\u03bb"}:
            self._read_lambda(parser)
        return self

    def _read_arguments(self, parser: Parser) -> None:
        while True:
            if parser.node.type == "operator" and parser.node.id == "?":
                self.type = "partial"
                self.arguments.append(parser.node)
                parser.advance("?")
            else:
                self.arguments.append(parser.expression(0))
            if parser.node.id != ",":
                return
            parser.advance(",")

    def _read_lambda(self, parser: Parser) -> None:
        for argument in self.arguments:
            if argument.type != "variable":
                raise JException("S0208", argument.position, argument.value)
        self.type = "lambda"
        if parser.node.id == "<":
            depth = 1
            while depth > 0 and parser.node.id not in {"{", "(end)"}:
                depth += {">": -1, "<": 1}.get(parser.advance().id, 0)
            parser.advance(">")
        parser.advance("{")
        self.body = parser.expression(0)
        parser.advance("}")


def symbols() -> dict[str, Symbol]:
    """Return the library's table of symbols with the corrected symbols in it."""
    parser = Parser()
    ours = (
        Minus(parser, "-"),
        Default(parser, "?:"),
        Default(parser, "??"),
        ObjectConstructor(parser),
        Invocation(parser),
    )
    for symbol in ours:
        symbol.lbp = symbol.bp
        parser.symbol_table[symbol.id] = symbol
    table: dict[str, Symbol] = parser.symbol_table
    return table


SYMBOLS = symbols()

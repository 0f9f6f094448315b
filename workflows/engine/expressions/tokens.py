"""Tokenizer for an author's source. It also applies the two rewrites of the contract.

Rule: the position of a token is its start in the author's source. The rewrites change tokens, not text. Positions
therefore need no conversion, and a rewrite never changes string literals, regex literals, quoted names or comments.

The rewrites:

- `==` becomes `=`, pair by pair. `!==` thus becomes `!=`, and `===` stays an error.
- The bare name of an allowed function before `(` gets its `$`. After a `.` the name is the name of a field and is not
  changed.

Source: the reference implementation's tokenizer with its peculiarities. For example, a `/` in the position of an
operand starts a regex.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from jsonata.tokenizer import Tokenizer

from workflows.engine.expressions import errors, limits
from workflows.engine.expressions.functions import ALLOWED_NAMES
from workflows.engine.expressions.js_text import MAX_WHOLE_DIGITS, SAFE_DIGITS, join_surrogates
from workflows.engine.expressions.regex_syntax import RegexLiteral, check_regex

_SKIP = re.compile(r"(?:[ \t\n\r\v]+|/\*.*?\*/)*", re.DOTALL)
_SPACE = " \t\n\r\v"
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[Ee][-+]?[0-9]+)?")
_SINGLE = frozenset(operator for operator in Tokenizer.operators if len(operator) == 1)
_NAME = re.compile(r"[^ \t\n\r\v" + re.escape("".join(sorted(_SINGLE))) + "]*")
_DOUBLE = frozenset({"..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??"})
_WORD_OPERATORS = frozenset({"and", "or", "in"})
_WORD_VALUES = {"true": True, "false": False, "null": None}
_PLAIN_TEXT = {quote: re.compile(f"[^{quote}\\\\]*") for quote in "\"'"}
_BRACKET_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_HEX4 = re.compile(r"[0-9a-fA-F]{1,4}")


class SourceTokens:
    """Source of tokens for the library's parser. The parser calls `next(prefix)`."""

    def __init__(self, source: str, exact: bool = True) -> None:
        self.source = source
        self._exact = exact
        self.position = 0
        self._count = 0
        self._after_dot = False

    def next(self, prefix: bool) -> Tokenizer.Token | None:
        """Return the next token, or None at the end.

        If `prefix` is True, an operator is expected, so `/` is a division.
        """
        self._skip()
        if self.position >= len(self.source):
            return None
        self._count += 1
        if self._count > limits.MAX_TOKENS:
            raise errors.ExpressionError(
                errors.TOO_LARGE, f"The expression has more than {limits.MAX_TOKENS} tokens", self.position
            )
        start = self.position
        kind, value = self._read(self.source[start], prefix)
        self._after_dot = kind == "operator" and value == "."
        return Tokenizer.Token(kind, value, start)

    def _skip(self) -> None:
        match = _SKIP.match(self.source, self.position)
        self.position = match.end() if match else self.position
        if self.source.startswith("/*", self.position):
            self._fail("S0106", self.position, "A comment is not closed. Add */")

    def _read(self, char: str, prefix: bool) -> tuple[str, Any]:
        if char == "/" and not prefix:
            return "regex", self._regex()
        if char in _SINGLE:
            return "operator", self._operator()
        if char in "\"'":
            return "string", self._string(char)
        number = _NUMBER.match(self.source, self.position)
        if number is not None:
            return "number", self._number(number[0])
        if char == "`":
            return "name", self._quoted_name()
        return self._name()

    def _operator(self) -> str:
        pair = self.source[self.position : self.position + 2]
        operator = pair if pair in _DOUBLE else pair[0]
        self.position += len(operator)
        if operator.endswith("=") and self.source.startswith("=", self.position):
            self.position += 1
        return operator

    def _number(self, text: str) -> int | float:
        if self._exact and len(text) > SAFE_DIGITS and text.isdigit():
            return self._long_whole_number(text)
        value = float(text)
        if value == float("inf"):
            self._fail("S0102", self.position, f"The number {text[:40]} is too large")
        self.position += len(text)
        return value

    def _long_whole_number(self, text: str) -> int:
        if len(text) > MAX_WHOLE_DIGITS:
            message = f"The number {text[:40]}... has more than {MAX_WHOLE_DIGITS} digits. Write the number as text"
            self._fail("S0102", self.position, message)
        self.position += len(text)
        return int(text)

    def _quoted_name(self) -> str:
        start = self.position + 1
        end = self.source.find("`", start)
        if end < 0:
            self._fail("S0105", self.position, "A quoted name is not closed. Add a backquote (`)")
        self.position = end + 1
        return self.source[start:end]

    def _name(self) -> tuple[str, Any]:
        match = _NAME.match(self.source, self.position)
        name = match[0] if match else ""
        self.position += len(name)
        if name.startswith("$"):
            return "variable", name[1:]
        if name in _WORD_OPERATORS:
            return "operator", name
        if name in _WORD_VALUES:
            return "value", _WORD_VALUES[name]
        if name in ALLOWED_NAMES and not self._after_dot and self._parenthesis_follows():
            return "variable", name
        return "name", name

    def _parenthesis_follows(self) -> bool:
        match = _SKIP.match(self.source, self.position)
        return match is not None and self.source.startswith("(", match.end())

    def _string(self, quote: str) -> str:
        start = self.position
        self.position += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN_TEXT[quote].match(self.source, self.position)
            if plain is not None:
                parts.append(plain[0])
                self.position = plain.end()
            if self.position >= len(self.source):
                self._fail("S0101", start, f"A string is not closed. Add the closing quote {quote}")
            if self.source[self.position] == quote:
                self.position += 1
                return join_surrogates("".join(parts))
            parts.append(self._escape())

    def _escape(self) -> str:
        escaped = self.source[self.position + 1 : self.position + 2]
        if escaped in Tokenizer.escapes:
            self.position += 2
            return Tokenizer.escapes[escaped]
        if escaped != "u":
            self._fail("S0103", self.position, f"The escape sequence \\{escaped} is not supported")
        octets = self.source[self.position + 2 : self.position + 6]
        digits = _HEX4.fullmatch(octets)
        if digits is None:
            self._fail("S0104", self.position, "The escape sequence \\u needs 4 hexadecimal digits")
        # Fewer than four digits are accepted only at the end of the source. The string then has no closing quote, which
        # is an error.
        self.position += 2 + len(octets)
        return chr(int(digits[0], 16))

    def _regex(self) -> RegexLiteral:
        """Read a regex literal with its flags. It ends at the first `/` that is neither escaped nor inside brackets."""
        opening = self.position
        start = opening + 1
        end = self._closing_slash(start)
        if end < 0:
            self._fail("S0302", opening, "A regular expression is not closed. Add /")
        if end == start:
            self._fail("S0301", opening, "A regular expression must not be empty")
        flags = re.compile("[im]*").match(self.source, end + 1)
        self.position = flags.end() if flags else end + 1
        literal = RegexLiteral(self.source[start:end], flags[0] if flags else "")
        problem = check_regex(literal)
        if problem is not None:
            self._fail("S0300", opening, f"The regular expression is invalid: {problem}")
        return literal

    def _closing_slash(self, start: int) -> int:
        depth = 0
        backslashes = 0
        for index in range(start, len(self.source)):
            char = self.source[index]
            if char == "/" and depth == 0 and backslashes % 2 == 0:
                return index
            # The reference checks only the one character before a bracket. So a bracket after an escaped backslash does
            # not count either.
            if char in _BRACKET_DEPTH and backslashes == 0:
                depth += _BRACKET_DEPTH[char]
            backslashes = backslashes + 1 if char == "\\" else 0
        return -1

    def _fail(self, reference: str, position: int, message: str) -> NoReturn:
        raise errors.ExpressionError(errors.SYNTAX, message, position, reference=reference)

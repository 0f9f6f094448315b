"""Syntax check of regex literals by the rules of JavaScript.

Rule: a pattern is checked, but never compiled and never run. No allowed function takes a regex. A literal is therefore
an opaque value, and a slow pattern costs nothing. Python's `re` cannot check a literal, because `re` refuses valid
patterns of JavaScript (`[^]`, `(?<name>a)`) and recurses into deep patterns.

Source: ECMA-262 annex B, patterns without the `u` flag, as the engine of the reference implementation accepts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUANTIFIER = re.compile(r"[*+?]|\{([0-9]+)(?:(,)([0-9]*))?\}")
_GROUP_NAME = re.compile(r"<([A-Za-z_$][\w$]*)>")
_CLASS_SETS = frozenset("dDwWsS")
_CONTROLS = {"b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}


@dataclass(frozen=True, slots=True)
class RegexLiteral:
    pattern: str
    flags: str


def check_regex(literal: RegexLiteral) -> str | None:
    """Return the problem of a regex literal, or None if the literal is valid."""
    if len(set(literal.flags)) != len(literal.flags):
        return "a flag is repeated"
    return _Pattern(literal.pattern).problem()


class _Pattern:
    """One pass over a pattern. It uses a stack of open groups and no recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[bool] = []  # for each open group: True if a quantifier may follow it
        self.names: list[str] = []
        self.references: list[str | None] = []

    def problem(self) -> str | None:
        quantifiable = False
        while self.at < len(self.text):
            char = self.text[self.at]
            step = _HANDLERS.get(char)
            result = step(self, quantifiable) if step else self._literal()
            if isinstance(result, str):
                return result
            quantifiable = result
        if self.open:
            return "a group has no closing parenthesis"
        return self._name_problem()

    def _name_problem(self) -> str | None:
        if len(set(self.names)) != len(self.names):
            return "two groups have the same name"
        if self.names and any(name not in self.names for name in self.references):
            return "\\k refers to a group name that does not exist"
        return None

    def _literal(self) -> bool:
        self.at += 1
        return True

    def _edge(self, _quantifiable: bool) -> bool:
        self.at += 1
        return False

    def _quantifier(self, quantifiable: bool) -> bool | str:
        match = _QUANTIFIER.match(self.text, self.at)
        if match is None:  # the brace does not begin a quantifier, so it is a literal character
            return self._literal()
        if not quantifiable:
            return "a quantifier has nothing to repeat"
        if match[3] and int(match[1]) > int(match[3]):
            return "the first number of a quantifier is larger than the second"
        self.at = match.end()
        if self.text.startswith("?", self.at):
            self.at += 1
        return False

    def _open_group(self, _quantifiable: bool) -> bool | str:
        self.at += 1
        may_repeat = True
        if self.text.startswith("?", self.at):
            self.at += 1
            kind = self.text[self.at : self.at + 2]
            if kind[:1] in {":", "=", "!"}:
                self.at += 1
            elif kind in {"<=", "<!"}:
                self.at += 2
                may_repeat = False
            else:
                name = _GROUP_NAME.match(self.text, self.at)
                if name is None:
                    return "a group begins with an invalid (? construct"
                self.names.append(name[1])
                self.at = name.end()
        self.open.append(may_repeat)
        return False

    def _close_group(self, _quantifiable: bool) -> bool | str:
        if not self.open:
            return "a closing parenthesis has no opening parenthesis"
        self.at += 1
        return self.open.pop()

    def _escape(self, _quantifiable: bool) -> bool | str:
        char = self.text[self.at + 1 : self.at + 2]
        if not char:
            return "the pattern ends with a backslash"
        self.at += 2
        if char == "k":
            name = _GROUP_NAME.match(self.text, self.at)
            self.references.append(name[1] if name else None)
        return char not in "bB"

    def _class(self, _quantifiable: bool) -> bool | str:
        self.at += 1
        if self.text.startswith("^", self.at):
            self.at += 1
        while self.at < len(self.text) and self.text[self.at] != "]":
            low = self._class_atom()
            if not self.text.startswith("-", self.at) or self.text.startswith("-]", self.at):
                continue
            self.at += 1
            if self.at >= len(self.text):
                break
            high = self._class_atom()
            if low is not None and high is not None and low > high:
                return "the first character of a range comes after the second"
        if self.at >= len(self.text):
            return "a character class has no closing bracket"
        self.at += 1
        return True

    def _class_atom(self) -> int | None:
        """Return the code of the next character of a class, or None for a set such as `\\d`."""
        char = self.text[self.at]
        self.at += 1
        if char != "\\" or self.at >= len(self.text):
            return ord(char)
        return self._class_escape()

    def _class_escape(self) -> int | None:
        char = self.text[self.at]
        for prefix, digits in (("x", r"x([0-9a-fA-F]{2})"), ("u", r"u([0-9a-fA-F]{4})")):
            code = re.compile(digits).match(self.text, self.at) if char == prefix else None
            if code is not None:
                self.at = code.end()
                return int(code[1], 16)
        octal = re.compile(r"[0-3][0-7]{0,2}|[4-7][0-7]?").match(self.text, self.at)
        if octal is not None:
            self.at = octal.end()
            return int(octal[0], 8)
        control = re.compile(r"c([A-Za-z0-9_])").match(self.text, self.at)
        if control is not None:
            self.at = control.end()
            return ord(control[1]) % 32
        if char == "c":  # the backslash escapes nothing, so it is a literal character
            return ord("\\")
        self.at += 1
        return None if char in _CLASS_SETS else _CONTROLS.get(char, ord(char))


_HANDLERS = {
    "^": _Pattern._edge,
    "$": _Pattern._edge,
    "|": _Pattern._edge,
    "*": _Pattern._quantifier,
    "+": _Pattern._quantifier,
    "?": _Pattern._quantifier,
    "{": _Pattern._quantifier,
    "(": _Pattern._open_group,
    ")": _Pattern._close_group,
    "\\": _Pattern._escape,
    "[": _Pattern._class,
}

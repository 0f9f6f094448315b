"""Lines and columns of values in a JSON text.

The parsers of the standard library report no positions. This reader walks over the tokens of a text that is already
known to be JSON, and notes where each value and each key begins. It does not recurse, so a deep document cannot exhaust
the stack.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable

from workflows.engine.mapping import EXPRESSION_KEY
from workflows.engine.validation.problems import At, Finding, Place, Problem, path_of, pointer_of

_TOKEN = re.compile(r'[{}\[\],:]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s{}\[\],:"]+', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)


class _Node:
    """Value in the text: its offset and the values inside. `keys` has the offset of each key of an object."""

    __slots__ = ("inner", "is_object", "key", "keys", "start")

    def __init__(self, start: int, opening: str) -> None:
        self.start = start
        self.is_object = opening == "{"
        self.inner: dict[str | int, _Node] = {}
        self.keys: dict[str | int, int] = {}
        self.key: str | None = None

    def add(self, node: "_Node") -> None:
        self.inner[len(self.inner) if self.key is None else self.key] = node
        self.key = None


class TextPositions:
    """Positions in one JSON text.

    Errors: none for a text that is JSON. The positions of another text have no meaning.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._root = _read(text)

    def of(self, place: Place, offset: int | None = None, at: At = At.VALUE) -> tuple[int, int]:
        """Return the line and the column of a place.

        If the text has no such value, for example because a field is missing, return the place of the nearest value
        around it. `offset` is a position inside the expression at the place.
        """
        node = parent = self._root
        for part in place:
            if part not in node.inner:
                return self.line_and_column(node.start)
            parent, node = node, node.inner[part]
        if at is At.KEY and place:
            return self.line_and_column(parent.keys.get(place[-1], node.start))
        source = node.inner.get(EXPRESSION_KEY)
        if offset is None or source is None:
            return self.line_and_column(node.start)
        return self.line_and_column(self._inside(source.start, offset))

    def line_and_column(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def _inside(self, start: int, count: int) -> int:
        """Return the offset of the character with the number `count` of the string that begins at `start`."""
        here = start + 1
        for _ in range(count):
            if here >= len(self._text) or self._text[here] == '"':
                break
            escape = _ESCAPE.match(self._text, here) if self._text[here] == "\\" else None
            here = here + 1 if escape is None else escape.end()
        return here


def _read(text: str) -> _Node:
    root = _Node(0, "[")
    stack = [root]
    for match in _TOKEN.finditer(text):
        part, top = match[0], stack[-1]
        if part in ",:":
            continue
        if part in "}]":
            if len(stack) > 1:
                stack.pop()
        elif top.is_object and top.key is None:
            top.key = str(json.loads(part))
            top.keys[top.key] = match.start()
        else:
            node = _Node(match.start(), part)
            top.add(node)
            if part in "{[":
                stack.append(node)
    return root.inner.get(0, root)


def located(findings: Iterable[Finding], text: str) -> list[Problem]:
    """Return the findings as problems with their places in the text, in the order of the text."""
    positions = TextPositions(text)
    problems = [_problem(finding, positions) for finding in findings]
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _problem(finding: Finding, positions: TextPositions) -> Problem:
    step, path = path_of(finding.place)
    line, column = positions.of(finding.place, finding.offset, finding.at)
    return Problem(
        code=finding.code,
        path=path,
        message=finding.message,
        suggestion=finding.suggestion,
        step=step,
        pointer=pointer_of(finding.place),
        line=line,
        column=column,
    )

"""Problems of a definition, and the table of their codes.

Rule: a check yields findings. A finding names its place by the keys and indexes that lead to it in the document. Only
`locate` in `positions` turns a place into a path, a JSON pointer, a line and a column, so all checks agree about them.

Source: docs/errors.md#problems-of-a-definition
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from workflows.engine.validation.codes import CODES, Severity

__all__ = ["Finding", "Near", "Place", "Problem", "Severity", "below", "path_of", "pointer_of"]

Place = tuple[str | int, ...]
# Fields of control steps that contain blocks. In a step path, the index of an inner step follows `.steps`.
_BLOCKS = frozenset({"then", "else", "body", "try", "catch"})
MAX_TEXT_LENGTH = 300


class At(StrEnum):
    """Part of the document that a finding marks: the value at its place, or the key of this value."""

    VALUE = "value"
    KEY = "key"


class Finding(NamedTuple):
    """Problem of a document before its place is looked up in a text.

    `offset` is the position inside the expression at the place. Units: characters, from 0.
    """

    code: str
    place: Place
    message: str
    suggestion: str | None = None
    offset: int | None = None
    at: At = At.VALUE


@dataclass(frozen=True)
class Problem:
    """Problem of a definition, for the author.

    - `step`: path of the step, for example `root.steps[2].then.steps[0]`; empty outside of a step
    - `path`: path of the field, for people: the step path and the fields inside the step
    - `pointer`: JSON pointer (RFC 6901) into the document
    - `line`, `column`: place in the text of the document

    Units: lines and columns from 1; a column counts characters.
    """

    code: str
    path: str
    message: str
    suggestion: str | None = None
    step: str = ""
    pointer: str = ""
    line: int = 1
    column: int = 1

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def as_object(self) -> dict[str, Any]:
        """Return the problem as JSON. `suggestion` is absent if there is none."""
        found = {"code": self.code, "severity": str(self.severity), **vars(self)}
        return {key: value for key, value in found.items() if value is not None}


def below(where: str | int, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of an inner value with their places in the outer value."""
    for finding in findings:
        yield finding._replace(place=(where, *finding.place))


def path_of(place: Place) -> tuple[str, str]:
    """Return the step path and the path of a place.

    `("steps", 0, "then", 1, "config", "state")` gives `root.steps[0].then.steps[1]` and the same with `.config.state`.
    """
    step, used = "", 0
    while len(place) >= used + 2 and isinstance(place[used + 1], int) and _is_block(place[used], is_first=not used):
        step += f"{'root' if not used else f'.{place[used]}'}.steps[{place[used + 1]}]"
        used += 2
    rest = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[used:])
    return step, f"{step}{rest}" if step else rest.removeprefix(".")


def _is_block(name: str | int, *, is_first: bool) -> bool:
    return name == "steps" if is_first else name in _BLOCKS


def pointer_of(place: Place) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


class Near:
    """Suggestions by similarity of names, with a limit on the work.

    A hostile document could have thousands of unknown names, and a tenant could have thousands of known names. After
    the limit there are no more suggestions, but the problems are still reported.
    """

    MAX_COMPARISONS = 20_000
    MAX_NAME_LENGTH = 100

    def __init__(self) -> None:
        self._left = self.MAX_COMPARISONS

    def name(self, word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
        """Return the known name that is most similar to `word`, or None."""
        names = [name for name in known if len(name) <= self.MAX_NAME_LENGTH]
        if len(word) > self.MAX_NAME_LENGTH or len(names) > self._left:
            return None
        self._left -= len(names)
        found = difflib.get_close_matches(word, sorted(names), n=1, cutoff=cutoff)
        return found[0] if found else None

    def hint(self, word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
        """Return the suggestion as a question, or None."""
        found = self.name(word, known, cutoff=cutoff)
        return None if found is None else f"did you mean {found!r}?"


def shown(value: Any) -> str:
    """Return a short form of an author's value for a message."""
    text = repr(value)
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[: MAX_TEXT_LENGTH - 1]}…"

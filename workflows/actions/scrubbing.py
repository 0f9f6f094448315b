"""Removal of secret values from the outputs, errors and log lines of actions (docs/reference/engine.md#actions).

The block `scrubbing(values)` is open while an action can know the values. Inside the block, `scrub` replaces every
spelling of a value by `[secret NAME]`. Exceptions that leave the block are scrubbed too.

The scrubber is stored in the Python context, and the action's thread has a copy of the context. So log lines are still
scrubbed if an action continues after its timeout. An action can also start threads without this context. For such
threads, `known_scrubbers` returns the scrubbers of all contexts.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from workflows.actions.spellings import spellings
from workflows.engine.errors import RunError

MIN_SECRET_LENGTH = 4
# If a text has at least this length, another program may have cut it inside a value. A shorter text counts as cut only
# if it has an ellipsis.
MIN_CUT_LENGTH = 100
_LEFT_OUT = re.compile(r"(\.\.\.|\u2026)")
MAX_DEPTH = 100
_REPLACED = r"\[secret [A-Z][A-Z0-9_]*\]"


class ScrubbedError(Exception):
    """Replacement for an exception whose text contained a secret.

    The replacement has the same text without the secret.
    """


class Scrubber:
    """Scrubber of one block. It replaces secret values in texts and JSON values by the names of the secrets."""

    def __init__(self, values: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, value in sorted(values.items()):
            for spelling in spellings(value):
                if len(spelling) >= MIN_SECRET_LENGTH:
                    names.setdefault(spelling, name)
        longest_first = sorted(names, key=len, reverse=True)
        self._names = {spelling.lower(): names[spelling] for spelling in longest_first}
        self._backwards = {spelling[::-1]: name for spelling, name in self._names.items()}
        # Existing marks `[secret NAME]` are matched first and kept, because a value can be a part of a mark.
        self._pattern = re.compile("|".join([_REPLACED, *map(re.escape, longest_first)]), re.IGNORECASE)

    def scrub(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        if depth < MAX_DEPTH and isinstance(value, dict):
            return {self.scrub(key, depth + 1): self.scrub(item, depth + 1) for key, item in value.items()}
        if depth < MAX_DEPTH and isinstance(value, list | tuple):
            return [self.scrub(item, depth + 1) for item in value]
        if isinstance(value, int | float):
            name = self._names.get(str(value))
            return value if name is None else f"[secret {name}]"
        text = str(value)
        scrubbed = self._text(text)
        return value if scrubbed == text else scrubbed

    def _text(self, text: str) -> str:
        lowered = text.lower()
        if any(spelling in lowered for spelling in self._names):
            text = self._pattern.sub(self._mark, text)
        if len(text) >= MIN_CUT_LENGTH or _LEFT_OUT.search(text):
            *pieces, last = _LEFT_OUT.split(text)
            text = "".join([*(self._without_cuts(piece) for piece in pieces), self._without_cuts(last)])
        return text

    def _mark(self, found: re.Match[str]) -> str:
        name = self._names.get(found[0].lower())
        return found[0] if name is None else f"[secret {name}]"

    def _without_cuts(self, text: str) -> str:
        """Replace a value that was cut: its beginning at the end of the text, or its end at the start of the text."""
        lowered = text.lower()
        if len(lowered) != len(text):
            return text  # the lower-case text has another length, so positions differ
        backwards = lowered[::-1]
        for spelling, name in self._names.items():
            if (beginning := _cut_end(lowered, spelling)) is not None:
                text = f"{text[:beginning]}[secret {name}]"
                break
        for spelling, name in self._backwards.items():
            if (end := _cut_end(backwards, spelling)) is not None:
                return f"[secret {name}]{text[len(lowered) - end :]}"
        return text


def _cut_end(text: str, spelling: str) -> int | None:
    """Return the position of the incomplete spelling at the end of the text, or None.

    The text from this position to its end is the beginning of the spelling.
    """
    beginning = spelling[:MIN_SECRET_LENGTH]
    if beginning not in text:
        return None
    at = text.find(beginning, max(0, len(text) - len(spelling) + 1))
    while at >= 0:
        if spelling.startswith(text[at:]):
            return at
        at = text.find(beginning, at + 1)
    return None


_here: ContextVar[Scrubber | None] = ContextVar("scrubber", default=None)
_open: dict[int, Scrubber] = {}
_lock = threading.Lock()


@contextmanager
def scrubbing(values: Mapping[str, str]) -> Iterator[None]:
    """Scrub all exceptions that leave the block, and make `scrub` replace these values inside the block.

    Errors: a RunError is scrubbed and raised again. If another exception has a value in its text, a ScrubbedError
    replaces it.
    """
    if not values:
        yield
        return
    scrubber = Scrubber(values)
    token = _here.set(scrubber)
    with _lock:
        _open[id(scrubber)] = scrubber
    try:
        yield
    except RunError as error:
        raise scrub_error(error) from None
    except Exception as error:
        text = _texts_of(error)
        scrubbed = scrubber.scrub(text)
        if scrubbed == text:
            raise
        raise ScrubbedError(scrubbed) from None
    finally:
        with _lock:
            del _open[id(scrubber)]
        _here.reset(token)


def scrub(value: Any) -> Any:
    """Return a copy of the value. The secrets of the action that runs in this context are replaced."""
    scrubber = _here.get()
    return value if scrubber is None else scrubber.scrub(value)


def scrub_error(error: RunError) -> RunError:
    """Scrub the texts of an error in place, and return the error."""
    error.message, error.code, error.details = scrub(str(error.message)), scrub(error.code), scrub(error.details)
    error.args = (f"{error.category}: {error.message}",)
    return error


def known_scrubbers() -> list[Scrubber]:
    """Return the scrubber of this context and all other open scrubbers of the process."""
    with _lock:
        found = dict(_open)
    here = _here.get()
    if here is not None:
        found[id(here)] = here
    return list(found.values())


def _texts_of(error: BaseException) -> str:
    """Return the texts of an exception and of its causes."""
    lines: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        lines.append(": ".join([type(each).__name__, str(each), *getattr(each, "__notes__", [])]))
        waiting += [each.__cause__, each.__context__]
    return "\n".join(lines)

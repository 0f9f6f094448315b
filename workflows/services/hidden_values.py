"""Hidden values in the expression lab: stand-ins that show if a result depends on a hidden value.

A result that stays the same with another stand-in only carries the hidden value. The real value is never used, so no
result can reveal it.

Source: docs/reference/screens.md#expression-lab
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from workflows.redaction import HIDDEN

# A text that no payload has.
STAND_IN = "\ue000 stand-in for a hidden value"
# Other kinds of values, because a hidden value can be of any type.
STAND_INS = (STAND_IN, "", 0, 1_000_003, True, None)
MAX_LITERALS = 10
_LITERAL = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(?<![\w.])(\d+(?:\.\d+)?)(?![\w.])""")


def hidden_paths(value: Any, path: str = "") -> Iterator[str]:
    """Return the dotted paths of the hidden values."""
    if value == HIDDEN:
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from hidden_paths(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from hidden_paths(item, path)


def contains_hidden(value: Any) -> bool:
    return next(hidden_paths(value), None) is not None


def stood_in(value: Any, stand_in: Any) -> Any:
    """Return a copy with the stand-in at the place of each hidden value."""
    return value if stand_in == HIDDEN else _with_leaves(value, HIDDEN, stand_in)


def carried(value: Any, stand_in: Any) -> Any:
    """Return a copy with the mark of a hidden value at the place of each stand-in."""
    return _with_leaves(value, stand_in, HIDDEN)


def _with_leaves(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_leaves(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_leaves(item, old, new) for item in value]
    return new if _kind(value) is _kind(old) and value == old else value


def _kind(value: Any) -> type:
    """Return the type of a value. Whole numbers and decimals are both numbers, and a boolean is none."""
    return float if type(value) is int else type(value)


def without_computed(view: dict[str, Any], document: Any) -> dict[str, Any]:
    """Return scopes without the variables that a run computed from a hidden value.

    A variable counts as computed if its expression names a hidden value, or another such variable, and if the variable
    does not only carry the hidden value.
    """
    hidden = {path.rpartition(".")[2] for path in hidden_paths(view)}
    assigned = list(_assigned(document))
    computed: set[str] = set()
    while hidden:
        found = {name for name, source in assigned if name not in computed and _mentions(source, hidden | computed)}
        if not found:
            break
        computed |= found
    shown: dict[str, Any] = _without(view, computed)
    return shown


def _assigned(value: Any) -> Iterator[tuple[str, str]]:
    """Return the last name of each assigned target of a definition, with the text of its expression."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("assign", "outputMapping") and isinstance(item, dict):
                yield from ((re.split(r"[./]", target)[-1], json.dumps(source)) for target, source in item.items())
            yield from _assigned(item)
    elif isinstance(value, list):
        for item in value:
            yield from _assigned(item)


def _without(value: Any, names: set[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: HIDDEN if name in names and not contains_hidden(item) else _without(item, names)
        for name, item in value.items()
    }


def _mentions(source: str, names: set[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", source) for name in names)


def literals_of(source: str) -> list[Any]:
    """Return texts and numbers that an expression contains. A comparison with one of them can have another result."""
    found = []
    for single, double, number in _LITERAL.findall(source)[:MAX_LITERALS]:
        found.append(float(number) if number else single or double)
    return found


def mentioned_paths(source: str, paths: list[str]) -> list[str]:
    """Return the paths whose last name an expression contains."""
    return [path for path in paths if _mentions(source, {path.rpartition(".")[2]})]

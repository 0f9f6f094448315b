"""Waits that a run of a definition version can open, as far as its document tells. Pure.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workflows.bundles.steps import child_calls, steps_of
from workflows.engine.keys import correlation_key

# An expression that only reads a place of the input. Every other expression can give any key.
_PLACE = re.compile(r"payload((?:\.[A-Za-z_][A-Za-z0-9_]*)+)")
_ASSIGNING = ("assign", "outputMapping")
_TARGETS = ("saveAs", "captureErrorAs")


@dataclass(frozen=True)
class ExpectedWait:
    """Wait for an event. `place` is the place of its key in the input of the run. None: the key can be any text."""

    event_name: str
    place: tuple[str, ...] | None

    def takes(self, event_name: str, keys: list[str], run_input: Any) -> bool:
        """Return True if the wait can have this event name and one of these keys in a run with this input."""
        if self.event_name != event_name or not keys:
            return False
        return self.place is None or _can_be_key(run_input, self.place, keys)


def waits_of(document: dict[str, Any], *, is_child: bool) -> list[ExpectedWait]:
    """Return the event waits of a definition document. The input of a child is made by its parent, so it is unknown."""
    knows_input = not is_child and not any(_writes_input(step) for _, step in steps_of(document))
    return [ExpectedWait(name, _place(key) if knows_input else None) for name, key in _waits(document)]


def children_of(document: dict[str, Any]) -> set[tuple[str, int]]:
    """Return the names and versions of the definitions that the document calls."""
    return {(name, version) for _, _, name, version in child_calls(document)}


def _waits(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the event name and the key expression of each wait. Without `completeOn`, no sender knows a task's key."""
    for _, step in steps_of(document):
        config = step.get("config") or {}
        wait = config if step.get("type") == "event.wait" else config.get("completeOn")
        if isinstance(wait, dict) and isinstance(wait.get("eventName"), str):
            yield wait["eventName"], wait.get("correlationKey")


def _place(expression: Any) -> tuple[str, ...] | None:
    source = expression.get("$expr") if isinstance(expression, dict) else None
    found = _PLACE.fullmatch(source.strip()) if isinstance(source, str) else None
    return tuple(found[1].split(".")[1:]) if found else None


def _writes_input(step: dict[str, Any]) -> bool:
    config = step.get("config") or {}
    targets = [target for part in (step, config) for name in _ASSIGNING for target in part.get(name) or ()]
    targets += [part[name] for part in (step, config) for name in _TARGETS if isinstance(part.get(name), str)]
    return any(target.startswith(("payload.", "/payload/")) for target in targets)


def _can_be_key(run_input: Any, place: tuple[str, ...], keys: list[str]) -> bool:
    value = run_input
    for name in place:
        if isinstance(value, list):  # a path over a list can give each of its values
            return True
        value = value.get(name) if isinstance(value, dict) else None
    return bool({correlation_key(value), correlation_key(value, is_exact=False)} & set(keys))

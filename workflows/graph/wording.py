"""Texts of the graph: what a step does in a few words, and texts that fit into a width.

The width of a text is estimated, because the server has no fonts. The estimate is a little too large, so that a text
stays inside its node.
"""

import unicodedata
from typing import Any

# Longest text that a picture carries. The full name of a step has at most 200 characters. Units: characters.
LONGEST = 200
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def plain(value: Any) -> str:
    """Return a JSON value as one line of text, with at most `LONGEST` characters."""
    text = value if isinstance(value, str) else "null" if value is None else str(value)
    text = " ".join(text[: 2 * LONGEST].split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def text_width(text: str, size: float) -> int:
    """Return the estimated width of a text in the portal's font. Units: pixels; `size` is the size of the font."""
    return int(sum(map(_units, text)) * size + 0.5)


def fitted(text: str, width: int, size: float) -> str:
    """Return the text, or its beginning with an ellipsis, so that it fits into the width. Units: pixels."""
    if text_width(text, size) <= width:
        return text
    room = width / size - _units("…")
    for index, character in enumerate(text):
        room -= _units(character)
        if room < 0:
            return f"{text[:index].rstrip()}…"
    return text


def _units(character: str) -> float:
    """Return the width of a character in units of the font size."""
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in "ilj.,:;'|! ":
        return 0.29
    if character in "tfr()[]":
        return 0.38
    if character in "mwMW@%…—":
        return 1.08 if character == "W" else 0.94
    return 0.74 if character.isupper() or character in "_&+=<>" else 0.57


def start_text(trigger: Any) -> str:
    """Return what starts a run: the event, the time, or "Start" for a definition without a trigger."""
    if not isinstance(trigger, dict):
        return "Start"
    words = trigger.get("eventName") or trigger.get("cron") or trigger.get("runAt")
    return plain(words) if words else "Start"


def about_step(step: dict[str, Any], kind: str) -> str:
    """Return what a step does. Every field may be missing or of another type."""
    config = step if kind.startswith("control.") else step.get("config")
    config = config if isinstance(config, dict) else {}
    return plain(_ABOUT[kind](config)) if kind in _ABOUT else ""


def _source(value: Any) -> str:
    """Return the source of an expression, or the value itself."""
    if isinstance(value, dict) and "$expr" in value:
        value = value["$expr"]
    return "" if value is None else plain(value)


def _loop(config: dict[str, Any]) -> str:
    return f"{_source(config.get('itemVar')) or 'item'} of {_source(config.get('items')) or '?'}"


def _assigned(config: dict[str, Any]) -> str:
    targets = config.get("assign")
    return f"sets {', '.join(map(plain, targets))}" if isinstance(targets, dict) and targets else "sets nothing"


def _time(config: dict[str, Any]) -> str:
    if config.get("mode") == "until":
        return f"until {_source(config.get('until'))}"
    duration = config.get("durationMs")
    return _duration(duration) if isinstance(duration, int) else f"for {_source(duration) or '?'}"


def _duration(milliseconds: int) -> str:
    """Return a duration with its largest whole unit: `2 h`, `90 s`, `250 ms`."""
    for size, unit in _UNITS:
        if milliseconds >= size and milliseconds % size == 0:
            return f"for {milliseconds // size} {unit}"
    return f"for {milliseconds} ms"


_ABOUT = {
    "control.if": lambda config: _source(config.get("condition")),
    "control.forEach": _loop,
    "control.callWorkflow": lambda config: (
        f"{_source(config.get('workflowId')) or '?'} version {_source(config.get('workflowVersion')) or '?'}"
    ),
    "control.return": lambda config: "ends the run",
    "state.set": lambda config: _source(config.get("state")),
    "transform.assign": _assigned,
    "event.wait": lambda config: _source(config.get("eventName")),
    "time.wait": _time,
    "human.task": lambda config: _source(config.get("title")) or _source(config.get("taskType")),
    "action.call": lambda config: f"{_source(config.get('actionId')) or '?'}@{_source(config.get('version')) or '?'}",
}

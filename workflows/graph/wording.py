"""Texts of the graph: what a step does in a few words, and texts that fit into a width.

The width of a text is that of the portal's font Inter with the weight 500, without kerning. It is rounded up, so that a
text stays inside its node.
"""

import unicodedata
from typing import Any

# Longest text that a picture carries. The full name of a step has at most 200 characters. Units: characters.
LONGEST = 200
# Widths of characters in units of the font size, rounded up.
_WIDTHS = {
    "ijl": 0.26,
    "I": 0.28,
    " ": 0.29,
    "!,.:": 0.31,
    "';": 0.32,
    "`t": 0.34,
    "|": 0.35,
    "()/[\\]": 0.37,
    "f": 0.38,
    "r": 0.39,
    "{}": 0.44,
    "-_": 0.47,
    "^": 0.48,
    '"': 0.5,
    "*?": 0.53,
    "s": 0.54,
    "kxz": 0.56,
    "La": 0.57,
    "Jcvy": 0.58,
    "Fe": 0.59,
    "Ehnou": 0.61,
    "bdgpq": 0.62,
    "#": 0.64,
    "$PRSZ": 0.65,
    "&BT": 0.66,
    "+<=>~": 0.67,
    "K": 0.69,
    "Y": 0.7,
    "AVX": 0.71,
    "D": 0.73,
    "CU": 0.74,
    "GH": 0.75,
    "N": 0.76,
    "OQ": 0.77,
    "w": 0.83,
    "m": 0.89,
    "…": 0.91,
    "M": 0.92,
    "@": 0.99,
    "%—": 1,
    "W": 1.01,
}
_WIDTH_OF = {character: width for characters, width in _WIDTHS.items() for character in characters}
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


def wrapped(text: str, width: int, size: float, *, most: int) -> tuple[str, ...]:
    """Return the text in at most `most` lines that fit into the width. The last one can end with an ellipsis."""
    lines: list[str] = []
    while len(lines) < most - 1 and text_width(text, size) > width:
        end, room = 0, width / size
        while (room := room - _units(text[end])) >= 0:
            end += 1
        breaks = [place for place in range(1, end + 1) if text[place] == " " or text[place - 1] in " -_/."]
        end = max([*breaks, 0]) or max(end, 1)
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return *lines, fitted(text, width, size)


def _units(character: str) -> float:
    """Return the width of a character in units of the font size."""
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character.isdigit():
        return 0.66  # digits have the same width on all screens
    return _WIDTH_OF.get(character, 0.78 if character.isupper() else 0.64)


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


def source_of(value: Any) -> str:
    """Return the source of an expression, or the value itself."""
    if isinstance(value, dict) and "$expr" in value:
        value = value["$expr"]
    return "" if value is None else plain(value)


def _loop(config: dict[str, Any]) -> str:
    return f"{source_of(config.get('itemVar')) or 'item'} of {source_of(config.get('items')) or '?'}"


def _assigned(config: dict[str, Any]) -> str:
    targets = config.get("assign")
    return f"sets {', '.join(map(plain, targets))}" if isinstance(targets, dict) and targets else "sets nothing"


def _time(config: dict[str, Any]) -> str:
    if config.get("mode") == "until":
        return f"until {source_of(config.get('until'))}"
    duration = config.get("durationMs")
    return _duration(duration) if isinstance(duration, int) else f"for {source_of(duration) or '?'}"


def _duration(milliseconds: int) -> str:
    """Return a duration with its largest whole unit: `2 h`, `90 s`, `250 ms`."""
    for size, unit in _UNITS:
        if milliseconds >= size and milliseconds % size == 0:
            return f"for {milliseconds // size} {unit}"
    return f"for {milliseconds} ms"


_ABOUT = {
    "control.if": lambda config: source_of(config.get("condition")),
    "control.forEach": _loop,
    "control.callWorkflow": lambda config: (
        f"{source_of(config.get('workflowId')) or '?'} version {source_of(config.get('workflowVersion')) or '?'}"
    ),
    "control.return": lambda config: "ends the run",
    "state.set": lambda config: source_of(config.get("state")),
    "transform.assign": _assigned,
    "event.wait": lambda config: source_of(config.get("eventName")),
    "time.wait": _time,
    "human.task": lambda config: source_of(config.get("title")) or source_of(config.get("taskType")),
    "action.call": lambda config: (
        f"{source_of(config.get('actionId')) or '?'}@{source_of(config.get('version')) or '?'}"
    ),
}

"""What may be told of an event, without the values that the tenant's rules hide in its payload (docs/reference/administration.md#tenants-and-roles).

Keys, traces and reasons are stored with the values that they speak of; here they lose what the rules hide, whenever they
are shown. A key is hidden by the place where it was found, and the sentence of a filter by the filter's path. Of any other
sentence only the values themselves are known: it is told with `[redacted]` in the place of each that it holds. What an
expression makes of a value, such as half of it, is not known as one.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from workflows.engine.filters import OPERATORS, WITHOUT_VALUE, value_at
from workflows.engine.keys import correlation_key
from workflows.models import Event
from workflows.redaction import HIDDEN, Rules, redact, redact_at

# With more hidden values than these, of a sentence only what stands before its first colon is told.
MAX_VALUES = 100
# A value may be cut where it is quoted: so much of its beginning is taken for it, and less at the end of a reason that
# was cut to be stored.
_BEGINNING, _LAST_BEGINNING = 20, 4
_CUT_LENGTH = 500
_OPERATORS = "|".join(re.escape(name) for name in sorted(OPERATORS, key=len, reverse=True))
_OF_FILTER = re.compile(rf"filter (.+?) ({_OPERATORS}) ", re.DOTALL)
_IS_MISSING = "the value is missing"


class EventRedaction:
    """Of one event. Cost: it reads the payload when a key came from it or a reason is told, and makes no query."""

    def __init__(self, event: Event, rules: Rules) -> None:
        self.event = event
        self.rules = rules
        self._told: dict[str, str] = {}

    # -- Keys ---------------------------------------------------------------------------------------------------------

    def key(self, key: str) -> str:
        return HIDDEN if key in self._keys else key

    def keys(self, keys: Iterable[str]) -> list[str]:
        return [self.key(key) for key in keys]

    def hidden_keys(self, trace: Iterable[dict[str, Any]]) -> set[str]:
        """The keys that this trace of a correlation found at hidden places of the event."""
        return {entry["key"] for entry in trace if "key" in entry and self._hides_place(entry)}

    def place(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A place where a key was looked for. Why a value is no key may quote it, after a colon."""
        told = {**entry, "key": self.key(entry["key"])} if "key" in entry else entry
        return {**told, "note": entry["note"].partition(":")[0]} if self._hides_place(entry) else told

    def wait(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A wait of the decision trace, with its key. The key of another event that is looked for at hidden places is
        such a value too, though not of this payload."""
        key = entry["key"]
        is_strange = key not in self.event.correlation_keys
        if key not in self._keys and not (is_strange and self._hides_a_place):
            return entry
        return {**entry, "key": HIDDEN, "why": entry["why"].replace(repr(key), HIDDEN)}

    def trace(self, trace: dict[str, Any]) -> dict[str, Any]:
        """The decision trace as it is stored."""
        told = dict(trace)
        for name in ("waits", "nearMisses"):
            if name in trace:
                told[name] = [self.wait(entry) for entry in trace[name]]
        return told

    @cached_property
    def _keys(self) -> set[str]:
        return self.hidden_keys(self.event.correlation_trace)

    @cached_property
    def _hides_a_place(self) -> bool:
        return any(self._hides_place(entry) for entry in self.event.correlation_trace)

    def _hides_place(self, entry: dict[str, Any]) -> bool:
        path = entry["path"]
        if redact_at(path, "x", self.rules) != "x":
            return True
        return entry["source"] != "envelope" and self._hides_value(path.removeprefix("payload."))

    def _hides_value(self, path: str) -> bool:
        return bool(value_at(self.event.payload, path) != value_at(self._shown, path))

    @cached_property
    def _shown(self) -> Any:
        return redact(self.event.payload, self.rules, "/payload")

    # -- Sentences ----------------------------------------------------------------------------------------------------

    def reason(self, text: str) -> str:
        if text not in self._told:  # thousands of deliveries of one event have the same
            self._told[text] = self._filter_told(text) or self._without_values(text)
        return self._told[text]

    def attempts(self, log: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**entry, "reason": self.reason(entry["reason"])} if "reason" in entry else entry for entry in log]

    def made(self, value: Any, at: str = "/payload") -> Any:
        """What a mapping made of the payload, which may have moved a value to where no rule hides it."""
        return self._without(redact(value, self.rules, at))

    def _filter_told(self, text: str) -> str | None:
        """A filter's sentence without its values, if one of them is hidden; see `first_mismatch`."""
        found = _OF_FILTER.match(text)
        if found is None:
            return None
        path, operator = found.groups()
        # An object is quoted as it is, with whatever stands under its keys.
        if not (redact_at(f"payload.{path}", "x", self.rules) != "x" or self._hides_value(path) or "{" in text):
            return None
        wanted = "" if operator in WITHOUT_VALUE else f" {HIDDEN}"
        value = _IS_MISSING if text.endswith(_IS_MISSING) else f"the value is {HIDDEN}"
        return f"filter {path} {operator}{wanted} does not hold: {value}"

    def _without(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._without(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if isinstance(value, str):
            return HIDDEN if len(self._values) > MAX_VALUES else self._without_values(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return HIDDEN if is_number and (len(self._values) > MAX_VALUES or value in self._values) else value

    def _without_values(self, text: str) -> str:
        if len(self._values) > MAX_VALUES:
            head, colon, _ = text.partition(":")
            return f"{head}: {HIDDEN}" if colon else text
        is_cut = len(text) >= _CUT_LENGTH
        for form in self._forms:
            text = _cut_out(text, form)
            text = _without_end(text, form) if is_cut else text
        return text

    @cached_property
    def _values(self) -> list[Any]:
        """The hidden texts and numbers of the payload, and at most one more than are looked for."""
        found: list[Any] = []
        for value in _hidden(self.event.payload, self._shown):
            if value not in found:
                found.append(value)
            if len(found) > MAX_VALUES:
                break
        return found

    @cached_property
    def _forms(self) -> list[str]:
        """How sentences quote these values; the longest first, because one may hold another."""
        forms: set[str] = set()
        for value in self._values:
            if isinstance(value, str):
                quoted = (repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
                forms |= {value, value.strip(), *quoted}
            else:
                forms |= {repr(value), json.dumps(value), correlation_key(value) or ""}
        return sorted(forms - {""}, key=len, reverse=True)


def _hidden(value: Any, shown: Any) -> Iterator[Any]:
    """The texts and numbers of `value` that are not in `shown`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _hidden(item, shown[key] if isinstance(shown, dict) else HIDDEN)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _hidden(item, shown[index] if isinstance(shown, list) else HIDDEN)
    elif shown == HIDDEN and value not in (HIDDEN, "", None) and not isinstance(value, bool):
        yield value


def _cut_out(text: str, form: str) -> str:
    """`text` with `[redacted]` for what it holds of `form`. A short one counts only where it stands by itself."""
    if len(form) < _LAST_BEGINNING or not re.search(r"[^\d.+-]", form):
        return re.sub(rf"(?<![\w.]){re.escape(form)}(?!\w|\.\d)", HIDDEN, text)
    text = text.replace(form, HIDDEN)
    if len(form) > _BEGINNING:
        place = text.find(form[:_BEGINNING])
        while place >= 0:
            end = place + _BEGINNING
            while end < len(text) and end - place < len(form) and text[end] == form[end - place]:
                end += 1
            text = f"{text[:place]}{HIDDEN}{text[end:]}"
            place = text.find(form[:_BEGINNING], place + len(HIDDEN))
    return text


def _without_end(text: str, form: str) -> str:
    for length in range(min(len(form), _BEGINNING), _LAST_BEGINNING - 1, -1):
        if text.endswith(form[:length]):
            return text[:-length] + HIDDEN
    return text

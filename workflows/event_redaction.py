"""Redaction of keys, traces and reasons of one event (docs/reference/administration.md#tenants-and-roles).

Keys, traces and reasons are stored unredacted. They are redacted each time they are shown:

- A key is hidden if the rules hide the path where the key was found.
- A filter that did not match is stored as `{code, path, op, value}`. This module makes the sentence from it. The values
  in the sentence are hidden if the rules hide the filter's path.
- In any other sentence, each hidden value of the payload is searched and replaced by `[redacted]`. If an expression
  changed a value, for example to a part of a text, the search does not find it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from workflows.engine.filters import MISSING, WITHOUT_VALUE, value_at
from workflows.engine.keys import correlation_key
from workflows.engine.records import FilterMismatch
from workflows.models import Event, EventDelivery
from workflows.redaction import HIDDEN, Rules, redact, redact_at
from workflows.statuses import DeliveryStatus

# Limit of hidden values. If the payload has more of them, a sentence is shown only up to its first colon.
MAX_VALUES = 100
MAX_SHOWN_LENGTH = 200
# A sentence may quote only the beginning of a value. This many characters identify a value inside a sentence. Fewer are
# enough at the end of a reason that was cut when it was stored.
_BEGINNING, _LAST_BEGINNING = 20, 4
_CUT_LENGTH = 500


class EventRedaction:
    """Redaction of one event under a tenant's rules.

    Cost: no query. It reads the payload if a key came from the payload, or if a reason is shown.
    """

    def __init__(self, event: Event, rules: Rules) -> None:
        self.event = event
        self.rules = rules
        self._redacted_texts: dict[str, str] = {}

    # -- Keys ---------------------------------------------------------------------------------------------------------

    def key(self, key: str) -> str:
        """Return the key, or `[redacted]` if it was found at a hidden path."""
        return HIDDEN if key in self._keys else key

    def keys(self, keys: Iterable[str]) -> list[str]:
        return [self.key(key) for key in keys]

    def hidden_keys(self, trace: Iterable[dict[str, Any]]) -> set[str]:
        """Return the keys in this correlation trace that were found at hidden paths of the event."""
        return {entry["key"] for entry in trace if "key" in entry and self._hides_place(entry)}

    def place(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return an entry of the correlation trace with its key redacted."""
        return {**entry, "key": self.key(entry["key"])} if "key" in entry else entry

    def wait(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return a wait of the decision trace with its key redacted.

        The key of a near miss is the key of another event. This key is hidden too if this event type has a hidden path.
        """
        key = entry["key"]
        is_of_other_event = key not in self.event.correlation_keys
        if key in self._keys or (is_of_other_event and self._hides_a_place):
            return {**entry, "key": HIDDEN}
        return entry

    def trace(self, trace: dict[str, Any]) -> dict[str, Any]:
        """Return the stored decision trace with the keys of its waits redacted."""
        redacted = dict(trace)
        for name in ("waits", "nearMisses"):
            if name in trace:
                redacted[name] = [self.wait(entry) for entry in trace[name]]
        return redacted

    @cached_property
    def _keys(self) -> set[str]:
        return self.hidden_keys(self.event.correlation_trace)

    @cached_property
    def _hides_a_place(self) -> bool:
        return any(self._hides_place(entry) for entry in self.event.correlation_trace)

    def _hides_place(self, entry: dict[str, Any]) -> bool:
        path = entry["path"]
        if entry["source"] == "envelope":
            return bool(redact_at(path, "x", self.rules) != "x")
        return self._hides_path(path.removeprefix("payload."))

    def _hides_path(self, path: str) -> bool:
        """Return True if the rules hide the value at this path of the payload, or a part of this value."""
        if redact_at(f"payload.{path}", "x", self.rules) != "x":
            return True
        if self._is_omitted:
            return "value" in path.split(".")  # the payload is unknown here, and the name beside a value may hide it
        return bool(value_at(self.event.payload, path) != value_at(self._shown, path))

    @property
    def _is_omitted(self) -> bool:
        """Return True if a list left the payload out because the payload is long (workflows/api/list_values.py)."""
        return "payload" in getattr(self.event, "values_omitted", ())

    @cached_property
    def _shown(self) -> Any:
        return redact(self.event.payload, self.rules, "/payload")

    # -- Sentences ----------------------------------------------------------------------------------------------------

    def delivery_reason(self, delivery: EventDelivery) -> str:
        """Return the sentence that explains the delivery's status, redacted."""
        is_filtered = delivery.status == DeliveryStatus.FILTERED
        return self.reason(delivery.reason, delivery.mismatch if is_filtered else None)

    def reason(self, text: str, mismatch: FilterMismatch | None = None) -> str:
        """Return a sentence without hidden values.

        If there is a mismatch, its sentence replaces the text and says more.
        """
        if mismatch is not None:
            return self._mismatch_sentence(mismatch)
        if text not in self._redacted_texts:  # thousands of deliveries of one event can have the same reason
            self._redacted_texts[text] = self._without_values(text)
        return self._redacted_texts[text]

    def attempts(self, log: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**entry, "reason": self.reason(entry["reason"])} if "reason" in entry else entry for entry in log]

    def made(self, value: Any, at: str = "/payload") -> Any:
        """Return the result of a mapping, redacted. A mapping can move a hidden value to a path that no rule hides."""
        return self._without(redact(value, self.rules, at))

    def _mismatch_sentence(self, mismatch: FilterMismatch) -> str:
        path, operator = mismatch["path"], mismatch["op"]
        wanted = "" if operator in WITHOUT_VALUE else f" {self._wanted(mismatch)}"
        return f"the filter {path} {operator}{wanted} does not match: the value is {self._found(path)}"

    def _found(self, path: str) -> str:
        if self._is_omitted:
            return HIDDEN
        if value_at(self.event.payload, path) is MISSING:
            return "missing"
        shown = value_at(self._shown, path)  # MISSING if a key above the value is hidden
        return HIDDEN if shown is MISSING else self._as_text(shown)

    def _wanted(self, mismatch: FilterMismatch) -> str:
        """Return the filter's value as text. A value with an object is hidden.

        With some operators, the payload does not have this object at the filter's path. The rules for this path are
        then not enough.
        """
        if "value" not in mismatch:
            return "…"  # the value was too long to be recorded
        value = mismatch["value"]
        return HIDDEN if self._hides_path(mismatch["path"]) or _holds_object(value) else self._as_text(value)

    def _as_text(self, value: Any) -> str:
        value = self._without(value)
        text = value if value == HIDDEN else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 1]}…"

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
        """The hidden texts and numbers of the payload. The search stops when it has found more than MAX_VALUES."""
        if self._is_omitted:
            return [HIDDEN] * (MAX_VALUES + 1)  # the values are unknown, so each sentence ends at its first colon
        found: list[Any] = []
        for value in _hidden(self.event.payload, self._shown):
            if value not in found:
                found.append(value)
            if len(found) > MAX_VALUES:
                break
        return found

    @cached_property
    def _forms(self) -> list[str]:
        """The forms in which sentences quote hidden values.

        Longer forms come first, because they can contain a shorter form.
        """
        forms: set[str] = set()
        for value in self._values:
            if isinstance(value, str):
                quoted = (repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
                forms |= {value, value.strip(), *quoted}
            else:
                forms |= {repr(value), json.dumps(value), correlation_key(value) or ""}
        return sorted(forms - {""}, key=len, reverse=True)


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(_holds_object(item) for item in value))


def _hidden(value: Any, shown: Any) -> Iterator[Any]:
    """Yield the texts and numbers of `value` that are hidden in `shown`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _hidden(item, shown[key] if isinstance(shown, dict) else HIDDEN)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _hidden(item, shown[index] if isinstance(shown, list) else HIDDEN)
    elif shown == HIDDEN and value not in (HIDDEN, "", None) and not isinstance(value, bool):
        yield value


def _cut_out(text: str, form: str) -> str:
    """Replace a form of a hidden value by `[redacted]`.

    A short form or a number is replaced only if it is a whole word.
    """
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

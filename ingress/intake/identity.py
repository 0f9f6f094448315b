"""Identity of an event. Two bodies with the same event id are the same event if their identities are equal.

The identity is the type, the payload, the envelope's correlation key and `payload_schema_ref`. Senders change other
parts on a retry, for example `occurred_at` and trace ids. An entry of the event catalogue can name the fields of the
payload that make up the identity, or the fields that are excluded from it. Pure.

Source: docs/reference/events.md#stored-first-and-once
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from workflows.engine.filters import MISSING, value_at
from workflows.json_numbers import canonical_json


@dataclass(frozen=True)
class IdentityRule:
    """Rule for the identity of an event type, as dotted paths into the payload.

    If `fields` has paths, only these values belong to the identity. Otherwise all values except `excluded` belong to
    it.
    """

    fields: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: list[str] | None, excluded: list[str] | None) -> "IdentityRule":
        """Return the rule of a catalogue entry. A path may begin with `payload.`."""
        return cls(*(tuple(path.removeprefix("payload.") for path in paths or ()) for paths in (fields, excluded)))

    def applied_to(self, payload: dict[str, Any]) -> Any:
        """Return the part of a payload that belongs to the identity."""
        if self.fields:
            found = ((path, value_at(payload, path)) for path in self.fields)
            return {path: value for path, value in found if value is not MISSING}
        for path in self.excluded:
            payload = _without(payload, path.split("."))
        return payload


WHOLE_PAYLOAD = IdentityRule()


def identity_hash(
    *,
    event_type: str,
    payload: dict[str, Any],
    correlation_key: str,
    payload_schema_ref: str,
    rule: IdentityRule = WHOLE_PAYLOAD,
) -> str:
    """Return a hash that is equal for equal identities. The order of keys does not matter.

    Numbers are compared by value.
    """
    identity = [event_type, rule.applied_to(payload), correlation_key, payload_schema_ref]
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def _without(value: Any, parts: list[str]) -> Any:
    """Return a copy of a value without the entry at a path. Only the containers along the path are copied."""
    first, *rest = parts
    if not isinstance(value, dict) or first not in value:
        return value
    if rest:
        return {**value, first: _without(value[first], rest)}
    return {key: item for key, item in value.items() if key != first}

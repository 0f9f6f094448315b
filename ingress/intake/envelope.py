"""Envelope of an event as its sender writes it. It is checked before anything is stored.

Source: docs/reference/events.md#entry-points
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings

from ingress.intake.identity import WHOLE_PAYLOAD, IdentityRule, identity_hash
from ingress.intake.moments import moment_of_text
from workflows.engine.keys import MAX_KEY_BYTES, correlation_key
from workflows.engine.sizes import json_size
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid
from workflows.json_numbers import write_json

FIELDS = frozenset(
    {"event_type", "payload", "event_id", "workflow_correlation_key", "payload_schema_ref", "occurred_at"}
)
MAX_ID_LENGTH = 200
MAX_ATTRIBUTES_BYTES = 16_384


@dataclass(frozen=True)
class Envelope:
    event_type: str
    payload: dict[str, Any]
    event_id: str | None = None
    workflow_correlation_key: str = ""
    payload_schema_ref: str = ""
    occurred_at: datetime | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def body_hash(self, rule: IdentityRule = WHOLE_PAYLOAD) -> str:
        """Return the hash of the event's identity. If a sender sends the same event twice, the two hashes are equal."""
        return identity_hash(
            event_type=self.event_type,
            payload=self.payload,
            correlation_key=self.workflow_correlation_key,
            payload_schema_ref=self.payload_schema_ref,
            rule=rule,
        )


def read_event_envelope(value: Any, *, attributes: dict[str, Any] | None = None) -> Envelope:
    """Check the JSON of an event and return its envelope.

    Shapes: `attributes` has the other CloudEvents attributes. It is a flat object of texts, numbers and booleans.
    Errors: InputInvalid EVENT_INVALID, with all `problems [{path, message}]` in its details. The sender must act.
    """
    if not isinstance(value, dict):
        raise event_invalid([{"path": "", "message": "an event must be a JSON object"}])
    problems = [
        {"path": name, "message": f"is not a known field; known fields are {', '.join(sorted(FIELDS))}"}
        for name in value
        if name not in FIELDS
    ]
    problems += [*_check_text(value, "event_type", MAX_ID_LENGTH, required=True)]
    problems += [*_check_text(value, "event_id", MAX_ID_LENGTH)]
    problems += [*_check_text(value, "payload_schema_ref", MAX_ID_LENGTH)]
    problems += [*_check_key(value.get("workflow_correlation_key"))]
    payload = value.get("payload")
    if not isinstance(payload, dict):
        problems.append({"path": "payload", "message": "is missing" if payload is None else "must be a JSON object"})
    occurred_at = _moment(value.get("occurred_at"), problems)
    if _size(value) > settings.REQUEST_MAX_BYTES:
        problems.append({"path": "", "message": f"the event has more than {settings.REQUEST_MAX_BYTES} bytes"})
    unstorable = storable_problem(value)
    if unstorable is not None:
        problems.append({"path": unstorable[0], "message": unstorable[1]})
    problems += _check_attributes(attributes or {})
    if problems:
        raise event_invalid(problems)
    key = value.get("workflow_correlation_key")
    return Envelope(
        event_type=value["event_type"],
        payload=value["payload"],
        event_id=value.get("event_id") or None,
        workflow_correlation_key=correlation_key(key) or "",
        payload_schema_ref=value.get("payload_schema_ref") or "",
        occurred_at=occurred_at,
        attributes=dict(attributes or {}),
    )


def _check_attributes(attributes: dict[str, Any]) -> list[dict[str, str]]:
    problems = [
        {"path": name[:100], "message": "must be text, a number, true or false"}
        for name, value in attributes.items()
        if not isinstance(value, str | int | float)
    ]
    unstorable = None if problems else storable_problem(attributes)
    if unstorable is not None:
        problems.append({"path": unstorable[0].removeprefix("/"), "message": unstorable[1]})
    elif not problems and json_size(attributes) > MAX_ATTRIBUTES_BYTES:
        problems.append({"path": "", "message": f"the attributes have more than {MAX_ATTRIBUTES_BYTES} bytes"})
    return problems


def _size(value: dict[str, Any]) -> int:
    """Return the size of the JSON as it was sent. A decimal counts with all the digits that the sender wrote."""
    try:
        return len(write_json(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return 0  # other checks report values that are no JSON or nested too deeply


def _check_text(value: dict[str, Any], name: str, limit: int, *, required: bool = False) -> list[dict[str, str]]:
    text = value.get(name)
    if text is None and not required:
        return []
    if text is None:
        return [{"path": name, "message": "is missing"}]
    if not isinstance(text, str) or not text.strip():
        return [{"path": name, "message": "must be text that is not empty"}]
    if len(text) > limit:
        return [{"path": name, "message": f"is longer than {limit} characters"}]
    return []


def _check_key(key: Any) -> list[dict[str, str]]:
    """Check the correlation key of the envelope. An empty key counts as not sent."""
    if key is None or key == "" or (not isinstance(key, bool) and correlation_key(key) is not None):
        return []
    message = f"must be text or a number, of at most {MAX_KEY_BYTES} bytes"
    return [{"path": "workflow_correlation_key", "message": message}]


def _moment(value: Any, problems: list[dict[str, str]]) -> datetime | None:
    if value is None:
        return None
    moment = moment_of_text(value) if isinstance(value, str) else None
    if moment is None:
        problems.append(
            {"path": "occurred_at", "message": "must be an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"}
        )
    return moment


def event_invalid(problems: list[dict[str, str]]) -> InputInvalid:
    """Return the error for an event with these problems. The message contains the first problem."""
    first = problems[0]
    return InputInvalid(
        f"The event is invalid: {first['path'] + ' ' if first['path'] else ''}{first['message']}",
        code="EVENT_INVALID",
        details={"problems": problems},
    )

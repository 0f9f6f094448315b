"""Remarks about an event that a person checks: a misspelled event type, and a key that differs from the payload's key.

Source: docs/reference/events.md#send-an-event
"""

from typing import Any

from ingress.explain.alike_types import alike_type, catalogue_paths
from workflows.actors import Actor
from workflows.engine.filters import MISSING, value_at
from workflows.engine.keys import correlation_key
from workflows.redaction import HIDDEN, redact, redact_at, rules_of
from workflows.statuses import CorrelationStatus


def event_remarks(actor: Actor, result: dict[str, Any], payload: Any) -> dict[str, Any]:
    """Return remarks about a result of `event_what_if`. `payload` is the payload that was checked.

    Shapes: `alike_type` is the event type of the catalogue that was probably meant, or an empty text. `other_key {key,
    path}` is the key of the payload at a correlation path of the event type, if another key was given. It is None if
    the keys agree, or if a redaction rule hides one of them.
    Cost: one statement.
    """
    name = result["event_type"]
    if not name:
        return {"alike_type": "", "other_key": None}
    paths = catalogue_paths(actor.tenant_id)
    other_key = _other_key(actor, result, payload, paths.get(name, []))
    return {"alike_type": alike_type(name, paths), "other_key": other_key}


def _other_key(actor: Actor, result: dict[str, Any], payload: Any, paths: list[str]) -> dict[str, str] | None:
    correlation = result["correlation"]
    if correlation["status"] != CorrelationStatus.EXPLICIT or HIDDEN in correlation["keys"]:
        return None
    rules = rules_of(actor.tenant_id)
    shown = redact(payload, rules, "/payload")
    for path in (each.removeprefix("payload.") for each in paths):
        value = value_at(payload, path)
        is_hidden = value != value_at(shown, path) or redact_at(f"payload.{path}", "x", rules) != "x"
        key = None if value is MISSING or is_hidden else correlation_key(value)
        if key is not None and key not in correlation["keys"]:
            return {"key": key, "path": f"payload.{path}"}
    return None

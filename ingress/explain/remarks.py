"""Remarks about an event that a person checks: a misspelled event type, and a key that differs from the payload's key.

Source: docs/reference/events.md#send-an-event
"""

import difflib
from typing import Any

from workflows.actors import Actor
from workflows.engine.filters import MISSING, value_at
from workflows.engine.keys import correlation_key
from workflows.models import EventType
from workflows.redaction import HIDDEN, redact, redact_at, rules_of
from workflows.statuses import CorrelationStatus

MOST_TYPES = 500
# "REPLYED" is alike to "REPLIED". Other words of the same length are not.
LEAST_LIKENESS = 0.85


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
    entries = EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name")
    paths = dict(entries.values_list("name", "correlation_paths")[:MOST_TYPES])
    alike = [] if name in paths else difflib.get_close_matches(name, paths, n=1, cutoff=LEAST_LIKENESS)
    return {"alike_type": next(iter(alike), ""), "other_key": _other_key(actor, result, payload, paths.get(name) or [])}


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

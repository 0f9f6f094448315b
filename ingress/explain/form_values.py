"""Values of the forms that send an event: what the catalogue says about its type, and an empty payload."""

from typing import Any

from django.db.models import OuterRef, Subquery

from ingress.explain.skeleton import payload_skeleton, with_value_at
from workflows.actors import Actor
from workflows.json_numbers import write_json
from workflows.models import EventType, PayloadSchema, RunWait
from workflows.redaction import HIDDEN, Rules, redact_filters


def catalogued_type(actor: Actor, name: str) -> EventType | None:
    """Return the entry of an event type in the catalogue, with the attribute `schema`. Cost: one statement."""
    if not name:
        return None
    schemas = PayloadSchema.objects.filter(tenant_id=OuterRef("tenant_id"), ref=OuterRef("payload_schema_ref"))
    entries = EventType.objects.annotate(schema=Subquery(schemas.values("schema")[:1]))
    return entries.filter(tenant_id=actor.tenant_id, name=name, is_active=True).first()


def about_type(name: str, entry: Any) -> dict[str, Any] | None:
    """Return what the event catalogue says about an event type: its entry, its schema and an example."""
    if entry is None:
        return {"name": name} if name else None
    examples = (entry.schema.get("examples") if isinstance(entry.schema, dict) else None) or []
    return {
        "name": name,
        "entry": entry,
        "schema": payload_text(entry.schema) if entry.schema is not None else "",
        "example": payload_text(examples[0]) if isinstance(examples, list) and examples else "",
    }


def empty_payload(actor: Actor, entry: Any, wait: RunWait | None, rules: Rules) -> dict[str, Any]:
    """Return a payload with empty values for an event type. The first correlation path gets the key of the wait.

    A path gets a value if the filters of the wait accept no other and the actor may see it.
    """
    made = payload_skeleton(entry.schema) if entry and entry.schema is not None else {}
    payload: dict[str, Any] = made if isinstance(made, dict) else {}
    if wait is not None and wait.filters and actor.sees_payloads:
        for condition in redact_filters(wait.filters, rules):
            _fill(payload, condition)
    if wait is not None and entry is not None and entry.correlation_paths:
        with_value_at(payload, entry.correlation_paths[0], wait.correlation_key)
    return payload


def _fill(payload: dict[str, Any], condition: dict[str, Any]) -> None:
    """Write the only value that a filter of a wait accepts. Do nothing if it accepts several, or if rules hide it."""
    values = {"=": [condition.get("value")], "in": condition.get("value")}.get(condition["op"])
    if isinstance(values, list) and len(values) == 1 and values[0] not in (None, HIDDEN):
        with_value_at(payload, condition["path"], values[0])


def send_panel(actor: Actor, wait: RunWait, rules: Rules) -> dict[str, Any]:
    """Return the content of the form beside the steps of a waiting run, filled from the wait. Cost: one statement."""
    entry = catalogued_type(actor, wait.event_name)
    payload = empty_payload(actor, entry, wait, rules)
    return {"about": about_type(wait.event_name, entry), "payload": payload_text(payload)}


def payload_text(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)

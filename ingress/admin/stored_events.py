"""Stored events in forms: their redacted form, and the values that replace `[redacted]` when the form is sent."""

import uuid
from typing import Any

from django.http import Http404

from workflows.actors import Actor
from workflows.models import Event
from workflows.redaction import redact, restored, rules_of


def stored_event(actor: Actor, event_pk: str) -> Event | None:
    """Return the event of the actor's tenant with this id, or None without an id. Errors: Http404."""
    if not event_pk:
        return None
    try:
        event = Event.objects.filter(tenant_id=actor.tenant_id, id=uuid.UUID(event_pk)).first()
    except ValueError:
        event = None
    if event is None:
        raise Http404(f"There is no event {event_pk}.")
    return event


def envelope_of(event: Event) -> dict[str, Any]:
    """Return a stored event in the form in which a sender sends it.

    The event id is left out, because an event with the same id would be a repeat.
    """
    envelope: dict[str, Any] = {"event_type": event.event_type, "payload": event.payload}
    if event.workflow_correlation_key:
        envelope["workflow_correlation_key"] = event.workflow_correlation_key
    if event.payload_schema_ref:
        envelope["payload_schema_ref"] = event.payload_schema_ref
    if event.occurred_at:
        envelope["occurred_at"] = event.occurred_at.isoformat()
    return envelope


def shown_envelope(actor: Actor, event: Event) -> dict[str, Any]:
    """Return the envelope, redacted with the tenant's rules."""
    shown: dict[str, Any] = redact(envelope_of(event), rules_of(actor.tenant_id))
    return shown


def restored_envelope(actor: Actor, edited: dict[str, Any], stored_pk: str) -> dict[str, Any]:
    """Return the edited envelope. If a value is still `[redacted]`, the value of the stored event replaces it."""
    stored = stored_event(actor, stored_pk)
    if stored is None:
        return edited
    value: dict[str, Any] = restored(edited, shown_envelope(actor, stored), envelope_of(stored))
    return value

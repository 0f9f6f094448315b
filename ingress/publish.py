"""Events from a Django app beside the portal: written down in the app's own transaction, handed in after it (`outbox.py`)."""

import json
from datetime import datetime
from typing import Any

from ingress.intake.envelope import read_envelope
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import InputInvalid, NotFound
from workflows.models import OutboxEvent, Tenant
from workflows.models.fields import new_id
from workflows.tenancy import tenant_scope


def publish_event(
    event_type: str,
    payload: dict[str, Any],
    *,
    tenant: Tenant | str,
    event_id: str | None = None,
    correlation_key: str | int | float | None = None,
    payload_schema_ref: str | None = None,
    occurred_at: datetime | str | None = None,
) -> str:
    """The event's id. The event exists when the surrounding transaction of the database `default` commits, and only then.

    Shapes: `tenant` is one, or its slug.
    Idempotency: by event id, as at every door; without one each call makes an event of its own.
    Errors: InputInvalid EVENT_INVALID, NotFound TENANT_NOT_FOUND, at once; the caller must act.
    Cost: one insert, a query for a tenant's slug; after the commit a ring of the bell, which waits for nobody.
    """
    owner = _tenant(tenant)
    envelope = {
        "event_type": event_type,
        "payload": payload,
        "event_id": f"evt-{new_id()}" if event_id is None else event_id,
        "workflow_correlation_key": correlation_key,
        "payload_schema_ref": payload_schema_ref,
        "occurred_at": occurred_at.isoformat() if isinstance(occurred_at, datetime) else occurred_at,
    }
    envelope = _as_json({name: value for name, value in envelope.items() if value is not None})
    read_envelope(envelope)
    with tenant_scope(owner.id):  # the caller's app knows nothing of tenants' scopes
        OutboxEvent.objects.create(tenant=owner, envelope=envelope, sender="outbox")
    notify_dispatcher_on_commit(owner.id)
    return str(envelope["event_id"])


def _tenant(tenant: Tenant | str) -> Tenant:
    slug = tenant.slug if isinstance(tenant, Tenant) else tenant
    found = tenant if isinstance(tenant, Tenant) else Tenant.objects.filter(slug=slug).first()
    if found is None or not found.is_active:
        raise NotFound(f"there is no active tenant {slug!r}", code="TENANT_NOT_FOUND")
    return found


def _as_json(envelope: dict[str, Any]) -> dict[str, Any]:
    """As the relay will read it. An error here is one of the code that calls, and not of an event that waits somewhere."""
    try:
        return dict(json.loads(json.dumps(envelope, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputInvalid(f"the event is no JSON: {error}", code="EVENT_INVALID") from error

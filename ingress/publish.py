"""Events from other Django apps.

An event is stored in the outbox in the app's transaction, and relayed after the commit.
"""

import json
from datetime import datetime
from typing import Any

from ingress.intake.envelope import read_event_envelope
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import InputInvalid, NotFound
from workflows.models import OutboxEvent, Tenant
from workflows.models.fields import new_id
from workflows.selectors.tenants_of_slugs import FoundTenant, tenants_of_slugs
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
    """Publish an event when the surrounding transaction of the database `default` commits. Return the event id.

    Shapes: `tenant` is a tenant or its slug.
    Idempotency: by event id, as at every entry point. Without an event id, each call publishes another event.
    Errors: InputInvalid EVENT_INVALID, NotFound TENANT_NOT_FOUND. This call raises them, and the caller must act.
    Cost: one insert, and one query if `tenant` is a slug. After the commit, a queue notification is sent; this does not
    block the caller.
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
    read_event_envelope(envelope)
    with tenant_scope(owner.id):  # the calling app does not set a tenant scope
        OutboxEvent.objects.create(tenant_id=owner.id, envelope=envelope, sender="outbox")
    notify_dispatcher_on_commit(owner.id)
    return str(envelope["event_id"])


def _tenant(tenant: Tenant | str) -> Tenant | FoundTenant:
    slug = tenant.slug if isinstance(tenant, Tenant) else tenant
    found = tenant if isinstance(tenant, Tenant) else tenants_of_slugs([slug]).get(slug)
    if found is None or not found.is_active:
        raise NotFound(
            f"There is no active tenant {slug!r}. Pass an active tenant or its slug.", code="TENANT_NOT_FOUND"
        )
    return found


def _as_json(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope as the relay will read it.

    So an error is raised in the caller, and not later in the relay.
    """
    try:
        return dict(json.loads(json.dumps(envelope, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputInvalid(f"The event cannot be written as JSON: {error}", code="EVENT_INVALID") from error

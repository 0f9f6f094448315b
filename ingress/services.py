"""The one service behind all doors: an event is stored before anything else happens with it (PRODUCT 5.1, 5.2)."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ingress.correlation import Correlation, correlate_event
from ingress.envelope import Envelope, read_envelope
from workflows.errors import Conflict, PortalError
from workflows.models import Event, EventKey, EventType
from workflows.models.fields import new_id
from workflows.queueing import ROUTE_EVENT, enqueue_on_commit
from workflows.statuses import EventOutcome, EventSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """What became of a submission: the stored event, or the first one that had this id and body."""

    event: Event
    is_duplicate: bool


def event_receive(*, tenant_id: uuid.UUID, value: Any, source: EventSource, sender: str = "") -> Receipt:
    """Check, correlate and store an event; after the commit it is handed to routing.

    Idempotency: an event id that was stored before with the same body gives the first record.
    Errors: InputInvalid EVENT_INVALID: nothing is stored. Conflict EVENT_ID_CONFLICT for another body under a stored id:
    the sender must use a new id; the attempt is kept as a rejected event.
    """
    envelope = read_envelope(value)
    correlation = correlate_event(
        event_type=envelope.event_type,
        payload=envelope.payload,
        envelope_key=envelope.workflow_correlation_key or None,
        tenant_paths=_tenant_paths(tenant_id),
        environment_paths=settings.EVENT_CORRELATION_PATHS,
    )
    event = _event_row(tenant_id, envelope, correlation, source, sender)
    with transaction.atomic():
        stored = _insert(event)
        if stored is event:
            _insert_keys(event)
            enqueue_on_commit(ROUTE_EVENT, str(event.id))
    if stored is not event and stored.body_hash != event.body_hash:
        _keep_conflict(event, stored)
        raise Conflict(
            f"the event id {event.event_id!r} was used for another body; send a changed event under a new id",
            code="EVENT_ID_CONFLICT",
            details={
                "eventId": event.event_id,
                "firstReceivedAt": stored.received_at.isoformat(),
                "id": str(stored.id),
            },
        )
    return Receipt(stored, is_duplicate=stored is not event)


def events_receive(
    *, tenant_id: uuid.UUID, values: Sequence[Any], source: EventSource, sender: str = ""
) -> list[Receipt | PortalError]:
    """One result for each value, in their order; what is wrong with one says nothing of the others."""
    results: list[Receipt | PortalError] = []
    for value in values:
        try:
            results.append(event_receive(tenant_id=tenant_id, value=value, source=source, sender=sender))
        except PortalError as error:
            results.append(error)
    return results


def _event_row(
    tenant_id: uuid.UUID, envelope: Envelope, correlation: Correlation, source: EventSource, sender: str
) -> Event:
    return Event(
        tenant_id=tenant_id,
        event_id=envelope.event_id or f"evt-{new_id()}",
        event_type=envelope.event_type,
        payload=envelope.payload,
        body_hash=envelope.body_hash(),
        payload_schema_ref=envelope.payload_schema_ref,
        workflow_correlation_key=envelope.workflow_correlation_key,
        source=source,
        sender=sender[:200],
        occurred_at=envelope.occurred_at,
        received_at=timezone.now(),
        correlation_status=correlation.status,
        correlation_reason=correlation.reason,
        correlation_key=correlation.key,
        correlation_keys=correlation.keys,
        correlation_trace=correlation.trace,
        outcome=EventOutcome.RECEIVED,
        outcome_reason="stored, not routed yet",
    )


def _insert(event: Event) -> Event:
    """The event itself when its id was free, else the row that holds the id."""
    Event.objects.bulk_create([event], ignore_conflicts=True)
    return (
        event
        if Event.objects.filter(id=event.id).exists()
        else Event.objects.get(tenant_id=event.tenant_id, event_id=event.event_id, occupies_id=True)
    )


def _insert_keys(event: Event) -> None:
    EventKey.objects.bulk_create(
        EventKey(
            tenant_id=event.tenant_id,
            event=event,
            event_type=event.event_type,
            key=key,
            position=position,
            received_at=event.received_at,
        )
        for position, key in enumerate(event.correlation_keys)
    )


def _keep_conflict(event: Event, first: Event) -> None:
    event.occupies_id = False
    event.conflict_of = first
    event.outcome = EventOutcome.REJECTED
    event.outcome_reason = "another body under an event id that was used before"
    event.routed_at = event.received_at
    event.save(force_insert=True)


def _tenant_paths(tenant_id: uuid.UUID) -> dict[str, list[str]]:
    rows = EventType.objects.filter(tenant_id=tenant_id, is_active=True, correlation_paths__isnull=False)
    return {name: paths for name, paths in rows.values_list("name", "correlation_paths") if paths}

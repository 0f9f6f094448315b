"""The one service behind all doors: events are stored before anything else happens with them (docs/reference/events.md#entry-points, docs/reference/events.md#stored-first-and-once).

Each value is read, correlated and checked on its own; they are stored in one statement, or in one for each 500 of them;
then the bell is rung, and a Celery worker routes them. What is wrong with one value says nothing of the others.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone

from ingress.intake.correlation import correlate_event
from ingress.intake.correlation_config import ANY_EVENT
from ingress.intake.envelope import Envelope, read_envelope
from ingress.intake.store import first_events, store_events
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import Conflict, InputInvalid, PortalError
from workflows.models import Event, EventType
from workflows.models.fields import new_id
from workflows.services.payload_check import PayloadChecker
from workflows.statuses import EventOutcome, EventSource
from workflows.tenancy import tenant_scope


@dataclass(frozen=True)
class Receipt:
    """What became of a submission: the stored event, or the first one that had this id and body."""

    event: Event
    is_duplicate: bool


Result = Receipt | PortalError


def event_receive(*, tenant_id: uuid.UUID, value: Any, source: EventSource, sender: str = "") -> Receipt:
    """Store one event. See `events_receive`, whose error it raises."""
    (result,) = events_receive(tenant_id=tenant_id, values=[value], source=source, sender=sender)
    if isinstance(result, PortalError):
        raise result
    return result


def events_receive(
    *, tenant_id: uuid.UUID, values: Sequence[Any], source: EventSource, sender: str = ""
) -> list[Result]:
    """Check, correlate and store events; one result for each value, in their order.

    Shapes: a value is the JSON of the REST door, an `Envelope` that a door has read already, or its error.
    Idempotency: an event id that was stored before with the same body gives the first record.
    Errors: as results: InputInvalid EVENT_INVALID, of which nothing is stored; EVENT_PAYLOAD_INVALID, kept as a rejected
    event that does not hold its id; Conflict EVENT_ID_CONFLICT, kept likewise: the sender must use a new id.
    Cost: two statements for up to 500 events, and one for each 500 more (`event_store.CHUNK`); those of `PayloadChecker`
    when payloads have a schema; one for repeats, and two more for conflicts.
    """
    with tenant_scope(tenant_id):
        return _receive(tenant_id, [_read(value) for value in values], source, sender)


def _receive(
    tenant_id: uuid.UUID, read: list[Envelope | PortalError], source: EventSource, sender: str
) -> list[Result]:
    catalogue = Catalogue(tenant_id, {envelope.event_type for envelope in read if isinstance(envelope, Envelope)})
    results: list[Result | None] = [item if isinstance(item, PortalError) else None for item in read]
    rows: dict[int, Event] = {}
    for place, envelope in enumerate(read):
        if isinstance(envelope, Envelope):
            rows[place] = catalogue.event_row(envelope, source=source, sender=sender)
    stored = store_events(list(rows.values())) if rows else set()
    repeated = {place: row for place, row in rows.items() if row.id not in stored}
    firsts = first_events(tenant_id, {row.event_id for row in repeated.values()})
    _keep_conflicts(repeated.values(), firsts)
    for place, row in rows.items():
        results[place] = result_of(row, None if row.id in stored else firsts[row.event_id])
    if any(row.id in stored and row.occupies_id for row in rows.values()):
        notify_dispatcher_on_commit(tenant_id)
    return [result for result in results if result is not None]


def _read(value: Any) -> Envelope | PortalError:
    if isinstance(value, Envelope | PortalError):
        return value
    try:
        return read_envelope(value)
    except InputInvalid as error:
        return error


class Catalogue:
    """What the tenant's event catalogue says of the types that one call brings."""

    def __init__(self, tenant_id: uuid.UUID, event_types: set[str]) -> None:
        self.tenant_id = tenant_id
        names = {*event_types, ANY_EVENT} if event_types else set()
        entries = EventType.objects.filter(tenant_id=tenant_id, name__in=names, is_active=True) if names else ()
        self.entries = {entry.name: entry for entry in entries}
        self.paths = {name: entry.correlation_paths for name, entry in self.entries.items() if entry.correlation_paths}
        self.checker = PayloadChecker(tenant_id)

    def event_row(self, envelope: Envelope, *, source: EventSource, sender: str) -> Event:
        """The row to store; a rejected one when its payload fails the catalogue's schema."""
        correlation = correlate_event(
            event_type=envelope.event_type,
            payload=envelope.payload,
            envelope_key=envelope.workflow_correlation_key or None,
            tenant_paths=self.paths,
            environment_paths=settings.EVENT_CORRELATION_PATHS,
        )
        now = timezone.now()
        event = Event(
            tenant_id=self.tenant_id,
            event_id=envelope.event_id or f"evt-{new_id()}",
            event_type=envelope.event_type,
            payload=envelope.payload,
            body_hash=envelope.body_hash(),
            payload_schema_ref=envelope.payload_schema_ref,
            workflow_correlation_key=envelope.workflow_correlation_key,
            attributes=envelope.attributes,
            source=source,
            sender=sender[:200],
            occurred_at=envelope.occurred_at,
            received_at=now,
            route_at=now,
            correlation_status=correlation.status,
            correlation_reason=correlation.reason,
            correlation_key=correlation.key,
            correlation_keys=correlation.keys,
            correlation_trace=correlation.trace,
            outcome=EventOutcome.RECEIVED,
            outcome_reason="stored, not routed yet",
        )
        self._check_payload(event)
        return event

    def _check_payload(self, event: Event) -> None:
        entry = self.entries.get(event.event_type)
        ref = entry.payload_schema_ref if entry else ""
        sent = event.payload_schema_ref
        if not ref and not sent:
            return
        seen: dict[str, Any] = {"ref": ref, "sent": sent}
        if ref and sent and ref != sent:
            seen["conflict"] = f"the sender says {sent}, the event catalogue {ref}; the catalogue's was used"
        if ref:
            seen["problems"] = self.checker.problems(event.payload, ref)
        event.decision_trace = {"schema": seen}
        if seen.get("problems"):
            _reject(event, f"the payload does not fit {ref}, the schema of {event.event_type} in the event catalogue")


def _reject(event: Event, reason: str) -> None:
    event.occupies_id = False
    event.outcome, event.outcome_reason = EventOutcome.REJECTED, reason[:500]
    event.routed_at = event.received_at


def result_of(row: Event, first: Event | None) -> Result:
    """`first` is the row that holds the id, when it is not this one."""
    if first is not None:
        return Receipt(first, is_duplicate=True) if first.body_hash == row.body_hash else _conflict(row, first)
    if row.outcome == EventOutcome.REJECTED:
        schema = row.decision_trace["schema"]
        problem = schema["problems"][0]
        return InputInvalid(
            f"{row.outcome_reason}: {problem['pointer'] or '/'}: {problem['message']}"[:1000],
            code="EVENT_PAYLOAD_INVALID",
            details={"problems": schema["problems"], "schemaRef": schema["ref"], "id": str(row.id)},
        )
    return Receipt(row, is_duplicate=False)


def _conflict(row: Event, first: Event) -> Conflict:
    return Conflict(
        f"the event id {row.event_id!r} was used for another body; send a changed event under a new id",
        code="EVENT_ID_CONFLICT",
        details={"eventId": row.event_id, "firstReceivedAt": first.received_at.isoformat(), "id": str(first.id)},
    )


def _keep_conflicts(rows: Any, firsts: dict[str, Event]) -> None:
    """Another body under a stored id is kept for operators, once for each body, however often it is sent."""
    conflicts = {
        (firsts[row.event_id].id, row.body_hash): row for row in rows if firsts[row.event_id].body_hash != row.body_hash
    }
    if not conflicts:
        return
    kept = Event.objects.filter(conflict_of__in={first for first, _ in conflicts}).values_list(
        "conflict_of", "body_hash"
    )
    for key in set(conflicts) & set(kept):
        del conflicts[key]
    for (first_id, _), row in conflicts.items():
        row.conflict_of_id = first_id
        _reject(row, "another body under an event id that was used before")
    if conflicts:
        store_events(list(conflicts.values()))

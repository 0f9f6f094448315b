"""Intake of events: check, correlate and store them, then notify the dispatcher.

All entry points call `events_receive`. An event is stored before it is processed further. It is stored once per tenant
and event id. An error in one value of a call does not affect the other values.

Source: docs/reference/events.md#entry-points, docs/reference/events.md#stored-first-and-once
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

from ingress.intake.admission import require_events_admitted
from ingress.intake.correlation import correlate_event
from ingress.intake.correlation_config import ANY_EVENT
from ingress.intake.envelope import Envelope, read_event_envelope
from ingress.intake.identity import WHOLE_PAYLOAD, IdentityRule, identity_hash
from ingress.intake.schema_check import rejection_error, rejection_reason, schema_check
from workflows.actors import Actor
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import Conflict, InputInvalid, PortalError
from workflows.event_decisions import decision_sentence
from workflows.models import Event, EventKey, EventType
from workflows.models.fields import new_id
from workflows.models.statements import columns_of, database_now, values_of
from workflows.services.payload_check import PayloadChecker
from workflows.statuses import EventOutcome, EventSource, OutcomeCode
from workflows.tenancy import tenant_scope

CHUNK = 500  # maximum number of events in one INSERT statement


@dataclass(frozen=True)
class Receipt:
    """Receipt for an accepted event.

    For a duplicate, `event` is the row that was stored first with this id and body.
    """

    event: Event
    is_duplicate: bool


Result = Receipt | PortalError


def event_receive(*, tenant_id: uuid.UUID, value: Any, source: EventSource, sender: Actor | str = "") -> Receipt:
    """Check, correlate and store one event. Raise the error that `events_receive` returns as a result."""
    (result,) = events_receive(tenant_id=tenant_id, values=[value], source=source, sender=sender)
    if isinstance(result, PortalError):
        raise result
    return result


def events_receive(
    *, tenant_id: uuid.UUID, values: Sequence[Any], source: EventSource, sender: Actor | str = ""
) -> list[Result]:
    """Check, correlate and store events, and notify the dispatcher. Return one result per value, in the same order.

    `sender`: the user or token that sent the events, or the name of a process. A process acts as the system actor.
    Shapes: a value is one of three things: the JSON of an event; an `Envelope` that the entry point has read; or the
    error of an event that the entry point could not read.
    Idempotency: if an event with the same id and body is stored, the result has the stored event.
    Errors: the errors of `require_events_admitted`, and then nothing is stored. Other errors are returned as results,
    and the sender must act. InputInvalid EVENT_INVALID: nothing is stored.
    InputInvalid EVENT_PAYLOAD_INVALID, SCHEMA_UNKNOWN or SCHEMA_MISMATCH: the event is kept as rejected and does not
    occupy its id. Conflict EVENT_ID_CONFLICT: the id belongs to another body; the event is kept as rejected.
    Cost: three statements for up to CHUNK events, and one statement for each further CHUNK. If payloads have a schema,
    the statements of `PayloadChecker` are added. Repeats need one more statement, and conflicts need two more.
    """
    with tenant_scope(tenant_id):
        require_events_admitted(tenant_id=tenant_id, count=len(values), source=source)
        envelopes = [_read(value) for value in values]
        rules = IntakeRules(tenant_id, {item.event_type for item in envelopes if isinstance(item, Envelope)})
        rows = {
            place: event_row(item, rules=rules, source=source, sender=sender)
            for place, item in enumerate(envelopes)
            if isinstance(item, Envelope)
        }
        stored = store_events(_without_rejected_repeats(list(rows.values()), rules))
        repeats = [row for row in rows.values() if row.id not in stored]
        firsts = first_events(tenant_id, {row.event_id for row in repeats})
        _store_conflicts([row for row in repeats if not rules.is_repeat(row, firsts[row.event_id])], firsts)
        if any(row.id in stored and row.occupies_id for row in rows.values()):
            notify_dispatcher_on_commit(tenant_id)
        first_of = {row.id: firsts[row.event_id] for row in repeats}
        return [
            item if isinstance(item, PortalError) else result_of(rows[place], first_of.get(rows[place].id), rules)
            for place, item in enumerate(envelopes)
        ]


def _read(value: Any) -> Envelope | PortalError:
    if isinstance(value, Envelope | PortalError):
        return value
    try:
        return read_event_envelope(value)
    except InputInvalid as error:
        return error


class IntakeRules:
    """Correlation paths and payload schemas that apply to the events of one call.

    They come from the tenant's event catalogue.
    """

    def __init__(self, tenant_id: uuid.UUID, event_types: set[str]) -> None:
        self.tenant_id = tenant_id
        names = {*event_types, ANY_EVENT} if event_types else set()
        entries = EventType.objects.filter(tenant_id=tenant_id, name__in=names, is_active=True) if names else ()
        self.entries = {entry.name: entry for entry in entries}
        self.paths = {name: entry.correlation_paths for name, entry in self.entries.items() if entry.correlation_paths}
        self.checker = PayloadChecker(tenant_id)
        self.accepted_at = database_now()  # the database has one clock for all hosts

    def identity_of(self, event_type: str) -> IdentityRule:
        """Return the catalogue's rule for the identity of events of this type."""
        entry = self.entries.get(event_type)
        return IdentityRule.of(entry.identity_paths, entry.identity_excluded_paths) if entry else WHOLE_PAYLOAD

    def is_repeat(self, row: Event, first: Event) -> bool:
        """Return True if both rows are the same event.

        The catalogue can have changed after `first` was stored. So the identity of `first` is computed again before the
        event is refused.
        """
        if first.body_hash == row.body_hash:
            return True
        if first.event_type != row.event_type:
            return False
        again = identity_hash(
            event_type=first.event_type,
            payload=first.payload,
            correlation_key=first.workflow_correlation_key,
            payload_schema_ref=first.payload_schema_ref,
            rule=self.identity_of(first.event_type),
        )
        return again == row.body_hash


def event_row(envelope: Envelope, *, rules: IntakeRules, source: EventSource, sender: Actor | str) -> Event:
    """Build the row to store. The row is rejected if its payload does not match its schema."""
    correlation = correlate_event(
        event_type=envelope.event_type,
        payload=envelope.payload,
        envelope_key=envelope.workflow_correlation_key or None,
        tenant_paths=rules.paths,
        environment_paths=settings.EVENT_CORRELATION_PATHS,
    )
    now = rules.accepted_at
    event = Event(
        tenant_id=rules.tenant_id,
        event_id=envelope.event_id or f"evt-{new_id()}",
        event_type=envelope.event_type,
        payload=envelope.payload,
        body_hash=envelope.body_hash(rules.identity_of(envelope.event_type)),
        payload_schema_ref=envelope.payload_schema_ref,
        workflow_correlation_key=envelope.workflow_correlation_key,
        attributes=envelope.attributes,
        source=source,
        **_sender_fields(sender),
        occurred_at=envelope.occurred_at,
        received_at=now,
        route_at=now,
        correlation_status=correlation.status,
        correlation_reason=correlation.reason,
        correlation_key=correlation.key,
        correlation_keys=correlation.keys,
        correlation_trace=correlation.trace,
        outcome=EventOutcome.RECEIVED,
        outcome_code=OutcomeCode.NOT_ROUTED,
        outcome_reason=decision_sentence(OutcomeCode.NOT_ROUTED, outcome=EventOutcome.RECEIVED),
    )
    _check_payload(event, rules)
    return event


def _without_rejected_repeats(rows: Sequence[Event], rules: IntakeRules) -> list[Event]:
    """Return the rows without the rejected rows that repeat an accepted event.

    The schema can have become stricter after the event was accepted. A repeat of the event is still a duplicate.
    Cost: one query if a row is rejected.
    """
    rejected = {row.event_id for row in rows if row.outcome == EventOutcome.REJECTED}
    firsts = first_events(rules.tenant_id, rejected)
    return [
        row
        for row in rows
        if row.outcome != EventOutcome.REJECTED
        or row.event_id not in firsts
        or not rules.is_repeat(row, firsts[row.event_id])
    ]


def _sender_fields(sender: Actor | str) -> dict[str, str]:
    """Return the fields for the sender of the event.

    The sender is a user, a token, or the system with the name of a process.
    """
    if isinstance(sender, str):
        return {"sender": sender[:200], "sender_type": "system"}
    return {
        "sender": sender.name[:200],
        "sender_type": sender.kind,
        "sender_id": sender.id,
        "sender_role": str(sender.role),
    }


def _check_payload(event: Event, rules: IntakeRules) -> None:
    entry = rules.entries.get(event.event_type)
    check = schema_check(event, catalogue_ref=entry.payload_schema_ref if entry else "", checker=rules.checker)
    if check is None:
        return
    event.decision_trace = {"schema": check}
    reason = rejection_reason(check, event.event_type)
    if reason is not None:
        _reject(event, OutcomeCode.PAYLOAD_REJECTED, reason)


def _reject(event: Event, code: OutcomeCode, detail: str = "") -> None:
    event.occupies_id = False
    event.outcome, event.outcome_code = EventOutcome.REJECTED, code
    event.outcome_reason = decision_sentence(code, outcome=event.outcome, detail=detail)
    event.routed_at = event.received_at


def result_of(row: Event, first: Event | None, rules: IntakeRules) -> Result:
    """Return the result for a row. `first` is the earlier row with the same event id, if such a row exists."""
    if first is not None:
        return Receipt(first, is_duplicate=True) if rules.is_repeat(row, first) else _conflict(row, first)
    if row.outcome == EventOutcome.REJECTED:
        return rejection_error(row.decision_trace["schema"], tenant_id=rules.tenant_id, row_id=row.id)
    return Receipt(row, is_duplicate=False)


def _conflict(row: Event, first: Event) -> Conflict:
    return Conflict(
        f"The event id {row.event_id!r} belongs to an event with another body. Send the changed event with a new id.",
        code="EVENT_ID_CONFLICT",
        details={"eventId": row.event_id, "firstReceivedAt": first.received_at.isoformat(), "id": str(first.id)},
    )


# -- Storing ----------------------------------------------------------------------------------------------------------


def store_events(events: Sequence[Event]) -> set[uuid.UUID]:
    """Insert events with their correlation keys. Return the ids of the inserted rows.

    If the tenant has a row with the same event id, the new row is not inserted. If two senders use the same id at the
    same time, the database decides which row is first. The same is true for two events of one call. The first row keeps
    the id.

    Idempotency: a repeated call inserts the missing rows. After an error, some of the CHUNKs may be stored.
    Cost: one statement per CHUNK.
    """
    stored: set[uuid.UUID] = set()
    # A fixed order prevents deadlocks between two batches with the same events. Events with the same id keep their
    # order.
    events = sorted(events, key=lambda event: event.event_id)
    for start in range(0, len(events), CHUNK):
        stored |= _insert_events(events[start : start + CHUNK])
    return stored


def first_events(tenant_id: uuid.UUID, event_ids: Collection[str]) -> dict[str, Event]:
    """Return the stored rows with these event ids, by event id. Rejected rows do not count."""
    rows = Event.objects.filter(tenant_id=tenant_id, event_id__in=event_ids, occupies_id=True) if event_ids else ()
    return {row.event_id: row for row in rows}


def _insert_events(events: Sequence[Event]) -> set[uuid.UUID]:
    """Insert events and their keys in one statement.

    Without a transaction, the statement stores all of them or nothing.
    """
    marks, values = values_of(events, adding=True)
    statement = (
        f"WITH stored AS (INSERT INTO {Event._meta.db_table} ({columns_of(Event)}) VALUES {marks} "  # noqa: S608
        "ON CONFLICT (tenant_id, event_id) WHERE occupies_id DO NOTHING RETURNING id)"
    )
    keys = [key for event in events for key in _keys(event)]
    if keys:
        key_marks, key_values = values_of(keys, adding=True)
        statement += (
            f", keys AS (INSERT INTO {EventKey._meta.db_table} ({columns_of(EventKey)}) "  # noqa: S608
            f"SELECT key.* FROM (VALUES {key_marks}) AS key ({columns_of(EventKey)}) "
            "JOIN stored ON stored.id = key.event_id)"
        )
        values += key_values
    with connection.cursor() as cursor:
        cursor.execute(statement + " SELECT id FROM stored", values)  # noqa: S608
        return {row[0] for row in cursor.fetchall()}


def _keys(event: Event) -> list[EventKey]:
    if not event.occupies_id:
        return []  # a rejected event has no keys, so no wait finds it
    return [
        EventKey(
            tenant_id=event.tenant_id,
            event_id=event.id,
            event_type=event.event_type,
            key=key,
            position=position,
            received_at=event.received_at,
        )
        for position, key in enumerate(event.correlation_keys)
    ]


def _store_conflicts(rows: Sequence[Event], firsts: dict[str, Event]) -> None:
    """If an event id is used already and the body differs, store the event as rejected. Each body is stored once."""
    conflicts = {(firsts[row.event_id].id, row.body_hash): row for row in rows}
    if not conflicts:
        return
    kept = Event.objects.filter(conflict_of__in={first for first, _ in conflicts}).values_list(
        "conflict_of", "body_hash"
    )
    for key in set(conflicts) & set(kept):
        del conflicts[key]
    for (first_id, _), row in conflicts.items():
        row.conflict_of_id = first_id
        _reject(row, OutcomeCode.ID_CONFLICT)
    if conflicts:
        store_events(list(conflicts.values()))

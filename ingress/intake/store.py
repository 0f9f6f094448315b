"""Events into their table, with their keys, in one statement for each CHUNK of them (docs/reference/events.md#stored-first-and-once).

An event and its keys are in one statement, so that they are there together or not at all without a transaction's round
trips. Two senders of one id, or the same id twice in one batch, are settled by the database: the first row holds the id.
"""

import uuid
from collections.abc import Collection, Sequence

from django.db import connection

from workflows.models import Event, EventKey
from workflows.models.statements import columns_of, values_of

CHUNK = 500


def store_events(events: Sequence[Event]) -> set[uuid.UUID]:
    """The ids of the rows that were stored; the others met a row of the same tenant and event id.

    More than CHUNK of them are not stored all at once: after a fault a part may be there, and a repeat of all is harmless.
    """
    stored: set[uuid.UUID] = set()
    # In one order, so that two batches of the same events never wait for each other; the first of one id stays the first.
    events = sorted(events, key=lambda event: event.event_id)
    for start in range(0, len(events), CHUNK):
        stored |= _store(events[start : start + CHUNK])
    return stored


def first_events(tenant_id: uuid.UUID, event_ids: Collection[str]) -> dict[str, Event]:
    """The rows that hold these event ids."""
    rows = Event.objects.filter(tenant_id=tenant_id, event_id__in=event_ids, occupies_id=True) if event_ids else ()
    return {row.event_id: row for row in rows}


def _store(events: Sequence[Event]) -> set[uuid.UUID]:
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
        return []  # a rejected event is found by no wait
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

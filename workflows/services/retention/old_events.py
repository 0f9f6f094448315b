"""Deletion of old events with their keys, deliveries and occurrences, in batches (docs/reference/retention.md#events).

An event is kept while a run, a wait or a delivery refers to it. So the page of a run always has its events.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from workflows.statuses import DeliveryStatus, EventOutcome

Position = tuple[datetime, uuid.UUID]


@dataclass
class EventBatch:
    """Result of one batch, as `RunBatch` of runs."""

    position: Position | None
    deleted: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)


_CANDIDATES = """
SELECT id, received_at FROM workflow_runtime_events
WHERE tenant_id = %(tenant)s AND received_at <= %(at)s AND (received_at, id) < (%(at)s, %(id)s)
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""
_LOCK = "SELECT id FROM workflow_runtime_events WHERE tenant_id = %(tenant)s AND id = ANY(%(events)s)"
# Reasons to keep an event. No EXISTS is below OR or CASE, because PostgreSQL can then read a whole table.
_REFERENCE = "EXISTS (SELECT FROM {table} WHERE tenant_id = event.tenant_id AND {column} = event.id AND {condition})"
_REASONS = [
    ("locked by another process", "NOT event.id = ANY(%(locked)s)"),
    (
        "not routed yet",
        "(event.routed_at IS NULL AND event.outcome = ANY(%(unrouted)s) OR event.buffered_until > now())",
    ),
    *(
        (reason, _REFERENCE.format(table=table, column=column, condition=condition))
        for reason, table, column, condition in (
            (
                "delivery to a run that is kept",
                "workflow_event_deliveries",
                "event_id",
                "(run_id IS NOT NULL OR wait_id IS NOT NULL OR status = ANY(%(undecided)s))",
            ),
            ("run that is kept", "workflow_runs", "event_id", "true"),
            ("run that is kept", "workflow_run_waits", "event_id", "true"),
            ("conflict that is kept", "workflow_runtime_events", "conflict_of_id", "NOT id = ANY(%(locked)s)"),
        )
    ),
]
_KEPT = " UNION ALL ".join(
    f"SELECT event.id, '{reason}' FROM workflow_runtime_events event"  # noqa: S608
    f" WHERE event.tenant_id = %(tenant)s AND event.id = ANY(%(events)s) AND {condition}"
    for reason, condition in _REASONS
)
_CONFLICTS = """
SELECT conflict_of_id, id FROM workflow_runtime_events
WHERE tenant_id = %(tenant)s AND conflict_of_id = ANY(%(events)s) AND id = ANY(%(locked)s)
"""
_TABLES = (
    ("workflow_schedule_occurrences", "event_id"),
    ("workflow_event_deliveries", "event_id"),
    ("workflow_event_keys", "event_id"),
    ("workflow_runtime_events", "id"),
)


def prune_events(
    *, tenant_id: uuid.UUID, before: datetime, after: Position | None, limit: int, is_dry: bool = False
) -> EventBatch:
    """Delete the next events that were received before a time, at most `limit`, in one transaction.

    The parameters and the idempotency are those of `prune_runs`.
    """
    at, last = after or (before, uuid.UUID(int=2**128 - 1))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, {"tenant": tenant_id, "at": at, "id": last, "limit": limit})
        candidates = cursor.fetchall()
        if not candidates:
            return EventBatch(None)
        values: dict[str, Any] = {"tenant": tenant_id, "events": [row[0] for row in candidates]}
        cursor.execute(f"{_LOCK} FOR UPDATE SKIP LOCKED", values)
        values["locked"] = [row[0] for row in cursor.fetchall()]
        batch = EventBatch((candidates[-1][1], candidates[-1][0]) if len(candidates) == limit else None)
        kept = _kept(cursor, values)
        batch.kept.update(kept.values())
        doomed = [row[0] for row in candidates if row[0] not in kept]
        if is_dry:
            batch.deleted["workflow_runtime_events"] = len(doomed)
        elif doomed:
            for table, column in _TABLES:
                delete = f"DELETE FROM {table} WHERE tenant_id = %s AND {column} = ANY(%s)"  # noqa: S608
                cursor.execute(delete, [tenant_id, doomed])
                if cursor.rowcount:
                    batch.deleted[table] += cursor.rowcount
        return batch


def _kept(cursor: Any, values: dict[str, Any]) -> dict[uuid.UUID, str]:
    unrouted = [EventOutcome.RECEIVED.value, EventOutcome.ROUTING.value, EventOutcome.BUFFERED.value]
    undecided = [DeliveryStatus.PENDING.value, DeliveryStatus.SENT.value]
    cursor.execute(_KEPT, {**values, "unrouted": unrouted, "undecided": undecided})
    kept: dict[uuid.UUID, str] = dict(cursor.fetchall())
    cursor.execute(_CONFLICTS, values)
    conflicts: list[tuple[uuid.UUID, uuid.UUID]] = cursor.fetchall()
    while more := {first for first, second in conflicts if second in kept} - kept.keys():
        kept.update(dict.fromkeys(more, "conflict that is kept"))
    return kept

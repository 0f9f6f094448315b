"""Relay of the outbox. Django apps write rows with `publish_event`, and the relay stores these rows as events.

- One transaction stores the event and deletes the row. If the relay is killed, either the row or the event exists.
- Rows are locked while they are relayed. Any number of relays may run at the same time.
- A row that can never become an event is kept with the reason. It does not stop other rows.

Source: docs/reference/events.md#entry-points
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.db import transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from ingress.intake.admission import TenantOverLimit
from ingress.intake.receive import events_receive
from workflows.backoff import backoff_seconds
from workflows.database_errors import is_data_error
from workflows.errors import Conflict, PortalError
from workflows.models import OutboxEvent
from workflows.statuses import EventSource

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 2
LONGEST_PAUSE_SECONDS = 300


@dataclass(frozen=True)
class OutboxCounts:
    """Numbers of outbox rows.

    `failing` counts the waiting rows whose last attempt failed. `oldest_at` is the time of the oldest waiting row.
    """

    waiting: int
    failing: int
    refused: int
    oldest_at: datetime | None


def outbox_counts(*, tenant_id: uuid.UUID) -> OutboxCounts:
    waits = Q(refused_at__isnull=True)
    return OutboxCounts(
        **OutboxEvent.objects.filter(tenant_id=tenant_id).aggregate(
            waiting=Count("id", filter=waits),
            failing=Count("id", filter=waits & Q(attempts__gt=0)),
            refused=Count("id", filter=Q(refused_at__isnull=False)),
            oldest_at=Min("created_at", filter=waits),
        )
    )


def outbox_relay_events(*, tenant_id: uuid.UUID, limit: int = 100) -> int:
    """Relay the due rows of a tenant that no other relay has locked.

    Return the number of relayed and refused rows.

    Errors: database errors during an outage; then nothing has changed.
    Cost: four statements for a batch without errors, and the statements of `events_receive` for each sender in the
    batch.
    """
    row_ids: list[uuid.UUID] = []
    try:
        with transaction.atomic():
            rows = list(_due(tenant_id)[:limit])
            row_ids = [row.id for row in rows]
            return _relay(rows)
    except Exception as error:
        if not row_ids:
            raise
        logger.warning("a batch of %d outbox rows failed (%r); each row is tried by itself", len(row_ids), error)
    return sum(_relay_one(tenant_id, row_id) for row_id in row_ids)


def _due(tenant_id: uuid.UUID) -> QuerySet[OutboxEvent]:
    due = OutboxEvent.objects.filter(tenant_id=tenant_id, refused_at__isnull=True, next_attempt_at__lte=timezone.now())
    return due.select_for_update(skip_locked=True).order_by("next_attempt_at", "id")


def _relay(rows: Sequence[OutboxEvent]) -> int:
    """Receive the events of these rows of one tenant, and delete or refuse the rows. Call it inside a transaction."""
    taken: list[uuid.UUID] = []
    by_sender = attrgetter("sender")
    for sender, group in groupby(
        sorted(rows, key=by_sender), key=by_sender
    ):  # sorted() is stable: it keeps each sender's order
        of_sender = list(group)
        values = [row.envelope for row in of_sender]
        tenant_id = of_sender[0].tenant_id
        results = events_receive(tenant_id=tenant_id, values=values, source=EventSource.OUTBOX, sender=sender)
        for row, result in zip(of_sender, results, strict=True):
            if isinstance(result, PortalError):
                _refuse(row.id, f"{result.code}: {result.message}")
            else:
                taken.append(row.id)
    OutboxEvent.objects.filter(id__in=taken).delete()
    return len(rows)


def _relay_one(tenant_id: uuid.UUID, row_id: uuid.UUID) -> int:
    try:
        with transaction.atomic():
            return _relay(list(_due(tenant_id).filter(id=row_id)))
    except TenantOverLimit as error:
        _postpone(row_id, error, seconds=error.retry_after)
        return 0
    except Conflict as error:  # the tenant is closed, and a superuser can open it
        logger.warning("outbox row %s waits: %s", row_id, error.message)
        _postpone(row_id, error, seconds=LONGEST_PAUSE_SECONDS)
        return 0
    except Exception as error:
        if is_data_error(error):  # every retry would fail in the same way
            _refuse(row_id, f"EVENT_INVALID: PostgreSQL refuses to store the event: {error}")
            return 1
        logger.exception("outbox row %s failed", row_id)
        _postpone(row_id, error)  # fails if the database is unavailable
        return 0


def _refuse(row_id: uuid.UUID, reason: str) -> None:
    logger.warning("outbox row %s is refused: %s", row_id, reason)
    OutboxEvent.objects.filter(id=row_id).update(
        refused_at=timezone.now(), reason=reason[:500], attempts=F("attempts") + 1
    )


def _postpone(row_id: uuid.UUID, error: Exception, *, seconds: float | None = None) -> None:
    with transaction.atomic():
        row = OutboxEvent.objects.select_for_update().filter(id=row_id, refused_at__isnull=True).first()
        if row is None:
            return  # another relay has relayed or refused the row
        row.attempts += 1
        pause = seconds or backoff_seconds(row.attempts, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        row.next_attempt_at = timezone.now() + timedelta(seconds=pause)
        row.reason = f"attempt {row.attempts}: {type(error).__name__}: {error}"[:500]
        row.save(update_fields=["attempts", "next_attempt_at", "reason"])

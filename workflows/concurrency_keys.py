"""Concurrency keys: at most one open run of a definition for each key, and the queue of the starts behind this run.

A queued start is the row of a run with the status STARTING and a time in `queued_until`, at which the portal checks the
queue again. Its workflow was not started. A queued start uses no slot under a concurrency limit.

The rule: the queue of a key is in the order of acceptance. The first start of the queue is released when no other run
with the key is open. Starts and releases hold the lock of the definition's row, so two of them never take one key.

When a run ends, it wakes the first start of its queue after its commit. A start that is queued checks the queue once
after its own commit. So the transaction that commits last finds that the key is free.

Source: docs/reference/events.md#concurrency-keys
"""

import uuid
from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher
from workflows.errors import Conflict
from workflows.models import Definition, EventDelivery, Run
from workflows.projections.launches import record_queue_checks, record_queued_end
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryKind, DeliveryStatus, RunStatus

WOKEN_AT_ONCE = 20


def definition_locked(definition_id: uuid.UUID) -> Definition:
    """Return the definition with its row locked until the transaction ends. It may be paused, archived or deleted."""
    return Definition._base_manager.select_for_update(no_key=True).get(id=definition_id)


def require_present(definition: Definition) -> None:
    """Refuse a new run of a definition that was deleted or archived since its row was read.

    Call this function in the transaction that inserts the run, after the other locks of the row. The shared lock makes
    a deletion wait for this transaction, and the deletion then finds the open run.

    Errors: Conflict DEFINITION_ARCHIVED.
    """
    statement = f"SELECT archived_at FROM {Definition._meta.db_table} WHERE id = %s FOR SHARE"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [definition.id])
        (archived_at,) = cursor.fetchone()
    if archived_at is not None:  # a deleted definition is archived too
        raise Conflict(
            f"{definition.key} is archived or deleted and starts no more runs; start another definition",
            code="DEFINITION_ARCHIVED",
        )


def holder_of(run: Run) -> Run | None:
    """Return the run that must end before this start may take its key, or None.

    This is the oldest open run with the key. If no run with the key is open, it is the start that is before this start
    in the queue.
    """
    others = Run.objects.filter(
        tenant_id=run.tenant_id,
        definition_id=run.definition_id,
        concurrency_key=run.concurrency_key,
        status__in=OPEN_RUN_STATUSES,
    ).exclude(id=run.id)
    open_run = others.filter(queued_until__isnull=True).order_by("created_at", "id").first()
    if open_run is not None:
        return open_run
    accepted = _accepted_at(run)
    earlier = Q(accepted_at__lt=accepted) | Q(accepted_at=accepted, id__lt=run.id)
    return _in_order(others.filter(queued_until__isnull=False)).filter(earlier).first()


def has_earlier_delivery(run: Run) -> bool:
    """Return True if an event with this key was accepted before this start, and its delivery is still pending."""
    launched = Run.objects.filter(tenant_id=run.tenant_id, definition_id=run.definition_id, event=OuterRef("event"))
    pending = EventDelivery.objects.filter(
        ~Exists(launched),
        tenant_id=run.tenant_id,
        definition_id=run.definition_id,
        kind=DeliveryKind.TRIGGER,
        status=DeliveryStatus.PENDING,
        concurrency_key=run.concurrency_key,
        event__received_at__lt=_accepted_at(run),
    )
    return pending.exclude(event_id=run.event_id).exists() if run.event_id else pending.exists()


def queued_due() -> QuerySet[Run]:
    """Return the queued starts whose queue must be checked now."""
    due = Run.objects.filter(status=RunStatus.STARTING, queued_until__lte=timezone.now())
    return due.order_by("queued_until", "id")


def queued_starts_wake(*, tenant_id: uuid.UUID, definition_id: uuid.UUID, key: str = "") -> None:
    """Make the first start in the queue of this key due. Without a key, make the oldest queued starts due.

    Call it after the commit that may have freed the key, or a slot under a concurrency limit.
    """
    queued = Run.objects.filter(
        tenant_id=tenant_id, definition_id=definition_id, status=RunStatus.STARTING, queued_until__isnull=False
    )
    queued = queued.filter(concurrency_key=key) if key else queued
    ids = list(_in_order(queued).values_list("id", flat=True)[: 1 if key else WOKEN_AT_ONCE])
    if ids:
        record_queue_checks(tenant_id=tenant_id, run_ids=ids, at=timezone.now())
        notify_dispatcher(tenant_id)


def queued_start_end(run: Run, status: RunStatus) -> bool:
    """Close a queued start, which has no workflow in Temporal. Return False if the start is not queued."""
    if run.queued_until is None or not record_queued_end(tenant_id=run.tenant_id, run_id=run.id, status=status):
        return False
    queued_starts_wake(tenant_id=run.tenant_id, definition_id=run.definition_id, key=run.concurrency_key)
    return True


def _in_order(runs: QuerySet[Run]) -> QuerySet[Run]:
    accepted_at = Coalesce("event__received_at", "created_at", output_field=DateTimeField())
    return runs.annotate(accepted_at=accepted_at).order_by("accepted_at", "id")


def _accepted_at(run: Run) -> datetime:
    return run.event.received_at if run.event else run.created_at

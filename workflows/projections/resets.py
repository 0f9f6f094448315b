"""Projections after a reset: rows that the reset has undone are removed, closed or reopened.

A reset continues from an earlier point of the history. It has a new run id, and its sequence numbers continue from that
point. So if a row of the earlier epoch has a number after this point, the row describes something that the reset has
undone.

Call these functions under the lock of the run's row, inside a projection transaction.

Source: docs/reference/engine.md#event-waits
"""

import uuid
from datetime import datetime

from django.db.models import F

from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projections.ends import ENDED_BY_TEMPORAL, SEQ_OF_END
from workflows.statuses import DeliveryStatus, StepStatus, TaskStatus, WaitStatus

UNDONE = "the run was reset to a point before this event was taken"
DECIDED = (DeliveryStatus.MATCHED, DeliveryStatus.FILTERED, DeliveryStatus.SENT)


def record_reset(run: Run, *, epoch: str, first_seq: int, now: datetime) -> None:
    """Restore the rows to their state at the reset point. `first_seq` is the first sequence number after this point.

    Steps after the reset point are deleted. Waits and tasks get the state that they had at this point. Events that the
    run consumed after it can be consumed again:

    - The wait was opened after the reset point: the delivery becomes `late`, so that the next wait finds the event.
    - The wait is still open: the delivery is sent again, because a reset can drop signals that the run had not read.
    """
    _lock_events(run)
    if run.projection_seq == SEQ_OF_END:
        _undo_end(run, epoch=epoch, first_seq=first_seq, now=now)
    past = {"tenant_id": run.tenant_id, "run": run, "projection_seq__gte": first_seq}
    RunStep.objects.filter(**past).exclude(projection_epoch=epoch).delete()
    changed_since = RunWait.objects.filter(**past).exclude(projection_epoch=epoch)
    opened_since = [wait.id for wait in changed_since if wait.opened_seq >= first_seq]
    _take_back_events(run, [wait.id for wait in changed_since], now=now)
    _reopen(run, [wait for wait in changed_since if wait.opened_seq < first_seq], epoch=epoch, now=now)
    record_waits_undone(run, opened_since, epoch=epoch, now=now)
    if first_seq <= run.projection_seq:
        _send_again(run, now=now)


def _lock_events(run: Run) -> None:
    """Lock every event that this batch may change, in the order of their ids. All writers of outcomes use this order.

    The reset releases some of these events, and the verdicts of the same batch decide about others. Locking these two
    groups one after the other could cause a deadlock.
    """
    known = EventDelivery.objects.filter(tenant_id=run.tenant_id, run=run, wait__isnull=False)
    events = Event.objects.filter(tenant_id=run.tenant_id, id__in=known.values("event_id"))
    list(events.select_for_update(no_key=True).order_by("id").values_list("id", flat=True))


def record_waits_undone(run: Run, wait_ids: list[uuid.UUID], *, epoch: str, now: datetime) -> None:
    """Cancel waits that were opened after the reset point. The rows stay, because deliveries refer to them."""
    RunWait.objects.filter(id__in=wait_ids).update(
        status=WaitStatus.CANCELED,
        event=None,
        resolved_at=F("opened_at"),
        projection_epoch=epoch,
        projection_seq=0,
        projected_at=now,
    )
    HumanTask.objects.filter(tenant_id=run.tenant_id, wait_id__in=wait_ids).update(
        status=TaskStatus.CANCELED, response=None, completed_at=None, completed_by_name=""
    )


def _undo_end(run: Run, *, epoch: str, first_seq: int, now: datetime) -> None:
    """Reopen rows that were opened before the reset point and closed because Temporal ended the run."""
    closed = {"tenant_id": run.tenant_id, "run": run, "projection_seq__lt": first_seq}
    steps = RunStep.objects.filter(**closed, status=StepStatus.CANCELED, ended_at=run.ended_at)
    steps.update(status=StepStatus.STARTED, ended_at=None, projected_at=now)
    waits = RunWait.objects.filter(**closed, status=WaitStatus.CANCELED, resolved_at=run.ended_at)
    _reopen(run, list(waits), epoch=epoch, now=now)


def _reopen(run: Run, waits: list[RunWait], *, epoch: str, now: datetime) -> None:
    """Reopen waits that were opened before the reset point and closed after it.

    After the reset, the run is in these waits.
    """
    ids = [wait.id for wait in waits]
    RunWait.objects.filter(id__in=ids).update(
        status=WaitStatus.WAITING,
        event=None,
        resolved_at=None,
        projection_epoch=epoch,
        projection_seq=0,
        projected_at=now,
    )
    HumanTask.objects.filter(tenant_id=run.tenant_id, wait_id__in=ids).update(
        status=TaskStatus.PENDING, response=None, completed_at=None, completed_by_name=""
    )
    missed = EventDelivery.objects.filter(
        tenant_id=run.tenant_id, wait_id__in=ids, status=DeliveryStatus.LATE, reason__in=[UNDONE, ENDED_BY_TEMPORAL]
    )
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=missed.values("event_id"))
    with deliveries_changing(touched) as events:
        missed.update(status=DeliveryStatus.PENDING, reason="", decided_at=None, next_attempt_at=now)
    if events:
        notify_dispatcher_on_commit(run.tenant_id)


def _send_again(run: Run, *, now: datetime) -> None:
    sent = EventDelivery.objects.filter(
        tenant_id=run.tenant_id, run=run, wait__status=WaitStatus.WAITING, status=DeliveryStatus.SENT
    )
    if sent.update(status=DeliveryStatus.PENDING, next_attempt_at=now):  # both count as "in progress" for the event
        notify_dispatcher_on_commit(run.tenant_id)


def _take_back_events(run: Run, waits: list[uuid.UUID], *, now: datetime) -> None:
    undone = EventDelivery.objects.filter(tenant_id=run.tenant_id, wait_id__in=waits, status__in=DECIDED)
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=undone.values("event_id"))
    with deliveries_changing(touched):
        undone.update(status=DeliveryStatus.LATE, reason=UNDONE, mismatch=None, decided_at=now)

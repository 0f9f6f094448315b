"""What a reset has undone, taken out of the projections (docs/reference/engine.md#event-waits, docs/reference/engine.md#cost).

A reset goes on from an earlier point of the history under a new run id, with the sequence numbers from that point on. So
rows of the epoch before with such numbers tell of what has not happened any more. Called under the lock of the run's row,
by the writer of projections only.
"""

import uuid
from datetime import datetime

from django.db.models import F

from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projections.ends import REASON, SEQ_OF_END
from workflows.statuses import DeliveryStatus, StepStatus, TaskStatus, WaitStatus

UNDONE = "the run was reset to a point before this event was taken"
DECIDED = (DeliveryStatus.MATCHED, DeliveryStatus.FILTERED, DeliveryStatus.SENT)


def cut_off(run: Run, *, epoch: str, first_seq: int, now: datetime) -> None:
    """Steps go, waits and tasks are as at the point of the reset, events are no longer consumed.

    A delivery that is undone becomes `late`, so that the look of the wait that opens next finds its event again; that of
    a wait which is open still is sent again.
    """
    _lock_events(run)
    if run.projection_seq == SEQ_OF_END:
        _undo_end(run, epoch=epoch, first_seq=first_seq, now=now)
    past = {"tenant_id": run.tenant_id, "run": run, "projection_seq__gte": first_seq}
    RunStep.objects.filter(**past).exclude(projection_epoch=epoch).delete()
    cut = RunWait.objects.filter(**past).exclude(projection_epoch=epoch)
    waits = [wait.id for wait in cut if wait.opened_seq >= first_seq]
    _take_back_events(run, [wait.id for wait in cut], now=now)
    _open_again(run, [wait for wait in cut if wait.opened_seq < first_seq], epoch=epoch, now=now)
    close_cut_off(run, waits, epoch=epoch, now=now)


def _lock_events(run: Run) -> None:
    """All that this batch may come to change, in the one order in which events are locked: it takes some of them back, and
    its verdicts decide on others."""
    known = EventDelivery.objects.filter(tenant_id=run.tenant_id, run=run, wait__isnull=False)
    events = Event.objects.filter(tenant_id=run.tenant_id, id__in=known.values("event_id"))
    list(events.select_for_update(no_key=True).order_by("id").values_list("id", flat=True))


def close_cut_off(run: Run, wait_ids: list[uuid.UUID], *, epoch: str, now: datetime) -> None:
    """Waits that were opened after the point of the reset: they have not happened, and stand for their deliveries' sake."""
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
    """What was closed with a workflow that Temporal had ended, and that the reset goes on with."""
    closed = {"tenant_id": run.tenant_id, "run": run, "projection_seq__lt": first_seq}
    steps = RunStep.objects.filter(**closed, status=StepStatus.CANCELED, ended_at=run.ended_at)
    steps.update(status=StepStatus.STARTED, ended_at=None, projected_at=now)
    waits = RunWait.objects.filter(**closed, status=WaitStatus.CANCELED, resolved_at=run.ended_at)
    _open_again(run, list(waits), epoch=epoch, now=now)


def _open_again(run: Run, waits: list[RunWait], *, epoch: str, now: datetime) -> None:
    """Waits that were opened before the point of the reset, and ended after it: the new course waits for them still."""
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
        tenant_id=run.tenant_id, wait_id__in=ids, status=DeliveryStatus.LATE, reason__in=[UNDONE, REASON]
    )
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=missed.values("event_id"))
    with deliveries_changing(touched) as events:
        missed.update(status=DeliveryStatus.PENDING, reason="", decided_at=None, next_attempt_at=now)
    if events:
        notify_dispatcher_on_commit(run.tenant_id)


def _take_back_events(run: Run, waits: list[uuid.UUID], *, now: datetime) -> None:
    undone = EventDelivery.objects.filter(tenant_id=run.tenant_id, wait_id__in=waits, status__in=DECIDED)
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=undone.values("event_id"))
    with deliveries_changing(touched):
        undone.update(status=DeliveryStatus.LATE, reason=UNDONE, decided_at=now)

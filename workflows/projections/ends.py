"""The end of a run that its workflow could not record itself: Temporal terminated it, timed it out, or failed it (docs/reference/authority.md#age-and-repair-of-projections).

What the run had open is closed with it. Called under the lock of the run's row, by a writer of projections only.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from workflows.event_outcomes import deliveries_changing
from workflows.ledger import commands_observe_end, commands_observe_start
from workflows.models import Event, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projections.verdicts import wake_held
from workflows.statuses import RUN_STATUS_OF_TEMPORAL, DeliveryStatus, RunStatus, StepStatus, TaskStatus, WaitStatus

REASON = "the run was ended by Temporal before it could take this event"
# The number of the end: behind every record of the run's own, so that a late one does not open it again. JSON keeps it exactly.
SEQ_OF_END = 2**53 - 1


@dataclass(frozen=True)
class RunEnd:
    """As Temporal says it: `status` is Temporal's word, `epoch` the execution that ended."""

    epoch: str
    status: str
    at: datetime
    error: dict[str, Any] | None = None


def close_run(run: Run, end: RunEnd, *, now: datetime) -> None:
    """Rows that are open get the end of the workflow; what a record of the run's own has closed stays as it was told."""
    closed = {"projected_at": now}
    of_run = {"tenant_id": run.tenant_id, "run": run}
    steps = RunStep.objects.filter(**of_run, status=StepStatus.STARTED)
    steps.update(status=StepStatus.CANCELED, ended_at=end.at, next_attempt_at=None, **closed)
    waits = RunWait.objects.filter(**of_run, status=WaitStatus.WAITING)
    waits.update(status=WaitStatus.CANCELED, resolved_at=end.at, **closed)
    open_tasks = [TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETING]
    HumanTask.objects.filter(**of_run, status__in=open_tasks).update(status=TaskStatus.CANCELED, completing_at=None)
    _end_deliveries(run, now)
    if run.status == RunStatus.STARTING:
        commands_observe_start(run)  # it has begun, though it never came to record anything
    run.status, run.ended_at, run.error = RUN_STATUS_OF_TEMPORAL[end.status], end.at, end.error
    run.error_category = end.error["category"] if end.error else ""
    run.error_code = end.error.get("code", "") if end.error else ""
    run.projection_epoch, run.projection_seq, run.projected_at = end.epoch, SEQ_OF_END, now
    run.save(update_fields=_FIELDS)
    wake_held(run)
    commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)


def _end_deliveries(run: Run, now: datetime) -> None:
    """Events on their way to the run, and those that it took without a verdict: nothing takes them any more."""
    under_way = EventDelivery.objects.filter(
        Q(status=DeliveryStatus.PENDING) | Q(status=DeliveryStatus.SENT), tenant_id=run.tenant_id, wait__run=run
    )
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=under_way.values("event_id"))
    with deliveries_changing(touched):
        under_way.update(
            status=DeliveryStatus.LATE,
            reason=REASON,
            decided_at=now,
            held_since=None,
        )


_FIELDS = [
    "projection_epoch", "projection_seq", "projected_at", "status", "ended_at", "error", "error_category", "error_code",
]  # fmt: skip

"""The end of a run that its workflow could not record, because Temporal terminated it, timed it out or failed it.

Call these functions under the lock of the run's row, inside a projection transaction.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q

from workflows.concurrency import held_starts_wake
from workflows.concurrency_keys import queued_starts_wake
from workflows.event_outcomes import deliveries_changing
from workflows.ledger import commands_observe_end, commands_observe_start
from workflows.models import Event, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projections.run_logs import record_end_log
from workflows.statuses import RUN_STATUS_OF_TEMPORAL, DeliveryStatus, RunStatus, StepStatus, TaskStatus, WaitStatus
from workflows.tenant_starts import starts_at_limit_wake

ENDED_BY_TEMPORAL = "the run was ended by Temporal before it could take this event"
# Sequence number for an end that only Temporal reports. It is higher than every number of the run's own records, so
# that a late record does not reopen the run. JSON can represent the number exactly.
SEQ_OF_END = 2**53 - 1


@dataclass(frozen=True)
class RunEnd:
    """End of a run as Temporal reports it. `status` is Temporal's term. `epoch` is the execution that ended."""

    epoch: str
    status: str
    at: datetime
    error: dict[str, Any] | None = None


def record_run_closed(run: Run, end: RunEnd, *, now: datetime) -> None:
    """Close the run and all of its open rows. Rows that the run's own records have closed stay unchanged."""
    of_run = {"tenant_id": run.tenant_id, "run": run}
    steps = RunStep.objects.filter(**of_run, status=StepStatus.STARTED)
    steps.update(status=StepStatus.CANCELED, ended_at=end.at, next_attempt_at=None, projected_at=now)
    waits = RunWait.objects.filter(**of_run, status=WaitStatus.WAITING)
    waits.update(status=WaitStatus.CANCELED, resolved_at=end.at, projected_at=now)
    open_tasks = [TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETING]
    HumanTask.objects.filter(**of_run, status__in=open_tasks).update(status=TaskStatus.CANCELED, completing_at=None)
    _end_deliveries(run, now)
    if run.status == RunStatus.STARTING:
        commands_observe_start(run)  # the run was started, although it ended before its first record
    run.status, run.ended_at, run.error = RUN_STATUS_OF_TEMPORAL[end.status], end.at, end.error
    run.error_category = end.error["category"] if end.error else ""
    run.error_code = end.error.get("code", "") if end.error else ""
    run.projection_epoch, run.projection_seq, run.projected_at = end.epoch, SEQ_OF_END, now
    clear_stuck(run)
    run.save(update_fields=_FIELDS)
    record_end_log(run, epoch=end.epoch, seq=SEQ_OF_END, at=end.at, status=run.status, error=end.error)
    wake_held_starts_on_commit(run)
    commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)


def clear_stuck(run: Run) -> None:
    """Remove the mark of a stuck run from the row object. The caller saves the row."""
    run.stuck_since, run.stuck_attempts, run.stuck_cause = None, 0, ""


def _end_deliveries(run: Run, now: datetime) -> None:
    """Mark events as late that were on their way to the run, or that the run took without a verdict."""
    under_way = EventDelivery.objects.filter(
        Q(status=DeliveryStatus.PENDING) | Q(status=DeliveryStatus.SENT), tenant_id=run.tenant_id, wait__run=run
    )
    touched = Event.objects.filter(tenant_id=run.tenant_id, id__in=under_way.values("event_id"))
    with deliveries_changing(touched):
        under_way.update(
            status=DeliveryStatus.LATE,
            reason=ENDED_BY_TEMPORAL,
            decided_at=now,
            held_since=None,
        )


def wake_held_starts_on_commit(run: Run) -> None:
    """After the commit, make held starts due. They can use the slot or the concurrency key that this run has freed."""
    of_definition = {"tenant_id": run.tenant_id, "definition_id": run.definition_id}
    transaction.on_commit(partial(held_starts_wake, **of_definition))
    transaction.on_commit(partial(starts_at_limit_wake, run.tenant_id))
    if run.concurrency_key:
        transaction.on_commit(partial(queued_starts_wake, **of_definition, key=run.concurrency_key))


STUCK_FIELDS = ("stuck_since", "stuck_attempts", "stuck_cause")
_FIELDS = [
    *STUCK_FIELDS, "projection_epoch", "projection_seq", "projected_at", "status", "ended_at", "error",
    "error_category", "error_code",
]  # fmt: skip

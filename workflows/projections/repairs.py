"""Repairs by the reconciler: it records ends that Temporal reports, and marks rows as verified or as drifted.

Rule: the reconciler calls Temporal first, without a lock. It writes only if the row has not changed since the
comparison. If the row has changed, the run's own activities have written it, and the reconciler compares again later.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from workflows.models import Run
from workflows.projections.ends import STUCK_FIELDS, RunEnd, clear_stuck, record_run_closed
from workflows.projections.transaction import projection_writer
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus
from workflows.temporal.task_failures import StuckTask


@dataclass(frozen=True)
class Stamp:
    """Values of a run row that change with every batch of the run's records."""

    status: str
    epoch: str
    seq: int
    projected_at: datetime

    @classmethod
    def of(cls, run: Run) -> "Stamp":
        return cls(run.status, run.projection_epoch, run.projection_seq, run.projected_at)


def lock_if_unchanged(*, tenant_id: uuid.UUID, run_id: uuid.UUID, stamp: Stamp) -> Run | None:
    """Lock the row in the caller's transaction. Return None if the row was written after the stamp was taken."""
    run = Run.objects.select_for_update(no_key=True).get(tenant_id=tenant_id, id=run_id)
    return run if Stamp.of(run) == stamp else None


def record_end(run: Run, end: RunEnd) -> bool:
    """Close the run. Return False if its row has changed since the caller read it; nothing is then written."""
    with projection_writer("reconciler"):
        row = lock_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None:
            return False
        record_run_closed(row, end, now=timezone.now())
        _set_drift(row, "")
        return True


def record_seen(
    run: Run, *, first_run_id: str, history_events: int, history_bytes: int, stuck: StuckTask | None = None
) -> bool:
    """Mark the row as verified against Temporal now, and record whether Temporal can move the run.

    Return False if the row has changed since the caller read it.
    """
    with projection_writer("reconciler"):
        row = lock_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None:
            return False
        row.projected_at = timezone.now()
        row.temporal_first_run_id = row.temporal_first_run_id or first_run_id
        row.history_event_count, row.history_bytes = history_events, history_bytes
        since = row.stuck_since
        clear_stuck(row)
        if stuck is not None:
            row.stuck_since, row.stuck_attempts = since or stuck.since, stuck.attempts
            row.stuck_cause = stuck.cause[:500]
        row.save(
            update_fields=[
                *STUCK_FIELDS, "projected_at", "temporal_first_run_id", "history_event_count", "history_bytes",
            ]
        )  # fmt: skip
        _set_drift(row, "")
        return True


def record_drift(run: Run, reason: str) -> bool:
    """Mark an open run as drifted, because its row is known to differ from Temporal. An empty reason removes the mark.

    Return True if the mark has changed.
    """
    with projection_writer("reconciler"):
        row = lock_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None or row.status not in OPEN_RUN_STATUSES:
            return False
        row.projected_at = timezone.now()  # the reconciler then compares the other rows first
        row.save(update_fields=["projected_at"])
        return _set_drift(row, reason)


def record_child_unstarted(run: Run) -> bool:
    """Close a child run whose parent has ended and that Temporal does not know. Return False if its row has changed."""
    with projection_writer("reconciler"):
        row = lock_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None or row.status != RunStatus.STARTING:
            return False
        row.status, row.ended_at, row.projected_at = RunStatus.CANCELED, timezone.now(), timezone.now()
        row.save(update_fields=["status", "ended_at", "projected_at"])
        return True


def _set_drift(row: Run, reason: str) -> bool:
    if row.drift_reason == reason[:500]:
        return False
    if not row.drift_reason or not reason:
        row.drift_found_at = timezone.now() if reason else None
    row.drift_reason = reason[:500]
    row.save(update_fields=["drift_reason", "drift_found_at"])
    return True

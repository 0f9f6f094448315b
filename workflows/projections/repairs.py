"""What the reconciler writes: the end that Temporal knows, drift, and that a row was found to be as Temporal says (docs/reference/authority.md#age-and-repair-of-projections).

Rule it keeps: it has asked Temporal before, without a lock. So it writes only when the row is still the one that it asked
about; else the run's own activities have written meanwhile, and the caller looks again.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from workflows.models import Run
from workflows.projections.ends import RunEnd, close_run
from workflows.projections.writer import projection_writer
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus


@dataclass(frozen=True)
class Stamp:
    """What changes with every write of a run's records."""

    status: str
    epoch: str
    seq: int
    projected_at: datetime

    @classmethod
    def of(cls, run: Run) -> "Stamp":
        return cls(run.status, run.projection_epoch, run.projection_seq, run.projected_at)


def locked_if_unchanged(*, tenant_id: uuid.UUID, run_id: uuid.UUID, stamp: Stamp) -> Run | None:
    """The row under its lock, in the caller's transaction; None when something was written since the stamp was taken."""
    run = Run.objects.select_for_update(no_key=True).get(tenant_id=tenant_id, id=run_id)
    return run if Stamp.of(run) == stamp else None


def record_end(run: Run, end: RunEnd) -> bool:
    """The run has ended so. False: the row has changed since it was read, and nothing was written."""
    with projection_writer("reconciler"):
        row = locked_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None:
            return False
        close_run(row, end, now=timezone.now())
        _set_drift(row, "")
        return True


def record_seen(run: Run, *, first_run_id: str, history_events: int, history_bytes: int) -> bool:
    """The row says what Temporal says, as of now."""
    with projection_writer("reconciler"):
        row = locked_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None:
            return False
        row.projected_at = timezone.now()
        row.temporal_first_run_id = row.temporal_first_run_id or first_run_id
        row.history_event_count, row.history_bytes = history_events, history_bytes
        row.save(update_fields=["projected_at", "temporal_first_run_id", "history_event_count", "history_bytes"])
        _set_drift(row, "")
        return True


def record_drift(run: Run, reason: str) -> bool:
    """The row and Temporal differ in a way that nobody can repair by reading. True when that is new."""
    with projection_writer("reconciler"):
        row = locked_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
        if row is None or row.status not in OPEN_RUN_STATUSES:
            return False
        row.projected_at = timezone.now()  # it has been compared, and has its next turn behind the others
        row.save(update_fields=["projected_at"])
        return _set_drift(row, reason)


def record_child_unstarted(run: Run) -> bool:
    """A child whose parent has ended, and that Temporal does not have: nobody starts it any more."""
    with projection_writer("reconciler"):
        row = locked_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
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

"""One run compared with Temporal, and its rows repaired where they differ (docs/reference/authority.md#age-and-repair-of-projections). Which runs: `run_reconcile_sweep`.

Temporal is asked without a lock; what is written is written under the lock of the run's row, and only when the row is
still the one that was compared. Temporal being unreachable is raised, and nothing was written.
"""

import logging
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from workflows.models import Run
from workflows.projection_differences import Difference
from workflows.projections.repairs import record_child_unstarted, record_drift, record_end, record_seen
from workflows.services.runs.rebuild import RunRebuild, run_end, run_rebuild
from workflows.services.runs.unstarted import UNSTARTED_AFTER, run_start_unstarted
from workflows.statuses import OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL, Engine, RunStatus, TriggerType
from workflows.temporal import gateway
from workflows.temporal.history import Close

logger = logging.getLogger(__name__)

# A row that was written later than this is the work of a run that is at it, and that may be ahead of what was asked.
QUIET_AFTER = timedelta(seconds=20)
UNKNOWN = "Temporal does not know this run (any more): its history was deleted, or it was never in this namespace"


@dataclass(frozen=True)
class Reconciled:
    """`outcome`: equal, started, ended, rebuilt, drift, still drift, unstarted child, waiting, legacy, unreadable, busy.

    In a dry run what would be done. `detail` is a sentence for whoever reads the report.
    """

    run_id: uuid.UUID
    outcome: str
    detail: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_repair(self) -> bool:
        return self.outcome not in ("equal", "still drift", "waiting", "legacy", "busy")

    @property
    def is_settled(self) -> bool:
        """The run's rows are as Temporal says, now or already before."""
        return self.outcome in ("equal", "started", "ended", "rebuilt", "unstarted child")


def run_reconcile(*, run_id: uuid.UUID, is_dry_run: bool = False, is_deep: bool = False) -> Reconciled:
    """What was found and done. `is_deep`: compare with the whole history whatever a describe says.

    Errors: Run.DoesNotExist; TemporalError when Temporal does not answer, and nothing was written.
    Cost: one describe for a run that is as Temporal says; its history for one that has changed since it was compared last.
    """
    run = Run.objects.select_related("definition_version", "event", "parent_run").get(id=run_id)
    if run.engine == Engine.DB:
        return Reconciled(run_id, "legacy")
    found = _reconcile(run, is_dry_run=is_dry_run, is_deep=is_deep)
    if found.is_repair:
        logger.warning("run %s: %s%s %s", run_id, "(dry run) " if is_dry_run else "", found.outcome, found.detail)
    return found


def _reconcile(run: Run, *, is_dry_run: bool, is_deep: bool) -> Reconciled:
    try:
        execution = gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return _unknown_to_temporal(run, is_dry_run=is_dry_run)
    if is_deep or _differs(run, execution):
        return _repair(run, execution, is_dry_run=is_dry_run)
    if not is_dry_run and run.status in OPEN_RUN_STATUSES:
        _seen(run, execution)
    return Reconciled(run.id, "equal")


def _differs(run: Run, execution: gateway.Execution) -> bool:
    """Whether the row must be compared with the history. A run that is at it is left to its own records."""
    is_open, ended = run.status in OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL.get(execution.status)
    if ended is not None:
        return run.status != ended
    is_quiet = run.projected_at < timezone.now() - QUIET_AFTER
    is_at_it = execution.started_at is not None and execution.started_at > timezone.now() - QUIET_AFTER
    if run.projection_epoch not in ("", execution.run_id) and not is_at_it:
        return run.history_event_count != execution.history_events or not is_open
    if not is_quiet:
        return False
    return not is_open or run.history_event_count != execution.history_events


def _repair(run: Run, execution: gateway.Execution, *, is_dry_run: bool) -> Reconciled:
    made = run_rebuild(run_id=run.id, is_dry_run=is_dry_run)
    if made.outcome == "gone":
        return _unknown_to_temporal(run, is_dry_run=is_dry_run)
    if made.outcome == "unreadable":
        return _without_history(run, execution, made, is_dry_run=is_dry_run)
    if made.outcome in ("equal", "rebuilt") and not is_dry_run:
        run = Run.objects.get(id=run.id)
        if run.status in OPEN_RUN_STATUSES:
            _seen(run, execution)
    ended = execution.status in RUN_STATUS_OF_TEMPORAL and made.outcome == "rebuilt"
    detail = "; ".join([f"Temporal says {execution.status}", *_told(made.differences), *made.notes])
    return Reconciled(run.id, "ended" if ended else made.outcome, detail, made.differences)


def _told(differences: list[Difference]) -> list[str]:
    """The first few, in words."""
    told = [str(one) for one in differences[:3]]
    return [*told, f"{len(differences) - 3} more"] if len(differences) > 3 else told


def _without_history(run: Run, execution: gateway.Execution, made: RunRebuild, *, is_dry_run: bool) -> Reconciled:
    """The end is known all the same; what an open run has done is not."""
    detail = "; ".join(made.notes)
    if (
        execution.status not in RUN_STATUS_OF_TEMPORAL
        or execution.closed_at is None
        or run.status not in OPEN_RUN_STATUSES
    ):
        if not is_dry_run:
            record_drift(run, f"its rows and Temporal differ, and its history cannot be read: {detail}")
        return Reconciled(run.id, "unreadable", detail)
    end = run_end(Close(execution.status, execution.closed_at, words=""), epoch=execution.run_id)
    if not is_dry_run and not record_end(run, end):
        return Reconciled(run.id, "busy", "its own activities write at this moment")
    return Reconciled(run.id, "ended", f"Temporal says {execution.status}; {detail}")


def _unknown_to_temporal(run: Run, *, is_dry_run: bool) -> Reconciled:
    if run.status not in OPEN_RUN_STATUSES:
        return Reconciled(run.id, "equal")  # it has ended, and Temporal's retention has passed
    was_started = run.temporal_first_run_id or run.projection_epoch
    if was_started:
        is_new = not run.drift_reason if is_dry_run else record_drift(run, UNKNOWN)
        return Reconciled(run.id, "drift" if is_new else "still drift", UNKNOWN)
    if run.created_at > timezone.now() - UNSTARTED_AFTER:
        return Reconciled(run.id, "waiting", "it is being launched")
    if run.trigger_type == TriggerType.CHILD:
        return _unstarted_child(run, is_dry_run=is_dry_run)
    outcome = "started" if is_dry_run else run_start_unstarted(run)
    return Reconciled(run.id, outcome, "its launch had been cut off before Temporal had it")


def _unstarted_child(run: Run, *, is_dry_run: bool) -> Reconciled:
    """Its parent's workflow starts it, and nobody else does."""
    parent = run.parent_run
    if run.status != RunStatus.STARTING or (parent is not None and parent.status in OPEN_RUN_STATUSES):
        return Reconciled(run.id, "waiting", "its parent's workflow starts it")
    if not is_dry_run and not record_child_unstarted(run):
        return Reconciled(run.id, "busy", "its row was written at this moment")
    return Reconciled(run.id, "unstarted child", "its parent has ended and had not started it")


def _seen(run: Run, execution: gateway.Execution) -> None:
    record_seen(
        run,
        first_run_id=execution.first_run_id,
        history_events=execution.history_events,
        history_bytes=execution.history_bytes,
    )

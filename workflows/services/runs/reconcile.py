"""Comparison of one run with Temporal, and repair of its rows
(docs/reference/authority.md#age-and-repair-of-projections).

`reconcile_sweep` selects the runs. Temporal is called without a lock. Rows are written while the run's row is locked,
and only if this row has not changed since the comparison. If Temporal does not respond, an error is raised and nothing
was written.
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
from workflows.services.runs.stuck import pending_task_report, stuck_text
from workflows.services.runs.unstarted import UNSTARTED_AFTER, run_start_unstarted
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    RUN_STATUS_OF_TEMPORAL,
    Engine,
    ReconcileOutcome,
    RunStatus,
    TriggerType,
)
from workflows.temporal import gateway
from workflows.temporal.history import Close

logger = logging.getLogger(__name__)

# If a row was written more recently than this, the run is active. Such a row may be newer than Temporal's response.
QUIET_AFTER = timedelta(seconds=20)
UNKNOWN = "Temporal does not know this run (any more): its history was deleted, or it was never in this namespace"
# With these outcomes, the run's rows agree with Temporal. They may have been repaired.
SETTLED = frozenset(
    {
        ReconcileOutcome.EQUAL,
        ReconcileOutcome.STARTED,
        ReconcileOutcome.ENDED,
        ReconcileOutcome.REBUILT,
        ReconcileOutcome.UNSTARTED_CHILD,
        ReconcileOutcome.STUCK,
    }
)
# With these outcomes, nothing was written and there is nothing new to report.
UNCHANGED = frozenset(
    {
        ReconcileOutcome.EQUAL,
        ReconcileOutcome.STILL_DRIFT,
        ReconcileOutcome.WAITING,
        ReconcileOutcome.LEGACY,
        ReconcileOutcome.BUSY,
    }
)


@dataclass(frozen=True)
class Reconciled:
    """Result for one run. In a dry run, this is the result that a real run would have.

    `detail` is a sentence for people.
    """

    run_id: uuid.UUID
    outcome: ReconcileOutcome
    detail: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_repair(self) -> bool:
        return self.outcome not in UNCHANGED

    @property
    def is_settled(self) -> bool:
        return self.outcome in SETTLED

    @property
    def is_unknown(self) -> bool:
        """Return True if Temporal does not know the run, although its row is open."""
        return self.outcome in (ReconcileOutcome.DRIFT, ReconcileOutcome.STILL_DRIFT)


def run_reconcile(*, run_id: uuid.UUID, is_dry_run: bool = False, is_deep: bool = False) -> Reconciled:
    """Compare the run with Temporal and repair its rows. With `is_deep`, always compare with the whole history.

    Errors: Run.DoesNotExist; TemporalError if Temporal does not respond. After a TemporalError, nothing was written.
    Cost: one describe call if the run agrees with Temporal. If the run has changed since the last comparison, its
    history is read too.
    """
    run = Run.objects.select_related("definition_version", "event", "parent_run").get(id=run_id)
    if run.engine == Engine.DB:
        return Reconciled(run_id, ReconcileOutcome.LEGACY)
    found = _reconcile(run, is_dry_run=is_dry_run, is_deep=is_deep)
    if found.is_repair:
        logger.warning("run %s: %s%s %s", run_id, "(dry run) " if is_dry_run else "", found.outcome, found.detail)
    return found


def run_reconcile_unknown(run: Run) -> Reconciled | None:
    """Compare a run at once, because a call to Temporal has failed with "not found" although the run's row is open.

    Temporal does not know the run, or has ended it. Without this comparison, the run's page would contradict Temporal
    until the sweep finds the run. The reconciler's usual rules decide what is written.

    Return None if nothing was compared. This is so for a run whose start Temporal has not confirmed, because the sweep
    starts it. Errors: none. If Temporal does not respond, the sweep compares the run later.
    """
    if not _was_started(run):
        return None
    try:
        return run_reconcile(run_id=run.id)
    except gateway.TemporalError as error:
        logger.warning("run %s cannot be compared after Temporal did not find it: %s", run.id, error)
        return None


def run_mark_compared(run: Run, difference: str) -> None:
    """Mark an open run as drift, or remove the mark if `difference` is empty.

    `run` is the row as it was before the comparison. A row that has changed since then is not marked.
    """
    if run.status in OPEN_RUN_STATUSES and (difference or run.drift_found_at is not None):
        record_drift(run, difference)


def _was_started(run: Run) -> bool:
    return bool(run.temporal_first_run_id or run.projection_epoch)


def _reconcile(run: Run, *, is_dry_run: bool, is_deep: bool) -> Reconciled:
    try:
        execution = gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return _unknown_to_temporal(run, is_dry_run=is_dry_run)
    # The row of a marked run can differ although its status agrees. Only the whole history can clear the mark.
    if is_deep or run.drift_found_at is not None or _differs(run, execution):
        return _repair(run, execution, is_dry_run=is_dry_run)
    if run.status in OPEN_RUN_STATUSES:
        return _seen(run, execution, is_dry_run=is_dry_run)
    return Reconciled(run.id, ReconcileOutcome.EQUAL)


def _differs(run: Run, execution: gateway.Execution) -> bool:
    """Return True if the row must be compared with the history.

    An active run is not compared, because its own records update the row.
    """
    is_open, ended = run.status in OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL.get(execution.status)
    if ended is not None:
        return run.status != ended
    is_quiet = run.projected_at < timezone.now() - QUIET_AFTER
    is_new_execution = execution.started_at is not None and execution.started_at > timezone.now() - QUIET_AFTER
    if run.projection_epoch not in ("", execution.run_id) and not is_new_execution:
        return run.history_event_count != execution.history_events or not is_open
    if not is_quiet:
        return False
    return not is_open or run.history_event_count != execution.history_events


def _repair(run: Run, execution: gateway.Execution, *, is_dry_run: bool) -> Reconciled:
    rebuild = run_rebuild(run_id=run.id, is_dry_run=is_dry_run)
    if rebuild.outcome == ReconcileOutcome.GONE:
        return _unknown_to_temporal(run, is_dry_run=is_dry_run)
    if rebuild.outcome == ReconcileOutcome.UNREADABLE:
        return _without_history(run, execution, rebuild, is_dry_run=is_dry_run)
    if rebuild.outcome in (ReconcileOutcome.EQUAL, ReconcileOutcome.REBUILT) and not is_dry_run:
        run = Run.objects.get(id=run.id)
        if run.status in OPEN_RUN_STATUSES:
            seen = _seen(run, execution, is_dry_run=False)
            if rebuild.outcome == ReconcileOutcome.EQUAL:
                return seen
    detail = "; ".join([f"Temporal reports {execution.status}", *_summary(rebuild.differences), *rebuild.notes])
    has_ended = execution.status in RUN_STATUS_OF_TEMPORAL and rebuild.outcome == ReconcileOutcome.REBUILT
    outcome = ReconcileOutcome.ENDED if has_ended else rebuild.outcome
    return Reconciled(run.id, outcome, detail, rebuild.differences)


def _summary(differences: list[Difference]) -> list[str]:
    """Return the first three differences, and the number of the remaining differences, as texts."""
    texts = [str(difference) for difference in differences[:3]]
    return [*texts, f"{len(differences) - 3} more"] if len(differences) > 3 else texts


def _without_history(run: Run, execution: gateway.Execution, rebuild: RunRebuild, *, is_dry_run: bool) -> Reconciled:
    """Record the end of a run whose history cannot be read. If the run is still open, only mark it as drift."""
    detail = "; ".join(rebuild.notes)
    if (
        execution.status not in RUN_STATUS_OF_TEMPORAL
        or execution.closed_at is None
        or run.status not in OPEN_RUN_STATUSES
    ):
        if not is_dry_run:
            record_drift(run, f"its rows differ from Temporal, and its history cannot be read: {detail}")
        return Reconciled(run.id, ReconcileOutcome.UNREADABLE, detail)
    end = run_end(Close(execution.status, execution.closed_at), epoch=execution.run_id)
    if not is_dry_run and not record_end(run, end):
        return Reconciled(run.id, ReconcileOutcome.BUSY, "its own activities are writing at present; try again")
    return Reconciled(run.id, ReconcileOutcome.ENDED, f"Temporal reports {execution.status}; {detail}")


def _unknown_to_temporal(run: Run, *, is_dry_run: bool) -> Reconciled:
    if run.status not in OPEN_RUN_STATUSES:
        return Reconciled(run.id, ReconcileOutcome.EQUAL)  # the run has ended, and the retention period is over
    if _was_started(run):
        is_new = not run.drift_reason if is_dry_run else record_drift(run, UNKNOWN)
        return Reconciled(run.id, ReconcileOutcome.DRIFT if is_new else ReconcileOutcome.STILL_DRIFT, UNKNOWN)
    if run.queued_until is not None:
        return Reconciled(run.id, ReconcileOutcome.WAITING, "it is queued behind a run with the same concurrency key")
    if run.created_at > timezone.now() - UNSTARTED_AFTER:
        return Reconciled(run.id, ReconcileOutcome.WAITING, "it is being launched")
    if run.trigger_type == TriggerType.CHILD:
        return _unstarted_child(run, is_dry_run=is_dry_run)
    outcome = ReconcileOutcome.STARTED if is_dry_run else run_start_unstarted(run)
    return Reconciled(run.id, outcome, "its launch was interrupted before Temporal received it")


def _unstarted_child(run: Run, *, is_dry_run: bool) -> Reconciled:
    """Close a child that its parent can no longer start. Only the parent's workflow starts a child."""
    parent = run.parent_run
    if run.status != RunStatus.STARTING or (parent is not None and parent.status in OPEN_RUN_STATUSES):
        return Reconciled(run.id, ReconcileOutcome.WAITING, "its parent's workflow will start it")
    if not is_dry_run and not record_child_unstarted(run):
        return Reconciled(run.id, ReconcileOutcome.BUSY, "its row was written during the comparison; try again")
    return Reconciled(run.id, ReconcileOutcome.UNSTARTED_CHILD, "its parent has ended without starting it")


def _seen(run: Run, execution: gateway.Execution, *, is_dry_run: bool) -> Reconciled:
    """Mark the row as verified, and record whether Temporal can move the run.

    The outcome is STUCK only at the first sight of a stuck run.
    """
    stuck = pending_task_report(execution, workflow_id=run.temporal_workflow_id).stuck
    if not is_dry_run:
        record_seen(
            run,
            first_run_id=execution.first_run_id,
            history_events=execution.history_events,
            history_bytes=execution.history_bytes,
            stuck=stuck,
        )
    if stuck is not None and run.stuck_since is None:
        return Reconciled(run.id, ReconcileOutcome.STUCK, stuck_text(stuck))
    return Reconciled(run.id, ReconcileOutcome.EQUAL)

"""Comparison of a run's rows with Temporal, and repair of the rows. A person or an API client requests them.

A comparison changes nothing. So every tenant member may request a comparison, and it writes no row to the ledger. A
repair changes rows. So a repair needs the role operator and has a ledger row. The reconciler carries out the repair.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown
from workflows.ledger import command_finish
from workflows.models import Command, Run
from workflows.projection_differences import Difference
from workflows.services.runs.rebuild import RunRebuild, run_rebuild
from workflows.services.runs.reconcile import QUIET_AFTER, UNKNOWN, Reconciled, run_mark_compared, run_reconcile
from workflows.services.runs.requests import run_find, run_request, temporal_down
from workflows.services.runs.stuck import PendingTaskReport, pending_task_report, stuck_text
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, Engine, ReconcileOutcome
from workflows.temporal import gateway


@dataclass(frozen=True)
class RunVerification:
    """Result of a comparison. If the rows could not be compared, `is_equal` is None and `notes` have the reason.

    `pending`: the workflow task that Temporal has scheduled, and why Temporal cannot move the run.
    """

    run: Run
    verified_at: datetime
    is_equal: bool | None
    differences: list[Difference]
    notes: list[str]
    pending: PendingTaskReport


def run_verify(*, actor: Actor, run_id: uuid.UUID) -> RunVerification:
    """Compare every field of the run's rows with Temporal's history.

    The rows of an open run are marked as drift if they differ. The mark is removed if they are equal. Nothing else is
    written. The reconciler repairs a marked run, or a person does so earlier.

    Errors: NotFound; Conflict for a run of an older engine; DependencyDown if Temporal does not respond.
    Cost: the run's histories are read, and one or two further calls are sent to Temporal. The run's rows are written
    once, and this change is rolled back.
    """
    run = run_find(actor=actor, run_id=run_id)
    if run.engine == Engine.DB:
        raise Conflict(
            "this run belongs to the history of an older engine; Temporal did not execute it",
            code="WORKFLOW_LEGACY_RUN_READ_ONLY",
            details={
                "action": "verify",
                "engine": str(run.engine),
                "runId": str(run.id),
                "hint": "Temporal has no history to compare it with. No action is needed.",
            },
        )
    try:
        rebuild = run_rebuild(run_id=run.id, is_dry_run=True)
        pending = _pending(run)
    except gateway.TemporalError as error:
        raise DependencyDown(
            "Temporal does not respond, so the rows could not be compared",
            code="TEMPORAL_UNAVAILABLE",
            details={"error": str(error), "hint": "Check that Temporal is running, then compare again."},
        ) from error
    is_equal = {ReconcileOutcome.EQUAL: True, ReconcileOutcome.REBUILT: False}.get(rebuild.outcome)
    if rebuild.outcome == ReconcileOutcome.GONE and run.status in OPEN_RUN_STATUSES:
        is_equal = False
    _mark(run, rebuild)
    run.refresh_from_db()
    notes = [*rebuild.notes, stuck_text(pending.stuck)] if pending.stuck else rebuild.notes
    return RunVerification(run, timezone.now(), is_equal, rebuild.differences, notes, pending)


def _mark(run: Run, rebuild: RunRebuild) -> None:
    """Mark the run as drift, or remove the mark. `run` is the row as it was before the comparison.

    The rows of an active run can differ for a moment, so such a run is not marked.
    """
    is_active = bool(rebuild.notes) or run.projected_at > timezone.now() - QUIET_AFTER
    if rebuild.outcome == ReconcileOutcome.GONE:
        run_mark_compared(run, UNKNOWN)
    elif rebuild.outcome == ReconcileOutcome.EQUAL:
        run_mark_compared(run, "")
    elif rebuild.outcome == ReconcileOutcome.REBUILT and not is_active:
        count = len(rebuild.differences)
        run_mark_compared(run, f"a comparison with Temporal found {count} different field{'s' if count != 1 else ''}")


def _pending(run: Run) -> PendingTaskReport:
    try:
        execution = gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return PendingTaskReport()  # the comparison reports this
    return pending_task_report(execution, workflow_id=run.temporal_workflow_id)


def run_repair(
    *, actor: Actor, run_id: uuid.UUID, reason: str = "", idempotency_key: str = ""
) -> tuple[Command, Reconciled | None]:
    """Compare the run with its whole history, and repair its rows. Return the ledger row and the result.

    If the rows now agree with Temporal, the command is observed. Otherwise the command is failed. If the request is a
    repeat, the result is None.

    Errors: NotFound; PermissionRefused; Conflict for a run of an older engine; DependencyDown if Temporal does not
    respond. In the last case, only the ledger row was written.
    """
    request = run_request(
        actor=actor, run_id=run_id, action=CommandAction.REPAIR, reason=reason, idempotency_key=idempotency_key
    )
    command = request.command
    if not request.is_new:
        return command, None
    try:
        found = run_reconcile(run_id=request.run.id, is_deep=True)
    except gateway.TemporalError as error:
        temporal_down(
            command,
            error,
            effect="nothing was repaired",
            hint="Check that Temporal is running, then repair again.",
        )
    except Exception:
        message = "an internal error; the log has the details"
        command_finish(command, CommandState.FAILED, code="INTERNAL_ERROR", message=message, http_status=500)
        raise
    details = {"outcome": found.outcome, "detail": found.detail, "differences": len(found.differences)}
    if found.is_settled:
        command_finish(command, CommandState.OBSERVED, details=details)
    else:
        command_finish(
            command,
            CommandState.FAILED,
            code="REPAIR_NOT_DONE",
            message=f"{found.outcome}: {found.detail}",
            details=details,
            http_status=409,
        )
    return command, found

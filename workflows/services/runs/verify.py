"""A run's rows compared with Temporal on somebody's request, and repaired on another (docs/reference/authority.md#age-and-repair-of-projections).

To verify changes nothing, so any member may, and it leaves no row in the ledger. To repair changes rows: an operator's
request, recorded as such, and carried out by the reconciler.
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
from workflows.services.runs.rebuild import run_rebuild
from workflows.services.runs.reconcile import Reconciled, run_reconcile
from workflows.services.runs.requests import run_find, run_request, temporal_down
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, Engine
from workflows.temporal import gateway


@dataclass(frozen=True)
class RunVerification:
    """`is_equal` is None when it could not be told, and `notes` say why."""

    run: Run
    verified_at: datetime
    is_equal: bool | None
    differences: list[Difference]
    notes: list[str]


def run_verify(*, actor: Actor, run_id: uuid.UUID) -> RunVerification:
    """Every field of the run's rows against Temporal's history. Nothing is written.

    Errors: NotFound; Conflict for a run of an older engine; DependencyDown when Temporal does not answer.
    Cost: the run's histories, and its rows written once and rolled back.
    """
    run = run_find(actor=actor, run_id=run_id)
    if run.engine == Engine.DB:
        raise Conflict(
            "this run is history of an older engine; Temporal never had it",
            code="WORKFLOW_LEGACY_RUN_READ_ONLY",
            details={"action": "verify", "engine": str(run.engine), "runId": str(run.id), "hint": "There is nothing to compare."},
        )  # fmt: skip
    try:
        made = run_rebuild(run_id=run.id, is_dry_run=True)
    except gateway.TemporalError as error:
        raise DependencyDown(
            "Temporal does not answer; the rows could not be compared",
            code="TEMPORAL_UNAVAILABLE",
            details={"error": str(error), "hint": "See that Temporal is up, then compare again."},
        ) from error
    is_equal = {"equal": True, "rebuilt": False}.get(made.outcome)
    if made.outcome == "gone" and run.status in OPEN_RUN_STATUSES:
        is_equal = False
    run.refresh_from_db()
    return RunVerification(run, timezone.now(), is_equal, made.differences, made.notes)


def run_repair(
    *, actor: Actor, run_id: uuid.UUID, reason: str = "", idempotency_key: str = ""
) -> tuple[Command, Reconciled | None]:
    """The ledger row: observed when the run's rows are as Temporal says, failed when they could not be made so. The second
    is None for a repeat of a request.

    Errors: NotFound, PermissionRefused, Conflict (older engine), DependencyDown when Temporal does not answer: then
    nothing but the ledger was written.
    """
    run, command, is_new = run_request(
        actor=actor, run_id=run_id, action=CommandAction.REPAIR, reason=reason, idempotency_key=idempotency_key
    )
    if not is_new:
        return command, None
    try:
        found = run_reconcile(run_id=run.id, is_deep=True)
    except gateway.TemporalError as error:
        temporal_down(
            command, error, what="nothing was repaired", hint="See that Temporal is up, then repair again."
        )  # fmt: skip
    except Exception:
        message = "a fault of the portal; it is in the log"
        command_finish(command, CommandState.FAILED, code="INTERNAL_ERROR", message=message, http_status=500)
        raise
    details = {"outcome": found.outcome, "detail": found.detail, "differences": len(found.differences)}
    if found.is_settled:
        command_finish(command, CommandState.OBSERVED, details=details)
    else:
        message = f"{found.outcome}: {found.detail}"
        command_finish(
            command, CommandState.FAILED, code="REPAIR_NOT_DONE", message=message, details=details, http_status=409
        )  # fmt: skip
    return command, found

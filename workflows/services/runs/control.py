"""Cancel and terminate a run, and refuse the requests that Temporal does not support.

No function in this module writes a projection. Only the run's own projection records and the reconciler change
projections. A queued start has no workflow, so `concurrency_keys` closes its row.

Source: docs/reference/authority.md#control-matrix
"""

import logging
import uuid
from typing import NoReturn

from workflows.actors import Actor
from workflows.concurrency_keys import queued_start_end
from workflows.errors import InputInvalid
from workflows.ledger import command_finish, commands_observe_end
from workflows.models import Command, Run
from workflows.services.runs.reconcile import run_reconcile_unknown
from workflows.services.runs.requests import (
    require_open,
    require_run_role,
    run_refuse,
    run_request,
    temporal_down,
    temporal_failed,
)
from workflows.services.runs.stuck import pending_task_report, stuck_text
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, RunStatus
from workflows.temporal import gateway
from workflows.temporal.task_failures import StuckTask

logger = logging.getLogger(__name__)

# Hints for requests that older engines supported.
UNSUPPORTED_HINTS = {
    CommandAction.RESUME: "A run resumes when its event arrives or its time comes. Send the event that it waits for.",
    CommandAction.RETRY: "The step's own retry policy repeats attempts. To run everything again, replay the run.",
    CommandAction.REQUEUE_EVENT_WAIT: (
        "A wait cannot be requeued because Temporal holds it. Send the event again with a new event id."
    ),
}
# Code of an accepted cancel that takes no effect as long as Temporal cannot move the run.
RUN_STUCK = "RUN_STUCK"
TERMINATE_INSTEAD = (
    "Temporal has accepted the cancel request, but the run cannot react to it until its workflow task succeeds."
    " To end the run now, an administrator must terminate it."
)
NOT_CHANGED = "The run was not changed. Restore Temporal, then {action} the run again."
BUSY = "The run was not changed. It accepts no request at this moment. In some seconds, {action} it again."
NO_OUTCOME = (
    "It is not known yet if the request has arrived. The portal asks Temporal within some minutes. The audit tab of the"
    " run then shows the outcome."
)
REFUSED = "The run was not changed. Read the error of Temporal before you {action} the run again."
GONE = (
    "The run was not changed. Temporal does not know it, so Temporal cannot {action} it. Compare the run with Temporal"
    " (Verify), then repair it. To run the definition again, replay the run."
)
HAS_ENDED = "The run has already ended in Temporal. Its page now shows the end. No action is needed."
NOT_COMPARED = "The run was not changed. Compare it with Temporal (Verify) before you {action} it again."
NOT_STARTED = "The run was not changed. Temporal has not confirmed its start yet. When it runs, {action} it again."


def run_cancel(
    *, actor: Actor, run_id: uuid.UUID, reason: str = "", idempotency_key: str = "", part_of: Command | None = None
) -> Command:
    """Send a cancel request to Temporal and return the accepted command.

    The run's status changes when the workflow's own projection record is written. If Temporal cannot move the run, the
    accepted command has the code RUN_STUCK and a message that names the cause.

    Errors: NotFound, PermissionRefused, Conflict.
    Cost: two or three calls to Temporal.
    """
    request = run_request(
        actor=actor,
        run_id=run_id,
        action=CommandAction.CANCEL,
        reason=reason,
        idempotency_key=idempotency_key,
        part_of=part_of,
    )
    run, command = request.run, request.command
    if not request.is_new:
        return command
    require_open(run, command)
    if queued_start_end(run, RunStatus.CANCELED):
        return _accepted(run, command)
    try:
        gateway.cancel_run(
            workflow_id=run.temporal_workflow_id,
            first_run_id=run.temporal_first_run_id,
            reason=reason or f"canceled by {actor.name}",
            request_id=str(command.id),
        )
    except gateway.TemporalError as error:
        temporal_failed(
            run,
            command,
            error,
            code="WORKFLOW_TEMPORAL_CANCEL_FAILED",
            message="Temporal did not accept the cancel request",
            hint=_hint_after(error, run, "cancel"),
        )
    stuck = _stuck_task(run)
    if stuck is None:
        return _accepted(run, command)
    return _accepted(run, command, code=RUN_STUCK, message=f"{stuck_text(stuck)}. {TERMINATE_INSTEAD}")


def _stuck_task(run: Run) -> StuckTask | None:
    """Return why Temporal cannot move the run. Return None if it can, or if Temporal does not respond."""
    try:
        execution = gateway.describe_run(workflow_id=run.temporal_workflow_id)
        return pending_task_report(execution, workflow_id=run.temporal_workflow_id).stuck
    except gateway.TemporalError as error:
        logger.warning("the pending workflow task of run %s cannot be read after a cancel: %s", run.id, error)
        return None


def run_terminate(
    *, actor: Actor, run_id: uuid.UUID, reason: str, idempotency_key: str = "", part_of: Command | None = None
) -> Command:
    """End a run at once in Temporal and return the accepted command. The reconciler then updates the projection.

    Use it for a run that does not react to a cancel. No further step and no `catch` of the run is executed.

    Errors: NotFound, PermissionRefused, Conflict; InputInvalid without a reason; DependencyDown if Temporal is down.
    """
    if not reason.strip():
        require_run_role(actor=actor, run_id=run_id, action=CommandAction.TERMINATE)
        raise InputInvalid(
            "a terminate needs a reason, which is kept in the command ledger",
            code="REASON_REQUIRED",
            details={"runId": str(run_id)},
        )
    request = run_request(
        actor=actor,
        run_id=run_id,
        action=CommandAction.TERMINATE,
        reason=reason,
        idempotency_key=idempotency_key,
        part_of=part_of,
    )
    run, command = request.run, request.command
    if not request.is_new:
        return command
    require_open(run, command)
    if queued_start_end(run, RunStatus.TERMINATED):
        return _accepted(run, command)
    try:
        gateway.terminate_run(
            workflow_id=run.temporal_workflow_id, first_run_id=run.temporal_first_run_id, reason=reason
        )
    except gateway.TemporalUnreachable as error:
        temporal_down(command, error, effect="the run was not terminated", hint=NOT_CHANGED.format(action="terminate"))
    except gateway.TemporalError as error:
        temporal_failed(
            run,
            command,
            error,
            code="WORKFLOW_TEMPORAL_TERMINATE_FAILED",
            message="Temporal did not terminate the run",
            hint=_hint_after(error, run, "terminate"),
        )
    return _accepted(run, command)


def _hint_after(error: gateway.TemporalError, run: Run, action: str) -> str:
    """Return what a person must do after a failed call. Compare a run that Temporal did not find at once."""
    if isinstance(error, gateway.TemporalNotFound):
        return _unknown_hint(run).format(action=action)
    if isinstance(error, gateway.TemporalTimeout):
        return NO_OUTCOME
    hint = BUSY if isinstance(error, gateway.TemporalBusy) else NOT_CHANGED
    return (hint if isinstance(error, gateway.TemporalUnreachable) else REFUSED).format(action=action)


def _unknown_hint(run: Run) -> str:
    found = run_reconcile_unknown(run)
    run.refresh_from_db(fields=["status", "drift_found_at"])
    if run.status not in OPEN_RUN_STATUSES:
        return HAS_ENDED
    if run.drift_found_at is not None:
        return GONE
    return NOT_COMPARED if found is not None or run.temporal_first_run_id else NOT_STARTED


def run_refuse_unsupported(
    *, actor: Actor, run_id: uuid.UUID, action: CommandAction, reason: str = "", idempotency_key: str = ""
) -> NoReturn:
    """Refuse resume, retry and requeue, with a hint.

    Only older engines, which kept their state in the database, supported these requests.

    Errors: always NotFound, PermissionRefused, or Conflict WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED.
    """
    request = run_request(actor=actor, run_id=run_id, action=action, reason=reason, idempotency_key=idempotency_key)
    run_refuse(
        request.run,
        request.command,
        code="WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED",
        message=f"{action.replace('_', ' ')} is not supported for runs on Temporal",
        reason="Temporal alone controls a run. It resumes, retries and waits without requests.",
        hint=UNSUPPORTED_HINTS[action],
    )


def _accepted(run: Run, command: Command, *, code: str = "", message: str = "") -> Command:
    command_finish(command, CommandState.ACCEPTED, code=code, message=message)
    run.refresh_from_db()
    if run.status not in OPEN_RUN_STATUSES:
        # The run ended after the check above. When the run's own record was written, this command was not accepted yet.
        commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)
        command.refresh_from_db()
    return command

"""Cancel, terminate, and what a run on Temporal does not know (docs/reference/authority.md#control-matrix). The projection is never touched here."""

import uuid
from typing import NoReturn

from workflows.actors import Actor
from workflows.errors import InputInvalid
from workflows.ledger import command_finish, commands_observe_end
from workflows.models import Command, Run
from workflows.services.runs.requests import (
    require_open,
    require_run_role,
    run_refuse,
    run_request,
    temporal_down,
    temporal_failed,
)
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState
from workflows.temporal import gateway

# What to do instead of the requests that an engine with its own state used to offer.
UNSUPPORTED_HINTS = {
    CommandAction.RESUME: "A run resumes by itself when its event or time comes: send the event that it waits for.",
    CommandAction.RETRY: "Attempts are repeated by the step's own retry policy; to run it anew, replay it: a fresh run.",
    CommandAction.REQUEUE_EVENT_WAIT: "Waits live in Temporal and need no queue: send the event again with a new event id.",
}
UNTOUCHED = "The projection was not touched: the run is as it was. See that Temporal is up, then {action} again."


def run_cancel(
    *, actor: Actor, run_id: uuid.UUID, reason: str = "", idempotency_key: str = "", part_of: Command | None = None
) -> Command:
    """The ledger row, accepted: Temporal has taken the request. The run is CANCELED when its workflow has recorded it.

    Errors: NotFound, PermissionRefused, Conflict (see docs/reference/authority.md#control-matrix).
    """
    run, command, is_new = run_request(
        actor=actor, run_id=run_id, action=CommandAction.CANCEL, reason=reason, idempotency_key=idempotency_key,
        part_of=part_of,
    )  # fmt: skip
    if not is_new:
        return command
    require_open(run, command)
    try:
        gateway.cancel_run(
            workflow_id=run.temporal_workflow_id,
            first_run_id=run.temporal_first_run_id,
            reason=reason or f"cancelled by {actor.name}",
            request_id=str(command.id),
        )
    except gateway.TemporalError as error:
        temporal_failed(
            run,
            command,
            error,
            code="WORKFLOW_TEMPORAL_CANCEL_FAILED",
            message="Temporal did not take the cancel",
            hint=UNTOUCHED.format(action="cancel"),
        )
    return _accepted(run, command)


def run_terminate(
    *, actor: Actor, run_id: uuid.UUID, reason: str, idempotency_key: str = "", part_of: Command | None = None
) -> Command:
    """The ledger row, accepted: Temporal has ended the workflow at once, and the reconciler projects what it says.

    For a run that does not react to a cancel: nothing of the workflow runs any more, no step after it, no `catch`.
    Errors: NotFound, PermissionRefused, InputInvalid without a reason, Conflict, DependencyDown (see docs/reference/authority.md#control-matrix).
    """
    if not reason.strip():
        require_run_role(actor=actor, run_id=run_id, action=CommandAction.TERMINATE)
        raise InputInvalid(
            "a run is terminated only with a reason, for whoever asks later",
            code="REASON_REQUIRED",
            details={"runId": str(run_id)},
        )
    run, command, is_new = run_request(
        actor=actor,
        run_id=run_id,
        action=CommandAction.TERMINATE,
        reason=reason,
        idempotency_key=idempotency_key,
        part_of=part_of,
    )
    if not is_new:
        return command
    require_open(run, command)
    try:
        gateway.terminate_run(
            workflow_id=run.temporal_workflow_id, first_run_id=run.temporal_first_run_id, reason=reason
        )
    except gateway.TemporalUnreachable as error:
        temporal_down(command, error, what="the run was not terminated", hint=UNTOUCHED.format(action="terminate"))
    except gateway.TemporalError as error:
        temporal_failed(
            run,
            command,
            error,
            code="WORKFLOW_TEMPORAL_TERMINATE_FAILED",
            message="Temporal did not terminate the run",
            hint=UNTOUCHED.format(action="terminate"),
        )
    return _accepted(run, command)


def run_refuse_unsupported(
    *, actor: Actor, run_id: uuid.UUID, action: CommandAction, reason: str = "", idempotency_key: str = ""
) -> NoReturn:
    """Resume, retry and requeue belong to engines that keep their state in the database. Refused, with what to do instead.

    Errors: always one: NotFound, PermissionRefused, or Conflict WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED.
    """
    run, command, _ = run_request(
        actor=actor, run_id=run_id, action=action, reason=reason, idempotency_key=idempotency_key
    )  # fmt: skip
    run_refuse(
        run,
        command,
        code="WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED",
        message=f"{action.replace('_', ' ')} is not a request that a run on Temporal knows",
        reason="Temporal is the only authority over a run, and it resumes, retries and waits by itself.",
        hint=UNSUPPORTED_HINTS[action],
    )


def _accepted(run: Run, command: Command) -> Command:
    command_finish(command, CommandState.ACCEPTED)
    run.refresh_from_db()
    if run.status not in OPEN_RUN_STATUSES:
        # It ended between the look above and the answer, so that its own record did not find this command accepted.
        commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)
        command.refresh_from_db()
    return command

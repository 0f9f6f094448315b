"""Requests to change a run (PRODUCT 2.3). Temporal decides; the projection is never touched here.

Every request becomes a row of the ledger before anything is asked, and a refusal leaves nothing but that row. The order
of checks: the run exists in this tenant (404), the role (403), the run's state and Temporal (409).
"""

import logging
import uuid
from typing import NoReturn

from workflows.actors import Actor
from workflows.errors import Conflict, NotFound, PermissionRefused
from workflows.ledger import command_refuse, command_settle, commands_observe_end
from workflows.models import Command, Run
from workflows.services.idempotency import command_request
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, Engine, Role
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

# What to do instead of the requests that an engine with its own state used to offer.
UNSUPPORTED_HINTS = {
    CommandAction.RESUME: "A run resumes by itself when its event or time comes: send the event that it waits for.",
    CommandAction.RETRY: "Attempts are repeated by the step's own retry policy; to run it anew, start a new run.",
    CommandAction.REQUEUE_EVENT_WAIT: "Waits live in Temporal and need no queue: send the event again with a new event id.",
}
UNTOUCHED = "The projection was not touched: the run is as it was. See that Temporal is up, then cancel again."


def run_find(*, actor: Actor, run_id: uuid.UUID) -> Run:
    """Errors: NotFound for another tenant's run as for one that does not exist."""
    run = Run.objects.filter(tenant_id=actor.tenant_id, id=run_id).first()
    if run is None:
        raise NotFound(f"there is no run {run_id}", code="RUN_NOT_FOUND")
    return run


def run_cancel(*, actor: Actor, run_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> Command:
    """The ledger row, accepted: Temporal has taken the request. The run is CANCELED when its workflow has recorded it.

    Errors: NotFound, PermissionRefused, Conflict (see PRODUCT 2.3).
    """
    run, command, is_new = _request(
        actor=actor, run_id=run_id, action=CommandAction.CANCEL, reason=reason, idempotency_key=idempotency_key
    )
    if not is_new:
        return command
    _require_open(run, command)
    try:
        gateway.cancel_run(
            workflow_id=run.temporal_workflow_id,
            first_run_id=run.temporal_first_run_id,
            reason=reason or f"cancelled by {actor.name}",
            request_id=str(command.id),
        )
    except gateway.TemporalTimeout as error:
        _cancel_failed(run, command, error, CommandState.UNKNOWN)
    except gateway.TemporalError as error:
        _cancel_failed(run, command, error, CommandState.REFUSED)
    command_settle(command, CommandState.ACCEPTED)
    run.refresh_from_db()
    if run.status not in OPEN_RUN_STATUSES:
        # It ended between the look above and the answer, so that its own record did not find this command accepted.
        commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)
        command.refresh_from_db()
    return command


def run_refuse_unsupported(
    *, actor: Actor, run_id: uuid.UUID, action: CommandAction, reason: str = "", idempotency_key: str = ""
) -> NoReturn:
    """Resume, retry and requeue belong to engines that keep their state in the database. Refused, with what to do instead.

    Errors: always one: NotFound, PermissionRefused, or Conflict WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED.
    """
    run, command, _ = _request(
        actor=actor, run_id=run_id, action=action, reason=reason, idempotency_key=idempotency_key
    )  # fmt: skip
    _refuse(
        run,
        command,
        code="WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED",
        message=f"{action.replace('_', ' ')} is not a request that a run on Temporal knows",
        reason="Temporal is the only authority over a run, and it resumes, retries and waits by itself.",
        hint=UNSUPPORTED_HINTS[action],
    )


def _request(
    *, actor: Actor, run_id: uuid.UUID, action: CommandAction, reason: str, idempotency_key: str
) -> tuple[Run, Command, bool]:
    run = run_find(actor=actor, run_id=run_id)
    command, is_new = command_request(
        actor=actor,
        action=action,
        target_type="run",
        target_id=str(run.id),
        run=run,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    if not is_new:
        return run, command, False
    try:
        actor.require(Role.OPERATOR, to=f"{action.replace('_', ' ')} runs")
    except PermissionRefused as error:
        raise command_refuse(command, error) from error
    if run.engine == Engine.DB:
        _refuse(
            run,
            command,
            code="WORKFLOW_LEGACY_RUN_READ_ONLY",
            message="this run is history of an older engine; it can be read, not acted on",
            reason="The run was not executed by Temporal.",
            hint="Start a new run of the definition instead.",
        )
    return run, command, True


def _require_open(run: Run, command: Command) -> None:
    if run.status not in OPEN_RUN_STATUSES:
        _refuse(
            run,
            command,
            code="WORKFLOW_RUN_CLOSED",
            message=f"the run has ended: it is {run.status}",
            reason=f"The run is {run.status} since {run.ended_at:%Y-%m-%d %H:%M:%S} UTC."
            if run.ended_at
            else "It ended.",
            hint="Nothing is left to do. To run it anew, start a new run.",
        )


def _cancel_failed(run: Run, command: Command, error: gateway.TemporalError, state: CommandState) -> NoReturn:
    logger.warning("cancel of run %s failed: %s", run.id, error)
    details = {"error": str(error)}
    if state == CommandState.UNKNOWN:
        details["outcome"] = "unknown"
    _refuse(
        run,
        command,
        code="WORKFLOW_TEMPORAL_CANCEL_FAILED",
        message="Temporal did not take the cancel",
        reason="Temporal did not answer in time."
        if state == CommandState.UNKNOWN
        else "Temporal refused, or is not reachable.",
        hint=UNTOUCHED,
        state=state,
        more=details,
    )


def _refuse(
    run: Run,
    command: Command,
    *,
    code: str,
    message: str,
    reason: str,
    hint: str,
    state: CommandState = CommandState.REFUSED,
    more: dict[str, str] | None = None,
) -> NoReturn:
    details = {
        "action": str(command.action),
        "engine": str(run.engine),
        "runId": str(run.id),
        "reason": reason,
        "hint": hint,
        **(more or {}),
    }
    raise command_refuse(command, Conflict(message, code=code, details=details), state)

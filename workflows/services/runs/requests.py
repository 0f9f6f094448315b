"""Checks and ledger rows of all requests about a run (docs/reference/authority.md#control-matrix).

The ledger row is written first. Then these conditions are checked, in the same order for every request:
1. The run exists in this tenant (404).
2. The actor has the role (403).
3. The engine and the status of the run allow the request (409).
4. Temporal accepts the request (409 or 503).

A refusal leaves only the ledger row. Do not open a transaction around a request: a rollback would remove that row.
"""

import logging
import uuid
from dataclasses import dataclass
from typing import Any, NoReturn

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown, PermissionRefused
from workflows.ledger import command_refuse
from workflows.models import Command, Run
from workflows.selectors.pruned_runs import run_not_found
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, Engine, Role
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

ROLES = {CommandAction.TERMINATE: Role.ADMIN}  # all other requests need the role operator


@dataclass(frozen=True)
class RunRequest:
    """Request about a run.

    If the request is not new, the caller must return the outcome of the command and change nothing.
    """

    run: Run
    command: Command
    is_new: bool


def run_find(*, actor: Actor, run_id: uuid.UUID) -> Run:
    """Return the run.

    Errors: NotFound RUN_NOT_FOUND, or RUN_DELETED if retention has deleted the run. A run of another tenant counts as
    not found.
    """
    runs = Run.objects.select_related("definition__published_version")
    run = runs.filter(tenant_id=actor.tenant_id, id=run_id).first()
    if run is None:
        raise run_not_found(tenant_id=actor.tenant_id, run_id=run_id)
    return run


def require_run_role(*, actor: Actor, run_id: uuid.UUID, action: CommandAction) -> None:
    """Refuse an actor who may not send this request about the run.

    Call this function before errors in the request are reported.

    Errors: NotFound; PermissionRefused, and the attempt is recorded in the ledger.
    """
    run = run_find(actor=actor, run_id=run_id)
    require_role(
        actor=actor,
        needs=_role_for(action),
        to=_text_of(action),
        action=action,
        target_type="run",
        target_id=str(run.id),
        run=run,
    )


def _role_for(action: CommandAction) -> Role:
    return ROLES.get(action, Role.OPERATOR)


def _text_of(action: CommandAction) -> str:
    return f"{action.replace('_', ' ')} runs"


def run_request(
    *,
    actor: Actor,
    run_id: uuid.UUID,
    action: CommandAction,
    reason: str,
    idempotency_key: str,
    payload: Any = None,
    part_of: Command | None = None,
) -> RunRequest:
    """Write the ledger row of a request about a run, and check the role and the engine.

    `part_of`: see `command_request`.

    Errors: NotFound, PermissionRefused; Conflict for a run of an older engine; the errors of `command_request`.
    """
    run = run_find(actor=actor, run_id=run_id)
    request = command_request(
        actor=actor,
        action=action,
        target_type="run",
        target_id=str(run.id),
        run=run,
        reason=reason,
        payload=payload,
        idempotency_key=idempotency_key,
        part_of=part_of,
    )
    command = request.command
    if not request.is_new:
        return RunRequest(run, command, is_new=False)
    try:
        actor.require(_role_for(action), to=_text_of(action))
    except PermissionRefused as error:
        raise command_refuse(command, error) from error
    if run.engine == Engine.DB:
        run_refuse(
            run,
            command,
            code="WORKFLOW_LEGACY_RUN_READ_ONLY",
            message="this run belongs to the history of an older engine; it can only be read",
            reason="Temporal did not execute this run.",
            hint="Start a new run of the definition instead.",
        )
    return RunRequest(run, command, is_new=True)


def require_open(run: Run, command: Command) -> None:
    """Refuse a request about a closed run.

    Errors: Conflict WORKFLOW_RUN_CLOSED.
    """
    if run.status not in OPEN_RUN_STATUSES:
        since = f"since {run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else "already"
        run_refuse(
            run,
            command,
            code="WORKFLOW_RUN_CLOSED",
            message=f"the run has ended: it is {run.status}",
            reason=f"The run is {run.status} {since}.",
            hint="No action is needed. To run the definition again, replay the run.",
        )


def temporal_failed(
    run: Run, command: Command, error: gateway.TemporalError, *, code: str, message: str, hint: str
) -> NoReturn:
    """Refuse a request with status 409 and Temporal's own message.

    After a timeout, the outcome of the command is unknown.

    Errors: always Conflict.
    """
    logger.warning("%s of run %s failed: %s", command.action, run.id, error)
    is_unknown = isinstance(error, gateway.TemporalTimeout)
    details = {"error": str(error), **({"outcome": "unknown"} if is_unknown else {})}
    run_refuse(
        run,
        command,
        code=code,
        message=message,
        reason=_reason_of(error),
        hint=hint,
        state=CommandState.UNKNOWN if is_unknown else CommandState.REFUSED,
        more=details,
    )


def _reason_of(error: gateway.TemporalError) -> str:
    if isinstance(error, gateway.TemporalTimeout):
        return "Temporal did not respond in time."
    if isinstance(error, gateway.TemporalNotFound):
        return "Temporal does not know this run, or has ended it."
    return "Temporal is not reachable." if isinstance(error, gateway.TemporalUnreachable) else "Temporal refused."


def temporal_down(command: Command, error: gateway.TemporalError, *, effect: str, hint: str) -> NoReturn:
    """Refuse a request with status 503. Only the ledger row was written.

    Errors: always DependencyDown. An operator must restore Temporal.
    """
    raise command_refuse(
        command,
        DependencyDown(
            f"Temporal is not reachable; {effect}",
            code="TEMPORAL_UNAVAILABLE",
            details={"error": str(error), "hint": hint},
        ),
    ) from error


def run_refuse(
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
    """Refuse a request with status 409, and write the refusal to the ledger.

    Errors: always Conflict, with `details {action, engine, runId, reason, hint}`.
    """
    details = {
        "action": str(command.action),
        "engine": str(run.engine),
        "runId": str(run.id),
        "reason": reason,
        "hint": hint,
        **(more or {}),
    }
    raise command_refuse(command, Conflict(message, code=code, details=details), state)

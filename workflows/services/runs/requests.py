"""What every request about a run shares (docs/reference/authority.md#control-matrix): its row in the ledger first, then the checks, in one order.

The run exists in this tenant (404), the role (403), the run's engine and state, Temporal (409 or 503). A refusal leaves
nothing but the row. Open no transaction around it: the row must not be rolled back with what was refused.
"""

import logging
import uuid
from typing import Any, NoReturn

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown, NotFound, PermissionRefused
from workflows.ledger import command_refuse
from workflows.models import Command, Run
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, Engine, Role
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

ROLES = {CommandAction.TERMINATE: Role.ADMIN}  # the others: operator


def run_find(*, actor: Actor, run_id: uuid.UUID) -> Run:
    """Errors: NotFound for another tenant's run as for one that does not exist."""
    run = Run.objects.filter(tenant_id=actor.tenant_id, id=run_id).first()
    if run is None:
        raise NotFound(f"there is no run {run_id}", code="RUN_NOT_FOUND")
    return run


def require_run_role(*, actor: Actor, run_id: uuid.UUID, action: CommandAction) -> None:
    """For a request that cannot be taken as it was sent. Errors: NotFound, PermissionRefused; a denied attempt is recorded."""
    run = run_find(actor=actor, run_id=run_id)
    require_role(
        actor=actor, needs=_role_for(action), to=_words_for(action), action=action, target_type="run",
        target_id=str(run.id), run=run,
    )  # fmt: skip


def _role_for(action: CommandAction) -> Role:
    return ROLES.get(action, Role.OPERATOR)


def _words_for(action: CommandAction) -> str:
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
) -> tuple[Run, Command, bool]:
    """The run, the ledger row, and whether the request is new: a repeat is answered from its row, and nothing is asked.

    `part_of`: see `command_request`.
    """
    run = run_find(actor=actor, run_id=run_id)
    command, is_new = command_request(
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
    if not is_new:
        return run, command, False
    try:
        actor.require(_role_for(action), to=_words_for(action))
    except PermissionRefused as error:
        raise command_refuse(command, error) from error
    if run.engine == Engine.DB:
        run_refuse(
            run,
            command,
            code="WORKFLOW_LEGACY_RUN_READ_ONLY",
            message="this run is history of an older engine; it can be read, not acted on",
            reason="The run was not executed by Temporal.",
            hint="Start a new run of the definition instead.",
        )
    return run, command, True


def require_open(run: Run, command: Command) -> None:
    if run.status not in OPEN_RUN_STATUSES:
        since = f"since {run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else "already"
        run_refuse(
            run,
            command,
            code="WORKFLOW_RUN_CLOSED",
            message=f"the run has ended: it is {run.status}",
            reason=f"The run is {run.status} {since}.",
            hint="Nothing is left to do. To run it anew, replay it.",
        )


def temporal_failed(
    run: Run, command: Command, error: gateway.TemporalError, *, code: str, message: str, hint: str
) -> NoReturn:
    """409 with Temporal's words. When it did not answer in time, what it did is not known, and the row says so."""
    logger.warning("%s of run %s failed: %s", command.action, run.id, error)
    is_unknown = isinstance(error, gateway.TemporalTimeout)
    details = {"error": str(error), **({"outcome": "unknown"} if is_unknown else {})}
    run_refuse(
        run,
        command,
        code=code,
        message=message,
        reason="Temporal did not answer in time." if is_unknown else "Temporal refused, or is not reachable.",
        hint=hint,
        state=CommandState.UNKNOWN if is_unknown else CommandState.REFUSED,
        more=details,
    )


def temporal_down(command: Command, error: gateway.TemporalError, *, what: str, hint: str) -> NoReturn:
    """503: nothing but the ledger was written."""
    raise command_refuse(
        command,
        DependencyDown(
            f"Temporal is not reachable; {what}",
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
    details = {
        "action": str(command.action),
        "engine": str(run.engine),
        "runId": str(run.id),
        "reason": reason,
        "hint": hint,
        **(more or {}),
    }
    raise command_refuse(command, Conflict(message, code=code, details=details), state)

"""The command ledger's own state machine (docs/reference/authority.md#command-ledger): the only writer of `workflow_commands`.

A row is written before anything is asked of Temporal and committed by itself, so that a request that fails afterwards
leaves its trace. The database refuses what does not follow the arrows of `models.commands.TRANSITIONS`.
"""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, PortalError
from workflows.models import Command, Run
from workflows.redaction import redact, rules_of
from workflows.statuses import CommandAction, CommandState, RunStatus

NOT_CARRIED_OUT = "NOT_CARRIED_OUT"
UNOBSERVED = (CommandState.REQUESTED, CommandState.ACCEPTED, CommandState.UNKNOWN)
RUN_OF_COMMAND = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a11")


def command_open(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    run: Run | None = None,
    reason: str = "",
    payload: Any = None,
    idempotency_key: str = "",
    request_hash: str = "",
    parent: Command | None = None,
) -> Command:
    """A new row in state `requested`; `parent` asked for many, of which this is one.

    Errors: IntegrityError when the actor has used the idempotency key before.
    """
    with transaction.atomic():
        return Command.objects.create(
            tenant_id=actor.tenant_id,
            action=action,
            target_type=target_type,
            target_id=target_id,
            run=run,
            actor_type=actor.kind,
            actor_id=actor.id,
            actor_name=actor.name,
            source=actor.source,
            reason=reason,
            payload=None if payload is None else redact(payload, rules_of(actor.tenant_id)),
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            parent=parent,
        )


def command_settle(
    command: Command,
    state: CommandState,
    *,
    code: str = "",
    message: str = "",
    details: dict[str, Any] | None = None,
    http_status: int | None = None,
) -> None:
    """Move on, unless the effect has been observed meanwhile: then what was seen stands."""
    now = timezone.now()
    changes = _outcome(state, now, code=code, message=message, details=details, http_status=http_status)
    moved = Command.objects.filter(id=command.id, state=CommandState.REQUESTED).update(**changes)
    if not moved:
        Command.objects.filter(id=command.id, decided_at__isnull=True).update(decided_at=now)
    command.refresh_from_db()


def commands_conclude(
    commands: Collection[Command],
    state: CommandState,
    *,
    code: str = "",
    message: str = "",
    details: dict[str, Any] | None = None,
    http_status: int | None = None,
) -> None:
    """The outcome of requests, written in the transaction that changes what they ask for: both are committed, or neither.

    Errors: Conflict when one has an outcome already. Then nothing may be committed: the reconciler has given it up, and has
    said that nothing was changed.
    """
    ids = [command.id for command in commands]
    changes = _outcome(state, timezone.now(), code=code, message=message, details=details, http_status=http_status)
    moved = Command.objects.filter(id__in=ids, state=CommandState.REQUESTED).update(**changes) if ids else 0
    if moved != len(ids):
        raise Conflict("the request took so long that it was given up; ask again", code="REQUEST_GIVEN_UP")


def _outcome(state: CommandState, now: datetime, **told: Any) -> dict[str, Any]:
    observed = {"observed_at": now} if state == CommandState.OBSERVED else {}
    return {"state": state, "decided_at": now, **told, **observed}


def command_refuse(command: Command, error: PortalError, state: CommandState = CommandState.REFUSED) -> PortalError:
    """The error, to be raised, after it was written to the command's row; its details name the command."""
    command_settle(
        command, state, code=error.code, message=error.message, details=error.details, http_status=error.status
    )
    error.details = {**error.details, "commandId": str(command.id)}
    return error


def target_name(text: Any) -> str:
    """What somebody names as the target, as the ledger can store it, before it has been checked."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:200]


@contextmanager
def command_carried_out(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    reason: str = "",
    payload: Any = None,
) -> Iterator[Command]:
    """A request that changes rows of this database and nothing else. The block is one transaction, and its outcome is
    committed with it: so a row that stays `requested`, because its process was killed, has changed nothing.

    Open no transaction around it: the row of a refusal must not be rolled back with what was refused.
    """
    command = command_open(
        actor=actor, action=action, target_type=target_type, target_id=target_id, reason=reason, payload=payload
    )
    with commands_faults_told([command]), transaction.atomic():
        yield command
        commands_conclude([command], CommandState.OBSERVED, details=command.details)


@contextmanager
def command_recorded(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    reason: str = "",
    payload: Any = None,
) -> Iterator[Command]:
    """As `command_carried_out`, for a block that commits by itself. A process that is killed between the two leaves the row
    `requested`, and nobody can say whether the block was done.
    """
    command = command_open(
        actor=actor, action=action, target_type=target_type, target_id=target_id, reason=reason, payload=payload
    )
    with commands_faults_told([command]):
        yield command
    command_settle(command, CommandState.OBSERVED, details=command.details)


@contextmanager
def commands_faults_told(commands: Collection[Command]) -> Iterator[None]:
    """What the block fails with is written to these rows, and raised: refused with a portal's error, else failed."""
    try:
        yield
    except PortalError as error:
        for command in commands:
            command_refuse(command, error)
        raise
    except Exception:
        message = "a fault of the portal; it is in the log"
        for command in commands:
            command_settle(command, CommandState.FAILED, code="INTERNAL_ERROR", message=message, http_status=500)
        raise


def command_decide(command: Command, state: CommandState, *, message: str) -> bool:
    """Observed or failed, for a request whose outcome nobody knew. False: its state is another than when it was read.

    A failed one has a code, by which a repeat under its idempotency key is refused in the same words.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"state": state, "message": message, "decided_at": Coalesce("decided_at", now)}
    if state == CommandState.OBSERVED:
        changes |= {"code": "", "observed_at": now}
    else:
        changes["code"] = Case(When(code="", then=Value(NOT_CARRIED_OUT)), default=F("code"))
    return bool(Command.objects.filter(id=command.id, state=command.state).update(**changes))


def run_id_of_replay(command_id: uuid.UUID) -> uuid.UUID:
    """The id of the run that a replay starts: made of the command's, so that a repeat of one request starts nothing twice."""
    return uuid.uuid5(RUN_OF_COMMAND, str(command_id))


def commands_observe_start(run: Run) -> None:
    """A run has written its first records: whatever asked for its start is observed."""
    asked = Command.objects.filter(tenant_id=run.tenant_id, state__in=UNOBSERVED)
    found = Q(action=CommandAction.START_RUN, target_id=str(run.id))
    if run.replay_of_id is not None:
        replays = asked.filter(action=CommandAction.REPLAY, run_id=run.replay_of_id).values_list("id", flat=True)
        found |= Q(id__in=[command_id for command_id in replays if run_id_of_replay(command_id) == run.id])
    asked.filter(found).update(state=CommandState.OBSERVED, observed_at=timezone.now())


def commands_observe_task(*, tenant_id: uuid.UUID, command_id: str) -> None:
    """The workflow has recorded the response that this command brought."""
    Command.objects.filter(
        tenant_id=tenant_id,
        id=command_id,
        action=CommandAction.COMPLETE_TASK,
        state__in=UNOBSERVED,
    ).update(state=CommandState.OBSERVED, observed_at=timezone.now())


def command_observe_whole(*, command_id: uuid.UUID, details: dict[str, Any]) -> None:
    """All that a request for many asked for has its outcome; `details` has the account."""
    Command.objects.filter(id=command_id, state__in=[CommandState.REQUESTED, CommandState.ACCEPTED]).update(
        state=CommandState.OBSERVED, observed_at=timezone.now(), details=details
    )


def commands_observe_end(*, tenant_id: uuid.UUID, run_id: uuid.UUID, status: str) -> None:
    """A run has ended: a cancel or a terminate that was asked for is observed, or has come too late."""
    asked = Command.objects.filter(
        tenant_id=tenant_id,
        run_id=run_id,
        action__in=ENDS.values(),
        state__in=UNOBSERVED,
    )
    asked.filter(action=ENDS.get(status)).update(state=CommandState.OBSERVED, observed_at=timezone.now())
    asked.exclude(state=CommandState.REQUESTED).update(
        state=CommandState.FAILED,
        code="WORKFLOW_RUN_CLOSED",
        message=f"the run ended as {status} before the request reached it",
    )


ENDS: dict[str, CommandAction] = {
    RunStatus.CANCELED: CommandAction.CANCEL,
    RunStatus.TERMINATED: CommandAction.TERMINATE,
}

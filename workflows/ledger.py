"""Command ledger: the only writer of `workflow_commands`, and its state machine.

The row of a command is committed before the portal sends a request to Temporal. So even a command that fails later
leaves a trace. The database refuses every state change that `models.commands.TRANSITIONS` does not allow.

Verbs:
- `command_open` writes the row, in state `requested`.
- `command_finish` and `command_refuse` write the outcome after the effect, in a separate commit.
- `commands_finish_in_transaction` writes the outcome in the transaction that makes the change.
- `command_transaction` does all of this for a command that changes only this database.
- `command_progress` records a command of many transactions, `command_advance` one of many slices of work.
- `command_resolve_unknown` is for the reconciler.
- `commands_observe_*` record effects that the run itself has confirmed.

Source: docs/reference/authority.md#command-ledger
"""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, PortalError
from workflows.models import Command, EventDelivery, Run
from workflows.redaction import redact, rules_of
from workflows.statuses import CommandAction, CommandState, DeliveryStatus, RunStatus

NOT_CARRIED_OUT = "NOT_CARRIED_OUT"
INTERNAL_ERROR = "INTERNAL_ERROR"
INTERNAL_ERROR_MESSAGE = "the portal failed because of a bug; an operator must read the log"
UNOBSERVED = (CommandState.REQUESTED, CommandState.ACCEPTED, CommandState.UNKNOWN)
RUN_OF_COMMAND = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a11")
CHANGES_OF_SCHEDULE = (CommandAction.EDIT_SCHEDULE, CommandAction.PAUSE_SCHEDULE, CommandAction.RESUME_SCHEDULE)
COMMAND_OF_END: dict[str, CommandAction] = {
    RunStatus.CANCELED: CommandAction.CANCEL,
    RunStatus.TERMINATED: CommandAction.TERMINATE,
}


# -- Open and finish a command ----------------------------------------------------------------------------------------


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
    """Write a new row in state `requested`.

    `parent` is the command for many targets, if this command belongs to such a command.
    Errors: IntegrityError if the actor has used the idempotency key before.
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


def command_finish(
    command: Command,
    state: CommandState,
    *,
    code: str = "",
    message: str = "",
    details: dict[str, Any] | None = None,
    http_status: int | None = None,
) -> None:
    """Write the outcome of a command after its effect.

    If the run has already recorded an outcome, keep this outcome.
    """
    now = timezone.now()
    changes = _outcome(state, now, code=code, message=message, details=details, http_status=http_status)
    moved = Command.objects.filter(id=command.id, state=CommandState.REQUESTED).update(**changes)
    if not moved:
        Command.objects.filter(id=command.id, decided_at__isnull=True).update(decided_at=now)
    command.refresh_from_db()


def commands_finish_in_transaction(
    commands: Collection[Command],
    state: CommandState,
    *,
    code: str = "",
    message: str = "",
    details: dict[str, Any] | None = None,
    http_status: int | None = None,
) -> None:
    """Write the outcome of commands inside the transaction that changes their targets: both are committed, or neither.

    Errors: Conflict if a command already has an outcome. The reconciler has then given up the command and recorded that
    nothing was changed. So the caller must roll back.
    """
    ids = [command.id for command in commands]
    changes = _outcome(state, timezone.now(), code=code, message=message, details=details, http_status=http_status)
    moved = Command.objects.filter(id__in=ids, state=CommandState.REQUESTED).update(**changes) if ids else 0
    if moved != len(ids):
        raise Conflict(
            "the request took too long and was given up; nothing was changed; send it again",
            code="REQUEST_GIVEN_UP",
        )


def _outcome(state: CommandState, now: datetime, **fields: Any) -> dict[str, Any]:
    observed = {"observed_at": now} if state == CommandState.OBSERVED else {}
    return {"state": state, "decided_at": now, **fields, **observed}


def command_refuse(command: Command, error: PortalError, state: CommandState = CommandState.REFUSED) -> PortalError:
    """Write an error as the outcome of a command.

    Add the command's id to the error, and return the error to be raised.
    """
    command_finish(
        command, state, code=error.code, message=error.message, details=error.details, http_status=error.status
    )
    error.details = {**error.details, "commandId": str(command.id)}
    return error


@contextmanager
def command_failures_recorded(commands: Collection[Command]) -> Iterator[None]:
    """If the block raises an exception, write it as the outcome of these commands and raise it again.

    A PortalError means that the commands were refused. Any other exception is a bug, and the commands failed.
    """
    try:
        yield
    except PortalError as error:
        for command in commands:
            command_refuse(command, error)
        raise
    except Exception:
        for command in commands:
            command_finish(
                command, CommandState.FAILED, code=INTERNAL_ERROR, message=INTERNAL_ERROR_MESSAGE, http_status=500
            )
        raise


@contextmanager
def command_transaction(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    reason: str = "",
    payload: Any = None,
) -> Iterator[Command]:
    """Record a command that changes only rows of this database. The block and the outcome are one transaction.

    If the process is killed, the row stays `requested`, and the command has changed nothing. The block may set
    `command.details`. Do not open a transaction around this block, because a rollback would remove the row of a
    refusal.
    """
    command = command_open(
        actor=actor, action=action, target_type=target_type, target_id=target_id, reason=reason, payload=payload
    )
    with command_failures_recorded([command]), transaction.atomic():
        yield command
        commands_finish_in_transaction([command], CommandState.OBSERVED, details=command.details)


def command_progress(command: Command, details: dict[str, Any]) -> None:
    """Record what a command of many transactions has done so far. Call it in the transaction of each part.

    Each part is final when it is committed, so the command is `observed` from its first part on.
    """
    now = timezone.now()
    Command.objects.filter(id=command.id).update(
        state=CommandState.OBSERVED, decided_at=Coalesce("decided_at", now), observed_at=now, details=details
    )


def command_advance(
    command: Command, details: dict[str, Any], *, state: CommandState = CommandState.ACCEPTED, **outcome: Any
) -> bool:
    """Record the progress or the end of an accepted command. `details` have the time of the progress as `at`.

    Return False if another process has recorded progress after the command was read. The caller then stops, because
    the other process continues.
    """
    accepted = Command.objects.filter(id=command.id, state=CommandState.ACCEPTED)
    as_read = accepted.alias(progress_at=KeyTextTransform("at", "details")).filter(progress_at=command.details["at"])
    observed = {"observed_at": timezone.now()} if state == CommandState.OBSERVED else {}
    return bool(as_read.update(state=state, details=details, **observed, **outcome))


def command_resolve_unknown(command: Command, state: CommandState, *, message: str) -> bool:
    """Move a command from an unknown outcome to observed or failed. Return False if its state changed after the read.

    A failed command gets a code. A repeat with its idempotency key is then refused with the same message.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"state": state, "message": message, "decided_at": Coalesce("decided_at", now)}
    if state == CommandState.OBSERVED:
        changes |= {"code": "", "observed_at": now}
    else:
        changes["code"] = Case(When(code="", then=Value(NOT_CARRIED_OUT)), default=F("code"))
    return bool(Command.objects.filter(id=command.id, state=command.state).update(**changes))


def target_name(text: Any) -> str:
    """Return the target of an unchecked request as text that the ledger can store: at most 200 valid characters."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:200]


# -- Effects that were confirmed --------------------------------------------------------------------------------------


def run_id_of_replay(command_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the run that a replay starts.

    The id follows from the command, so a repeat starts no second run.
    """
    return uuid.uuid5(RUN_OF_COMMAND, str(command_id))


def commands_observe_start(run: Run) -> None:
    """Mark the start or replay that created this run as observed. Call it when the run's first records are written."""
    open_commands = Command.objects.filter(tenant_id=run.tenant_id, state__in=UNOBSERVED)
    found = Q(action=CommandAction.START_RUN, target_id=str(run.id))
    if run.replay_of_id is not None:
        replays = open_commands.filter(action=CommandAction.REPLAY, run_id=run.replay_of_id)
        ids = [pk for pk in replays.values_list("id", flat=True) if run_id_of_replay(pk) == run.id]
        found |= Q(id__in=ids)
    open_commands.filter(found).update(state=CommandState.OBSERVED, observed_at=timezone.now())


def commands_observe_schedule(*, tenant_id: uuid.UUID, schedule_id: uuid.UUID, until: datetime) -> None:
    """Mark the changes of a schedule as observed. Call it when Temporal was seen to have the schedule as its row says.

    `until` is the time of the row's last change. Later commands are not in the row that was compared.
    """
    Command.objects.filter(
        tenant_id=tenant_id,
        action__in=CHANGES_OF_SCHEDULE,
        target_id=str(schedule_id),
        state=CommandState.ACCEPTED,
        requested_at__lte=until,
    ).update(state=CommandState.OBSERVED, observed_at=timezone.now())


def commands_observe_end(*, tenant_id: uuid.UUID, run_id: uuid.UUID, status: str) -> None:
    """Mark the cancel or terminate that ended a run as observed.

    Mark other such commands, which came too late, as failed.
    """
    ends = Command.objects.filter(
        tenant_id=tenant_id, run_id=run_id, action__in=COMMAND_OF_END.values(), state__in=UNOBSERVED
    )
    ends.filter(action=COMMAND_OF_END.get(status)).update(state=CommandState.OBSERVED, observed_at=timezone.now())
    ends.exclude(state=CommandState.REQUESTED).update(
        state=CommandState.FAILED,
        code="WORKFLOW_RUN_CLOSED",
        message=f"the run ended as {status} before the request reached it",
    )


def commands_observe_task(*, tenant_id: uuid.UUID, command_id: str) -> None:
    """Mark the completion of a human task as observed. Call it when the workflow has recorded its response."""
    Command.objects.filter(
        tenant_id=tenant_id, id=command_id, action=CommandAction.COMPLETE_TASK, state__in=UNOBSERVED
    ).update(state=CommandState.OBSERVED, observed_at=timezone.now())


def completion_key(delivery_id: uuid.UUID) -> str:
    """Return the idempotency key for a human task that an event completes.

    The key is for the ledger row of this completion.
    """
    return f"delivery:{delivery_id}"


def command_decide_completion(delivery: EventDelivery) -> None:
    """Write the workflow's verdict on an event to the ledger.

    The row records the completion that the event requested.
    """
    found = Command.objects.filter(
        tenant_id=delivery.tenant_id,
        target_id=str(delivery.wait_id),
        idempotency_key__startswith=completion_key(delivery.id),
        state__in=UNOBSERVED,
    )
    now = timezone.now()
    decided = Coalesce("decided_at", now)
    if delivery.status == DeliveryStatus.MATCHED:
        found.update(state=CommandState.OBSERVED, observed_at=now, decided_at=decided)
    else:
        is_late = delivery.status == DeliveryStatus.LATE
        code = "TASK_NOT_OPEN" if is_late else "TASK_RESPONSE_INVALID"
        found.update(state=CommandState.FAILED, code=code, message=delivery.reason, decided_at=decided)


def command_observe_bulk_end(*, command_id: uuid.UUID, details: dict[str, Any]) -> None:
    """Mark the command of a bulk job as observed, with the counts of its items.

    Call it when all items have an outcome.
    """
    Command.objects.filter(id=command_id, state__in=[CommandState.REQUESTED, CommandState.ACCEPTED]).update(
        state=CommandState.OBSERVED, observed_at=timezone.now(), details=details
    )

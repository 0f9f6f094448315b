"""`Idempotency-Key` of commands.

If a request is repeated with the same key and body, the first outcome is returned. A request with the same key and
another body is refused.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from workflows import ledger
from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, PortalError
from workflows.json_numbers import canonical_json
from workflows.ledger import command_failures_recorded, command_open
from workflows.models import Command, Run
from workflows.statuses import CommandAction, CommandState

MAX_IDEMPOTENCY_KEY_LENGTH = 200


@dataclass(frozen=True)
class CommandRequest:
    """Request and its ledger row.

    If the request is not new, the caller must return the row's outcome and change nothing.
    """

    command: Command
    is_new: bool


def command_request(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    run: Run | None = None,
    reason: str = "",
    payload: Any = None,
    idempotency_key: str = "",
    part_of: Command | None = None,
    also_hashed: Any = None,
) -> CommandRequest:
    """Write the ledger row of this request. If the request is a repeat, return the row of the first request.

    `part_of` is the command of the bulk job to which this request belongs. Only one worker at a time holds an item of a
    job. So if a row has no outcome, its worker was killed, and the request counts as new.

    `also_hashed` is a part of the request that the ledger must not store, for example a keyed hash of a secret.

    Errors: Conflict if the key was used for another request, or if the first request has no outcome yet. If the first
    request was refused, failed, or has an unknown outcome, its stored error is raised again.
    """
    if len(idempotency_key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InputInvalid(
            f"the Idempotency-Key is longer than {MAX_IDEMPOTENCY_KEY_LENGTH} characters; send a shorter key"
        )
    parts = [action, target_type, target_id if action != CommandAction.START_RUN else "", reason, payload]
    request_hash = _hash(parts if also_hashed is None else [*parts, also_hashed])
    try:
        command = command_open(
            actor=actor,
            action=action,
            target_type=target_type,
            target_id=target_id,
            run=run,
            reason=reason,
            payload=payload,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            parent=part_of,
        )
    except IntegrityError:
        earlier = _earlier(actor, idempotency_key, request_hash, may_continue=part_of is not None)
        return CommandRequest(earlier, is_new=earlier.state == CommandState.REQUESTED)
    return CommandRequest(command, is_new=True)


def _earlier(actor: Actor, idempotency_key: str, request_hash: str, *, may_continue: bool) -> Command:
    command = Command.objects.get(
        tenant_id=actor.tenant_id, actor_type=actor.kind, actor_id=actor.id, idempotency_key=idempotency_key
    )
    if command.request_hash != request_hash:
        raise Conflict(
            "this Idempotency-Key was used for another request; send a new key",
            code="IDEMPOTENCY_KEY_REUSED",
            details={"commandId": str(command.id)},
        )
    if command.state == CommandState.REQUESTED and not may_continue:
        raise Conflict(
            "the first request with this Idempotency-Key has no outcome yet; repeat the request in a moment",
            code="IDEMPOTENCY_IN_FLIGHT",
            details={"commandId": str(command.id)},
        )
    if command.code and command.state in (CommandState.REFUSED, CommandState.FAILED, CommandState.UNKNOWN):
        raise error_of(command)
    return command


def error_of(command: Command) -> PortalError:
    """Return the error with which the request in this ledger row ended."""
    error = Conflict(
        command.message, code=command.code, details={**(command.details or {}), "commandId": str(command.id)}
    )
    error.status = command.http_status or error.status
    return error


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical_json(value, default=str).encode()).hexdigest()


def command_was_done(*, actor: Actor, idempotency_key: str) -> bool:
    """Return True if a request of this actor with this key was carried out."""
    done = Command.objects.filter(
        tenant_id=actor.tenant_id, actor_type=actor.kind, actor_id=actor.id, idempotency_key=idempotency_key
    )
    return done.filter(state__in=[CommandState.ACCEPTED, CommandState.OBSERVED]).exists()


class CommandRepeated(PortalError):
    """The request is a repeat. The first request changed only this database and was carried out.

    The caller must change nothing.
    """

    status = 409
    code = "IDEMPOTENCY_REPEATED"

    def __init__(self, command: Command) -> None:
        super().__init__("this request was carried out before; nothing was changed again; no action is needed")
        self.command = command


@contextmanager
def keyed_command_transaction(
    *,
    actor: Actor,
    action: CommandAction,
    target_type: str,
    target_id: str,
    run: Run | None = None,
    reason: str = "",
    payload: Any = None,
    idempotency_key: str = "",
    also_hashed: Any = None,
) -> Iterator[Command]:
    """Record a command with an idempotency key.

    The command changes only rows of this database, as in `ledger.command_transaction`.

    Errors: CommandRepeated if the request with this key was carried out; the errors of `command_request`.
    """
    request = command_request(
        actor=actor,
        action=action,
        target_type=target_type,
        target_id=target_id,
        run=run,
        reason=reason,
        payload=payload,
        idempotency_key=idempotency_key,
        also_hashed=also_hashed,
    )
    command = request.command
    if not request.is_new:
        raise CommandRepeated(command)
    with command_failures_recorded([command]), transaction.atomic():
        yield command
        ledger.commands_finish_in_transaction([command], CommandState.OBSERVED, details=command.details)

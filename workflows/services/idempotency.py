"""`Idempotency-Key` on requests for change: the same key and body give the same answer, another body is a conflict."""

import hashlib
import json
from typing import Any

from django.db import IntegrityError

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, PortalError
from workflows.ledger import command_open
from workflows.models import Command, Run
from workflows.statuses import CommandAction, CommandState

MAX_IDEMPOTENCY_KEY_LENGTH = 200


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
) -> tuple[Command, bool]:
    """The ledger row of this request, and whether it is new. A repeat gives the first request's row.

    `part_of` is the request for many that this one belongs to. Whoever repeats such a part knows that nobody works on it any
    more: a row without an outcome is taken up where its worker was killed, as if it were new.

    Errors: Conflict for a key that was used for something else, or whose first request has no outcome yet; the stored
    refusal when the first request was refused.
    """
    if len(idempotency_key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InputInvalid(f"Idempotency-Key is longer than {MAX_IDEMPOTENCY_KEY_LENGTH} characters")
    request_hash = _hash([action, target_type, target_id if action != CommandAction.START_RUN else "", reason, payload])
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
        earlier = _earlier(actor, idempotency_key, request_hash, may_take_up=part_of is not None)
        return earlier, earlier.state == CommandState.REQUESTED
    return command, True


def _earlier(actor: Actor, idempotency_key: str, request_hash: str, *, may_take_up: bool) -> Command:
    command = Command.objects.get(
        tenant_id=actor.tenant_id, actor_type=actor.kind, actor_id=actor.id, idempotency_key=idempotency_key
    )
    if command.request_hash != request_hash:
        raise Conflict(
            "this Idempotency-Key was used for another request; use a new key",
            code="IDEMPOTENCY_KEY_REUSED",
            details={"commandId": str(command.id)},
        )
    if command.state == CommandState.REQUESTED and not may_take_up:
        raise Conflict(
            "the first request with this Idempotency-Key has no outcome yet; ask again in a moment",
            code="IDEMPOTENCY_IN_FLIGHT",
            details={"commandId": str(command.id)},
        )
    if command.code and command.state in (CommandState.REFUSED, CommandState.FAILED, CommandState.UNKNOWN):
        raise refusal_of(command)
    return command


def refusal_of(command: Command) -> PortalError:
    """The error that a refused command answered, from its row."""
    error = Conflict(
        command.message, code=command.code, details={**(command.details or {}), "commandId": str(command.id)}
    )
    error.status = command.http_status or error.status
    return error


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

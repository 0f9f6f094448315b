"""Services of the dead-letter inbox. They redeliver or discard deliveries that reached their attempt limit.

- Each requested delivery becomes a command in the ledger. The commands are committed before any change, so that a
  refusal or an error is recorded too.
- The outcomes of the commands are committed together with the changes. If the process is killed before this commit, the
  command stays `requested` and nothing has changed. The reconciler then records that the command failed.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from ingress.dead_letters.selectors import UNKNOWN, deliveries_forecast, not_dead
from ingress.dispatch.delivery import KEPT_ATTEMPTS
from workflows.actors import Actor
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import Conflict, InputInvalid
from workflows.event_outcomes import deliveries_changing
from workflows.ledger import command_failures_recorded, command_open, commands_finish_in_transaction
from workflows.models import Command, Event, EventDelivery
from workflows.models.statements import update_rows
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState, DeliveryStatus, Role

MAX_DELIVERIES = 500
_DONE = {CommandAction.REDELIVER: "redelivered", CommandAction.DISCARD: "discarded"}
_CHANGED = [
    "status", "reason", "decided_at", "failures", "next_attempt_at", "claimed_until", "held_since", "attempt_log",
]  # fmt: skip


@dataclass
class DeadLetterResult:
    """Result of a request for dead deliveries.

    Shapes: `results` has `{id, result, code, message}` for each id, in the order of the request. In a dry run, each
    entry also has `forecast`. `result` is `redelivered`, `discarded`, `would_redeliver` or `refused`. `counts` has the
    number of entries for each result and for each code.
    """

    dry_run: bool
    results: list[dict[str, Any]] = field(default_factory=list)

    def as_body(self) -> dict[str, Any]:
        return {"dry_run": self.dry_run, "counts": self.counts(), "results": self.results}

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for item in self.results:
            names = [item["result"], item["code"]]
            if "forecast" in item:
                names.append(f"forecast_{item['forecast']['status']}")
            for name in filter(None, names):
                counts[name] = counts.get(name, 0) + 1
        return counts


def deliveries_redeliver(
    *,
    actor: Actor,
    delivery_ids: Sequence[uuid.UUID],
    dry_run: bool = False,
    reason: str = "",
    idempotency_key: str = "",
) -> dict[str, Any]:
    """Make dead deliveries pending again. A dry run returns a forecast for each delivery and writes nothing.

    Shapes: `DeadLetterResult.as_body`.
    Errors: PermissionRefused; InputInvalid if there are no ids or too many. If one delivery is refused, this is a
    result and not an error.
    """
    ids = _unique_ids(actor, CommandAction.REDELIVER, delivery_ids)
    if dry_run:
        actor.require(Role.OPERATOR, to="redeliver events")
        return DeadLetterResult(True, deliveries_forecast(tenant_id=actor.tenant_id, delivery_ids=ids)).as_body()
    return _request(actor, CommandAction.REDELIVER, ids, reason, idempotency_key)


def deliveries_discard(
    *, actor: Actor, delivery_ids: Sequence[uuid.UUID], reason: str, idempotency_key: str = ""
) -> dict[str, Any]:
    """Discard dead deliveries with a reason. Shapes and errors are the same as in `deliveries_redeliver`."""
    ids = _unique_ids(actor, CommandAction.DISCARD, delivery_ids)
    if not reason.strip():
        require_deliveries_role(actor=actor, action=CommandAction.DISCARD)
        raise InputInvalid(
            "A reason is required to discard deliveries.", details={"fields": {"reason": ["must not be empty"]}}
        )
    return _request(actor, CommandAction.DISCARD, ids, reason.strip(), idempotency_key)


def require_deliveries_role(*, actor: Actor, action: CommandAction) -> None:
    """Check the role before errors in the request are reported.

    Errors: PermissionRefused; the denied attempt is recorded in the ledger.
    """
    require_role(
        actor=actor, needs=Role.OPERATOR, to=f"{action} events", action=action, target_type="deliveries"
    )  # fmt: skip


def _unique_ids(actor: Actor, action: CommandAction, delivery_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    ids = list(dict.fromkeys(delivery_ids))
    if not 1 <= len(ids) <= MAX_DELIVERIES:
        require_deliveries_role(actor=actor, action=action)
        raise InputInvalid(
            f"The request names {len(ids)} deliveries. Between 1 and {MAX_DELIVERIES} are allowed.",
            code="DELIVERIES_COUNT_INVALID",
            details={"maximum": MAX_DELIVERIES, "asked": len(ids)},
        )
    return ids


def _request(
    actor: Actor, action: CommandAction, ids: list[uuid.UUID], reason: str, idempotency_key: str
) -> dict[str, Any]:
    """Carry out a request.

    If the request has an idempotency key, one more command stores the key and the response. A repeat returns this
    response.
    """
    if not idempotency_key:
        return _carry_out(actor, action, ids, reason, request=None)
    request = command_request(
        actor=actor,
        action=action,
        target_type="deliveries",
        target_id=f"{len(ids)} deliveries",
        reason=reason,
        payload={"ids": [str(item) for item in ids]},
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return dict(command.details or {})
    with command_failures_recorded([command]):
        return _carry_out(actor, action, ids, reason, request=command)


def _carry_out(
    actor: Actor, action: CommandAction, ids: list[uuid.UUID], reason: str, *, request: Command | None
) -> dict[str, Any]:
    """Change the deliveries and return the response body.

    `request` is the command of the whole request. The response is stored in this command, in the same transaction that
    changes the deliveries.
    """
    known = EventDelivery.objects.filter(tenant_id=actor.tenant_id, id__in=ids)
    rows = {row.id: row for row in known.select_related("run").only("id", "event_id", "run__id")}
    commands = _open_commands(actor, action, [rows[item] for item in ids if item in rows], reason)
    with command_failures_recorded(commands.values()):
        actor.require(Role.OPERATOR, to=f"{action} events")
        with transaction.atomic():
            statuses = _change(actor, action, list(rows.values()), reason)
            _finish_commands(commands, statuses)
            results = [_result(item, action, commands.get(item), statuses.get(item)) for item in ids]
            body = DeadLetterResult(False, results).as_body()
            if request is not None:
                commands_finish_in_transaction([request], CommandState.OBSERVED, details=body)
    return body


def _open_commands(
    actor: Actor, action: CommandAction, rows: list[EventDelivery], reason: str
) -> dict[uuid.UUID, Command]:
    with transaction.atomic():  # commit all commands before any change
        return {
            row.id: command_open(
                actor=actor, action=action, target_type="delivery", target_id=str(row.id), run=row.run, reason=reason
            )
            for row in rows
        }


def _change(actor: Actor, action: CommandAction, rows: list[EventDelivery], reason: str) -> dict[uuid.UUID, str]:
    """Change the dead deliveries. Return the status that each delivery had before."""
    now = timezone.now()
    by = f"{_DONE[action]} by {actor.name}" + (f": {reason}" if reason else "")
    with deliveries_changing(
        Event.objects.filter(tenant_id=actor.tenant_id, id__in={row.event_id for row in rows})
    ) as events:
        found = list(EventDelivery.objects.filter(event__in=events, id__in=[row.id for row in rows]))
        statuses = {row.id: row.status for row in found}
        dead = [row for row in found if row.status == DeliveryStatus.DEAD]
        for row in dead:
            entry = {"at": now.isoformat(), "attempt": row.attempts, "outcome": _DONE[action], "reason": by[:500]}
            row.attempt_log = [*row.attempt_log, entry][-KEPT_ATTEMPTS:]
            row.reason = by[:500]
            row.claimed_until = row.held_since = None
            if action == CommandAction.REDELIVER:
                row.status, row.decided_at, row.failures, row.next_attempt_at = DeliveryStatus.PENDING, None, 0, now
            else:
                row.status, row.decided_at = DeliveryStatus.DISCARDED, now
        update_rows(dead, _CHANGED)
        if dead and action == CommandAction.REDELIVER:
            notify_dispatcher_on_commit(actor.tenant_id)
    return statuses


def _finish_commands(commands: dict[uuid.UUID, Command], statuses: dict[uuid.UUID, str]) -> None:
    """Write the outcome of each command, with one statement per outcome. A deleted delivery counts as refused."""
    groups: dict[str | None, list[Command]] = {}
    for delivery_id, command in commands.items():
        groups.setdefault(statuses.get(delivery_id), []).append(command)
    for status, group in groups.items():
        if status == DeliveryStatus.DEAD:
            commands_finish_in_transaction(group, CommandState.OBSERVED)
        else:
            refusal = _refusal(status)
            commands_finish_in_transaction(
                group, CommandState.REFUSED, code=refusal["code"], message=refusal["message"], details={},
                http_status=Conflict.status,
            )  # fmt: skip


def _result(
    delivery_id: uuid.UUID, action: CommandAction, command: Command | None, status: str | None
) -> dict[str, Any]:
    result: dict[str, Any] = {"id": str(delivery_id), "result": _DONE[action], "code": None, "message": None}
    if command is not None:
        result["command_id"] = str(command.id)
    return result if status == DeliveryStatus.DEAD else {**result, **_refusal(status)}


def _refusal(status: str | None) -> dict[str, str]:
    return UNKNOWN if status is None else not_dead(status)

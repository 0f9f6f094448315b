"""Changes of one definition: the row lock, the ledger row with the state before and after, and what follows a change.

Every change of the life cycle goes through `definition_change` or `definition_creation`. Whatever must follow a change
belongs in `definition_followed_up`.

Source: docs/reference/administration.md#definition-life-cycle
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction

from workflows.actors import Actor
from workflows.concurrency import held_starts_wake
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import Command, Definition
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.services.schedules.follow import schedules_follow
from workflows.statuses import CommandAction, Role

MAX_REASON_LENGTH = 2000
# Columns whose change is recorded in the ledger, by their name in `details.before` and `details.after`.
RECORDED = {
    "draft_version": "draftVersion",
    "is_paused": "isPaused",
    "paused_reason": "pausedReason",
    "archived_at": "archivedAt",
    "deleted_at": "deletedAt",
    "owner": "owner",
    "contact": "contact",
    "runbook_url": "runbookUrl",
    "concurrency_limit": "concurrencyLimit",
    "concurrency": "concurrency",
    "auto_pause_on_failure": "autoPauseOnFailure",
    "failure_rate_threshold": "failureRateThreshold",
    "failure_rate_min_runs": "failureRateMinRuns",
}


@dataclass(frozen=True)
class Change:
    """Change in progress. The block may change the definition and set `command.details`."""

    definition: Definition
    command: Command


@contextmanager
def definition_change(
    *,
    actor: Actor,
    key: str,
    action: CommandAction,
    to: str,
    needs: Role | None = Role.AUTHOR,
    reason: str = "",
    payload: Any = None,
    idempotency_key: str = "",
) -> Iterator[Change]:
    """Record one change of a definition. The block runs with the row of the definition locked.

    At the end of the block, the definition is saved, and the ledger row gets the changed fields as `before` and
    `after`. `to` names the request in the message of a refusal, for example `pause definitions`. `needs` is None only
    for the portal itself.

    Errors: PermissionRefused; NotFound DEFINITION_NOT_FOUND; CommandRepeated; the errors of `command_request`.
    """
    with keyed_command_transaction(
        actor=actor,
        action=action,
        target_type="definition",
        target_id=target_name(key),
        reason=reason,
        payload=payload,
        idempotency_key=idempotency_key,
    ) as command:
        if needs is not None:
            actor.require(needs, to=to)
        require_reason_fits(reason)
        definition = _locked(actor.tenant_id, key)
        before = _recorded(definition)
        yield Change(definition, command)
        definition.save()
        after = _recorded(definition)
        changed = [name for name in after if after[name] != before[name]]
        command.details = {
            **(command.details or {}),
            "before": {name: before[name] for name in changed},
            "after": {name: after[name] for name in changed},
        }
        transaction.on_commit(partial(definition_followed_up, tenant_id=actor.tenant_id, definition_id=definition.id))


def definition_followed_up(*, tenant_id: uuid.UUID, definition_id: uuid.UUID) -> None:
    """Do the work that follows a change of a definition. It runs after the commit of the change.

    The changes are: create, settings, publish, roll back, pause, resume, archive, unarchive, delete. The row always
    exists. A deleted definition has `deleted_at` and is found with `Definition._base_manager`.

    Idempotency: the work depends only on the present row, so a repeat changes nothing. If the process is killed before
    this call, a periodic task must do the same work.
    """
    # A resume or a higher limit gives slots to held starts.
    held_starts_wake(tenant_id=tenant_id, definition_id=definition_id)
    # The schedules follow the published trigger and the pause. The periodic task is the reconciler of schedules.
    schedules_follow(definition_id=definition_id)


def definition_find(*, tenant_id: uuid.UUID, key: str) -> Definition:
    """Return the definition with this key. Errors: NotFound DEFINITION_NOT_FOUND, also for another tenant's key."""
    found = Definition.objects.select_related("published_version").filter(tenant_id=tenant_id, key=key)
    # PostgreSQL cannot compare with a text that it cannot store.
    definition = None if storable_problem(key) else found.first()
    if definition is None:
        raise _unknown(key)
    return definition


def require_definition_role(*, actor: Actor, key: str = "", action: CommandAction) -> None:
    """Refuse an actor who may not change definitions, or a key that does not exist.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused, and the attempt is recorded in the ledger; NotFound DEFINITION_NOT_FOUND.
    """
    require_role(
        actor=actor,
        needs=Role.AUTHOR,
        to="change definitions",
        action=action,
        target_type="definition",
        target_id=target_name(key),
    )
    if key:
        definition_find(tenant_id=actor.tenant_id, key=key)


def require_not_archived(definition: Definition) -> None:
    """Refuse a change of an archived definition. Errors: Conflict DEFINITION_ARCHIVED."""
    if definition.archived_at is not None:
        raise Conflict(
            f"{definition.key} is archived and cannot be changed; take it out of the archive first",
            code="DEFINITION_ARCHIVED",
        )


def require_reason(reason: str, *, to: str) -> None:
    """Refuse an empty reason. Errors: InputInvalid REASON_REQUIRED."""
    if not reason.strip():
        raise InputInvalid(f"a reason is required to {to}; send `reason`", code="REASON_REQUIRED")


def require_reason_fits(reason: str) -> None:
    """Refuse a reason that is too long to be stored with the definition. Errors: InputInvalid."""
    if len(reason) > MAX_REASON_LENGTH:
        raise InputInvalid(f"the reason is longer than {MAX_REASON_LENGTH} characters; shorten it")


def _locked(tenant_id: uuid.UUID, key: str) -> Definition:
    rows = Definition.objects.select_related("published_version").filter(tenant_id=tenant_id, key=key)
    definition = rows.select_for_update(no_key=True, of=("self",)).first()
    if definition is None:
        raise _unknown(key)
    return definition


def _unknown(key: str) -> NotFound:
    return NotFound(f"there is no definition {key[:200]!r} in this tenant", code="DEFINITION_NOT_FOUND")


def _recorded(definition: Definition) -> dict[str, Any]:
    version = definition.published_version
    values = {"publishedVersion": version.version if version else None}
    values |= {shown: getattr(definition, column) for column, shown in RECORDED.items()}
    return {
        name: value if isinstance(value, bool | int | float | None) else str(value) for name, value in values.items()
    }

"""Archive and deletion of definitions (docs/reference/administration.md#definition-life-cycle)."""

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict
from workflows.models import Definition
from workflows.services.definitions.changes import definition_change, require_reason
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction


def definition_archive(*, actor: Actor, key: str, reason: str, idempotency_key: str = "") -> Definition:
    """Archive a definition. It starts no more runs. Its held starts are skipped, and open runs continue.

    Errors: PermissionRefused, NotFound; InputInvalid REASON_REQUIRED; Conflict DEFINITION_ARCHIVED.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.ARCHIVE,
        to="archive definitions",
        reason=reason,
        idempotency_key=idempotency_key,
    ) as change:
        require_reason(reason, to="archive a definition")
        if change.definition.archived_at is not None:
            raise Conflict(f"{key} is archived already; nothing was changed", code="DEFINITION_ARCHIVED")
        change.definition.archived_at = timezone.now()
        return change.definition


def definition_unarchive(*, actor: Actor, key: str, reason: str, idempotency_key: str = "") -> Definition:
    """Take a definition out of the archive. Events start its published version again, unless it is paused.

    Errors: PermissionRefused, NotFound; InputInvalid REASON_REQUIRED; Conflict DEFINITION_NOT_ARCHIVED.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.UNARCHIVE,
        to="take definitions out of the archive",
        reason=reason,
        idempotency_key=idempotency_key,
    ) as change:
        require_reason(reason, to="take a definition out of the archive")
        if change.definition.archived_at is None:
            raise Conflict(f"{key} is not archived; nothing was changed", code="DEFINITION_NOT_ARCHIVED")
        change.definition.archived_at = None
        return change.definition


def definition_delete(*, actor: Actor, key: str, reason: str = "", idempotency_key: str = "") -> None:
    """Delete a definition. It disappears from all lists, and its key is free again. Its closed runs stay.

    Errors: PermissionRefused, NotFound; Conflict DEFINITION_HAS_OPEN_RUNS. An operator must wait for these runs, or
    cancel them.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.DELETE_DEFINITION,
        to="delete definitions",
        reason=reason,
        idempotency_key=idempotency_key,
    ) as change:
        definition = change.definition
        open_runs = definition.runs.filter(status__in=OPEN_RUN_STATUSES).count()
        if open_runs:
            raise Conflict(
                f"{key} has {open_runs} open run{'' if open_runs == 1 else 's'} and cannot be deleted; wait until the "
                "runs have ended, or cancel them",
                code="DEFINITION_HAS_OPEN_RUNS",
                details={"openRuns": open_runs},
            )
        definition.deleted_at = timezone.now()
        definition.archived_at = definition.archived_at or definition.deleted_at

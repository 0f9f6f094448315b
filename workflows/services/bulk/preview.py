"""The preview of a bulk job (docs/reference/screens.md#run-list): its set, frozen and counted, before anything is asked of anybody."""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from workflows.actors import Actor
from workflows.errors import InputInvalid
from workflows.ledger import command_failures_recorded, commands_finish_in_transaction
from workflows.models import BulkJob, Run
from workflows.models.fields import new_id
from workflows.services.bulk.actions import BULK_ACTIONS, set_asker
from workflows.services.bulk.freeze import items_freeze_ids, items_freeze_runs
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState

JOB_OF_KEY = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a12")
MIN_RATE, MAX_RATE = 0.1, 1000.0


def bulk_preview(
    *,
    actor: Actor,
    action: CommandAction,
    runs: QuerySet[Run] | None = None,
    ids: Sequence[uuid.UUID] | None = None,
    selection: dict[str, Any] | None = None,
    reason: str = "",
    rate_per_second: float | None = None,
    idempotency_key: str = "",
) -> BulkJob:
    """A job in state preview: its set is frozen, nothing is asked yet.

    Either `runs`, of which those of the actor's tenant count, with `selection` as the words for them; or `ids`.
    Errors: InputInvalid (no run, too many, rate), PermissionRefused.
    """
    if (runs is None) == (ids is None):
        raise InputInvalid("name either filters or ids")
    rate = settings.BULK_RATE_PER_SECOND if rate_per_second is None else rate_per_second
    if not MIN_RATE <= rate <= MAX_RATE:
        require_bulk_preview_role(actor=actor, action=action)
        raise InputInvalid(f"rate_per_second must be between {MIN_RATE} and {MAX_RATE:.0f}")
    named = list(dict.fromkeys(ids or ()))
    chosen = selection or {} if ids is None else _words_for(named)
    job_id = uuid.uuid5(JOB_OF_KEY, f"{actor.tenant_id} {actor.id} {idempotency_key}") if idempotency_key else new_id()
    asked = {"operation": "preview", "action": str(action), "selection": chosen, "rate_per_second": rate}
    command, is_new = command_request(
        actor=actor,
        action=CommandAction.BULK,
        target_type=TARGET,
        target_id=str(job_id),
        reason=reason,
        payload=asked,
        idempotency_key=idempotency_key,
    )
    if not is_new:
        return BulkJob.objects.get(tenant_id=actor.tenant_id, id=job_id)
    job = BulkJob(
        id=job_id, tenant_id=actor.tenant_id, action=action, reason=reason, selection=chosen, rate_per_second=rate
    )  # fmt: skip
    with command_failures_recorded([command]):
        actor.require(BULK_ACTIONS[action].needs, to=f"{action} runs")
        with transaction.atomic():
            _freeze(job, actor, runs, named)
            account = {"total": job.total, "counts": bulk_counts(job)}
            commands_finish_in_transaction([command], CommandState.OBSERVED, details=account)
    return job


def require_bulk_preview_role(*, actor: Actor, action: CommandAction = CommandAction.CANCEL) -> None:
    """For a request that cannot be taken as it was sent; without an action, for the one that needs the least.

    Errors: PermissionRefused; the denied attempt is recorded.
    """
    needs = BULK_ACTIONS[action].needs
    require_role(actor=actor, needs=needs, to=f"{action} runs", action=CommandAction.BULK, target_type=TARGET)


def _freeze(job: BulkJob, actor: Actor, runs: QuerySet[Run] | None, ids: list[uuid.UUID]) -> None:
    most = settings.BULK_MAX_RUNS
    if len(ids) > most:
        raise _too_many(most)
    set_asker(job, actor, None)
    job.save(force_insert=True)
    job.total = items_freeze_ids(job=job, ids=ids) if runs is None else items_freeze_runs(
        job=job, runs=runs, most=most + 1
    )  # fmt: skip
    if job.total > most:
        raise _too_many(most)
    if not job.total:
        raise InputInvalid("no run is chosen by this", code="BULK_NO_RUNS")
    job.save(update_fields=["total"])


def _too_many(most: int) -> InputInvalid:
    return InputInvalid(
        f"more than {most} runs are chosen, which is the limit of one job; narrow the filters",
        code="BULK_TOO_MANY_RUNS",
        details={"limit": most},
    )


def _words_for(ids: list[uuid.UUID]) -> dict[str, Any]:
    """The items have the ids themselves."""
    return {"ids": len(ids), "sha256": hashlib.sha256("".join(map(str, ids)).encode()).hexdigest()}

"""Preview of a bulk job. The selected runs are frozen and counted.

No request is sent (docs/reference/screens.md#run-list).
"""

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
from workflows.services.bulk.actions import BULK_ACTIONS, set_requester
from workflows.services.bulk.freeze import items_freeze_ids, items_freeze_runs
from workflows.services.bulk.preview_facts import preview_facts_freeze
from workflows.services.bulk.selection import refuse_unintended_all, selection_of_ids
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState, ReplayVersion

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
    all_runs: bool = False,
    replay_version: ReplayVersion | str = ReplayVersion.PINNED,
    allow_another_run: bool = False,
    incident_id: uuid.UUID | None = None,
    idempotency_key: str = "",
) -> BulkJob:
    """Create a job in state preview and freeze the selected runs. No request is sent yet.

    Give either `ids`, or `runs` with their description in `selection`. Runs of other tenants are ignored. Set
    `all_runs` if the requester explicitly chose all runs without a filter. `replay_version` and `allow_another_run` are
    options of a replay.

    Errors: PermissionRefused; InputInvalid (no run, too many runs, all runs not confirmed, rate).
    """
    if (runs is None) == (ids is None):
        raise InputInvalid("choose the runs either by filters or by ids, not by both")
    rate = settings.BULK_RATE_PER_SECOND if rate_per_second is None else rate_per_second
    if not MIN_RATE <= rate <= MAX_RATE:
        require_bulk_preview_role(actor=actor, action=action)
        raise InputInvalid(f"rate_per_second must be between {MIN_RATE} and {MAX_RATE:.0f}")
    unique_ids = list(dict.fromkeys(ids or ()))
    chosen = (selection or {}) | ({} if ids is None else selection_of_ids(unique_ids))
    job_id = uuid.uuid5(JOB_OF_KEY, f"{actor.tenant_id} {actor.id} {idempotency_key}") if idempotency_key else new_id()
    request = command_request(
        actor=actor,
        action=CommandAction.BULK,
        target_type=TARGET,
        target_id=str(job_id),
        reason=reason,
        payload={"operation": "preview", "action": str(action), "selection": chosen, "rate_per_second": rate}
        | ({"all_runs": True} if all_runs else {})
        | ({} if replay_version == ReplayVersion.PINNED else {"replay_version": str(replay_version)})
        | ({"allow_another_run": True} if allow_another_run else {}),
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return BulkJob.objects.get(tenant_id=actor.tenant_id, id=job_id)
    job = BulkJob(
        id=job_id,
        tenant_id=actor.tenant_id,
        action=action,
        reason=reason,
        selection=chosen,
        rate_per_second=rate,
        replay_version=replay_version,
        allows_another_run=allow_another_run,
        incident_id=incident_id,
    )
    with command_failures_recorded([command]):
        actor.require(BULK_ACTIONS[action].needs, to=f"{action} runs")
        with transaction.atomic():
            _freeze(job, actor, runs, unique_ids)
            refuse_unintended_all(chosen, job.total, all_runs=all_runs)
            details = {"total": job.total, "counts": bulk_counts(job)}
            commands_finish_in_transaction([command], CommandState.OBSERVED, details=details)
    return job


def require_bulk_preview_role(*, actor: Actor, action: CommandAction = CommandAction.CANCEL) -> None:
    """Refuse an actor who may not preview this action.

    Call this function before errors in the request are reported.

    If there is no action, the function checks the role for cancel. This is the lowest role that any action needs.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    needs = BULK_ACTIONS[action].needs
    require_role(actor=actor, needs=needs, to=f"{action} runs", action=CommandAction.BULK, target_type=TARGET)


def _freeze(job: BulkJob, actor: Actor, runs: QuerySet[Run] | None, ids: list[uuid.UUID]) -> None:
    most = settings.BULK_MAX_RUNS
    if len(ids) > most:
        raise _too_many(most)
    set_requester(job, actor, None)
    job.save(force_insert=True)
    if runs is None:
        job.total = items_freeze_ids(job=job, ids=ids)
    else:
        job.total = items_freeze_runs(job=job, runs=runs, most=most + 1)
    if job.total > most:
        raise _too_many(most)
    if not job.total:
        raise InputInvalid("no run matches; change the filters or the ids", code="BULK_NO_RUNS")
    job.preview = preview_facts_freeze(job)
    job.save(update_fields=["total", "preview"])


def _too_many(most: int) -> InputInvalid:
    return InputInvalid(
        f"more than {most} runs match, and one job may have {most}; narrow the filters",
        code="BULK_TOO_MANY_RUNS",
        details={"limit": most},
    )

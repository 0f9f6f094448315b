"""Bulk jobs (docs/reference/screens.md#run-list): a frozen set of runs, shown before anything is asked, then worked off at a rate, with a result each.

Here is what people ask of a job after its preview (`bulk_preview`). Each request is checked by the role that the action needs for one run, and is a row of the
ledger with the job as its target; `bulk_work` does the work. The row of the start (or of a retry after the end) is the parent
of the items' own rows, accepted while the job works and observed, with the account, when it has ended.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.actors import Actor
from workflows.dispatch_notification import notify_bulk_dispatcher
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import command_failures_recorded, commands_finish_in_transaction
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk.actions import BULK_ACTIONS, set_asker
from workflows.services.bulk.outcomes import PASSING_CODES
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.services.bulk.work import job_end_if_over
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState


def bulk_start(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """The job, running. `reason` replaces that of the preview; every item's request carries it, and the actor's name.

    Errors: NotFound, PermissionRefused, InputInvalid without a reason where one is needed, Conflict.
    """

    def start(job: BulkJob, command: Command) -> None:
        job.reason = reason or job.reason
        if BULK_ACTIONS[job.action].needs_reason and not job.reason.strip():
            raise InputInvalid("runs are terminated only with a reason, for whoever asks later", code="REASON_REQUIRED")
        if not _pending(job).exists():
            raise Conflict("none of the runs is eligible; nothing was asked", code="BULK_NOTHING_TO_DO")
        set_asker(job, actor, command)
        job.state, job.started_at, job.next_slice_at = BulkState.RUNNING, timezone.now(), timezone.now()

    return _changed(actor, job_id, "start", [BulkState.PREVIEW], start, reason, idempotency_key)


def bulk_pause(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """The job, paused: the request that is under way at this moment is the last."""

    def pause(job: BulkJob, command: Command) -> None:
        job.state, job.next_slice_at = BulkState.PAUSED, None

    return _changed(actor, job_id, "pause", [BulkState.RUNNING], pause, reason, idempotency_key)


def bulk_resume(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    def resume(job: BulkJob, command: Command) -> None:
        job.state, job.next_slice_at = BulkState.RUNNING, timezone.now()

    return _changed(actor, job_id, "resume", [BulkState.PAUSED], resume, reason, idempotency_key)


def bulk_stop(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """The job, stopped for good: what was not asked is never asked. Requests under way still get their result."""

    def stop(job: BulkJob, command: Command) -> None:
        untouched = _pending(job).filter(claimed_until__isnull=True)
        untouched.update(state=BulkItemState.STOPPED, decided_at=timezone.now())
        held = _pending(job).order_by("-claimed_until").values_list("claimed_until", flat=True).first()
        job.state, job.next_slice_at = BulkState.STOPPED, held

    stoppable = [BulkState.PREVIEW, BulkState.RUNNING, BulkState.PAUSED]
    return _changed(actor, job_id, "stop", stoppable, stop, reason, idempotency_key)


def bulk_retry_failures(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """The job, running again where it had ended, with what failed pending: failed, unknown, and refused for Temporal's sake.

    What turned out to be accepted meanwhile becomes that. A replay of which nobody knows whether it started a run stays
    unknown: asking again could start a second one.
    """

    def retry(job: BulkJob, command: Command) -> None:
        _items(
            job, state=BulkItemState.UNKNOWN, command__state__in=[CommandState.ACCEPTED, CommandState.OBSERVED]
        ).update(state=BulkItemState.ACCEPTED, code="", message="")
        if not bulk_failures(job).update(state=BulkItemState.PENDING, decided_at=None, claimed_until=None):
            raise Conflict("nothing failed that could be asked again", code="BULK_NOTHING_TO_RETRY")
        if job.state == BulkState.DONE:
            set_asker(job, actor, command)
            job.state, job.ended_at, job.next_slice_at = BulkState.RUNNING, None, timezone.now()

    states = [BulkState.RUNNING, BulkState.PAUSED, BulkState.DONE]
    return _changed(actor, job_id, "retry_failures", states, retry, reason, idempotency_key)


def bulk_failures(job: BulkJob) -> QuerySet[BulkItem]:
    """Items that a retry asks again."""
    failed = Q(state=BulkItemState.FAILED) | Q(state=BulkItemState.REFUSED, code__in=PASSING_CODES)
    unknown = Q(state=BulkItemState.UNKNOWN)
    if job.action == CommandAction.REPLAY:
        unknown &= ~Q(command__state=CommandState.UNKNOWN)
    return _items(job).filter(failed | unknown)


def bulk_find(*, actor: Actor, job_id: uuid.UUID) -> BulkJob:
    """Errors: NotFound for another tenant's job as for one that does not exist."""
    job = BulkJob.objects.select_related("command").filter(tenant_id=actor.tenant_id, id=job_id).first()
    if job is None:
        raise NotFound(f"there is no bulk job {job_id}", code="BULK_JOB_NOT_FOUND")
    return job


def require_bulk_role(*, actor: Actor, job_id: uuid.UUID) -> None:
    """For a request that cannot be taken as it was sent. Errors: NotFound, PermissionRefused; a denied attempt is recorded."""
    job = bulk_find(actor=actor, job_id=job_id)
    require_role(
        actor=actor, needs=BULK_ACTIONS[job.action].needs, to=f"{job.action} runs", action=CommandAction.BULK,
        target_type=TARGET, target_id=str(job.id),
    )  # fmt: skip


# By the name that addresses and screens have for them.
BULK_STEPS: dict[str, Callable[..., BulkJob]] = {
    "start": bulk_start,
    "pause": bulk_pause,
    "resume": bulk_resume,
    "stop": bulk_stop,
    "retry-failures": bulk_retry_failures,
}


# -- What they share --------------------------------------------------------------------------------------------------


def _changed(
    actor: Actor,
    job_id: uuid.UUID,
    operation: str,
    states: Sequence[BulkState],
    change: Callable[[BulkJob, Command], None],
    reason: str,
    idempotency_key: str,
) -> BulkJob:
    """The ledger row first, then role and state, then the change, and its outcome with it, under the lock of the job's row."""
    job = bulk_find(actor=actor, job_id=job_id)
    command, is_new = command_request(
        actor=actor,
        action=CommandAction.BULK,
        target_type=TARGET,
        target_id=str(job.id),
        reason=reason,
        payload={"operation": operation, "action": job.action},
        idempotency_key=idempotency_key,
    )
    if not is_new:
        return job
    with command_failures_recorded([command]):
        actor.require(BULK_ACTIONS[job.action].needs, to=f"{job.action} runs")
        with transaction.atomic():
            job = BulkJob.objects.select_for_update(no_key=True, of=("self",)).get(id=job.id)
            if job.state not in states:
                raise Conflict(
                    f"the job is {job.state}; it cannot be asked to {operation.replace('_', ' ')}",
                    code="BULK_JOB_STATE",
                    details={"state": job.state, "jobId": str(job.id)},
                )
            change(job, command)
            job.save()
            is_whole = job.command_id == command.id  # observed when all its items are decided
            account = {"total": job.total, "counts": bulk_counts(job)}
            state = CommandState.ACCEPTED if is_whole else CommandState.OBSERVED
            commands_finish_in_transaction([command], state, details=account)
    if job.next_slice_at is not None:
        notify_bulk_dispatcher(job.id)
    job_end_if_over(job)
    return bulk_find(actor=actor, job_id=job_id)


def _items(job: BulkJob, **of: Any) -> QuerySet[BulkItem]:
    return BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, **of)


def _pending(job: BulkJob) -> QuerySet[BulkItem]:
    return _items(job, state=BulkItemState.PENDING)

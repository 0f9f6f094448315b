"""Requests about a bulk job: start, pause, resume, stop, and retry the failures (docs/reference/screens.md#run-list).

Each request needs the role that the action needs for one run. Each request is a command with the job as its target.
`bulk_work` sends the requests of the items. The items' commands have a parent command. The parent is the command that
started the job, or the command that retried the failures after the job ended. The parent command is accepted while the
job runs. When the job has ended, the parent command is observed and has the counts.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.actors import Actor
from workflows.dispatch_notification import notify_bulk_dispatcher
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import command_failures_recorded, commands_finish_in_transaction
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk.actions import BULK_ACTIONS, set_requester
from workflows.services.bulk.eligibility import repeats_leave_out
from workflows.services.bulk.first_runs import item_put_first
from workflows.services.bulk.outcomes import PASSING_CODES
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.services.bulk.work import job_end_if_done
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.services.runs.replay_rules import repeated_actions, repeats_refused
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState


@dataclass(frozen=True)
class _Step:
    """Change of a job.

    It has a name in the ledger, the job states that allow it, and a function that changes the locked job. `options` are
    written to the ledger.
    """

    operation: str
    states: Sequence[BulkState]
    change: Callable[[BulkJob, Command], None]
    options: dict[str, Any] = field(default_factory=dict)


def bulk_start(
    *,
    actor: Actor,
    job_id: uuid.UUID,
    reason: str = "",
    accept_repeats: bool = False,
    leave_out_repeats: bool = False,
    first_only: bool = False,
    first_run_id: uuid.UUID | None = None,
    idempotency_key: str = "",
) -> BulkJob:
    """Start a job and return it. A `reason` replaces the reason of the preview.

    The command of every item has this reason. With `first_only`, the job pauses after the request for its first run, so
    that a person can look at the result. `first_run_id` chooses the run that is requested first. `accept_repeats`
    accepts that a replay repeats the effects of actions that are not idempotent. `leave_out_repeats` leaves out the
    runs whose replay would repeat such an effect.

    Errors: NotFound, PermissionRefused, Conflict; InputInvalid without a reason if the action needs one, or if a replay
    would repeat effects that are not accepted, or if the job does not start the run that was chosen as the first, or
    if both choices about repeated effects are set.
    """

    def start(job: BulkJob, command: Command) -> None:
        job.reason = reason or job.reason
        job.accepts_repeats, job.is_first_only = accept_repeats, first_only
        if BULK_ACTIONS[job.action].needs_reason and not job.reason.strip():
            raise InputInvalid(
                "a terminate needs a reason, which is kept in the command ledger", code="REASON_REQUIRED"
            )
        if accept_repeats and leave_out_repeats:
            raise InputInvalid("choose one of accept_repeats and leave_out_repeats, not both")
        if leave_out_repeats and job.action == CommandAction.REPLAY:
            repeats_leave_out(job)
        if not _pending(job).exists():
            raise Conflict(
                "no run of this job is eligible; no request was sent; create a new job", code="BULK_NOTHING_TO_DO"
            )
        if job.action == CommandAction.REPLAY and not accept_repeats:
            targets = list(_pending(job).values_list("target_id", flat=True))
            repeated = repeated_actions(tenant_id=job.tenant_id, run_ids=targets)
            if repeated:
                raise repeats_refused(repeated)
        if first_run_id is not None:
            item_put_first(job, first_run_id)
        set_requester(job, actor, command)
        job.state, job.started_at = BulkState.RUNNING, timezone.now()
        job.next_slice_at = job.started_at

    chosen = {"accept_repeats": accept_repeats, "leave_out_repeats": leave_out_repeats, "first_only": first_only}
    options: dict[str, Any] = {name: True for name, value in chosen.items() if value}
    if first_run_id is not None:
        options["first_run"] = str(first_run_id)
    step = _Step("start", [BulkState.PREVIEW], start, options)
    return _change_job(step, actor=actor, job_id=job_id, reason=reason, idempotency_key=idempotency_key)


def bulk_pause(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """Pause a job and return it. If a worker is sending a request now, this is the last request before the pause.

    Errors: NotFound, PermissionRefused, Conflict.
    """

    def pause(job: BulkJob, command: Command) -> None:
        job.state, job.next_slice_at = BulkState.PAUSED, None

    step = _Step("pause", [BulkState.RUNNING], pause)
    return _change_job(step, actor=actor, job_id=job_id, reason=reason, idempotency_key=idempotency_key)


def bulk_resume(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """Resume a paused job and return it. The commands of the next items have its `reason` too.

    Errors: NotFound, PermissionRefused, Conflict.
    """

    def resume(job: BulkJob, command: Command) -> None:
        job.state, job.next_slice_at, job.is_first_only = BulkState.RUNNING, timezone.now(), False
        _add_reason(job, reason)

    step = _Step("resume", [BulkState.PAUSED], resume)
    return _change_job(step, actor=actor, job_id=job_id, reason=reason, idempotency_key=idempotency_key)


def bulk_stop(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """Stop a job permanently and return it. No more requests are sent.

    The outcomes of requests that were already sent are still recorded.

    Errors: NotFound, PermissionRefused, Conflict.
    """

    def stop(job: BulkJob, command: Command) -> None:
        never_claimed = _pending(job).filter(claimed_until__isnull=True)
        never_claimed.update(state=BulkItemState.STOPPED, decided_at=timezone.now())
        last_lease = _pending(job).order_by("-claimed_until").values_list("claimed_until", flat=True).first()
        job.state, job.next_slice_at = BulkState.STOPPED, last_lease

    step = _Step("stop", [BulkState.PREVIEW, BulkState.RUNNING, BulkState.PAUSED], stop)
    return _change_job(step, actor=actor, job_id=job_id, reason=reason, idempotency_key=idempotency_key)


def bulk_retry_failures(*, actor: Actor, job_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> BulkJob:
    """Make the items of `bulk_failures` pending again. If the job was done, start the job again.

    The commands of these items have the `reason` too.
    An unknown item becomes accepted if its command was accepted in the meantime.

    Errors: NotFound, PermissionRefused; Conflict, for example if no item can be retried.
    """

    def retry(job: BulkJob, command: Command) -> None:
        _items(job).filter(
            state=BulkItemState.UNKNOWN, command__state__in=[CommandState.ACCEPTED, CommandState.OBSERVED]
        ).update(state=BulkItemState.ACCEPTED, code="", message="")
        if not bulk_failures(job).update(state=BulkItemState.PENDING, decided_at=None, claimed_until=None):
            raise Conflict("nothing failed that a retry could change", code="BULK_NOTHING_TO_RETRY")
        _add_reason(job, reason)
        if job.state == BulkState.DONE:
            set_requester(job, actor, command)
            job.state, job.ended_at, job.next_slice_at = BulkState.RUNNING, None, timezone.now()
            job.is_first_only = False

    step = _Step("retry_failures", [BulkState.RUNNING, BulkState.PAUSED, BulkState.DONE], retry)
    return _change_job(step, actor=actor, job_id=job_id, reason=reason, idempotency_key=idempotency_key)


def bulk_failures(job: BulkJob) -> QuerySet[BulkItem]:
    """Return the items that a retry would request again.

    These are failed items, unknown items, and items that were refused because of Temporal.

    Replays with an unknown outcome are left out, because such a replay may have started a run. A retry could start a
    second run.
    """
    failed = Q(state=BulkItemState.FAILED) | Q(state=BulkItemState.REFUSED, code__in=PASSING_CODES)
    unknown = Q(state=BulkItemState.UNKNOWN)
    if job.action == CommandAction.REPLAY:
        unknown &= ~Q(command__state=CommandState.UNKNOWN)
    return _items(job).filter(failed | unknown)


def bulk_find(*, actor: Actor, job_id: uuid.UUID) -> BulkJob:
    """Return the job.

    Errors: NotFound. A job of another tenant counts as not found.
    """
    job = BulkJob.objects.select_related("command").filter(tenant_id=actor.tenant_id, id=job_id).first()
    if job is None:
        raise NotFound(f"there is no bulk job {job_id}", code="BULK_JOB_NOT_FOUND")
    return job


def require_bulk_role(*, actor: Actor, job_id: uuid.UUID) -> None:
    """Refuse an actor who may not change this job.

    Call this function before errors in the request are reported.

    Errors: NotFound; PermissionRefused, and the attempt is recorded in the ledger.
    """
    job = bulk_find(actor=actor, job_id=job_id)
    require_role(
        actor=actor,
        needs=BULK_ACTIONS[job.action].needs,
        to=f"{job.action} runs",
        action=CommandAction.BULK,
        target_type=TARGET,
        target_id=str(job.id),
    )


# The keys are used in URLs and as names on screens.
BULK_STEPS: dict[str, Callable[..., BulkJob]] = {
    "start": bulk_start,
    "pause": bulk_pause,
    "resume": bulk_resume,
    "stop": bulk_stop,
    "retry-failures": bulk_retry_failures,
}


# -- Shared parts -----------------------------------------------------------------------------------------------------


def _change_job(step: _Step, *, actor: Actor, job_id: uuid.UUID, reason: str, idempotency_key: str) -> BulkJob:
    """Write the ledger row, then check the role and the state.

    After that, one transaction changes the job and finishes the command.
    """
    job = bulk_find(actor=actor, job_id=job_id)
    request = command_request(
        actor=actor,
        action=CommandAction.BULK,
        target_type=TARGET,
        target_id=str(job.id),
        reason=reason,
        payload={"operation": step.operation, "action": job.action, **step.options},
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return job
    with command_failures_recorded([command]):
        actor.require(BULK_ACTIONS[job.action].needs, to=f"{job.action} runs")
        with transaction.atomic():
            job = BulkJob.objects.select_for_update(no_key=True, of=("self",)).get(id=job.id)
            if job.state not in step.states:
                raise Conflict(
                    f"the job is {job.state}; {step.operation.replace('_', ' ')} is possible only while it is"
                    f" {' or '.join(step.states)}",
                    code="BULK_JOB_STATE",
                    details={"state": job.state, "jobId": str(job.id)},
                )
            step.change(job, command)
            job.save()
            is_parent_of_items = job.command_id == command.id  # this command is observed when all items have an outcome
            state = CommandState.ACCEPTED if is_parent_of_items else CommandState.OBSERVED
            details = {"total": job.total, "counts": bulk_counts(job)}
            commands_finish_in_transaction([command], state, details=details)
    if job.next_slice_at is not None:
        notify_bulk_dispatcher(job.id)
    job_end_if_done(job)
    return bulk_find(actor=actor, job_id=job_id)


def _add_reason(job: BulkJob, reason: str) -> None:
    """Add the reason of a later step, so that the pages of the job show both. The ledger has each of its own."""
    if reason.strip():
        job.reason = f"{job.reason}; {reason}" if job.reason else reason


def _items(job: BulkJob) -> QuerySet[BulkItem]:
    return BulkItem.objects.filter(tenant_id=job.tenant_id, job=job)


def _pending(job: BulkJob) -> QuerySet[BulkItem]:
    return _items(job).filter(state=BulkItemState.PENDING)

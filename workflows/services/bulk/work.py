"""Work on a bulk job in slices.

A slice claims items, sends requests and writes outcomes (docs/reference/screens.md#run-list).

A slice is short. If the job has more items, the worker sends a queue notification for the next slice. So several jobs
take turns. No item fails because of an outage of Temporal. After OUTAGES requests in a row without a response, the job
pauses, and its page shows the reason.
"""

import logging
import time
import uuid
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from workflows.dispatch_notification import notify_bulk_dispatcher
from workflows.ledger import command_observe_bulk_end, command_open, commands_finish_in_transaction, run_id_of_replay
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk.actions import portal_actor
from workflows.services.bulk.claims import (
    Claim,
    items_claim,
    items_release,
    jobs_overdue,
    seconds_to_next_slice,
)
from workflows.services.bulk.outcomes import PASSING_CODES, Outcome, item_outcome
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState

logger = logging.getLogger(__name__)

SLICE_SECONDS = 0.5
STATE_CHECK_SECONDS = 0.2  # after this time, check again if a person has paused or stopped the job
OUTAGES = 5  # the job pauses after so many requests in a row without a response of Temporal
OUTAGE_PAUSE = timedelta(seconds=2)
FIRST_DONE = "the first run was requested; look at its result, then resume or stop the job"


def bulk_work(*, job_id: uuid.UUID, seconds: float = SLICE_SECONDS) -> float | None:
    """Work on one slice of a job. Return the seconds until its next slice may begin.

    None means that the job needs no further slice from this worker.

    Errors: the errors of an unreachable database. The claimed items are free again when their lease ends.
    """
    stop_at = time.monotonic() + seconds
    has_worked = False
    while True:
        claim = items_claim(job_id=job_id)
        if not claim.items:
            if claim.job is not None:
                job_end_if_done(claim.job)
                if claim.is_first_done:
                    _pause(claim.job, FIRST_DONE)
            return seconds_to_next_slice(job_id) if has_worked else claim.retry_in
        has_worked = True
        outcomes = _request_items(claim, stop_at)
        items_release(claim, claim.items[len(outcomes) :])
        outage = next((outcome for outcome in outcomes if outcome.is_outage), None)
        if outage is not None:
            return _wait_for_temporal(claim, outage)
        if time.monotonic() > stop_at:
            assert claim.job is not None
            job_end_if_done(claim.job)
            return seconds_to_next_slice(job_id)


def bulk_sweep() -> int:
    """Notify workers about overdue jobs. Return the number of these jobs.

    A job is overdue if its notification was lost or its worker was killed.
    """
    jobs = jobs_overdue()
    for job_id in jobs:
        notify_bulk_dispatcher(job_id)
    return len(jobs)


def _request_items(claim: Claim, stop_at: float) -> list[Outcome]:
    """Send requests until the slice ends, Temporal does not respond, or the job's state changes.

    Each outcome is written at once. Otherwise the pages would count new runs whose items are still pending.
    """
    assert claim.job is not None
    outcomes: list[Outcome] = []
    check_at = time.monotonic() + STATE_CHECK_SECONDS
    for item in claim.items:
        outcome = item_outcome(claim.job, item)
        item_write_outcome(claim, item, outcome)
        outcomes.append(outcome)
        now = time.monotonic()
        if outcome.is_outage or now > stop_at:
            break
        if now > check_at:
            check_at = now + STATE_CHECK_SECONDS
            if not BulkJob.objects.filter(id=claim.job.id, state=claim.job.state).exists():
                break
    return outcomes


def item_write_outcome(claim: Claim, item: BulkItem, outcome: Outcome) -> None:
    """Write the outcome of an item, unless another worker has claimed the item in the meantime."""
    is_replay = claim.job is not None and claim.job.action == CommandAction.REPLAY
    new_run = {"new_run_id": run_id_of_replay(outcome.command_id)} if is_replay and outcome.command_id else {}
    own = BulkItem.objects.filter(id=item.id, claimed_until=claim.claimed_until, state=BulkItemState.PENDING)
    own.update(
        state=outcome.state,
        code=outcome.code[:100],
        message=outcome.message,
        command_id=outcome.command_id,
        attempts=item.attempts + (outcome.state != BulkItemState.STOPPED),
        claimed_until=None,
        decided_at=None if outcome.state == BulkItemState.PENDING else timezone.now(),
        **new_run,
    )


def job_end_if_done(job: BulkJob) -> None:
    """If a job has no pending item, end the job: it is then done or stopped.

    Its command is then observed and has the counts.
    """
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(no_key=True).get(id=job.id)
        can_end = job.ended_at is None and job.state in (BulkState.RUNNING, BulkState.STOPPED)
        if not can_end or job.items.filter(tenant_id=job.tenant_id, state=BulkItemState.PENDING).exists():
            return
        if job.state == BulkState.RUNNING:
            job.state = BulkState.DONE
        job.ended_at, job.next_slice_at = timezone.now(), None
        job.save(update_fields=["state", "ended_at", "next_slice_at"])
        if job.command_id is not None:
            command_observe_bulk_end(
                command_id=job.command_id, details={"total": job.total, "counts": bulk_counts(job)}
            )


# -- Outage of Temporal -----------------------------------------------------------------------------------------------


def _wait_for_temporal(claim: Claim, outage: Outcome) -> float | None:
    """Delay the next slice, or pause the job after OUTAGES requests in a row without a response."""
    job = claim.job
    assert job is not None
    if _outages_in_a_row(job) < OUTAGES:
        BulkJob.objects.filter(id=job.id, state=BulkState.RUNNING).update(next_slice_at=timezone.now() + OUTAGE_PAUSE)
        return seconds_to_next_slice(job.id)
    reason = f"Temporal did not respond to {OUTAGES} requests in a row: {_message_of(outage)}"
    if _pause(job, reason):
        logger.error("bulk job %s is paused; restore Temporal, then resume the job: %s", job.id, reason)
    return None


def _pause(job: BulkJob, reason: str) -> bool:
    """Pause a running job in the name of the portal. Return False if the job is no longer running."""
    with transaction.atomic():  # so a paused job always has a command with the reason
        running = BulkJob.objects.filter(id=job.id, state=BulkState.RUNNING)
        if not running.update(state=BulkState.PAUSED, next_slice_at=None):
            return False
        pause = command_open(
            actor=portal_actor(job.tenant_id),
            action=CommandAction.BULK,
            target_type=TARGET,
            target_id=str(job.id),
            reason=reason[:2000],
            payload={"operation": "pause"},
        )
        commands_finish_in_transaction([pause], CommandState.OBSERVED)
    return True


def _outages_in_a_row(job: BulkJob) -> int:
    """Return how many of the last requests in a row had no response.

    The number is read from the ledger. So all workers of the job use the same number.

    If a person resumes the job during the outage, the job pauses again at once.
    """
    commands = Command.objects.filter(tenant_id=job.tenant_id, parent_id=job.command_id)
    last = list(commands.order_by("-requested_at").values_list("state", "code")[:OUTAGES])
    responded = (
        n for n, (state, code) in enumerate(last) if state != CommandState.UNKNOWN and code not in PASSING_CODES
    )
    return next(responded, len(last))


def _message_of(outage: Outcome) -> str:
    command = Command.objects.filter(id=outage.command_id).first() if outage.command_id else None
    error = (command.details or {}).get("error") if command else ""
    return str(error or outage.message)

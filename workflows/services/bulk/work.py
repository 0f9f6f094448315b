"""A slice of a bulk job: claim, ask, write down what came of it, until the slice is over (docs/reference/screens.md#run-list).

A slice is short, and a job that has more sends a message for the next one, so that jobs take turns. Temporal being down costs
no item: after a few requests in a row that it did not answer, the job pauses itself and says why.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from workflows.dispatch_notification import notify_bulk_dispatcher
from workflows.ledger import command_observe_bulk_end, command_open, commands_finish_in_transaction
from workflows.models import BulkItem, BulkJob, Command
from workflows.models.statements import update_rows
from workflows.services.bulk.actions import portal_of
from workflows.services.bulk.claims import (
    Claim,
    items_claim,
    items_give_back,
    jobs_left_behind,
    seconds_to_next_slice,
)
from workflows.services.bulk.outcomes import PASSING_CODES, Outcome, item_outcome
from workflows.services.bulk.selectors import TARGET, bulk_counts
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState

logger = logging.getLogger(__name__)

SLICE_SECONDS = 0.5
LOOK_SECONDS = 0.2
# So many requests in a row that Temporal did not answer, with so much time between them, and the job pauses.
OUTAGES = 5
OUTAGE_PAUSE = timedelta(seconds=2)
LATE = timedelta(seconds=5)

Made = tuple[BulkItem, Outcome]


def bulk_work(*, job_id: uuid.UUID, seconds: float = SLICE_SECONDS) -> float | None:
    """Seconds after which the next slice may begin; None: the job needs none, or others go on with it.

    Errors: those of a database that does not answer. What was claimed is free again when its lease is over.
    """
    stop_at = time.monotonic() + seconds
    has_worked = False
    while True:
        claim = items_claim(job_id=job_id)
        if not claim.items:
            if claim.job is not None:
                job_end_if_over(claim.job)
            return seconds_to_next_slice(job_id) if has_worked else claim.retry_in
        has_worked = True
        made = _asked(claim, stop_at)
        items_settle(claim, made)
        items_give_back(claim, claim.items[len(made) :])
        outage = next((outcome for _, outcome in made if outcome.is_outage), None)
        if outage is not None:
            return _wait_out(claim, outage)
        if time.monotonic() > stop_at:
            assert claim.job is not None
            job_end_if_over(claim.job)
            return seconds_to_next_slice(job_id)


def bulk_sweep() -> int:
    """Ring for jobs whose message was lost, or whose worker was killed; their number."""
    jobs = jobs_left_behind(late=LATE)
    for job_id in jobs:
        notify_bulk_dispatcher(job_id)
    return len(jobs)


def _asked(claim: Claim, stop_at: float) -> list[Made]:
    """Until the slice is over, Temporal does not answer, or somebody has paused or stopped the job."""
    assert claim.job is not None
    made: list[Made] = []
    look_at = time.monotonic() + LOOK_SECONDS
    for item in claim.items:
        outcome = item_outcome(claim.job, item)
        made.append((item, outcome))
        now = time.monotonic()
        if outcome.is_outage or now > stop_at:
            break
        if now > look_at:
            look_at = now + LOOK_SECONDS
            if not BulkJob.objects.filter(id=claim.job.id, state=claim.job.state).exists():
                break
    return made


def items_settle(claim: Claim, made: Sequence[Made]) -> None:
    """Write what came of them, in one statement; not of items that another worker has taken over since."""
    ids = [item.id for item, _ in made]
    now = timezone.now()
    with transaction.atomic():
        mine = set(
            BulkItem.objects.select_for_update(no_key=True)
            .filter(id__in=ids, claimed_until=claim.held_until, state=BulkItemState.PENDING)
            .values_list("id", flat=True)
        )
        for item, outcome in made:
            is_decided = outcome.state != BulkItemState.PENDING
            item.state, item.code, item.message = outcome.state, outcome.code[:100], outcome.message
            item.command_id = outcome.command_id
            item.attempts += outcome.state != BulkItemState.STOPPED
            item.claimed_until = None
            item.decided_at = now if is_decided else None
        update_rows([item for item, _ in made if item.id in mine], _SETTLED)


_SETTLED = ["state", "code", "message", "command", "attempts", "claimed_until", "decided_at"]


def job_end_if_over(job: BulkJob) -> None:
    """When no item is pending, the job has ended: done, or stopped for good; its ledger row gets the account."""
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(no_key=True).get(id=job.id)
        is_over = job.ended_at is None and job.state in (BulkState.RUNNING, BulkState.STOPPED)
        if not is_over or job.items.filter(tenant_id=job.tenant_id, state=BulkItemState.PENDING).exists():
            return
        if job.state == BulkState.RUNNING:
            job.state = BulkState.DONE
        job.ended_at, job.next_slice_at = timezone.now(), None
        job.save(update_fields=["state", "ended_at", "next_slice_at"])
        if job.command_id is not None:
            account = {"total": job.total, "counts": bulk_counts(job)}
            command_observe_bulk_end(command_id=job.command_id, details=account)


# -- Temporal does not answer -----------------------------------------------------------------------------------------


def _wait_out(claim: Claim, outage: Outcome) -> float | None:
    job = claim.job
    assert job is not None
    if _outages_in_a_row(job) < OUTAGES:
        BulkJob.objects.filter(id=job.id, state=BulkState.RUNNING).update(next_slice_at=timezone.now() + OUTAGE_PAUSE)
        return seconds_to_next_slice(job.id)
    reason = f"Temporal did not answer {OUTAGES} requests in a row: {_words(outage)}"
    with transaction.atomic():  # a paused job always has the command that gives the reason
        running = BulkJob.objects.filter(id=job.id, state=BulkState.RUNNING)
        if not running.update(state=BulkState.PAUSED, next_slice_at=None):
            return None
        pause = command_open(
            actor=portal_of(job.tenant_id),
            action=CommandAction.BULK,
            target_type=TARGET,
            target_id=str(job.id),
            reason=reason[:2000],
            payload={"operation": "pause"},
        )
        commands_finish_in_transaction([pause], CommandState.OBSERVED)
    logger.error("bulk job %s is paused; restore Temporal, then resume the job: %s", job.id, reason)
    return None


def _outages_in_a_row(job: BulkJob) -> int:
    """As the ledger has them, so that it does not matter which worker asked. A job that is resumed too early pauses at once."""
    asked = Command.objects.filter(tenant_id=job.tenant_id, parent_id=job.command_id)
    last = list(asked.order_by("-requested_at").values_list("state", "code")[:OUTAGES])
    answered = (
        n for n, (state, code) in enumerate(last) if state != CommandState.UNKNOWN and code not in PASSING_CODES
    )
    return next(answered, len(last))


def _words(outage: Outcome) -> str:
    command = Command.objects.filter(id=outage.command_id).first() if outage.command_id else None
    told = (command.details or {}).get("error") if command else ""
    return str(told or outage.message)

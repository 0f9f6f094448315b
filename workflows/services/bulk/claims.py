"""Claims of bulk items, and the rate of a bulk job.

The rate of a job applies to all its workers together, because the rate is stored in the job's row. The rules are:
- No item may be claimed before `next_slice_at`.
- A claim takes the items of one second at the job's rate, at most BATCH. It moves `next_slice_at` by the time that
  these items take at this rate.
- If a worker is late, it may also claim the items of the lost time. At most BURST of the lost time counts.
- Claims of one job happen one after the other, because each claim locks the job's row.
- A claim ends after LEASE. If a worker was killed, another worker then claims its items.
- If a job starts with its first run only, one item may be claimed. The job then pauses.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from workflows.models import BulkItem, BulkJob
from workflows.statuses import BulkItemState, BulkState

# A slice that no worker has begun after this time is overdue. Its notification was lost, or no worker is free.
LATE = timedelta(seconds=5)
LEASE = timedelta(seconds=60)
BATCH = 50
MOST_CLAIMED = 2 * BATCH
BURST = timedelta(seconds=2)
# The clocks of two hosts can differ. So a notification may arrive early by this time and is still not a repeated
# notification.
EARLY = timedelta(seconds=0.2)


@dataclass
class Claim:
    """Items that this worker has claimed until `claimed_until`.

    The objects in `items` still have the old `claimed_until`, from before this claim. If it is not None, an earlier
    worker claimed the item and did not finish it.

    `is_first_done`: the job starts with its first run only, and this run has an outcome. The job must be paused.

    Units: `retry_in` is in seconds. It is None if this worker need not try again.
    """

    job: BulkJob | None = None
    items: list[BulkItem] = field(default_factory=list)
    claimed_until: datetime | None = None
    retry_in: float | None = None
    is_first_done: bool = False


def items_claim(*, job_id: uuid.UUID) -> Claim:
    """Claim the items that this worker may process now.

    If the returned claim has no items, no item is due for this worker.
    """
    now = timezone.now()
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(no_key=True).filter(id=job_id).first()
        if job is None or job.ended_at is not None or job.state not in (BulkState.RUNNING, BulkState.STOPPED):
            return Claim()
        due_at = job.next_slice_at or now
        if due_at > now:
            is_early = due_at - now <= EARLY
            return Claim(job, retry_in=(due_at - now).total_seconds() if is_early else None)
        return _claimed(job, max(due_at, now - BURST), now)


def _claimed(job: BulkJob, since: datetime, now: datetime) -> Claim:
    if job.is_first_only and first_is_done(job):
        return Claim(job, is_first_done=True)
    pending = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    # Items are claimed in their order. So the claimed items are at the beginning of this window.
    window = list(pending.order_by("position").values_list("id", "claimed_until")[: MOST_CLAIMED + BATCH])
    claimed = [until for _, until in window if until is not None and until > now]
    free = [item_id for item_id, until in window if until is None or until <= now]
    most, size = (1, 1) if job.is_first_only else (MOST_CLAIMED, BATCH)
    may_claim = min(size, max(1, int(job.rate_per_second)), most - len(claimed))
    if not free or may_claim <= 0:
        # Other workers have claimed the items and continue. If one of these workers was killed, the sweep acts when its
        # lease ends.
        _set_next_slice(job, min(claimed) if claimed else None)
        return Claim(job)
    # Select by id alone. If the condition contained the job, the planner may read all pending items when the table has
    # no statistics.
    chosen = BulkItem.objects.filter(id__in=free[:may_claim]).select_for_update(skip_locked=True, no_key=True)
    items = sorted((item for item in chosen if item.state == BulkItemState.PENDING), key=lambda item: item.position)
    until = now + LEASE
    BulkItem.objects.filter(id__in=[item.id for item in items]).update(claimed_until=until)
    _set_next_slice(job, since + _cost(job, len(items)))
    return Claim(job, items, until)


def first_is_done(job: BulkJob) -> bool:
    """Return True if a request of this job has an outcome."""
    decided = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, attempts__gt=0)
    return decided.exclude(state=BulkItemState.PENDING).exists()


def items_release(claim: Claim, items: list[BulkItem]) -> None:
    """Release claimed items. Move `next_slice_at` back by the time that the items would have taken.

    `claimed_until` of the items is not set to None, because an earlier worker may have sent their request.
    """
    if items and claim.job is not None:
        ids = [item.id for item in items]
        BulkItem.objects.filter(id__in=ids, claimed_until=claim.claimed_until).update(claimed_until=timezone.now())
        job = BulkJob.objects.filter(id=claim.job.id)
        job.filter(state=BulkState.RUNNING).update(next_slice_at=F("next_slice_at") - _cost(claim.job, len(items)))
        job.filter(state=BulkState.STOPPED, ended_at__isnull=True).update(next_slice_at=timezone.now())


def seconds_to_next_slice(job_id: uuid.UUID) -> float | None:
    """Return the seconds until the next slice of a running job may begin.

    Return None if the job needs no further slice.
    """
    at = BulkJob.objects.filter(id=job_id, state=BulkState.RUNNING).values_list("next_slice_at", flat=True).first()
    return None if at is None else max(0.0, (at - timezone.now()).total_seconds())


def job_waits_for_worker(job: BulkJob) -> bool:
    """Return True if a slice of a running job is due, and no worker has begun it within `BulkJob.TAKEN_WITHIN`."""
    if job.state != BulkState.RUNNING or job.next_slice_at is None:
        return False
    return job.next_slice_at < timezone.now() - BulkJob.TAKEN_WITHIN


def job_begins(job: BulkJob) -> bool:
    """Return True if a job was started a moment ago, and no worker has begun its first slice."""
    is_new = job.state == BulkState.RUNNING and job.next_slice_at == job.started_at
    return is_new and not job_waits_for_worker(job)


def jobs_overdue() -> list[uuid.UUID]:
    """Return at most 100 jobs whose next slice is overdue, because no worker has begun it."""
    overdue = BulkJob.objects.filter(
        Q(state=BulkState.RUNNING) | Q(state=BulkState.STOPPED, ended_at__isnull=True),
        next_slice_at__lte=timezone.now() - LATE,
    )
    return list(overdue.order_by("next_slice_at").values_list("id", flat=True)[:100])


def _cost(job: BulkJob, items: int) -> timedelta:
    return timedelta(seconds=items / job.rate_per_second)


def _set_next_slice(job: BulkJob, at: datetime | None) -> None:
    job.next_slice_at = at
    job.save(update_fields=["next_slice_at"])

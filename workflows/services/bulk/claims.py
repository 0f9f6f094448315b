"""Who works on which items of a job, and how fast (the rate holds over all workers, because it stands in the job's row).

`next_slice_at` is the time before which nothing may be claimed. A claim takes what the rate gives for a second, at most
BATCH, and moves it on by what that costs; a worker that comes late may catch up for BURST, no more. Claims of one job are
made one after the other, under the lock of its row; an item is held for the time of a lease, so that a killed worker gives
it back.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from workflows.models import BulkItem, BulkJob
from workflows.statuses import BulkItemState, BulkState

LEASE = timedelta(seconds=60)
BATCH = 50
MOST_HELD = 2 * BATCH
BURST = timedelta(seconds=2)
# A message that comes a little before its time, by another machine's clock, is no second message.
EARLY = timedelta(seconds=0.2)


@dataclass
class Claim:
    """Items that this worker holds until `held_until`. `claimed_until` of each is still what it was before: one that has a
    time was held by a worker that did not finish it. `retry_in`: seconds after which a look is worth it."""

    job: BulkJob | None = None
    items: list[BulkItem] = field(default_factory=list)
    held_until: datetime | None = None
    retry_in: float | None = None


def items_claim(*, job_id: uuid.UUID) -> Claim:
    """What may be worked on now. No items and no `retry_in`: nothing is left, or others go on with it."""
    now = timezone.now()
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(no_key=True).filter(id=job_id).first()
        if job is None or job.ended_at is not None or job.state not in (BulkState.RUNNING, BulkState.STOPPED):
            return Claim()
        free_at = job.next_slice_at or now
        if free_at > now:
            is_early = free_at - now <= EARLY
            return Claim(job, retry_in=(free_at - now).total_seconds() if is_early else None)
        return _claimed(job, max(free_at, now - BURST), now)


def _claimed(job: BulkJob, since: datetime, now: datetime) -> Claim:
    pending = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    # Items are claimed in their order, so those that are held stand before those that are not.
    window = list(pending.order_by("position").values_list("id", "claimed_until")[: MOST_HELD + BATCH])
    held = [until for _, until in window if until is not None and until > now]
    free = [item_id for item_id, until in window if until is None or until <= now]
    may_claim = min(BATCH, max(1, int(job.rate_per_second)), MOST_HELD - len(held))
    if not free or may_claim <= 0:
        # Whoever holds them goes on; when they are killed, the sweep looks at the end of their lease.
        _move(job, min(held) if held else None)
        return Claim(job)
    # By id alone: with the job beside it the planner may walk all pending items of a job that is not analysed yet.
    chosen = BulkItem.objects.filter(id__in=free[:may_claim]).select_for_update(skip_locked=True, no_key=True)
    items = sorted((item for item in chosen if item.state == BulkItemState.PENDING), key=lambda item: item.position)
    until = now + LEASE
    BulkItem.objects.filter(id__in=[item.id for item in items]).update(claimed_until=until)
    _move(job, since + _cost(job, len(items)))
    return Claim(job, items, until)


def items_give_back(claim: Claim, items: list[BulkItem]) -> None:
    """Free again, and the time that they cost is given back too. They keep a time: their request may have been made before."""
    if items and claim.job is not None:
        ids = [item.id for item in items]
        BulkItem.objects.filter(id__in=ids, claimed_until=claim.held_until).update(claimed_until=timezone.now())
        job = BulkJob.objects.filter(id=claim.job.id)
        job.filter(state=BulkState.RUNNING).update(next_slice_at=F("next_slice_at") - _cost(claim.job, len(items)))
        job.filter(state=BulkState.STOPPED, ended_at__isnull=True).update(next_slice_at=timezone.now())


def seconds_to_next_slice(job_id: uuid.UUID) -> float | None:
    at = BulkJob.objects.filter(id=job_id, state=BulkState.RUNNING).values_list("next_slice_at", flat=True).first()
    return None if at is None else max(0.0, (at - timezone.now()).total_seconds())


def jobs_left_behind(*, late: timedelta) -> list[uuid.UUID]:
    """Jobs that somebody should be working on, and that nobody has taken up for so long."""
    left = BulkJob.objects.filter(
        Q(state=BulkState.RUNNING) | Q(state=BulkState.STOPPED, ended_at__isnull=True),
        next_slice_at__lte=timezone.now() - late,
    )
    return list(left.order_by("next_slice_at").values_list("id", flat=True)[:100])


def _cost(job: BulkJob, items: int) -> timedelta:
    return timedelta(seconds=items / job.rate_per_second)


def _move(job: BulkJob, to: datetime | None) -> None:
    job.next_slice_at = to
    job.save(update_fields=["next_slice_at"])

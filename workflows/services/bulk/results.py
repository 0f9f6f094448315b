"""Outcomes of the runs of a bulk job, and a new replay job with the runs that have one outcome.

An outcome is the state of a run, not the state of a request. For a replay it is the state of the new run. For another
action it is the state of the run itself.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value

from workflows.actors import Actor
from workflows.errors import InputInvalid
from workflows.models import BulkItem, BulkJob, Run
from workflows.services.bulk.jobs import bulk_find
from workflows.services.bulk.preview import bulk_preview, require_bulk_preview_role
from workflows.services.bulk.selection import has_no_condition
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    BulkItemState,
    BulkOutcome,
    CommandAction,
    ReplayVersion,
    RunStatus,
)

_NO_REQUEST = {
    BulkItemState.PENDING: BulkOutcome.PENDING,
    BulkItemState.INELIGIBLE: BulkOutcome.LEFT_OUT,
    BulkItemState.REFUSED: BulkOutcome.REFUSED,
    BulkItemState.FAILED: BulkOutcome.REFUSED,
    BulkItemState.STOPPED: BulkOutcome.NOT_REQUESTED,
}
_NEW_RUN = {
    RunStatus.SUCCEEDED: BulkOutcome.SUCCEEDED,
    RunStatus.FAILED: BulkOutcome.FAILED,
    RunStatus.TIMED_OUT: BulkOutcome.FAILED,
    RunStatus.CANCELED: BulkOutcome.CANCELED,
    RunStatus.TERMINATED: BulkOutcome.CANCELED,
    **dict.fromkeys(OPEN_RUN_STATUSES, BulkOutcome.OPEN),
}
_SAME_RUN = {
    **dict.fromkeys(RunStatus, BulkOutcome.ENDED),
    RunStatus.CANCELED: BulkOutcome.CANCELED,
    RunStatus.TERMINATED: BulkOutcome.CANCELED,
    **dict.fromkeys(OPEN_RUN_STATUSES, BulkOutcome.OPEN),
}
# Outcomes of a replay whose new run exists.
STARTED = (BulkOutcome.OPEN, BulkOutcome.SUCCEEDED, BulkOutcome.FAILED, BulkOutcome.CANCELED)


def item_outcome_of(action: str, state: str, run_status: str | None) -> BulkOutcome:
    """Return the outcome for the state of an item and the present status of its run. None means that no run exists."""
    if action == CommandAction.REPLAY:
        if run_status is not None:
            return _NEW_RUN[RunStatus(run_status)]
        return _NO_REQUEST.get(BulkItemState(state), BulkOutcome.UNKNOWN)
    if state == BulkItemState.ACCEPTED and run_status is not None:
        return _SAME_RUN[RunStatus(run_status)]
    return _NO_REQUEST.get(BulkItemState(state), BulkOutcome.UNKNOWN)


def items_with_outcome(job: BulkJob, outcome: str = "") -> QuerySet[Any]:
    """Return the items of a job in their order, with `run_status`. An `outcome` selects the items with this outcome."""
    items = with_run_status(BulkItem.objects.filter(tenant_id=job.tenant_id, job=job), job)
    return (items.filter(outcome_condition(job.action, outcome)) if outcome else items).order_by("position")


def with_run_status(items: QuerySet[BulkItem], job: BulkJob) -> QuerySet[Any]:
    """Add `run_status`: the present status of the new run of a replay, or of the run itself. None: no such run."""
    run_id = OuterRef("new_run_id" if job.action == CommandAction.REPLAY else "target_id")
    status = Run.objects.filter(tenant_id=job.tenant_id, id=run_id).values("status")[:1]
    return items.annotate(run_status=Subquery(status))


def bulk_outcomes(job: BulkJob) -> dict[str, int]:
    """Return the number of items by outcome. The sum is `job.total`.

    Cost: one statement, with one search by primary key for each item.
    """
    return bulk_outcomes_of([job])[job.id]


def bulk_outcomes_of(jobs: Sequence[BulkJob]) -> dict[uuid.UUID, dict[str, int]]:
    """Return `bulk_outcomes` of jobs of one tenant with one action, by the id of the job. Cost: one statement."""
    counts: dict[uuid.UUID, dict[str, int]] = {job.id: dict.fromkeys(BulkOutcome.values, 0) for job in jobs}
    if not jobs:
        return counts
    items = with_run_status(BulkItem.objects.filter(tenant_id=jobs[0].tenant_id, job__in=jobs), jobs[0])
    rows = items.order_by().values_list("job_id", "state", "run_status").annotate(Count("id"))
    for job_id, state, run_status, number in rows:
        counts[job_id][item_outcome_of(jobs[0].action, state, run_status)] += number
    return counts


def items_worst_first(
    items_of: Sequence[tuple[BulkJob, QuerySet[Any]]],
    outcomes_of: dict[uuid.UUID, dict[str, int]],
    *,
    most: int,
    after: tuple[str, int] | None = None,
) -> dict[uuid.UUID, list[Any]]:
    """Return the first `most` of the given items of each job, in the order of the members of `BulkOutcome`.

    Items with one outcome are in their order in the job. `outcomes_of` has the counts of `bulk_outcomes_of`: no item is
    searched with an outcome that no item has. `after` is the outcome and the position of the last item that was shown.
    Each item has `run_status`, `outcome` and its job.

    Cost: one statement, or none. Each outcome is one part of it, which reads the items in the order of an index.
    """
    order, known = list(BulkOutcome), {job.id: job for job, _ in items_of}
    first = order.index(BulkOutcome(after[0])) if after else 0
    parts = []
    for job, items in items_of:
        for outcome in order[first:]:
            if not outcomes_of[job.id][outcome]:
                continue
            part = with_run_status(items, job).filter(outcome_condition(job.action, outcome))
            if after and outcome == after[0]:
                part = part.filter(position__gt=after[1])
            parts.append(part.annotate(outcome=Value(str(outcome))).order_by("position")[:most])
    rows = list(parts[0].union(*parts[1:], all=True)) if parts else []
    found: dict[uuid.UUID, list[Any]] = {job_id: [] for job_id in known}
    for item in sorted(rows, key=lambda item: (order.index(item.outcome), item.position)):
        item.job = known[item.job_id]
        found[item.job_id].append(item)
    return {job_id: items[:most] for job_id, items in found.items()}


def started_count(outcomes: dict[str, int]) -> int:
    """Return the number of new runs of a replay job."""
    return sum(outcomes[outcome] for outcome in STARTED)


def bulk_preview_again(
    *,
    actor: Actor,
    job_id: uuid.UUID,
    outcome: str = "",
    replay_version: ReplayVersion | str | None = None,
    allow_another_run: bool = False,
    reason: str = "",
    rate_per_second: float | None = None,
    idempotency_key: str = "",
) -> BulkJob:
    """Preview a new replay of the runs of an earlier replay job, for example of the runs whose replays failed.

    If `replay_version` is None, the new job uses the version of the earlier job. The reason of a job that has started
    explains that job, so the new job has only the given `reason`.

    Errors: NotFound, the errors of `bulk_preview`; InputInvalid if the earlier job has another action.
    """
    require_bulk_preview_role(actor=actor, action=CommandAction.REPLAY)
    job = bulk_find(actor=actor, job_id=job_id)
    if job.action != CommandAction.REPLAY:
        raise InputInvalid(
            f"the job is a {job.action} of runs; choose the runs of a replay, or select them in the run list"
        )
    found = items_with_outcome(job, outcome).values_list("target_id", flat=True)
    # A preview that never started says nothing about the runs: the new job has the selection of the person.
    is_same = job.started_at is None and not outcome
    selection = job.selection if is_same else {"job": str(job.id)} | ({"outcome": outcome} if outcome else {})
    return bulk_preview(
        actor=actor,
        action=CommandAction.REPLAY,
        ids=list(found),
        selection=selection,
        all_runs=is_same and has_no_condition(selection),
        reason=reason or ("" if job.started_at else job.reason),
        rate_per_second=rate_per_second or job.rate_per_second,
        replay_version=replay_version or job.replay_version,
        allow_another_run=allow_another_run,
        incident_id=job.incident_id,
        idempotency_key=idempotency_key,
    )


def outcome_condition(action: str, outcome: str) -> Q:
    """Return the condition for items of `with_run_status` that have this outcome."""
    is_replay = action == CommandAction.REPLAY
    of_status = [str(status) for status, found in (_NEW_RUN if is_replay else _SAME_RUN).items() if found == outcome]
    of_state = [str(state) for state, found in _NO_REQUEST.items() if found == outcome]
    has_run = Q(run_status__isnull=False) if is_replay else Q(run_status__isnull=False, state=BulkItemState.ACCEPTED)
    if outcome == BulkOutcome.UNKNOWN:
        return ~has_run & ~Q(state__in=[str(state) for state in _NO_REQUEST])
    return (has_run & Q(run_status__in=of_status)) | (~has_run & Q(state__in=of_state))

"""Runs that a sweep of the reconciler compares with Temporal, in the order in which they are compared.

Every source yields a bounded number of runs of each tenant. The cursor of each source is `projected_at`, the time of
the last write or comparison. A comparison moves its row to the end.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from workflows.models import EventDelivery, Run, RunWait, Tenant
from workflows.services.runs.launch import run_id_of_workflow
from workflows.services.runs.reconcile import QUIET_AFTER
from workflows.services.runs.unstarted import UNSTARTED_AFTER
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    RUN_STATUS_OF_TEMPORAL,
    DeliveryStatus,
    Engine,
    RunStatus,
    WaitStatus,
)
from workflows.temporal.listing import Listed, list_changed

CHANGED_WINDOW = timedelta(minutes=10)
COMPARE_AFTER = timedelta(minutes=10)
# A run should have advanced, and its row was not written or compared for this time.
SUSPECT_AFTER = timedelta(seconds=45)
WALK_BATCH = 200
SUSPECT_BATCH = 20


def changed_runs(without_row: set[str]) -> Iterator[uuid.UUID]:
    """Yield runs whose workflow started or closed within CHANGED_WINDOW and whose row does not show it.

    Add the workflow ids that have no row to `without_row`.
    """
    for page in list_changed(since=timezone.now() - CHANGED_WINDOW):
        by_workflow = {listed.workflow_id: listed for listed in page}
        rows = Run.objects.filter(id__in=[found for found in map(run_id_of_workflow, by_workflow) if found]).only(
            "status", "projection_epoch", "temporal_workflow_id", "engine"
        )
        known = {row.temporal_workflow_id: row for row in rows}
        without_row |= by_workflow.keys() - known.keys()
        for listed in page:
            row = known.get(listed.workflow_id)
            if row is not None and _is_candidate(row, listed):
                yield row.id


def _is_candidate(row: Run, listed: Listed) -> bool:
    is_open, ended = row.status in OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL.get(listed.status)
    is_its_execution = row.projection_epoch in ("", listed.run_id)
    if ended is not None:
        return is_open or (is_its_execution and row.status != ended)
    has_begun = listed.started_at < timezone.now() - QUIET_AFTER
    return has_begun and (not is_open or not is_its_execution)


def walked_runs() -> Iterator[uuid.UUID]:
    """For each tenant, yield the runs that may be stuck, interrupted launches, and the rows compared longest ago."""
    for tenant_id in Tenant.objects.order_by("?").values_list("id", flat=True):
        now = timezone.now()
        # Temporal does not know a queued start. The dispatcher checks the queue.
        rows = Run.objects.filter(tenant_id=tenant_id, engine=Engine.TEMPORAL, queued_until__isnull=True)
        yield from _suspects(rows, tenant_id=tenant_id, now=now)
        unstarted = rows.filter(
            status=RunStatus.STARTING, temporal_first_run_id="", created_at__lt=now - UNSTARTED_AFTER
        )
        yield from unstarted.order_by("created_at").values_list("id", flat=True)[:WALK_BATCH]
        old = rows.filter(status__in=OPEN_RUN_STATUSES, projected_at__lt=now - COMPARE_AFTER)
        yield from old.order_by("projected_at").values_list("id", flat=True)[:WALK_BATCH]


def _suspects(rows: QuerySet[Run], *, tenant_id: uuid.UUID, now: datetime) -> set[uuid.UUID]:
    """Return runs of a tenant that Temporal perhaps cannot move, and those that were found stuck before.

    The signs are in the rows: a run that neither waits nor advances, a deadline that has passed, and a signal without a
    verdict. Without this search, the walk would find a stuck run among many open runs only after hours.
    """
    since = now - SUSPECT_AFTER
    quiet = rows.filter(status__in=OPEN_RUN_STATUSES, projected_at__lt=since)
    found = quiet.filter(stuck_since__isnull=False).order_by("projected_at")
    moving = quiet.filter(status__in=[RunStatus.STARTING, RunStatus.RUNNING]).exclude(temporal_first_run_id="")
    overdue = RunWait.objects.filter(tenant_id=tenant_id, status=WaitStatus.WAITING, deadline_at__lt=since)
    unread = EventDelivery.objects.filter(
        tenant_id=tenant_id, status=DeliveryStatus.SENT, sent_at__lt=since, run__isnull=False
    )
    return {
        *found.values_list("id", flat=True)[:SUSPECT_BATCH],
        *moving.order_by("created_at").values_list("id", flat=True)[:SUSPECT_BATCH],
        *overdue.filter(run__in=quiet).order_by("deadline_at").values_list("run_id", flat=True)[:SUSPECT_BATCH],
        *unread.filter(run__in=quiet).order_by("created_at").values_list("run_id", flat=True)[:SUSPECT_BATCH],
    }

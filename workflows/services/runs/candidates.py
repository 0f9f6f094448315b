"""Runs that a sweep of the reconciler compares with Temporal, in the order in which they are compared.

Every source yields a bounded number of runs of each tenant, and ends at a given time. The cursor of the walk is
`projected_at`, the time of the last write or comparison. A comparison moves its row to the end. So the next sweep
continues where the last sweep stopped.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet
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

# The list of a usual sweep covers this time and two intervals between sweeps.
RECENT_WINDOW = timedelta(seconds=60)
# Once in this time, a sweep reads a long list. The long list covers twice this time, so a missed sweep leaves no gap.
WHOLE_WINDOW_EVERY = timedelta(minutes=5)
COMPARE_AFTER = timedelta(minutes=10)
# A run should have advanced, and its row was not written or compared for this time.
SUSPECT_AFTER = timedelta(seconds=45)
# Largest numbers of runs of one tenant in one sweep.
WALK_BATCH = 100
SUSPECT_BATCH = 20
DRIFTED_BATCH = 5


def changed_runs(without_row: set[str], *, stop_at: float) -> Iterator[uuid.UUID]:
    """Yield runs whose workflow started or closed recently and whose row does not show it.

    Add the workflow ids that have no row to `without_row`. `stop_at` is a time of `time.monotonic()`.
    """
    for page in list_changed(since=timezone.now() - changed_window(timezone.now())):
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
        if time.monotonic() > stop_at:
            return


def changed_window(now: datetime) -> timedelta:
    """Return the time that the list of a sweep covers.

    At a high rate of runs, the list is the largest part of a sweep. So only one sweep in five minutes reads the long
    list.
    """
    interval = timedelta(seconds=settings.RECONCILE_INTERVAL_SECONDS)
    is_first_of_period = now.timestamp() % WHOLE_WINDOW_EVERY.total_seconds() < interval.total_seconds()
    return 2 * WHOLE_WINDOW_EVERY + interval if is_first_of_period else RECENT_WINDOW + 2 * interval


def _is_candidate(row: Run, listed: Listed) -> bool:
    is_open, ended = row.status in OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL.get(listed.status)
    is_its_execution = row.projection_epoch in ("", listed.run_id)
    if ended is not None:
        return is_open or (is_its_execution and row.status != ended)
    has_begun = listed.started_at < timezone.now() - QUIET_AFTER
    return has_begun and (not is_open or not is_its_execution)


def walked_runs(*, stop_at: float) -> Iterator[uuid.UUID]:
    """Yield the runs of all tenants that may be stuck. Then, for each tenant, yield its oldest comparisons.

    The search for stuck runs is one statement for all tenants. So it does not take longer because other tenants have
    many rows to compare.

    Rows that are marked as drift have their own small share. So they do not delay the other rows, even if there are
    many of them, for example after the loss of Temporal's database.
    """
    yield from suspected_runs()
    for tenant_id in Tenant.objects.order_by("?").values_list("id", flat=True):
        if time.monotonic() > stop_at:
            return
        now = timezone.now()
        rows = walkable_runs().filter(tenant_id=tenant_id)
        yield from interrupted_launches(rows, now=now)
        yield from walk_of_tenant(rows, now=now)
        yield from walk_of_drifted(rows, now=now)


def walkable_runs() -> QuerySet[Run]:
    """Return the runs that Temporal knows. Temporal does not know a queued start. The dispatcher checks the queue."""
    return Run.objects.filter(engine=Engine.TEMPORAL, queued_until__isnull=True)


def interrupted_launches(rows: QuerySet[Run], *, now: datetime) -> QuerySet[Run, uuid.UUID]:
    unstarted = rows.filter(status=RunStatus.STARTING, temporal_first_run_id="", created_at__lt=now - UNSTARTED_AFTER)
    return unstarted.order_by("created_at").values_list("id", flat=True)[:SUSPECT_BATCH]


def walk_of_tenant(rows: QuerySet[Run], *, now: datetime) -> QuerySet[Run, uuid.UUID]:
    walked = rows.filter(
        status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=True, projected_at__lt=now - COMPARE_AFTER
    )
    return walked.order_by("projected_at").values_list("id", flat=True)[:WALK_BATCH]


def walk_of_drifted(rows: QuerySet[Run], *, now: datetime) -> QuerySet[Run, uuid.UUID]:
    drifted = rows.filter(
        status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=False, projected_at__lt=now - COMPARE_AFTER
    )
    return drifted.order_by("projected_at").values_list("id", flat=True)[:DRIFTED_BATCH]


def suspected_runs() -> Iterator[uuid.UUID]:
    """Yield the runs that Temporal perhaps cannot move, and those that were found stuck before.

    The signs are in the rows: a run that neither waits nor advances, a deadline that has passed, and a signal without a
    verdict. Without this search, the walk would find a stuck run among many open runs only after hours.

    The first run of each tenant comes before the second run of any tenant, and so on. The runs that were compared
    longest ago come first. So each run has its turn, even if the time of a sweep is over before the end.
    """
    found: list[list[uuid.UUID]] = []
    for row in _suspects_by_tenant(timezone.now() - SUSPECT_AFTER):
        found.append(list(dict.fromkeys(run_id for kind in row for run_id in kind)))
    for turn in zip_longest(*found):
        yield from (run_id for run_id in turn if run_id is not None)


def _suspects_by_tenant(since: datetime) -> QuerySet[Tenant, tuple[list[uuid.UUID], ...]]:
    """Return the ids of suspected runs by kind, for each tenant in a random order. Cost: one statement."""
    quiet = walkable_runs().filter(
        tenant_id=OuterRef("id"), status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=True, projected_at__lt=since
    )
    kinds = [
        quiet.filter(stuck_since__isnull=False),
        quiet.filter(status__in=[RunStatus.STARTING, RunStatus.RUNNING]).exclude(temporal_first_run_id=""),
        quiet.filter(id__in=_runs_of_first(_overdue_waits(since))),
        quiet.filter(id__in=_runs_of_first(_unread_signals(since))),
    ]
    first = [ArraySubquery(runs.order_by("projected_at").values("id")[:SUSPECT_BATCH]) for runs in kinds]
    return Tenant.objects.order_by("?").values_list(*first)


def _overdue_waits(since: datetime) -> QuerySet[RunWait]:
    waits = RunWait.objects.filter(tenant_id=OuterRef(OuterRef("id")), status=WaitStatus.WAITING, deadline_at__lt=since)
    return waits.order_by("-deadline_at")


def _unread_signals(since: datetime) -> QuerySet[EventDelivery]:
    signals = EventDelivery.objects.filter(
        tenant_id=OuterRef(OuterRef("id")), status=DeliveryStatus.SENT, sent_at__lt=since, run__isnull=False
    )
    return signals.order_by("-created_at")


def _runs_of_first(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the runs of the first rows. The number of rows that are read is bounded."""
    return rows.values("run_id")[: 10 * SUSPECT_BATCH]

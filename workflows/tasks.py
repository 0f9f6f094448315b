"""Celery tasks of this package: the reconcilers of runs and schedules, incidents, retention, and bulk jobs."""

import uuid

from celery import shared_task

from workflows.dispatch_notification import (
    WORK_BULK,
    WORK_COMPARISON,
    notification_received,
    notify_bulk_dispatcher,
    notify_comparison,
)
from workflows.models import BulkJob
from workflows.services.bulk.work import bulk_work
from workflows.services.comparison import comparison_work, comparisons_left
from workflows.services.definitions.auto_pause import definitions_auto_pause
from workflows.services.incidents.clock import incidents_close_quiet, incidents_wake
from workflows.services.incidents.grow import incidents_grow
from workflows.services.retention.prune import tenants_prune_slice
from workflows.services.runs.reconcile_sweep import runs_reconcile
from workflows.services.schedules.reconcile import schedules_reconcile
from workflows.services.step_counts import steps_count
from workflows.services.tenant_usage import tenants_measure
from workflows.tenancy import system_scope, tenant_scope


@shared_task(name="workflows.reconcile_runs")
def reconcile_runs() -> dict[str, int]:
    """Compare runs with Temporal and repair projections that differ. Return the number of runs by outcome.

    Source: docs/reference/authority.md#age-and-repair-of-projections
    """
    with system_scope():
        for command_id in comparisons_left():
            notify_comparison(command_id)
        return dict(runs_reconcile().counts)


@shared_task(name=WORK_COMPARISON)
def work_comparison(command_id: str) -> None:
    """Work on one slice of a comparison that an operator has requested, then notify the worker of the next slice.

    Idempotency: only one of two simultaneous tasks records its slice. If a notification is lost, the periodic task of
    the reconciler sends another one.
    """
    notification_received(command_id)
    with system_scope():
        has_more = comparison_work(command_id=uuid.UUID(command_id))
    if has_more:
        notify_comparison(command_id)


@shared_task(name="workflows.reconcile_schedules")
def reconcile_schedules() -> dict[str, int]:
    """Compare schedules with Temporal and repair those that differ. Return the number of schedules by outcome.

    Source: docs/reference/schedules.md#schedules-in-temporal
    """
    with system_scope():
        return dict(schedules_reconcile().counts)


@shared_task(name="workflows.auto_pause_definitions")
def auto_pause_definitions() -> list[str]:
    """Pause the definitions whose runs fail too often. Return their keys.

    Source: docs/reference/administration.md#auto-pause
    """
    with system_scope():
        return definitions_auto_pause()


@shared_task(name="workflows.grow_incidents")
def grow_incidents() -> dict[str, int]:
    """Add failed runs to incidents, end snoozes whose time has come, and close quiet incidents. Return the numbers.

    Source: docs/reference/incidents.md#how-failures-are-read
    """
    with system_scope():
        return {"failures": incidents_grow(), "woken": incidents_wake(), "closed": incidents_close_quiet()}


@shared_task(name="workflows.count_steps")
def count_steps() -> int:
    """Count new steps for the maps of definitions. Return the number of runs that were counted.

    Source: docs/reference/screens.md#map
    """
    with system_scope():
        return steps_count()


@shared_task(name="workflows.prune_old_rows")
def prune_old_rows() -> dict[str, int]:
    """Delete rows that are older than the periods of their tenant, for at most a minute. Return the numbers by table.

    If more rows are old, another task continues. If its message is lost, the task of the next day continues.
    Source: docs/reference/retention.md#how-rows-are-deleted
    """
    with system_scope():
        deleted, is_done = tenants_prune_slice()
    if not is_done:
        prune_old_rows.apply_async(countdown=1)
    return deleted


@shared_task(name="workflows.measure_tenants")
def measure_tenants() -> int:
    """Measure what the limits of tenants limit, and notify administrators. Return the number of tenants.

    Source: docs/reference/administration.md#limits
    """
    with system_scope():
        return tenants_measure()


@shared_task(name=WORK_BULK)
def work_bulk(job_id: str) -> None:
    """Work on one slice of a bulk job, then send the queue notification for the next slice.

    Idempotency: if a notification is repeated, its task finds no due items. If a notification is lost, the sweep sends
    another one.
    """
    notification_received(job_id)
    with system_scope():  # the notification names only the job; the row of the job names the tenant
        tenant_id = BulkJob.objects.values_list("tenant_id", flat=True).get(id=job_id)
    with tenant_scope(tenant_id):
        wait = bulk_work(job_id=uuid.UUID(job_id))
    if wait is not None:
        notify_bulk_dispatcher(job_id, after=wait)

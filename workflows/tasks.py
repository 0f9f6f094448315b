"""Celery tasks of the workflows' own: the reconciler's clock, and slices of bulk jobs."""

import uuid

from celery import shared_task

from workflows.dispatch_notification import WORK_BULK, notification_received, notify_bulk_dispatcher
from workflows.models import BulkJob
from workflows.services.bulk.work import bulk_work
from workflows.services.runs.reconcile_sweep import runs_reconcile
from workflows.tenancy import system_scope, tenant_scope


@shared_task(name="workflows.reconcile_runs")
def reconcile_runs() -> dict[str, int]:
    """Compare runs with Temporal and repair what differs (docs/reference/authority.md#age-and-repair-of-projections). Counts by outcome."""
    with system_scope():
        return dict(runs_reconcile().counts)


@shared_task(name=WORK_BULK)
def work_bulk(job_id: str) -> None:
    """A slice of a bulk job, and a message for the next one. A lost or repeated message changes nothing."""
    notification_received(job_id)
    with system_scope():  # whose job it is stands in the job
        tenant_id = BulkJob.objects.values_list("tenant_id", flat=True).get(id=job_id)
    with tenant_scope(tenant_id):
        wait = bulk_work(job_id=uuid.UUID(job_id))
    if wait is not None:
        notify_bulk_dispatcher(job_id, after=wait)

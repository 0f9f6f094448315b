"""Bulk jobs as tests make them: many runs by one statement, jobs worked by the test itself, and killed workers."""

import uuid
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from tests.support.factories import make_actor, make_run
from workflows.models import BulkItem, BulkJob, Run
from workflows.projections.transaction import projection_writer
from workflows.services.bulk.jobs import bulk_start
from workflows.services.bulk.preview import bulk_preview
from workflows.services.bulk.selectors import bulk_counts
from workflows.services.bulk.work import bulk_work
from workflows.statuses import CommandAction


def many_runs(tenant: Any, number: int, **fields: Any) -> list[Run]:
    """Rows of one definition that Temporal knows nothing of."""
    first = make_run(tenant, **fields)
    made = [first]
    for n in range(1, number):
        made.append(make_run(tenant, definition_version=first.definition_version, correlation_key=f"K-{n}", **fields))
    return made


def flood(tenant: Any, number: int) -> None:
    """So many open runs, written by the database itself."""
    run = make_run(tenant)
    columns = [field.column for field in Run._meta.concrete_fields]
    own = {"id": "gen_random_uuid()", "temporal_workflow_id": "'flood-' || n || temporal_workflow_id"}
    picked = ", ".join(own.get(name, name) for name in columns)
    with projection_writer("test"), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO workflow_runs ({', '.join(columns)}) SELECT {picked} FROM workflow_runs, generate_series(2, %s) n WHERE id = %s",
            [number, run.id],
        )


def previewed(tenant: Any, action: CommandAction = CommandAction.CANCEL, **more: Any) -> BulkJob:
    asked = {"rate_per_second": 1000, "reason": "a test", **more}
    if "ids" not in asked and "runs" not in asked:
        asked |= {"runs": Run.objects.all(), "selection": {"filters": {}}}
    asked.setdefault("actor", make_actor(tenant))
    return bulk_preview(action=action, **asked)


def started(tenant: Any, action: CommandAction = CommandAction.CANCEL, **more: Any) -> BulkJob:
    job = previewed(tenant, action, **more)
    return bulk_start(actor=more.get("actor") or make_actor(tenant), job_id=job.id)


def work_off(job: BulkJob, most: int = 1000) -> BulkJob:
    """Slice after slice, without the pauses of the rate, until the job wants none."""
    for _ in range(most):
        if bulk_work(job_id=job.id, seconds=30) is None:
            break
        BulkJob.objects.filter(id=job.id, next_slice_at__isnull=False).update(next_slice_at=timezone.now())
    return reread(job)


def reread(job: BulkJob) -> BulkJob:
    job = BulkJob.objects.select_related("command").get(id=job.id)
    assert sum(bulk_counts(job).values()) == job.total, "the account is not whole"
    return job


def told(job: BulkJob) -> dict[str, int]:
    """The counts that are not zero."""
    return {state: number for state, number in bulk_counts(job).items() if number}


def leases_end(job: BulkJob) -> None:
    """A minute later: what a killed worker held is free, and the job is due."""
    past = timezone.now() - timedelta(seconds=1)
    BulkItem.objects.filter(job=job, claimed_until__isnull=False).update(claimed_until=past)
    BulkJob.objects.filter(id=job.id).exclude(state__in=["preview", "paused"]).filter(ended_at__isnull=True).update(
        next_slice_at=past
    )


class Killed(BaseException):
    """Of a worker, at this point: nothing after it is done, no `except Exception` sees it."""


def item_of(job: BulkJob, run: Run) -> BulkItem:
    return BulkItem.objects.get(job=job, target_id=run.id)


def an_id() -> uuid.UUID:
    return uuid.uuid4()

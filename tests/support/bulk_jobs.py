"""Bulk jobs for tests: preview, start, and execution inside the test, with killed workers and expired claims."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.support.factories import make_actor, make_run
from workflows.models import ActionInvocation, BulkItem, BulkJob, Run
from workflows.projections.transaction import projection_writer
from workflows.services.bulk.jobs import bulk_start
from workflows.services.bulk.preview import bulk_preview
from workflows.services.bulk.selectors import bulk_counts
from workflows.services.bulk.work import bulk_work
from workflows.statuses import CommandAction
from workflows.temporal import gateway


def make_runs(tenant: Any, number: int, **fields: Any) -> list[Run]:
    """Create rows of runs of one definition. Temporal has no such runs."""
    first = make_run(tenant, **fields)
    made = [first]
    for n in range(1, number):
        made.append(make_run(tenant, definition_version=first.definition_version, correlation_key=f"K-{n}", **fields))
    return made


def insert_open_runs(tenant: Any, number: int) -> None:
    """Insert rows of open runs with one statement."""
    run = make_run(tenant)
    columns = [field.column for field in Run._meta.concrete_fields if not field.generated]
    own = {"id": "gen_random_uuid()", "temporal_workflow_id": "'flood-' || n || temporal_workflow_id"}
    selected = ", ".join(own.get(name, name) for name in columns)
    with projection_writer("test"), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO workflow_runs ({', '.join(columns)}) SELECT {selected}"
            " FROM workflow_runs, generate_series(2, %s) n WHERE id = %s",
            [number, run.id],
        )


def preview_job(tenant: Any, action: CommandAction = CommandAction.CANCEL, **more: Any) -> BulkJob:
    """Create a previewed bulk job. Without `ids` or `runs` it contains all runs of the tenant."""
    request = {"rate_per_second": 1000, "reason": "a test", **more}
    if "ids" not in request and "runs" not in request:
        request |= {"runs": Run.objects.all(), "selection": {"filters": {}}, "all_runs": True}
    request.setdefault("actor", make_actor(tenant))
    return bulk_preview(action=action, **request)


def start_job(tenant: Any, action: CommandAction = CommandAction.CANCEL, **more: Any) -> BulkJob:
    job = preview_job(tenant, action, **more)
    return bulk_start(actor=more.get("actor") or make_actor(tenant), job_id=job.id)


def complete_job(job: BulkJob, max_slices: int = 1000) -> BulkJob:
    """Execute the slices of a job without the pauses of its rate, until no slice is due."""
    for _ in range(max_slices):
        if bulk_work(job_id=job.id, seconds=30) is None:
            break
        BulkJob.objects.filter(id=job.id, next_slice_at__isnull=False).update(next_slice_at=timezone.now())
    return reload_job(job)


def reload_job(job: BulkJob) -> BulkJob:
    """Read the job again, and check that the counts of its items add up."""
    job = BulkJob.objects.select_related("command").get(id=job.id)
    assert sum(bulk_counts(job).values()) == job.total, "the counts of the items do not add up to the total"
    return job


def item_counts(job: BulkJob) -> dict[str, int]:
    """Return the number of items in each state, without the zeros."""
    return {state: number for state, number in bulk_counts(job).items() if number}


def accept_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept each start of a run. Temporal has no such runs, so a test sets their status."""
    monkeypatch.setattr(gateway, "start_run", lambda *_, **__: "epoch")
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)


def set_run(run_id: Any, **fields: Any) -> None:
    with projection_writer("test"):
        assert Run.objects.filter(id=run_id).update(**fields) == 1


def end_replays(job: BulkJob, *statuses: str) -> None:
    """Set the status of the new runs of a job, in the order of its items."""
    started = job.items.filter(state="accepted").order_by("position")
    for item, status in zip(started, statuses, strict=True):
        set_run(item.new_run_id, status=status, ended_at=timezone.now())


def executed(run: Run, action: str = "email.send", key: str = "") -> None:
    """Record that a run has executed an action."""
    ActionInvocation.objects.create(
        tenant_id=run.tenant_id, run=run, step_path="root.steps[0]", action_id=action, action_version=1,
        idempotency_key=key or f"{run.id}/root.steps[0]", status="SUCCEEDED",
    )  # fmt: skip


def expire_claims(job: BulkJob) -> None:
    """Let the claims of a killed worker expire, and make the job due."""
    past = timezone.now() - timedelta(seconds=1)
    BulkItem.objects.filter(job=job, claimed_until__isnull=False).update(claimed_until=past)
    BulkJob.objects.filter(id=job.id).exclude(state__in=["preview", "paused"]).filter(ended_at__isnull=True).update(
        next_slice_at=past
    )


class WorkerKilled(BaseException):
    """Kill of a worker at this point. `except Exception` does not catch it, so no later code of the worker runs."""


def item_of(job: BulkJob, run: Run) -> BulkItem:
    return BulkItem.objects.get(job=job, target_id=run.id)


def unknown_id() -> uuid.UUID:
    """Return an id that no row has."""
    return uuid.uuid4()

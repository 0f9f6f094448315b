"""The row of a run, from its launch to its first record (docs/reference/authority.md#projection-writers)."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from workflows.models import Run
from workflows.projections.run_values import record_run_values
from workflows.projections.transaction import projection_writer
from workflows.statuses import RunStatus


def record_launch(run: Run) -> bool:
    """Insert the run row with status STARTING. Call this function before the workflow is started in Temporal.

    Return False if the row exists already.
    """
    try:
        with projection_writer("launch"):
            run.save(force_insert=True)
            record_run_values(run)
    except IntegrityError:
        if Run.objects.filter(tenant_id=run.tenant_id, id=run.id).exists():
            return False
        raise
    return True


def record_first_run_id(*, tenant_id: uuid.UUID, run_id: uuid.UUID, temporal_run_id: str) -> None:
    """Note that Temporal has started the run. The run's own records make all further changes."""
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, temporal_first_run_id="").update(
            temporal_first_run_id=temporal_run_id
        )


def record_queue_checks(*, tenant_id: uuid.UUID, run_ids: Collection[uuid.UUID], at: datetime | None) -> None:
    """Set the time of the next check of queued starts. None releases them: their workflows may start now."""
    with projection_writer("launch"):
        Run.objects.filter(
            tenant_id=tenant_id, id__in=run_ids, status=RunStatus.STARTING, queued_until__isnull=False
        ).update(queued_until=at)


def record_queued_end(*, tenant_id: uuid.UUID, run_id: uuid.UUID, status: RunStatus) -> bool:
    """Close a queued start. Return False if the start is no longer queued; Temporal may then have its workflow."""
    now = timezone.now()
    with projection_writer("launch"):
        queued = Run.objects.filter(
            tenant_id=tenant_id, id=run_id, status=RunStatus.STARTING, queued_until__isnull=False
        )
        return bool(queued.update(status=status, queued_until=None, ended_at=now, projected_at=now))


def record_launch_failed(*, tenant_id: uuid.UUID, run_id: uuid.UUID, error: dict[str, Any]) -> None:
    """Close a run that Temporal will never accept. The error becomes the reason of the run's end."""
    now = timezone.now()
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, status=RunStatus.STARTING, temporal_first_run_id="").update(
            status=RunStatus.FAILED,
            queued_until=None,
            error=error,
            error_category=error["category"],
            error_code=error["code"],
            ended_at=now,
            projected_at=now,
        )


def record_launch_undone(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Delete the row of a run. Call this function only if Temporal certainly did not start the run."""
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, status=RunStatus.STARTING, temporal_first_run_id="").delete()

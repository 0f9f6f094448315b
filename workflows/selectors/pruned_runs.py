"""Runs that retention has deleted (docs/reference/retention.md#deleted-runs)."""

import uuid
from collections.abc import Iterable

from workflows.errors import NotFound
from workflows.models import PrunedRun


def run_not_found(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> NotFound:
    """Return the error for a run that the tenant does not have.

    If retention has deleted the run, the code is RUN_DELETED, and the details say when and why. Otherwise the code is
    RUN_NOT_FOUND.
    """
    pruned = PrunedRun.objects.filter(tenant_id=tenant_id, id=run_id).first()
    if pruned is None:
        return NotFound(f"there is no run {run_id}", code="RUN_NOT_FOUND")
    return NotFound(
        f"this run of {pruned.definition_key} was deleted on {pruned.pruned_at:%Y-%m-%d %H:%M} UTC by the retention"
        f" policy ({pruned.retention_days} days); it had ended on {pruned.ended_at:%Y-%m-%d %H:%M} UTC",
        code="RUN_DELETED",
        details={
            "runId": str(run_id),
            "definition": pruned.definition_key,
            "endedAt": pruned.ended_at.isoformat(),
            "deletedAt": pruned.pruned_at.isoformat(),
            "retentionDays": pruned.retention_days,
        },
    )


def deleted_among(run_ids: Iterable[uuid.UUID], *, tenant_id: uuid.UUID) -> set[uuid.UUID]:
    """Return those of the runs that retention has deleted."""
    return set(PrunedRun.objects.filter(tenant_id=tenant_id, id__in=list(run_ids)).values_list("id", flat=True))

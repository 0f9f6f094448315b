"""Step rows of runs without Temporal, as the projection writer would write them."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from workflows.models import Run, RunStep
from workflows.projections.step_counts import forget_step_counts, record_step_counts
from workflows.projections.transaction import projection_writer


def record_steps(run: Run, *steps: tuple[str, str, dict[str, Any]], **changes: Any) -> None:
    """Write step rows, and changes of the run, as one batch of records.

    Each step has its path, its status and other fields; `seconds` is its time. A step that exists is changed.
    """
    with projection_writer("test"):
        for path, status, given in steps:
            fields = {"iteration": "", "attempt": 1, "seconds": 1, **given}
            run.projection_seq += 1
            key = {"step_path": path, "iteration": fields.pop("iteration"), "attempt": fields.pop("attempt")}
            values = {
                "step_id": "s", "step_type": "state.set", "projection_seq": run.projection_seq, "status": status,
                "started_at": run.created_at, "ended_at": run.created_at + timedelta(seconds=fields.pop("seconds")),
                **fields,
            }  # fmt: skip
            RunStep.objects.update_or_create(tenant_id=run.tenant_id, run=run, **key, defaults=values)
        for name, value in changes.items():
            setattr(run, name, value)
        run.save(update_fields=["projection_seq", *changes])


def fail_run(run: Run, path: str) -> None:
    """Write the end of a run that failed in this step."""
    error = {"category": "ActionError", "message": "no", "nodePath": path, "at": "2026-01-01T00:00:00Z"}
    record_steps(run, status="FAILED", ended_at=timezone.now(), error=error, error_category="ActionError")


def count_all_steps(tenant: Any) -> None:
    """Count the steps of the tenant, as the task does for each tenant.

    The task itself takes the tenants of all tests in a random order, and its time can end before this tenant.
    """
    forget_step_counts(tenant_id=tenant.id)
    while record_step_counts(tenant_id=tenant.id):
        pass

"""Rows of runs that an older engine executed (docs/reference/authority.md#projection-writers)."""

from collections.abc import Sequence

from workflows.models import Run, RunStep, RunWait
from workflows.projections.transaction import projection_writer


def record_legacy_runs(runs: Sequence[Run], steps: Sequence[RunStep], waits: Sequence[RunWait]) -> None:
    """Insert the rows of legacy runs. Either all rows are inserted, or none."""
    with projection_writer("legacy import"):
        Run.objects.bulk_create(runs)
        RunStep.objects.bulk_create(steps)
        RunWait.objects.bulk_create(waits)

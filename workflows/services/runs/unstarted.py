"""Interrupted launches. The row of such a run was inserted, but its workflow may not have started.

The start is repeated here.

As long as Temporal remembers a workflow, it rejects a second workflow with the same id. If the row is older than this
time, the start is not repeated, because the run may have existed and ended already.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from workflows.models import Run
from workflows.services.runs.launch import run_end_unstarted, run_start_workflow
from workflows.statuses import Engine, ReconcileOutcome, RunStatus, TriggerType
from workflows.temporal import gateway
from workflows.temporal.listing import namespace_retention

logger = logging.getLogger(__name__)

UNSTARTED_AFTER = timedelta(seconds=30)
# The shortest retention period that Temporal allows for a namespace.
SURELY_REMEMBERED = timedelta(hours=1)
BATCH = 50


def sweep_unstarted_runs() -> int:
    """Repeat the start of interrupted launches. Return the number of these runs.

    Runs younger than UNSTARTED_AFTER are skipped, because their launch may still be in progress.

    If Temporal can never accept a run, the run is closed with the reason. If Temporal refuses a run only now, the other
    runs are still started.
    """
    started = 0
    for run in unstarted_runs():
        try:
            started += run_start_unstarted(run) == ReconcileOutcome.STARTED
        except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
            logger.warning("run %s cannot be started yet: %s", run.id, error)
            break  # Temporal is down for all runs; the next sweep continues
        except gateway.TemporalError as error:
            logger.warning("Temporal refused to start run %s: %s", run.id, error)
    return started


def unstarted_runs() -> Iterable[Run]:
    waiting = Run.objects.select_related("definition_version", "event").filter(
        engine=Engine.TEMPORAL,
        status=RunStatus.STARTING,
        temporal_first_run_id="",
        queued_until__isnull=True,
        created_at__lt=timezone.now() - UNSTARTED_AFTER,
    )
    # Children are left out, because the parent's workflow starts a child.
    return waiting.exclude(trigger_type=TriggerType.CHILD).order_by("created_at")[:BATCH]


def run_start_unstarted(run: Run) -> ReconcileOutcome:
    """Start the run's workflow. Return STARTED. If the run was closed with a reason instead, return ENDED.

    Idempotency: if the workflow was started before, it is not started again. The outcome is STARTED in this case too.
    Errors: TemporalError if Temporal did not accept the run now.
    """
    age = timezone.now() - run.created_at
    if age > SURELY_REMEMBERED and age > namespace_retention() and not _is_known(run):
        days = age.total_seconds() / 86_400
        run_end_unstarted(
            run,
            f"its start was never confirmed, and at an age of {days:.1f} days Temporal would not remember it;"
            " start it again if it is still needed",
            code="RUN_NOT_STARTED",
        )
        return ReconcileOutcome.ENDED
    try:
        run_start_workflow(run)
    except gateway.TemporalInvalid as error:
        run_end_unstarted(run, f"Temporal cannot accept this run: {error}", code="TEMPORAL_REFUSED")
        return ReconcileOutcome.ENDED
    return ReconcileOutcome.STARTED


def _is_known(run: Run) -> bool:
    try:
        gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return False
    return True

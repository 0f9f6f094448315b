"""Runs whose launch was cut off between the row and Temporal (docs/reference/authority.md#age-and-repair-of-projections): started again under the same workflow id.

Temporal refuses a second workflow of an id, as long as it remembers the first. So a row that is older than what it
remembers is not started any more: the run may have been there, and gone.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from workflows.models import Run
from workflows.services.runs.launch import run_end_unstarted, run_start_workflow
from workflows.statuses import Engine, RunStatus, TriggerType
from workflows.temporal import gateway
from workflows.temporal.listing import namespace_retention

logger = logging.getLogger(__name__)

UNSTARTED_AFTER = timedelta(seconds=30)
# The shortest retention that a namespace can have.
SURELY_REMEMBERED = timedelta(hours=1)
BATCH = 50


def sweep_unstarted_runs() -> int:
    """The number of runs that Temporal has now. One that is being launched is left alone by its age.

    A run that Temporal can never take is ended with the reason; one that it refuses for now does not hold up the others.
    """
    started = 0
    for run in unstarted_runs():
        try:
            started += run_start_unstarted(run) == "started"
        except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
            logger.warning("run %s cannot be started yet: %s", run.id, error)
            break  # Temporal is down for the next ones too; the next sweep goes on
        except gateway.TemporalError as error:
            logger.warning("Temporal does not take run %s: %s", run.id, error)
    return started


def unstarted_runs() -> Iterable[Run]:
    waiting = Run.objects.select_related("definition_version", "event").filter(
        engine=Engine.TEMPORAL,
        status=RunStatus.STARTING,
        temporal_first_run_id="",
        created_at__lt=timezone.now() - UNSTARTED_AFTER,
    )
    # Of a child its parent's workflow starts it.
    return waiting.exclude(trigger_type=TriggerType.CHILD).order_by("created_at")[:BATCH]


def run_start_unstarted(run: Run) -> str:
    """What came of it: `started`, or `ended` with the reason in the row.

    Idempotency: a workflow that was started before is not started again, and is `started` too.
    Errors: TemporalError when Temporal did not take it now.
    """
    age = timezone.now() - run.created_at
    if age > SURELY_REMEMBERED and age > namespace_retention() and not _is_known(run):
        days = age.total_seconds() / 86_400
        run_end_unstarted(
            run,
            f"its start was never confirmed, and it is {days:.1f} days old: Temporal would not remember it any more",
            code="RUN_NOT_STARTED",
        )
        return "ended"
    try:
        run_start_workflow(run)
    except gateway.TemporalInvalid as error:
        run_end_unstarted(run, f"Temporal cannot take this run: {error}", code="TEMPORAL_REFUSED")
        return "ended"
    return "started"


def _is_known(run: Run) -> bool:
    try:
        gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return False
    return True

"""Runs whose launch was cut off between the row and Temporal (PRODUCT 2.6): started again under the same workflow id."""

import logging
from datetime import timedelta

from django.utils import timezone

from workflows.models import Run
from workflows.services.run_launch import run_end_unstarted, run_start_workflow
from workflows.statuses import Engine, RunStatus, TriggerType
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

UNSTARTED_AFTER = timedelta(seconds=30)
BATCH = 50


def sweep_unstarted_runs() -> int:
    """The number of runs that Temporal has now. One that is being launched is left alone by its age.

    A run that Temporal can never take is ended with the reason; one that it refuses for now does not hold up the others.
    """
    started = 0
    waiting = (
        Run.objects.select_related("definition_version", "event")
        .filter(
            engine=Engine.TEMPORAL,
            status=RunStatus.STARTING,
            temporal_first_run_id="",
            created_at__lt=timezone.now() - UNSTARTED_AFTER,
        )
        .exclude(trigger_type=TriggerType.CHILD)
    )  # its parent's workflow starts it
    for run in waiting.order_by("created_at")[:BATCH]:
        try:
            run_start_workflow(run)
        except gateway.TemporalInvalid as error:
            run_end_unstarted(run, error)
        except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
            logger.warning("run %s cannot be started yet: %s", run.id, error)
            break  # Temporal is down for the next ones too; the next sweep goes on
        except gateway.TemporalError as error:
            logger.warning("Temporal does not take run %s: %s", run.id, error)
        else:
            started += 1
    return started

"""Comparison of old runs with Temporal before their deletion (docs/reference/retention.md#runs)."""

import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from workflows.services.runs.reconcile import run_reconcile
from workflows.temporal.gateway import TemporalTimeout, TemporalUnreachable
from workflows.temporal.listing import closings

logger = logging.getLogger(__name__)

OPEN, LATER = "open in Temporal", "ended later in Temporal"
# Runs of one batch that are repaired. The rest stays too, and the next pass repairs more.
REPAIRED = 20
# Seconds before the second and the third request to Temporal.
PAUSES = (1.0, 5.0)


def unended_in_temporal(workflows: Mapping[uuid.UUID, str], *, before: datetime) -> dict[uuid.UUID, str]:
    """Return the runs that Temporal has open or that ended later than their rows say, each with the reason to keep it.

    `workflows`: workflow id of each run, empty for a run that Temporal never had. A reset in Temporal can open a run
    again after its end.

    Errors: TemporalError if one run could not be compared. Then no run of the batch may be deleted.
    """
    closed_at = _closings([workflow_id for workflow_id in workflows.values() if workflow_id])
    found: dict[uuid.UUID, str] = {}
    for run_id, workflow_id in workflows.items():
        if workflow_id in closed_at:
            at = closed_at[workflow_id]
            if at is None or at > before:
                found[run_id] = OPEN if at is None else LATER
    return found


def _closings(workflow_ids: list[str]) -> dict[str, datetime | None]:
    """Ask Temporal, and ask again after a lost response. A long pass meets one on a loaded machine."""
    for pause in PAUSES:
        try:
            return closings(workflow_ids)
        except (TemporalTimeout, TemporalUnreachable) as error:
            logger.warning("Temporal did not respond to retention, which asks again in %s s: %s", pause, error)
            time.sleep(pause)
    return closings(workflow_ids)


def runs_repair(run_ids: Iterable[uuid.UUID]) -> None:
    """Write what Temporal says about these runs to their rows. An error of one run leaves the others."""
    for run_id in list(run_ids)[:REPAIRED]:
        logger.warning("old run %s has not ended in Temporal as its row says; it was not deleted", run_id)
        try:
            run_reconcile(run_id=run_id, is_deep=True)
        except Exception:
            logger.exception("run %s could not be compared with Temporal; the reconciler tries again", run_id)

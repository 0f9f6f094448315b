"""Sweep of the reconciler. It selects and compares runs (docs/reference/authority.md#age-and-repair-of-projections).

A sweep takes a bounded share of the machine, whatever it finds: SHARE of the interval between two sweeps. The next
sweeps compare the remaining runs. The sweep takes candidates from two sources (`candidates`):

1. Temporal's list of workflows that started or closed recently, in pages of 500. This source finds ends and resets that
   the portal did not notice, within a minute or two.
2. A walk over open rows, with one describe call for each. First come the runs that Temporal perhaps cannot move, then
   interrupted launches, then the rows that were compared longest ago. The walk finds differences that no list can show:
   runs that Temporal no longer knows, changed rows, and changes while the reconciler was down.

Temporal's list may be out of date. So a run in the list is only a candidate, and `run_reconcile` describes its workflow
again.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.db import InterfaceError, OperationalError

from workflows.database_errors import is_statement_error
from workflows.models import Run
from workflows.services.command_reconcile import commands_reconcile
from workflows.services.late_results import late_results_report
from workflows.services.runs.candidates import changed_runs, walked_runs
from workflows.services.runs.rebuild import ids_of
from workflows.services.runs.reconcile import Reconciled, run_reconcile
from workflows.statuses import OPEN_RUN_STATUSES, ReconcileOutcome
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

# Part of the interval between two sweeps that a sweep may use. The calls of a sweep follow each other. So all servers
# together spend at most about this part of one core on them.
SHARE = 0.2
# Parts of the time budget. The comparison of the list must end at the first part, and the walk must end at the second
# part.
SHARE_OF_CHANGED, SHARE_WITH_WALK = 0.6, 0.85
MAX_LINES = 200


@dataclass
class ReconcileReport:
    """Report of a sweep: counts by outcome, and one line for each run that was repaired or failed.

    `problem` is the reason if the sweep stopped early. In this case Temporal did not respond, and nothing more was
    written.
    """

    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    without_row: set[str] = field(default_factory=set)
    problem: str = ""

    def add(self, found: Reconciled) -> None:
        self.counts[found.outcome] += 1
        if found.is_repair:
            self._add_line(f"{found.run_id} {found.outcome}: {found.detail}")

    def add_failed(self, run_id: uuid.UUID, outcome: ReconcileOutcome, detail: str) -> None:
        self.counts[outcome] += 1
        self._add_line(f"{run_id} {outcome}: {detail}")

    def _add_line(self, line: str) -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append(line)


def runs_reconcile(*, budget_seconds: float | None = None) -> ReconcileReport:
    """Run one sweep within its time budget.

    The parts are: candidates from Temporal's list, a section of the walk, commands, and late results.

    Each part has its share of the budget. So the other parts run even if there are many candidates. The default budget
    is SHARE of the interval between two sweeps.
    """
    budget_seconds = budget_seconds or SHARE * settings.RECONCILE_INTERVAL_SECONDS
    started = time.monotonic()
    report = ReconcileReport()
    try:
        stop_at = started + budget_seconds * SHARE_OF_CHANGED
        _reconcile_each(changed_runs(report.without_row, stop_at=stop_at), report, stop_at=stop_at)
        stop_at = started + budget_seconds * SHARE_WITH_WALK
        _reconcile_each(walked_runs(stop_at=stop_at), report, stop_at=stop_at)
        report.counts.update(commands_reconcile(stop_at=started + budget_seconds))
        report.counts.update(late_results_report())
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        report.problem = f"Temporal does not respond: {error}"
        logger.warning("the reconciler stopped: %s", report.problem)
    if report.without_row:
        report.counts[ReconcileOutcome.WITHOUT_ROW] = len(report.without_row)
        logger.warning(
            "Temporal has runs without a row; `manage.py rebuild_projections --run ID` creates the row: %s",
            ", ".join(sorted(report.without_row)[:20]),
        )
    return report


def runs_reconcile_all(
    *, tenant_id: uuid.UUID | None = None, run_id: uuid.UUID | None = None, is_dry_run: bool = False
) -> ReconcileReport:
    """Compare every open run, every open run of one tenant, or one run in any status. There is no time limit."""
    report = ReconcileReport()
    rows = Run.objects.filter(id=run_id) if run_id else Run.objects.filter(status__in=OPEN_RUN_STATUSES)
    if tenant_id is not None:
        rows = rows.filter(tenant_id=tenant_id)
    try:
        _reconcile_each(ids_of(rows), report, is_dry_run=is_dry_run, is_deep=run_id is not None)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        report.problem = f"Temporal does not respond: {error}"
    return report


def _reconcile_each(
    run_ids: Iterator[uuid.UUID],
    report: ReconcileReport,
    *,
    stop_at: float | None = None,
    is_dry_run: bool = False,
    is_deep: bool = False,
) -> None:
    """Compare each run. If the comparison of one run fails, report the error and continue with the other runs.

    Errors: TemporalUnreachable; TemporalTimeout; errors of a lost database connection.
    """
    for run_id in run_ids:
        if stop_at is not None and time.monotonic() > stop_at:
            report.counts[ReconcileOutcome.OUT_OF_TIME] += 1
            return
        reconcile_one(run_id, report, is_dry_run=is_dry_run, is_deep=is_deep)


def reconcile_one(
    run_id: uuid.UUID, report: ReconcileReport, *, is_dry_run: bool = False, is_deep: bool = False
) -> None:
    """Compare one run, and add its outcome to the report. Errors: as `_reconcile_each`."""
    try:
        report.add(run_reconcile(run_id=run_id, is_dry_run=is_dry_run, is_deep=is_deep))
    except gateway.TemporalBusy as error:  # affects only this run
        report.add_failed(run_id, ReconcileOutcome.BUSY, str(error))
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout):
        raise
    except gateway.TemporalError as error:
        logger.warning("run %s cannot be compared with Temporal: %s", run_id, error)
        report.add_failed(run_id, ReconcileOutcome.REFUSED, str(error))
    except Run.DoesNotExist:
        logger.info("run %s was deleted before it could be compared", run_id)
    except Exception as error:
        if isinstance(error, OperationalError | InterfaceError) and not is_statement_error(error):
            raise
        logger.exception("run %s cannot be compared with Temporal", run_id)
        report.add_failed(run_id, ReconcileOutcome.FAILED, "an internal error; the log has the details")

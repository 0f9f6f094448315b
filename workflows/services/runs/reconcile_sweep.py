"""Which runs the reconciler looks at (docs/reference/authority.md#age-and-repair-of-projections), so that its cost follows what happens and not how many runs are open.

1. What Temporal has started or ended lately, listed: pages of 500, whatever the number of open runs. That finds ends
   behind the portal's back, and resets, within a minute or two. The window is some ten times as long as the time between
   two sweeps: so nobody has to remember where the last one stood, and a sweep that failed costs nothing.
2. A slow walk over the open rows, those first that were compared least lately, a few hundred at a time with one describe
   each. That finds what no list can show: runs that Temporal no longer knows, rows that were altered, and what happened
   while the reconciler itself was down. A row that was compared has the time of it, which is the walk's cursor.

A list is a moment old: what it shows is only a candidate, and `run_reconcile` asks again.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from workflows.database_errors import is_of_one_statement
from workflows.models import Run, Tenant
from workflows.services.command_reconcile import commands_reconcile
from workflows.services.runs.launch import run_id_of_workflow
from workflows.services.runs.rebuild import ids_of
from workflows.services.runs.reconcile import QUIET_AFTER, Reconciled, run_reconcile
from workflows.services.runs.unstarted import UNSTARTED_AFTER
from workflows.statuses import OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL, Engine, RunStatus
from workflows.temporal import gateway
from workflows.temporal.listing import Listed, list_changed

logger = logging.getLogger(__name__)

CHANGED_WINDOW = timedelta(minutes=10)
COMPARE_AFTER = timedelta(minutes=10)
WALK_BATCH = 200
BUDGET_SECONDS = 40.0
SHARE_OF_CHANGED, SHARE_WITH_WALK = 0.6, 0.85
MAX_LINES = 200


@dataclass
class ReconcileReport:
    """`problem`: why it stopped early; then Temporal did not answer, and nothing was written from there on."""

    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    without_row: set[str] = field(default_factory=set)
    problem: str = ""

    def add(self, found: Reconciled) -> None:
        self.counts[found.outcome] += 1
        if found.is_repair:
            self.tell(f"{found.run_id} {found.outcome}: {found.detail}")

    def add_failed(self, run_id: uuid.UUID, outcome: str, detail: str) -> None:
        self.counts[outcome] += 1
        self.tell(f"{run_id} {outcome}: {detail}")

    def tell(self, line: str) -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append(line)


def runs_reconcile(*, budget_seconds: float = BUDGET_SECONDS) -> ReconcileReport:
    """One sweep, within its time: candidates from Temporal's list first, then a part of the walk, then commands. Each has
    its share, so that a busy time does not keep the last ones waiting.
    """
    begun = time.monotonic()
    report = ReconcileReport()
    try:
        _reconcile_each(_changed(report), report, stop_at=begun + budget_seconds * SHARE_OF_CHANGED)
        _reconcile_each(_walk(), report, stop_at=begun + budget_seconds * SHARE_WITH_WALK)
        report.counts.update(commands_reconcile(stop_at=begun + budget_seconds))
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        report.problem = f"Temporal does not answer: {error}"
        logger.warning("the reconciler stopped: %s", report.problem)
    if report.without_row:
        report.counts["without row"] = len(report.without_row)
        logger.warning("Temporal has runs without a row: %s", ", ".join(sorted(report.without_row)[:20]))
    return report


def runs_reconcile_all(
    *, tenant_id: uuid.UUID | None = None, run_id: uuid.UUID | None = None, is_dry_run: bool = False
) -> ReconcileReport:
    """Every open run (of a tenant), or one run whatever its state, however long it takes."""
    report = ReconcileReport()
    rows = Run.objects.filter(id=run_id) if run_id else Run.objects.filter(status__in=OPEN_RUN_STATUSES)
    if tenant_id is not None:
        rows = rows.filter(tenant_id=tenant_id)
    try:
        _reconcile_each(ids_of(rows), report, is_dry_run=is_dry_run, is_deep=run_id is not None)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        report.problem = f"Temporal does not answer: {error}"
    return report


def _reconcile_each(
    run_ids: Iterator[uuid.UUID],
    report: ReconcileReport,
    *,
    stop_at: float | None = None,
    is_dry_run: bool = False,
    is_deep: bool = False,
) -> None:
    """What one run alone fails with is told, and leaves the others their turn.

    Errors: TemporalUnreachable, TemporalTimeout, and errors of a database that is lost.
    """
    for run_id in run_ids:
        if stop_at is not None and time.monotonic() > stop_at:
            report.counts["out of time"] += 1
            return
        try:
            report.add(run_reconcile(run_id=run_id, is_dry_run=is_dry_run, is_deep=is_deep))
        except gateway.TemporalBusy as error:  # of this run alone
            report.add_failed(run_id, "busy", str(error))
        except (gateway.TemporalUnreachable, gateway.TemporalTimeout):
            raise
        except gateway.TemporalError as error:
            logger.warning("run %s cannot be compared: %s", run_id, error)
            report.add_failed(run_id, "refused", str(error))
        except Run.DoesNotExist:
            logger.info("run %s was deleted while it was to be compared", run_id)
        except Exception as error:
            if isinstance(error, OperationalError | InterfaceError) and not is_of_one_statement(error):
                raise
            logger.exception("run %s cannot be compared", run_id)
            report.add_failed(run_id, "failed", "a fault of the portal; it is in the log")


# -- Candidates --------------------------------------------------------------------------------------------------------


def _changed(report: ReconcileReport) -> Iterator[uuid.UUID]:
    for page in list_changed(since=timezone.now() - CHANGED_WINDOW):
        by_workflow = {listed.workflow_id: listed for listed in page}
        rows = Run.objects.filter(id__in=[found for found in map(run_id_of_workflow, by_workflow) if found]).only(
            "status", "projection_epoch", "temporal_workflow_id", "engine"
        )
        known = {row.temporal_workflow_id: row for row in rows}
        report.without_row |= by_workflow.keys() - known.keys()
        for listed in page:
            row = known.get(listed.workflow_id)
            if row is not None and _is_candidate(row, listed):
                yield row.id


def _is_candidate(row: Run, listed: Listed) -> bool:
    is_open, ended = row.status in OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL.get(listed.status)
    is_its_execution = row.projection_epoch in ("", listed.run_id)
    if ended is not None:
        return is_open or (is_its_execution and row.status != ended)
    has_begun = listed.started_at < timezone.now() - QUIET_AFTER
    return has_begun and (not is_open or not is_its_execution)


def _walk() -> Iterator[uuid.UUID]:
    """Open rows of each tenant that were not written or compared for a while, and launches that were cut off."""
    now = timezone.now()
    for tenant_id in Tenant.objects.order_by("?").values_list("id", flat=True):
        rows = Run.objects.filter(tenant_id=tenant_id, engine=Engine.TEMPORAL)
        unstarted = rows.filter(
            status=RunStatus.STARTING, temporal_first_run_id="", created_at__lt=now - UNSTARTED_AFTER
        )
        yield from unstarted.order_by("created_at").values_list("id", flat=True)[:WALK_BATCH]
        old = rows.filter(status__in=OPEN_RUN_STATUSES, projected_at__lt=now - COMPARE_AFTER)
        yield from old.order_by("projected_at").values_list("id", flat=True)[:WALK_BATCH]

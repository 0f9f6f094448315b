"""Comparison of all schedules with Temporal (docs/reference/schedules.md#schedules-in-temporal).

The reconciler takes the schedules that were compared longest ago. It also writes the row of a trigger's schedule if the
portal was killed after a definition was published.

A schedule in Temporal with the portal's prefix and without a row is only reported. Another portal may use the same
namespace, or the database may have been restored from a backup.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import DatabaseError
from django.db.models import F, Q, QuerySet

from workflows.models import Definition, Schedule
from workflows.services.schedules.follow import trigger_schedule_write
from workflows.services.schedules.sync import Synced, schedule_sync
from workflows.statuses import ScheduleKind, ScheduleOrigin, ScheduleSync
from workflows.temporal import gateway
from workflows.temporal.schedules import PREFIX, list_schedule_ids

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 40.0
BATCH = 500
MAX_LINES = 200


@dataclass
class ScheduleReport:
    """Report of a comparison: counts by outcome, and one line for each schedule that was changed or failed.

    `problem` is the reason if the comparison stopped early, because Temporal did not respond.
    """

    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    problem: str = ""

    def add(self, found: Synced) -> None:
        self.counts[found.outcome] += 1
        if found.outcome != ScheduleSync.EQUAL and len(self.lines) < MAX_LINES:
            self.lines.append(f"{found.schedule_id} {found.outcome}: {found.detail}".rstrip(": "))


def schedules_reconcile(
    *, tenant_id: uuid.UUID | None = None, is_dry_run: bool = False, budget_seconds: float | None = BUDGET_SECONDS
) -> ScheduleReport:
    """Compare the schedules with Temporal and repair what differs. Without a budget, compare every schedule.

    If one schedule fails, the others are still compared. If Temporal does not respond, the comparison stops.
    """
    report = ScheduleReport()
    stop_at = None if budget_seconds is None else time.monotonic() + budget_seconds
    if not is_dry_run:
        trigger_rows_write(tenant_id)
    for schedule_id in _due(tenant_id, limit=None if budget_seconds is None else BATCH):
        if stop_at is not None and time.monotonic() > stop_at:
            report.counts[ScheduleSync.OUT_OF_TIME] += 1
            break
        schedule_reconcile(schedule_id, report, is_dry_run=is_dry_run)
        if report.problem:
            break
    if not report.problem and tenant_id is None:
        _report_without_row(report)
    return report


def schedule_reconcile(schedule_id: uuid.UUID, report: ScheduleReport, *, is_dry_run: bool = False) -> None:
    """Compare one schedule, and add its outcome to the report. Errors: DatabaseError."""
    try:
        found = schedule_sync(schedule_id=schedule_id, is_dry_run=is_dry_run)
    except Schedule.DoesNotExist:
        return
    except DatabaseError:
        raise
    except Exception:
        logger.exception("schedule %s cannot be compared with Temporal", schedule_id)
        found = Synced(schedule_id, ScheduleSync.FAILED, "an internal error; the log has the details")
    report.add(found)
    if found.outcome == ScheduleSync.UNREACHABLE:
        report.problem = f"Temporal does not respond: {found.detail}"


def schedules_of_triggers() -> QuerySet[Definition]:
    """Return the definitions whose published trigger and whose schedule may not agree.

    A deleted definition that still has a schedule is one of them. The process that deleted it was killed, or a request
    added the schedule at the same moment.
    """
    has_time = Q(published_version__trigger_type__in=[str(kind) for kind in ScheduleKind])
    has_row = Q(schedules__origin=ScheduleOrigin.TRIGGER, schedules__removed_at__isnull=True)
    is_left = Q(deleted_at__isnull=False, schedules__isnull=False, schedules__removed_at__isnull=True)
    wanted = has_time & Q(deleted_at__isnull=True) | has_row | is_left
    return Definition._base_manager.filter(wanted).distinct()


def trigger_rows_write(tenant_id: uuid.UUID | None) -> None:
    """Write the schedules of published triggers that have none, for example because the portal was killed."""
    definitions = schedules_of_triggers()
    if tenant_id is not None:
        definitions = definitions.filter(tenant_id=tenant_id)
    for definition_id in definitions.order_by().values_list("id", flat=True):
        trigger_schedule_write(definition_id=definition_id)


def schedules_to_compare() -> QuerySet[Schedule]:
    """Return the schedules that Temporal must have, and the deleted ones until Temporal has deleted them too."""
    return Schedule.objects.filter(Q(removed_at__isnull=True) | ~Q(synced_hash=""))


def _due(tenant_id: uuid.UUID | None, *, limit: int | None) -> Iterator[uuid.UUID]:
    """Yield schedules, those compared longest ago first."""
    rows = schedules_to_compare()
    if tenant_id is not None:
        rows = rows.filter(tenant_id=tenant_id)
    yield from rows.order_by(F("last_synced_at").asc(nulls_first=True)).values_list("id", flat=True)[:limit]


def _report_without_row(report: ScheduleReport) -> None:
    try:
        found = {schedule_id for schedule_id in list_schedule_ids() if _uuid_of(schedule_id)}
    except gateway.TemporalError as error:
        report.problem = f"Temporal does not list its schedules: {error}"
        return
    known = Schedule.objects.filter(temporal_schedule_id__in=found, removed_at__isnull=True)
    unknown = sorted(found - set(known.values_list("temporal_schedule_id", flat=True)))
    if unknown:
        report.counts[ScheduleSync.WITHOUT_ROW] = len(unknown)
        logger.warning(
            "Temporal has schedules that no row describes; they start no runs; delete them in Temporal: %s",
            ", ".join(unknown[:20]),
        )


def _uuid_of(schedule_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(schedule_id.removeprefix(PREFIX))
    except ValueError:
        return None

"""Comparison of all open runs and all schedules of a tenant with Temporal, at the request of an operator.

The reconciler's rules decide what is repaired. The row of the command ledger holds the progress: the positions after
the last compared run and schedule, and the numbers. A worker compares for one slice, records the progress, and asks for
the next slice. So each run and each schedule is compared once, and a killed worker loses at most its slice.

Source: docs/reference/authority.md#compare-all-now
"""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from workflows.actors import Actor
from workflows.dispatch_notification import notify_comparison
from workflows.errors import Conflict, PortalError
from workflows.ledger import command_advance, command_refuse, commands_finish_in_transaction
from workflows.models import Command, Run
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.services.runs.candidates import walkable_runs
from workflows.services.runs.reconcile import UNCHANGED
from workflows.services.runs.reconcile_sweep import ReconcileReport, reconcile_one
from workflows.services.schedules.reconcile import (
    ScheduleReport,
    schedule_reconcile,
    schedules_to_compare,
    trigger_rows_write,
)
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, ReconcileOutcome, Role, ScheduleSync
from workflows.temporal import gateway

PURPOSE = "compare all runs with Temporal"
SLICE_SECONDS = 10.0
PAGE = 100
MOST_COUNTED = 100_000
# A slice takes a few seconds longer than SLICE_SECONDS. After this time, its worker was killed or its message was lost.
LEFT_AFTER = timedelta(seconds=60)
_ADVISORY_CLASS = 5_044  # class of the advisory locks for requests
_FIRST = str(uuid.UUID(int=0))
# With these outcomes a run or a schedule was not compared.
NOT_COMPARED = frozenset({ReconcileOutcome.BUSY, ReconcileOutcome.REFUSED, ReconcileOutcome.FAILED})
SCHEDULE_COMPARED = frozenset(
    {ScheduleSync.EQUAL, ScheduleSync.CREATED, ScheduleSync.UPDATED, ScheduleSync.DELETED, ScheduleSync.RESTORED}
)


def require_comparison_role(*, actor: Actor) -> None:
    """Refuse an actor who may not request a comparison. Call this before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(actor=actor, needs=Role.OPERATOR, to=PURPOSE, action=CommandAction.COMPARE, target_type="tenant")


def comparison_request(*, actor: Actor, reason: str = "", idempotency_key: str = "") -> Command:
    """Accept a comparison of the tenant's open runs and schedules, and return its command.

    Errors: PermissionRefused; Conflict COMPARISON_RUNNING while an earlier comparison is not done.
    """
    request = command_request(
        actor=actor,
        action=CommandAction.COMPARE,
        target_type="tenant",
        target_id=str(actor.tenant_id),
        reason=reason,
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return command
    try:
        actor.require(Role.OPERATOR, to=PURPOSE)
        with transaction.atomic():
            _accept(command)
    except PortalError as error:
        raise command_refuse(command, error) from error
    notify_comparison(command.id)
    command.refresh_from_db()
    return command


def comparison_work(*, command_id: uuid.UUID) -> bool:
    """Compare for one slice. Return True if the caller must ask for the next slice.

    If Temporal does not respond, the command fails and keeps its numbers.
    """
    command = comparisons().filter(id=command_id).first()
    if command is None:
        return False
    details = dict(command.details)
    try:
        is_done = _runs(command, details) and _schedules(command, details)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        details["at"] = timezone.now().isoformat()
        outcome = {"code": "TEMPORAL_UNAVAILABLE", "message": f"Temporal does not respond: {error}"[:500]}
        command_advance(command, details, state=CommandState.FAILED, **outcome)
        return False
    details["at"] = timezone.now().isoformat()
    state = CommandState.OBSERVED if is_done else CommandState.ACCEPTED
    return command_advance(command, details, state=state) and not is_done


def comparisons_left() -> list[uuid.UUID]:
    """Return the comparisons whose last slice is long ago."""
    before = (timezone.now() - LEFT_AFTER).isoformat()
    return [command.id for command in comparisons() if command.details["at"] < before]


def newest_comparison(tenant_id: uuid.UUID) -> Command | None:
    """Return the newest comparison that was accepted, or None. Its `details` have the numbers.

    Cost: one statement on an index.
    """
    accepted = (CommandState.ACCEPTED, CommandState.OBSERVED, CommandState.FAILED)
    found = Command.objects.filter(tenant_id=tenant_id, action=CommandAction.COMPARE, state__in=accepted)
    command = found.order_by("-requested_at").first()
    return command if command is not None and "total" in (command.details or {}) else None


def comparisons() -> QuerySet[Command]:
    """Return the comparisons that are not done."""
    return Command.objects.filter(action=CommandAction.COMPARE, state=CommandState.ACCEPTED)


def _accept(command: Command) -> None:
    with connection.cursor() as cursor:  # of two requests at the same time, the second one sees the first one
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_ADVISORY_CLASS, str(command.tenant_id)])
    if comparisons().filter(tenant_id=command.tenant_id).exists():
        raise Conflict(
            "an earlier comparison is not done; the page System health shows its progress",
            code="COMPARISON_RUNNING",
        )
    total = _open_runs(command.tenant_id)[: MOST_COUNTED + 1].count()
    details = {
        "total": total, "compared": 0, "different": 0, "notCompared": 0,
        "schedules": 0, "schedulesDifferent": 0, "after": _FIRST, "afterSchedule": _FIRST,
        "at": timezone.now().isoformat(),
    }  # fmt: skip
    commands_finish_in_transaction([command], CommandState.ACCEPTED, details=details)


def _open_runs(tenant_id: uuid.UUID) -> QuerySet[Run]:
    return walkable_runs().filter(tenant_id=tenant_id, status__in=OPEN_RUN_STATUSES)


def _runs(command: Command, details: dict[str, Any]) -> bool:
    """Compare the runs after the position until the slice is over. Return True if no run is left."""

    def compare(run_id: uuid.UUID) -> None:
        report = ReconcileReport()
        reconcile_one(run_id, report)
        _add_run(report, details)

    # A run that started after the request is not compared, so that the comparison ends.
    rows = _open_runs(command.tenant_id).filter(created_at__lte=command.requested_at)
    return _each_after(rows, "after", details, compare)


def _schedules(command: Command, details: dict[str, Any]) -> bool:
    """Compare the schedules after the position until the slice is over. Return True if none is left."""

    def compare(schedule_id: uuid.UUID) -> None:
        report = ScheduleReport()
        schedule_reconcile(schedule_id, report)
        if report.problem:
            raise gateway.TemporalUnreachable(report.problem.removeprefix("Temporal does not respond: "))
        _add_schedule(report, details)

    if details["afterSchedule"] == _FIRST:
        trigger_rows_write(command.tenant_id)
    return _each_after(schedules_to_compare().filter(tenant_id=command.tenant_id), "afterSchedule", details, compare)


def _each_after(
    rows: QuerySet[Any], position: str, details: dict[str, Any], compare: Callable[[uuid.UUID], None]
) -> bool:
    """Call `compare` with each id after the position until the slice is over. Return True if no row is left."""
    stop_at = time.monotonic() + SLICE_SECONDS
    while True:
        page = list(rows.filter(id__gt=details[position]).order_by("id").values_list("id", flat=True)[:PAGE])
        for row_id in page:
            compare(row_id)
            details[position] = str(row_id)
            if time.monotonic() > stop_at:
                return False
        if len(page) < PAGE:
            return True


def _add_run(report: ReconcileReport, details: dict[str, Any]) -> None:
    for outcome, number in report.counts.items():
        if outcome in NOT_COMPARED:
            details["notCompared"] += number
            continue
        details["compared"] += number
        # A run that is still marked differs too, although the comparison has changed nothing.
        if outcome not in UNCHANGED or outcome == ReconcileOutcome.STILL_DRIFT:
            details["different"] += number


def _add_schedule(report: ScheduleReport, details: dict[str, Any]) -> None:
    for outcome, number in report.counts.items():
        details["schedules"] += number if outcome in SCHEDULE_COMPARED else 0
        details["notCompared"] += number if outcome in (ScheduleSync.REFUSED, ScheduleSync.FAILED) else 0
        details["schedulesDifferent"] += number if outcome == ScheduleSync.RESTORED else 0

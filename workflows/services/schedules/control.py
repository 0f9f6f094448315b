"""Pause and resume a schedule, start a run now, and backfill past times (docs/reference/schedules.md#requests)."""

import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown, InputInvalid, PortalError
from workflows.models import Schedule, ScheduleOccurrence
from workflows.models.statements import database_now
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.retention.policy import policy_of
from workflows.services.schedules.business_days import closed_reason
from workflows.services.schedules.edit import TARGET, locked_or_refused, schedule_change, schedule_find
from workflows.services.schedules.fire import occurrence_record
from workflows.statuses import CommandAction, OccurrenceCause, OccurrenceStatus, Role, ScheduleOverlap
from workflows.temporal import gateway
from workflows.temporal.schedules import schedule_times

# Temporal lists at most 1,000 times at once.
MAX_BACKFILL = 500
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 10


@dataclass(frozen=True)
class Backfill:
    """Times of a backfill. `recorded` times have an occurrence already, and `closed` times are no business days."""

    times: list[datetime]
    recorded: set[datetime]
    closed: list[datetime]

    @property
    def starts(self) -> list[datetime]:
        """Return the times for which a run would start."""
        return [moment for moment in self.times if moment not in self.recorded and moment not in self.closed]


def schedule_pause(*, actor: Actor, schedule_id: uuid.UUID, reason: str, idempotency_key: str = "") -> Schedule:
    """Pause a schedule and return it. Its times in the pause are not started later.

    Errors: PermissionRefused; NotFound; InputInvalid REASON_REQUIRED; Conflict SCHEDULE_PAUSED.
    """
    with schedule_change(
        actor=actor,
        action=CommandAction.PAUSE_SCHEDULE,
        schedule_id=schedule_id,
        to="pause schedules",
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        if not reason.strip():
            raise InputInvalid("a reason is required to pause a schedule; send `reason`", code="REASON_REQUIRED")
        if schedule.is_paused:
            raise Conflict(f"the schedule is paused already: {schedule.paused_reason}", code="SCHEDULE_PAUSED")
        schedule.is_paused, schedule.paused_reason = True, reason[:500]
        schedule.save()
    return schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)


def schedule_resume(*, actor: Actor, schedule_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> Schedule:
    """Resume a paused schedule and return it. Errors: PermissionRefused; NotFound; Conflict SCHEDULE_NOT_PAUSED."""
    with schedule_change(
        actor=actor,
        action=CommandAction.RESUME_SCHEDULE,
        schedule_id=schedule_id,
        to="resume schedules",
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        if not schedule.is_paused:
            raise Conflict("the schedule is not paused; nothing was changed", code="SCHEDULE_NOT_PAUSED")
        schedule.is_paused, schedule.paused_reason = False, ""
        schedule.save()
    return schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)


def schedule_trigger(
    *, actor: Actor, schedule_id: uuid.UUID, reason: str = "", idempotency_key: str = ""
) -> ScheduleOccurrence:
    """Start a run of a schedule now, and return the occurrence. The schedule's own pause and closed days do not apply.

    Errors: PermissionRefused; NotFound; Conflict with the code of the reason why no run starts. Nothing is then stored.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.TRIGGER_SCHEDULE,
        target_type=TARGET,
        target_id=str(schedule_id),
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.OPERATOR, to="start runs")
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        _require_not_paused(schedule)
        occurrence, _ = occurrence_record(
            schedule,
            scheduled_at=database_now(),
            cause=OccurrenceCause.TRIGGERED,
            overlap=schedule.overlap,
            requested_by=actor.name,
        )
        if occurrence.status != OccurrenceStatus.ACCEPTED:
            raise Conflict(f"no run was started: {occurrence.reason}", code=occurrence.code)
        command.details = {"occurrence": str(occurrence.id), "scheduledAt": occurrence.scheduled_at.isoformat()}
    return occurrence


def schedule_backfill_preview(*, actor: Actor, schedule_id: uuid.UUID, start: datetime, end: datetime) -> Backfill:
    """Return the times that a backfill would start. Both ends are included. Nothing is written.

    Errors: NotFound; InputInvalid BACKFILL_INVALID; DependencyDown if Temporal does not respond; Conflict if Temporal
    does not have the schedule.
    """
    schedule = schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)
    return _plan(schedule, start, end)


def schedule_backfill(
    *,
    actor: Actor,
    schedule_id: uuid.UUID,
    start: datetime,
    end: datetime,
    overlap: str = ScheduleOverlap.BUFFER_ALL,
    reason: str = "",
    idempotency_key: str = "",
) -> Counter[str]:
    """Record the occurrences of a past time range. Return the numbers of occurrences by status.

    A time that has an occurrence already is not started again; it counts as `recorded`.

    Errors: PermissionRefused; the errors of the preview; InputInvalid REASON_REQUIRED; Conflict DEFINITION_PAUSED.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.BACKFILL_SCHEDULE,
        target_type=TARGET,
        target_id=str(schedule_id),
        reason=reason,
        payload={"start": start.isoformat(), "end": end.isoformat(), "overlap": overlap},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.OPERATOR, to="start runs")
        plan = _plan(schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id), start, end)
        if not reason.strip():
            raise InputInvalid("a reason is required to backfill a schedule; send `reason`", code="REASON_REQUIRED")
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        _require_not_paused(schedule)
        counts: Counter[str] = Counter()
        for moment in plan.times:
            occurrence, is_new = occurrence_record(
                schedule,
                scheduled_at=moment,
                cause=OccurrenceCause.BACKFILL,
                overlap=overlap,
                requested_by=actor.name,
            )
            counts[str(occurrence.status) if is_new else "recorded"] += 1
        command.details = dict(counts)
    return counts


def _plan(schedule: Schedule, start: datetime, end: datetime) -> Backfill:
    if start < EARLIEST or start > end or end > timezone.now():
        raise InputInvalid(
            "the range of a backfill must be in the past, must begin in 1970 or later, and cannot end before it begins",
            code="BACKFILL_INVALID",
        )
    times = _temporal_times(schedule, start, end)
    if len(times) > MAX_BACKFILL:
        raise InputInvalid(
            f"the range has more than {MAX_BACKFILL} times; choose a shorter range",
            code="BACKFILL_INVALID",
            details={"limit": MAX_BACKFILL},
        )
    _require_known(schedule, times)
    rows = ScheduleOccurrence.objects.filter(schedule=schedule, scheduled_at__gte=start, scheduled_at__lte=end)
    return Backfill(
        times=times,
        recorded=set(rows.values_list("scheduled_at", flat=True)),
        closed=[moment for moment in times if closed_reason(schedule, moment)],
    )


def _require_known(schedule: Schedule, times: Collection[datetime]) -> None:
    """Refuse times for which retention may have deleted the row that says that a run was started.

    Errors: InputInvalid BACKFILL_INVALID.
    """
    kept_since = policy_of(schedule.tenant).before()["events"]
    if schedule.created_at <= kept_since and any(moment <= kept_since for moment in times):
        raise InputInvalid(
            f"the range has times before {kept_since:%Y-%m-%d %H:%M} UTC. Retention deletes older"
            " occurrences, so the portal does not know if these times have started a run. Choose a later start, and"
            " start single runs by hand",
            code="BACKFILL_INVALID",
            details={"keptSince": kept_since.isoformat()},
        )


def _temporal_times(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    read = partial(schedule_times, schedule.temporal_schedule_id, after=start - timedelta(seconds=1), until=end)
    try:
        try:
            return read()
        except gateway.TemporalTimeout:
            return read()  # an idle connection was lost; to read again is harmless
    except gateway.TemporalNotFound as error:
        raise Conflict(
            "Temporal does not have this schedule yet, so its times are not known; wait for the reconciler",
            code="SCHEDULE_NOT_SYNCED",
        ) from error
    except gateway.TemporalError as error:
        raise _down(error) from error


def _down(error: gateway.TemporalError) -> PortalError:
    return DependencyDown(
        "Temporal is not reachable, so the times of the schedule are not known; nothing was changed",
        code="TEMPORAL_UNAVAILABLE",
        details={"error": str(error), "hint": "Restore Temporal, then send the request again."},
    )


def _require_not_paused(schedule: Schedule) -> None:
    definition = schedule.definition
    if definition.is_paused:
        why = definition.paused_reason or "no reason given"
        raise Conflict(f"{definition.key} is paused ({why}); resume it first", code="DEFINITION_PAUSED")

"""Comparison of one schedule with Temporal, and the repair of what differs.

The row in the portal says what Temporal must have. A change that was made directly in Temporal is reversed and shown on
the schedule, because only changes in the portal have an actor and a reason in the command ledger.

Two processes may do this at the same time. Each reads Temporal first and the row second, and its update carries the
token of what it read. So an older state of the row never replaces a newer one. Temporal drops an update with an old
token without an error, so the schedule is read again after each change.

Source: docs/reference/schedules.md#schedules-in-temporal
"""

import hashlib
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from workflows.engine.cron import parse_cron
from workflows.json_numbers import canonical_json
from workflows.ledger import commands_observe_schedule
from workflows.models import Schedule, ScheduleOccurrence
from workflows.models.fields import new_id
from workflows.services.retention.policy import policy_of
from workflows.statuses import ScheduleKind, ScheduleSync
from workflows.temporal import gateway
from workflows.temporal.contracts import ScheduleTarget
from workflows.temporal.schedules import (
    PREFIX,
    SeenSchedule,
    WantedSchedule,
    create_schedule,
    delete_schedule,
    describe_schedule,
    schedule_differences,
    update_schedule,
)

logger = logging.getLogger(__name__)

ATTEMPTS = 5
LOST_CONNECTION_SECONDS = 1
# A worker records an occurrence within seconds. After this time, the schedule shows that no worker has recorded it.
UNRECORDED_AFTER = timedelta(seconds=60)
NOT_RECORDED = "OCCURRENCE_NOT_RECORDED"


@dataclass(frozen=True)
class Synced:
    """Result for one schedule. In a dry run, this is the change that a real run would make first."""

    schedule_id: uuid.UUID
    outcome: ScheduleSync
    detail: str = ""


def temporal_id_of(schedule_id: uuid.UUID) -> str:
    return f"{PREFIX}{schedule_id}"


def schedule_sync(*, schedule_id: uuid.UUID, is_dry_run: bool = False) -> Synced:
    """Bring Temporal's schedule to the state of the row. An error is stored on the row and returned, not raised.

    Idempotency: a schedule that is equal is not changed. Cost: one call if it is equal.
    """
    started = time.monotonic()
    try:
        try:
            return _sync(schedule_id, is_dry_run=is_dry_run)
        except gateway.TemporalTimeout:
            if time.monotonic() - started > LOST_CONNECTION_SECONDS:
                raise
            return _sync(schedule_id, is_dry_run=is_dry_run)  # the connection was lost, and the next call opens another
    except gateway.TemporalError as error:
        logger.warning("schedule %s cannot be compared with Temporal: %s", schedule_id, error)
        is_refused = isinstance(error, gateway.TemporalRefused)
        outcome = ScheduleSync.REFUSED if is_refused else ScheduleSync.UNREACHABLE
        if not is_dry_run:
            code = "TEMPORAL_REFUSED" if is_refused else "TEMPORAL_UNAVAILABLE"
            _record_sync_error(schedule_id, code, str(error))
        return Synced(schedule_id, outcome, str(error))


def _sync(schedule_id: uuid.UUID, *, is_dry_run: bool) -> Synced:
    first: Synced | None = None
    for _ in range(ATTEMPTS):
        seen = describe_schedule(temporal_id_of(schedule_id))
        schedule = Schedule.objects.select_related("tenant", "definition", "calendar").get(id=schedule_id)
        change = _change(schedule, seen)
        if change.outcome == ScheduleSync.EQUAL:
            if not is_dry_run:
                _record_synced(schedule, seen, first)
            return first or change
        first = first or change
        if is_dry_run:
            return first
        _make(schedule, seen)
    raise gateway.TemporalRefused("the schedule still differs after several changes; another process changes it too")


def _change(schedule: Schedule, seen: SeenSchedule | None) -> Synced:
    """Return what must be changed in Temporal."""
    is_gone = schedule.removed_at is not None or (seen is None and is_over(schedule))
    if seen is None:
        if is_gone:
            return Synced(schedule.id, ScheduleSync.EQUAL)
        was_synced = schedule.synced_hash == _hash(wanted_schedule(schedule))
        detail = "it was deleted in Temporal" if was_synced else ""
        return Synced(schedule.id, ScheduleSync.RESTORED if was_synced else ScheduleSync.CREATED, detail)
    if is_gone:
        return Synced(schedule.id, ScheduleSync.DELETED)
    wanted = wanted_schedule(schedule)
    differences = schedule_differences(wanted, seen)
    if not differences:
        return Synced(schedule.id, ScheduleSync.EQUAL)
    if schedule.synced_hash == _hash(wanted):
        return Synced(schedule.id, ScheduleSync.RESTORED, f"changed in Temporal: {', '.join(differences)}")
    return Synced(schedule.id, ScheduleSync.UPDATED, ", ".join(differences))


def _make(schedule: Schedule, seen: SeenSchedule | None) -> None:
    if schedule.removed_at is not None:
        delete_schedule(temporal_id_of(schedule.id))
    elif seen is None:
        create_schedule(wanted_schedule(schedule), request_id=str(new_id()))
    else:
        update_schedule(wanted_schedule(schedule), seen, request_id=str(new_id()))


def is_over(schedule: Schedule) -> bool:
    """Return True if the only time of a schedule has passed. Temporal deletes such a schedule after some days."""
    return schedule.run_at is not None and schedule.run_at <= timezone.now()


def wanted_schedule(schedule: Schedule) -> WantedSchedule:
    """Return what Temporal must have. A schedule is also paused while its definition cannot start runs."""
    note = _pause_note(schedule)
    return WantedSchedule(
        id=temporal_id_of(schedule.id),
        target=ScheduleTarget(tenant_id=str(schedule.tenant_id), schedule_id=str(schedule.id)),
        cron=parse_cron(schedule.cron) if schedule.kind == ScheduleKind.RECURRING else None,
        cron_text=schedule.cron,
        run_at=schedule.run_at,
        time_zone=schedule.time_zone,
        catch_up_seconds=schedule.catch_up_seconds,
        is_paused=bool(note),
        note=note,
    )


def _pause_note(schedule: Schedule) -> str:
    """Return why the schedule is paused in Temporal, or "" if it is active.

    The note has no text of a member, because Temporal stores notes unencrypted.
    """
    definition = schedule.definition
    reasons = {
        "Paused in the portal.": schedule.is_paused,
        "The definition is deleted.": definition.deleted_at is not None,
        "The definition is archived.": definition.archived_at is not None,
        "The definition is paused.": definition.is_paused,
        "The definition has no published version.": definition.published_version_id is None,
    }
    return next((text for text, holds in reasons.items() if holds), "")


def _hash(wanted: WantedSchedule) -> str:
    text = canonical_json({**vars(wanted), "target": None}, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# -- What is stored on the row -----------------------------------------------------------------------------------------


def _record_synced(schedule: Schedule, seen: SeenSchedule | None, change: Synced | None) -> None:
    now = timezone.now()
    is_active = seen is not None and schedule.removed_at is None
    times = [moment for moment in seen.next_times if moment > now] if seen is not None and is_active else []
    changes: dict[str, Any] = {
        "synced_hash": _hash(wanted_schedule(schedule)) if is_active else "",
        "sync_error": None,
        "last_synced_at": now,
        "next_run_at": times[0] if times else None,
        "missed_catch_up": max(schedule.missed_catch_up, seen.missed if seen is not None else 0),
    }
    if change is not None and change.outcome == ScheduleSync.RESTORED:
        changes["drift"] = {"at": now.isoformat(), "message": change.detail}
    error = _late_error(schedule, seen, now)
    if error is not None:
        changes["last_error"] = error
    Schedule.objects.filter(id=schedule.id).update(**changes)
    commands_observe_schedule(tenant_id=schedule.tenant_id, schedule_id=schedule.id, until=schedule.updated_at)


def _late_error(schedule: Schedule, seen: SeenSchedule | None, now: datetime) -> dict[str, str] | None:
    """Return the error of an occurrence that should have started a run, and whose row does not exist."""
    if schedule.removed_at is not None:
        return None
    if seen is None:
        return _never_started(schedule, now)
    # Retention has deleted the rows of older occurrences, and Temporal still lists their times.
    kept_since = policy_of(schedule.tenant).before()["events"]
    recent = (moment for moment in seen.recent if kept_since < moment < now - UNRECORDED_AFTER)
    started = {moment.replace(microsecond=0) for moment in recent}
    if not started:
        return None
    rows = ScheduleOccurrence.objects.filter(tenant_id=schedule.tenant_id, schedule=schedule)
    recorded = rows.filter(scheduled_at__gte=min(started)).values_list("scheduled_at", flat=True)
    unrecorded = sorted(started - {moment.astimezone(UTC).replace(microsecond=0) for moment in recorded})
    if not unrecorded:
        return None
    text = "Temporal started this occurrence, but no Temporal worker has recorded it; check that a worker is running"
    return _error(now, unrecorded[0], NOT_RECORDED, text)


def _never_started(schedule: Schedule, now: datetime) -> dict[str, str] | None:
    # `last_run_at` stays after retention has deleted the row of the occurrence.
    if schedule.run_at is None or schedule.last_run_at is not None:
        return None
    if ScheduleOccurrence.objects.filter(schedule=schedule).exists():
        return None
    text = "the time passed before Temporal had the schedule, so no run was started; start the run by hand if needed"
    return _error(now, schedule.run_at, "SCHEDULE_TIME_PAST", text)


def _error(now: datetime, scheduled_at: datetime, code: str, message: str) -> dict[str, str]:
    return {"at": now.isoformat(), "scheduledAt": scheduled_at.isoformat(), "code": code, "message": message}


def _record_sync_error(schedule_id: uuid.UUID, code: str, message: str) -> None:
    now = timezone.now()
    error = {"at": now.isoformat(), "code": code, "message": message[:500]}
    Schedule.objects.filter(id=schedule_id).update(sync_error=error, last_synced_at=now)

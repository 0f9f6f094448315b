"""Occurrences of schedules: the decision whether an occurrence starts a run, and the start itself.

An occurrence that starts a run is stored as an event with one trigger delivery. From there it takes the way of every
event: the dispatcher starts the run, holds it while the definition is paused or has no free slot, and repeats failed
starts. So a scheduled start obeys the same rules as a start by an event (docs/decisions/0012-schedules.md).

The row of the schedule is locked during the decision. With the unique key of the occurrence, one occurrence starts at
most one run, however often Temporal or a worker repeats it.

Source: docs/reference/schedules.md#occurrences
"""

import hashlib
import logging
import uuid
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.engine.clock import iso_time, ms_of_datetime
from workflows.engine.errors import RunError
from workflows.engine.mapping import expand_dotted, resolve
from workflows.event_decisions import decision_sentence
from workflows.json_numbers import canonical_json
from workflows.models import DefinitionVersion, Event, EventDelivery, Run, Schedule, ScheduleOccurrence
from workflows.models.fields import new_id
from workflows.models.statements import database_now
from workflows.services.payload_check import payload_problem
from workflows.services.schedules.business_days import closed_reason
from workflows.services.schedules.times import computed_times
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    CorrelationStatus,
    DeliveryKind,
    DeliveryStatus,
    EventOutcome,
    EventSource,
    OccurrenceCause,
    OccurrenceStatus,
    OutcomeCode,
    ScheduleOverlap,
)

logger = logging.getLogger(__name__)

EVENT_TYPE = "pointsman.schedule"
# Decision about an occurrence that starts no run: its status, its code and its reason.
Refusal = tuple[OccurrenceStatus, str, str]


def schedule_fire(*, tenant_id: uuid.UUID, schedule_id: uuid.UUID, scheduled_at: datetime) -> ScheduleOccurrence | None:
    """Record an occurrence that Temporal has started. Return it, or None if the portal has no such schedule.

    Idempotency: a repeat returns the first occurrence and starts no second run.
    """
    with transaction.atomic():
        schedule = schedule_locked(tenant_id=tenant_id, schedule_id=schedule_id)
        if schedule is None:
            logger.error("Temporal started an occurrence of schedule %s, which does not exist", schedule_id)
            return None
        occurrence, is_new = occurrence_record(
            schedule, scheduled_at=scheduled_at, cause=OccurrenceCause.SCHEDULED, overlap=schedule.overlap
        )
        if is_new:
            schedule.last_run_at = scheduled_at
            schedule.next_run_at = next(computed_times(schedule, after=max(scheduled_at, timezone.now())), None)
            schedule.save(update_fields=["last_run_at", "next_run_at"])
    return occurrence


def schedule_locked(*, tenant_id: uuid.UUID, schedule_id: uuid.UUID) -> Schedule | None:
    """Return a schedule that is not deleted, and lock its row until the transaction ends."""
    rows = Schedule.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "tenant", "definition__published_version", "calendar"
    )
    return rows.filter(tenant_id=tenant_id, id=schedule_id, removed_at__isnull=True).first()


def occurrence_record(
    schedule: Schedule, *, scheduled_at: datetime, cause: OccurrenceCause, overlap: str, requested_by: str = ""
) -> tuple[ScheduleOccurrence, bool]:
    """Decide about one occurrence and record it. Return the occurrence, and True if it is new.

    Call this function while the row of the schedule is locked.
    """
    earlier = ScheduleOccurrence.objects.filter(
        tenant_id=schedule.tenant_id, schedule=schedule, scheduled_at=scheduled_at
    ).first()
    if earlier is not None:
        return earlier, False
    occurrence = ScheduleOccurrence(
        id=new_id(),
        tenant_id=schedule.tenant_id,
        schedule=schedule,
        scheduled_at=scheduled_at,
        fired_at=database_now(),
        cause=cause,
        overlap=overlap,
        requested_by=requested_by[:200],
    )
    refusal = _refusal(schedule, occurrence)
    version = schedule.definition.published_version
    if refusal is None and version is not None:
        refusal = _start(schedule, version, occurrence)
    if refusal is not None:
        occurrence.status, occurrence.code, occurrence.reason = refusal[0], refusal[1], refusal[2][:500]
    occurrence.save(force_insert=True)
    _record_error(schedule, occurrence)
    return occurrence, True


def _record_error(schedule: Schedule, occurrence: ScheduleOccurrence) -> None:
    """Show a failure on the schedule. The next start that is accepted removes it. A skip is no failure."""
    if occurrence.status == OccurrenceStatus.SKIPPED:
        return
    schedule.last_error = None
    if occurrence.status == OccurrenceStatus.FAILED:
        schedule.last_error = {
            "at": occurrence.fired_at.isoformat(),
            "scheduledAt": occurrence.scheduled_at.isoformat(),
            "code": occurrence.code,
            "message": occurrence.reason,
        }
    schedule.save(update_fields=["last_error"])


# -- Decision ----------------------------------------------------------------------------------------------------------


def _refusal(schedule: Schedule, occurrence: ScheduleOccurrence) -> Refusal | None:
    """Return why the occurrence starts no run. A start by hand ignores the schedule's own pause and closed days."""
    definition, is_scheduled = schedule.definition, occurrence.cause == OccurrenceCause.SCHEDULED
    skipped, failed = OccurrenceStatus.SKIPPED, OccurrenceStatus.FAILED
    if not schedule.tenant.is_active:
        return skipped, "TENANT_CLOSED", "the tenant is closed and starts no runs"
    if definition.archived_at is not None or definition.deleted_at is not None:
        return failed, "DEFINITION_ARCHIVED", f"{definition.key} is archived or deleted and starts no more runs"
    if definition.published_version is None:
        return failed, "DEFINITION_NOT_PUBLISHED", f"{definition.key} has no published version; publish its draft"
    if is_scheduled and schedule.is_paused:
        return skipped, "SCHEDULE_PAUSED", f"the schedule is paused: {schedule.paused_reason or 'no reason given'}"
    if is_scheduled and definition.is_paused:
        why = definition.paused_reason or "no reason given"
        return skipped, "DEFINITION_PAUSED", f"{definition.key} is paused: {why}"
    closed = "" if occurrence.cause == OccurrenceCause.TRIGGERED else closed_reason(schedule, occurrence.scheduled_at)
    if closed:
        return skipped, "NOT_A_BUSINESS_DAY", closed
    overlap = _overlap_reason(schedule, occurrence.overlap)
    return (skipped, "SCHEDULE_OVERLAP", overlap) if overlap else None


def _overlap_reason(schedule: Schedule, overlap: str) -> str:
    """Return why the overlap policy skips an occurrence, or ""."""
    if overlap == ScheduleOverlap.SKIP and (waiting_starts(schedule).exists() or open_runs(schedule).exists()):
        return "an earlier run of this schedule is still open"
    if overlap == ScheduleOverlap.BUFFER_ONE and waiting_starts(schedule).exists():
        return "an earlier occurrence of this schedule is already waiting for its start"
    return ""


def open_runs(schedule: Schedule) -> Any:
    """Return the open runs that this schedule started."""
    return Run.objects.filter(
        tenant_id=schedule.tenant_id,
        definition_id=schedule.definition_id,
        status__in=OPEN_RUN_STATUSES,
        event__occurrences__schedule=schedule,
    )


def waiting_starts(schedule: Schedule) -> Any:
    """Return the trigger deliveries of this schedule that have not started their run yet."""
    return EventDelivery.objects.filter(
        tenant_id=schedule.tenant_id,
        definition_id=schedule.definition_id,
        status=DeliveryStatus.PENDING,
        event__occurrences__schedule=schedule,
    )


# -- Start -------------------------------------------------------------------------------------------------------------


def _start(schedule: Schedule, version: DefinitionVersion, occurrence: ScheduleOccurrence) -> Refusal | None:
    """Store the event that starts the run. Return the reason if its payload is invalid; nothing is then stored."""
    try:
        payload = run_payload(schedule, scheduled_at=occurrence.scheduled_at, fired_at=occurrence.fired_at)
    except RunError as error:
        return OccurrenceStatus.FAILED, error.code or "PAYLOAD_INVALID", f"the payload failed: {error.message}"
    ref = version.document()["payloadSchemaRef"]
    problem = payload_problem(payload, tenant_id=schedule.tenant_id, ref=ref)
    if problem is not None:
        return OccurrenceStatus.FAILED, "PAYLOAD_INVALID", f"the payload does not match the schema {ref}: {problem}"
    event = Event.objects.create(
        tenant_id=schedule.tenant_id,
        event_id=f"schedule:{occurrence.id}",
        event_type=EVENT_TYPE,
        payload=payload,
        body_hash=hashlib.sha256(canonical_json(payload).encode()).hexdigest(),
        source=EventSource.SCHEDULE,
        sender=(occurrence.requested_by or f"schedule {schedule.name}")[:200],
        received_at=occurrence.fired_at,
        occurred_at=occurrence.scheduled_at,
        correlation_status=CorrelationStatus.MISSING,
        correlation_reason="an occurrence of a schedule has no correlation key",
        outcome=EventOutcome.ROUTING,
        outcome_code=OutcomeCode.DELIVERING,
        outcome_reason=decision_sentence(OutcomeCode.DELIVERING, outcome=EventOutcome.ROUTING),
        routed_at=occurrence.fired_at,
        decision_trace=_trace(schedule, version),
    )
    EventDelivery.objects.create(
        tenant_id=schedule.tenant_id,
        event=event,
        kind=DeliveryKind.TRIGGER,
        definition=schedule.definition,
        definition_version=version,
    )
    occurrence.status, occurrence.event = OccurrenceStatus.ACCEPTED, event
    notify_dispatcher_on_commit(schedule.tenant_id)
    return None


def run_payload(schedule: Schedule, *, scheduled_at: datetime, fired_at: datetime) -> dict[str, Any]:
    """Return the payload of the run. Expressions of the schedule's payload see `schedule`. Errors: RunError."""
    seen = {
        "schedule": {
            "id": str(schedule.id),
            "name": schedule.name,
            "scheduledAt": iso_time(ms_of_datetime(scheduled_at)),
            "firedAt": iso_time(ms_of_datetime(fired_at)),
            "timeZone": schedule.time_zone,
        }
    }
    return expand_dotted(resolve(schedule.payload, seen, now_ms=ms_of_datetime(fired_at), where="payload"))


def _trace(schedule: Schedule, version: DefinitionVersion) -> dict[str, Any]:
    why = f"an occurrence of the schedule {schedule.name} starts the published version"
    trigger = {"definition": schedule.definition.key, "version": version.version, "taken": True, "why": why}
    return {
        "waits": [],
        "moreWaits": 0,
        "nearMisses": [],
        "triggers": [trigger],
        "moreTriggers": 0,
        "bufferSeconds": None,
    }

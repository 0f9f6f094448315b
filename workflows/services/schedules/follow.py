"""The schedule of a definition's trigger. It follows the published version.

Source: docs/reference/schedules.md#schedules-in-temporal

Publishing, pausing and archiving change the definition in their own transaction. After the commit, this module brings
the schedule to the same state. If the process is killed in between, the reconciler does it.
"""

import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows.engine.clock import datetime_of_ms, parse_moment
from workflows.models import Definition, Schedule
from workflows.models.fields import new_id
from workflows.services.schedules.sync import schedule_sync, temporal_id_of
from workflows.statuses import ScheduleKind, ScheduleOrigin

TRIGGER_NAME = "trigger"


def schedules_follow(*, definition_id: uuid.UUID) -> None:
    """Write the row of the trigger's schedule, then compare all schedules of the definition with Temporal.

    If Temporal does not respond, the error is stored on the schedule and the reconciler repeats the change.
    """
    trigger_schedule_write(definition_id=definition_id)
    for schedule_id in Schedule.objects.filter(definition_id=definition_id, removed_at__isnull=True).values_list(
        "id", flat=True
    ):
        schedule_sync(schedule_id=schedule_id)


def trigger_schedule_write(*, definition_id: uuid.UUID) -> None:
    """Create, change or delete the row of the trigger's schedule.

    If the definition is deleted, all its schedules are deleted.
    """
    with transaction.atomic():
        # The default manager leaves deleted definitions out.
        definitions = Definition._base_manager.select_for_update(no_key=True, of=("self",))
        definition = definitions.select_related("published_version").get(id=definition_id)
        rows = Schedule.objects.select_for_update(no_key=True).filter(
            definition_id=definition_id, removed_at__isnull=True
        )
        if definition.deleted_at is not None:
            for schedule in rows:
                _remove(schedule)
            return
        current = rows.filter(origin=ScheduleOrigin.TRIGGER).first()
        times = _times_of(definition)
        if times is None:
            if current is not None:
                _remove(current)
            return
        if current is None:
            _create(definition, times)
        elif any(getattr(current, name) != value for name, value in times.items()):
            for name, value in times.items():
                setattr(current, name, value)
            current.save()


def _create(definition: Definition, times: dict[str, Any]) -> None:
    pk = new_id()
    version = definition.published_version
    Schedule.objects.create(
        id=pk,
        tenant_id=definition.tenant_id,
        definition=definition,
        name=TRIGGER_NAME,
        origin=ScheduleOrigin.TRIGGER,
        temporal_schedule_id=temporal_id_of(pk),
        created_by_name=version.published_by_name if version else "",
        **times,
    )


def _times_of(definition: Definition) -> dict[str, Any] | None:
    """Return the times of the published trigger, by column name. Return None if it is no time trigger."""
    version = definition.published_version
    trigger = (version.document().get("trigger") if version else None) or {}
    if trigger.get("type") == ScheduleKind.RECURRING:
        return {"kind": ScheduleKind.RECURRING, "cron": trigger["cron"], "time_zone": trigger["timezone"],
                "run_at": None}  # fmt: skip
    if trigger.get("type") == ScheduleKind.ONCE:
        return {"kind": ScheduleKind.ONCE, "cron": "", "time_zone": "UTC", "run_at": run_at_of(trigger["runAt"])}
    return None


def run_at_of(text: Any) -> datetime | None:
    """Return the time of a `runAt`, cut to whole seconds, because Temporal's schedules have whole seconds."""
    at_ms = parse_moment(text)
    return None if at_ms is None else datetime_of_ms(at_ms).astimezone(UTC).replace(microsecond=0)


def _remove(schedule: Schedule) -> None:
    schedule.removed_at = timezone.now()
    schedule.save()
    transaction.on_commit(partial(schedule_sync, schedule_id=schedule.id), robust=True)

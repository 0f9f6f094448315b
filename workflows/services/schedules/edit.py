"""Create, change and delete schedules (docs/reference/schedules.md#requests).

A change is stored first. Then Temporal is brought to the same state (`sync`). The command is accepted when the change
is stored, and observed when Temporal was seen to have it.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields as fields_in
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows import ledger
from workflows.actors import Actor
from workflows.database_errors import unique_or
from workflows.engine.cron import cron_problems
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import command_failures_recorded, target_name
from workflows.models import Command, Definition, HolidayCalendar, Schedule
from workflows.models.fields import new_id
from workflows.services.definitions.changes import definition_find
from workflows.services.idempotency import CommandRepeated, command_request
from workflows.services.roles import require_role
from workflows.services.schedules.field_checks import ScheduleFields, name_taken, schedule_problems
from workflows.services.schedules.fire import schedule_locked
from workflows.services.schedules.follow import run_at_of
from workflows.services.schedules.sync import schedule_sync, temporal_id_of
from workflows.statuses import CommandAction, CommandState, Role, ScheduleKind, ScheduleOrigin

TARGET = "schedule"
SCHEDULE_OF_REQUEST = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a12")
TIME_FIELDS = ("name", "run_at", "cron", "time_zone")


def schedule_create(
    *, actor: Actor, definition_key: str, fields: ScheduleFields, idempotency_key: str = ""
) -> Schedule:
    """Add a schedule to a definition, and return it.

    Errors: PermissionRefused; NotFound DEFINITION_NOT_FOUND; InputInvalid SCHEDULE_INVALID, with all problems.
    """
    key = f"{actor.tenant_id}/{actor.kind}/{actor.id}/{idempotency_key}"
    schedule_id = uuid.uuid5(SCHEDULE_OF_REQUEST, key) if idempotency_key else new_id()
    with schedule_change(
        actor=actor,
        action=CommandAction.EDIT_SCHEDULE,
        schedule_id=schedule_id,
        to="add schedules",
        payload={"operation": "create", "definition": target_name(definition_key), **_storable(fields.as_object())},
        idempotency_key=idempotency_key,
    ):
        definition = definition_find(tenant_id=actor.tenant_id, key=definition_key)
        _require_valid(actor.tenant_id, definition, fields, schedule_id)
        schedule = Schedule(
            id=schedule_id,
            tenant_id=actor.tenant_id,
            definition=definition,
            origin=ScheduleOrigin.PORTAL,
            temporal_schedule_id=temporal_id_of(schedule_id),
            created_by_name=actor.name,
        )
        set_fields(schedule, fields)
        _save(schedule)
    return schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)


def schedule_update(
    *, actor: Actor, schedule_id: uuid.UUID, changes: dict[str, Any], idempotency_key: str = ""
) -> Schedule:
    """Change the fields of a schedule that `changes` names, and return the schedule.

    The name and the times of a trigger's schedule come from the definition and cannot be changed here.

    Errors: PermissionRefused; NotFound; InputInvalid SCHEDULE_INVALID, with all problems.
    """
    with schedule_change(
        actor=actor,
        action=CommandAction.EDIT_SCHEDULE,
        schedule_id=schedule_id,
        to="change schedules",
        payload={"operation": "update", **_storable(changes)},
        idempotency_key=idempotency_key,
    ):
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        wanted = ScheduleFields(**{**vars(fields_of(schedule)), **changes})
        if schedule.origin == ScheduleOrigin.TRIGGER:
            _require_times_kept(schedule, wanted)
        _require_valid(actor.tenant_id, schedule.definition, wanted, schedule_id)
        set_fields(schedule, wanted)
        _save(schedule)
    return schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)


def schedule_delete(*, actor: Actor, schedule_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> None:
    """Delete a schedule. Its occurrences and their runs are kept.

    Errors: PermissionRefused; NotFound; Conflict SCHEDULE_OF_TRIGGER.
    """
    with schedule_change(
        actor=actor,
        action=CommandAction.EDIT_SCHEDULE,
        schedule_id=schedule_id,
        to="delete schedules",
        reason=reason,
        payload={"operation": "delete"},
        idempotency_key=idempotency_key,
    ):
        schedule = locked_or_refused(actor.tenant_id, schedule_id)
        if schedule.origin == ScheduleOrigin.TRIGGER:
            raise Conflict(
                f"this schedule is the trigger of {schedule.definition.key}; publish a version without the trigger, or"
                " pause the schedule",
                code="SCHEDULE_OF_TRIGGER",
            )
        schedule.removed_at = timezone.now()
        schedule.save()


@contextmanager
def schedule_change(
    *,
    actor: Actor,
    action: CommandAction,
    schedule_id: uuid.UUID,
    to: str,
    reason: str = "",
    payload: Any = None,
    idempotency_key: str = "",
) -> Iterator[Command]:
    """Record a change of a schedule. After the commit, bring Temporal to the same state.

    If Temporal does not respond, the change is kept, the schedule shows the error, and the reconciler repeats it.

    Errors: PermissionRefused; CommandRepeated; the errors of `command_request`.
    """
    request = command_request(
        actor=actor,
        action=action,
        target_type=TARGET,
        target_id=str(schedule_id),
        reason=reason,
        payload=payload,
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        raise CommandRepeated(command)
    with command_failures_recorded([command]), transaction.atomic():
        actor.require(Role.AUTHOR, to=to)
        yield command
        ledger.commands_finish_in_transaction([command], CommandState.ACCEPTED, details=command.details)
    schedule_sync(schedule_id=schedule_id)


def require_schedule_role(
    *,
    actor: Actor,
    schedule_id: uuid.UUID | None = None,
    action: CommandAction = CommandAction.EDIT_SCHEDULE,
    needs: Role = Role.AUTHOR,
) -> None:
    """Refuse an actor without this role, or a schedule that does not exist.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused, recorded in the ledger; NotFound.
    """
    require_role(
        actor=actor, needs=needs, to="change or start schedules", action=action, target_type=TARGET,
        target_id=str(schedule_id or ""),
    )  # fmt: skip
    if schedule_id is not None:
        schedule_find(tenant_id=actor.tenant_id, schedule_id=schedule_id)


def schedule_find(*, tenant_id: uuid.UUID, schedule_id: uuid.UUID) -> Schedule:
    """Return the schedule. Errors: NotFound SCHEDULE_NOT_FOUND, also for another tenant's id."""
    rows = Schedule.objects.select_related("tenant", "definition__published_version", "calendar")
    schedule = rows.filter(tenant_id=tenant_id, id=schedule_id, removed_at__isnull=True).first()
    if schedule is None:
        raise _unknown(schedule_id)
    return schedule


def schedule_warnings(schedule: Schedule) -> list[str]:
    """Return warnings about the times of a schedule for its author."""
    if schedule.run_at is not None and schedule.run_at <= schedule.created_at:
        return ["The time is in the past, so no run starts. Choose a later time, or start the run by hand."]
    found = cron_problems(schedule.cron, schedule.time_zone) if schedule.cron else []
    return [problem.message for problem in found if problem.is_warning]


# -- Fields ------------------------------------------------------------------------------------------------------------


def fields_of(schedule: Schedule) -> ScheduleFields:
    return ScheduleFields(
        name=schedule.name,
        run_at=schedule.run_at.isoformat() if schedule.run_at else None,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        payload=schedule.payload,
        overlap=schedule.overlap,
        catch_up_seconds=schedule.catch_up_seconds,
        only_business_days=schedule.only_business_days,
        calendar=schedule.calendar.name if schedule.calendar else "",
    )


def set_fields(schedule: Schedule, wanted: ScheduleFields) -> None:
    """Set the columns of a schedule from valid fields, but do not save them."""
    for field in fields_in(ScheduleFields):
        if field.name not in ("run_at", "calendar"):
            setattr(schedule, field.name, getattr(wanted, field.name))
    schedule.run_at = run_at_of(wanted.run_at) if wanted.run_at else None
    schedule.kind = ScheduleKind.ONCE if schedule.run_at else ScheduleKind.RECURRING
    schedule.calendar = (
        HolidayCalendar.objects.get(tenant_id=schedule.tenant_id, name=wanted.calendar) if wanted.calendar else None
    )


def _require_valid(
    tenant_id: uuid.UUID, definition: Definition, wanted: ScheduleFields, schedule_id: uuid.UUID
) -> None:
    require_no_problems(
        schedule_problems(tenant_id=tenant_id, definition=definition, fields=wanted, schedule_id=schedule_id)
    )


def require_no_problems(problems: list[dict[str, str]]) -> None:
    """Refuse fields with problems. Errors: InputInvalid SCHEDULE_INVALID."""
    if problems:
        raise _invalid(problems)


def _invalid(problems: list[dict[str, str]]) -> InputInvalid:
    return InputInvalid(
        f"The schedule is invalid: {problems[0]['path']} {problems[0]['message']}",
        code="SCHEDULE_INVALID",
        details={"problems": problems},
    )


def _save(schedule: Schedule) -> None:
    """Errors: InputInvalid SCHEDULE_INVALID if another request took the name at the same moment."""
    taken = {"path": "name", "message": name_taken(schedule.definition, schedule.name)}
    with unique_or(_invalid([taken])):
        schedule.save()


def _require_times_kept(schedule: Schedule, wanted: ScheduleFields) -> None:
    kept = fields_of(schedule)
    message = "comes from the trigger of the definition; publish a version with another trigger to change it"
    require_no_problems(
        [
            {"path": name, "message": message}
            for name in TIME_FIELDS
            if (getattr(kept, name) or "") != (getattr(wanted, name) or "")
        ]
    )


def locked_or_refused(tenant_id: uuid.UUID, schedule_id: uuid.UUID) -> Schedule:
    """Return a schedule and lock its row until the transaction ends. Errors: NotFound SCHEDULE_NOT_FOUND."""
    schedule = schedule_locked(tenant_id=tenant_id, schedule_id=schedule_id)
    if schedule is None:
        raise _unknown(schedule_id)
    return schedule


def _unknown(schedule_id: uuid.UUID) -> NotFound:
    return NotFound(f"there is no schedule {schedule_id} in this tenant", code="SCHEDULE_NOT_FOUND")


def _storable(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request for the ledger. Values that cannot be stored are refused later."""
    return given if storable_problem(given) is None else {"fields": sorted(given)}

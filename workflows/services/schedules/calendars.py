"""Holiday calendars of a tenant (docs/reference/schedules.md#times)."""

import uuid
from datetime import date
from typing import Any

from workflows.actors import Actor
from workflows.database_errors import unique_or
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import HolidayCalendar
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role

TARGET = "holiday calendar"
MAX_NAME_LENGTH = 100
MAX_HOLIDAYS = 2000


def calendar_save(
    *,
    actor: Actor,
    name: Any,
    weekend: Any,
    holidays: Any,
    calendar_id: uuid.UUID | None = None,
    idempotency_key: str = "",
) -> HolidayCalendar:
    """Create a calendar, or replace the one with this id. It applies to all later occurrences.

    Errors: PermissionRefused; NotFound; InputInvalid CALENDAR_INVALID, with all problems.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_CALENDAR,
        target_type=TARGET,
        target_id=target_name(calendar_id or name),
        payload={"operation": "save", "name": target_name(name)},
        idempotency_key=idempotency_key,
        also_hashed=[weekend, holidays],
    ):
        actor.require(Role.AUTHOR, to="edit holiday calendars")
        row = HolidayCalendar(tenant_id=actor.tenant_id)
        if calendar_id is not None:
            row = calendar_find(tenant_id=actor.tenant_id, calendar_id=calendar_id)
        problems = calendar_problems(name=name, weekend=weekend, holidays=holidays, row=row)
        if problems:
            raise _invalid(problems)
        row.name, row.weekend, row.holidays = name, sorted(set(weekend)), holidays
        with unique_or(_invalid([_name_taken(name)])):
            row.save()
    return row


def calendar_delete(*, actor: Actor, calendar_id: uuid.UUID, idempotency_key: str = "") -> None:
    """Delete a calendar. Errors: PermissionRefused; NotFound; Conflict CALENDAR_IN_USE."""
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_CALENDAR,
        target_type=TARGET,
        target_id=str(calendar_id),
        payload={"operation": "delete"},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.AUTHOR, to="edit holiday calendars")
        row = calendar_find(tenant_id=actor.tenant_id, calendar_id=calendar_id)
        row.schedules.filter(removed_at__isnull=False).update(calendar=None)
        used_by = row.schedules.select_related("definition").first()
        if used_by is not None:
            raise Conflict(
                f"the schedule {used_by.name} of {used_by.definition.key} uses the calendar {row.name}; choose another"
                " calendar there first",
                code="CALENDAR_IN_USE",
            )
        row.delete()


def require_calendar_role(*, actor: Actor, calendar_id: uuid.UUID | None = None) -> None:
    """Refuse an actor who may not edit calendars, or a calendar that does not exist.

    Errors: PermissionRefused, recorded in the ledger; NotFound.
    """
    require_role(
        actor=actor, needs=Role.AUTHOR, to="edit holiday calendars", action=CommandAction.EDIT_CALENDAR,
        target_type=TARGET, target_id=str(calendar_id or ""),
    )  # fmt: skip
    if calendar_id is not None:
        calendar_find(tenant_id=actor.tenant_id, calendar_id=calendar_id)


def calendar_find(*, tenant_id: uuid.UUID, calendar_id: uuid.UUID) -> HolidayCalendar:
    row = HolidayCalendar.objects.filter(tenant_id=tenant_id, id=calendar_id).first()
    if row is None:
        raise NotFound(f"there is no holiday calendar {calendar_id} in this tenant", code="CALENDAR_NOT_FOUND")
    return row


def _invalid(problems: list[dict[str, str]]) -> InputInvalid:
    return InputInvalid(
        f"The calendar is invalid: {problems[0]['path']} {problems[0]['message']}",
        code="CALENDAR_INVALID",
        details={"problems": problems},
    )


def _name_taken(name: str) -> dict[str, str]:
    return {"path": "name", "message": f"{name!r} is taken; choose another name"}


def calendar_problems(*, name: Any, weekend: Any, holidays: Any, row: HolidayCalendar) -> list[dict[str, str]]:
    """Return all problems of a calendar as `{path, message}`."""
    problems = []
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH or storable_problem(name):
        problems.append({"path": "name", "message": f"must be text of 1 to {MAX_NAME_LENGTH} characters"})
    elif HolidayCalendar.objects.filter(tenant_id=row.tenant_id, name=name).exclude(id=row.id).exists():
        problems.append(_name_taken(name))
    is_list = isinstance(weekend, list) and all(type(day) is int and 1 <= day <= 7 for day in weekend)
    if not is_list or len(set(weekend)) == 7:
        message = "must be a list of days from 1 (Monday) to 7 (Sunday); it must not contain all seven days"
        problems.append({"path": "weekend", "message": message})
    if not isinstance(holidays, dict) or len(holidays) > MAX_HOLIDAYS:
        message = f"must be an object of at most {MAX_HOLIDAYS:,} dates with names"
        return [*problems, {"path": "holidays", "message": message}]
    for day, label in holidays.items():
        if not _is_date(day):
            problems.append({"path": "holidays", "message": f"has {day[:50]!r}, which is no date YYYY-MM-DD"})
        elif not isinstance(label, str) or len(label) > MAX_NAME_LENGTH or storable_problem(label):
            message = f"needs a name of at most {MAX_NAME_LENGTH} characters for {day}"
            problems.append({"path": "holidays", "message": message})
    return problems[:20]


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False

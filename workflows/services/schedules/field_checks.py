"""Checks of the fields of a schedule (docs/reference/schedules.md#requests)."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from workflows.engine.clock import is_in_seconds, parse_moment
from workflows.engine.cron import cron_problems
from workflows.engine.errors import RunError
from workflows.engine.storable import storable_problem
from workflows.models import Definition, HolidayCalendar, Schedule
from workflows.services.payload_check import payload_problem
from workflows.services.schedules.fire import run_payload
from workflows.services.schedules.follow import TRIGGER_NAME
from workflows.statuses import ScheduleOrigin, ScheduleOverlap

MAX_NAME_LENGTH = 200
# Temporal's shortest catch-up window is 10 s.
MIN_CATCH_UP_SECONDS, MAX_CATCH_UP_SECONDS = 10, 365 * 86_400

Problem = dict[str, str]


@dataclass(frozen=True)
class ScheduleFields:
    """Fields of a schedule as the author wrote them. They are not checked yet. Either `run_at` or `cron` is given."""

    name: Any = ""
    run_at: Any = None
    cron: Any = ""
    time_zone: Any = "UTC"
    payload: Any = None
    overlap: Any = ScheduleOverlap.ALLOW_ALL.value
    catch_up_seconds: Any = 3600
    only_business_days: Any = False
    calendar: Any = ""

    def __post_init__(self) -> None:
        if self.payload is None:
            object.__setattr__(self, "payload", {})

    def as_object(self) -> dict[str, Any]:
        return dict(vars(self))


def schedule_problems(
    *, tenant_id: uuid.UUID, definition: Definition | None, fields: ScheduleFields, schedule_id: uuid.UUID | None = None
) -> list[Problem]:
    """Return all problems of the fields as `{path, message}`. The path is the name of a field.

    `definition` is None for a preview of times. The name and the payload are then not checked.
    """
    found = [*time_problems(fields), *_option_problems(tenant_id, fields)]
    if definition is not None:
        found += [*_name_problems(definition, fields, schedule_id), *_payload_problems(definition, fields)]
    return [{"path": path, "message": message} for path, message in found]


def time_problems(fields: ScheduleFields) -> Iterator[tuple[str, str]]:
    """Yield the problems of the times as pairs of a field and a message."""
    texts = {"cron": fields.cron or "", "time_zone": fields.time_zone}
    wrong = [name for name, value in texts.items() if not isinstance(value, str)]
    yield from ((name, "must be text") for name in wrong)
    if wrong:
        return
    if bool(fields.run_at) == bool(fields.cron):
        yield "cron", "or run_at is required, and only one of the two"
        return
    if fields.cron:
        names = {"timezone": "time_zone"}
        for problem in cron_problems(fields.cron, fields.time_zone):
            if not problem.is_warning:
                hint = f"; {problem.suggestion}" if problem.suggestion else ""
                yield names.get(problem.place, problem.place), f"is invalid: {problem.message}{hint}"
        return
    yield from (
        ("time_zone", f"is invalid: {problem.message}") for problem in cron_problems("0 0 * * *", fields.time_zone)
    )
    at_ms = None if is_in_seconds(fields.run_at) else parse_moment(fields.run_at)
    if at_ms is None:
        yield "run_at", "must be an ISO 8601 time with a zone, for example 2026-01-26T09:00:00+01:00"


def _option_problems(tenant_id: uuid.UUID, fields: ScheduleFields) -> Iterator[tuple[str, str]]:
    if fields.overlap not in ScheduleOverlap.values:
        yield "overlap", f"must be one of {', '.join(ScheduleOverlap.values)}"
    seconds = fields.catch_up_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not _is_catch_up(seconds):
        message = f"must be a whole number of seconds from {MIN_CATCH_UP_SECONDS} to {MAX_CATCH_UP_SECONDS:,}"
        yield "catch_up_seconds", message
    if not isinstance(fields.only_business_days, bool):
        yield "only_business_days", "must be true or false"
    name = fields.calendar
    if not isinstance(name, str):
        yield "calendar", "must be the name of a holiday calendar, or empty"
    elif name and not _is_calendar(tenant_id, name):
        yield "calendar", f"names the holiday calendar {name[:100]!r}, which does not exist; create it first"
    elif name and not fields.only_business_days:
        yield "calendar", "has an effect only if only_business_days is true; set it to true, or leave the calendar out"


def _is_calendar(tenant_id: uuid.UUID, name: str) -> bool:
    # PostgreSQL cannot compare with a text that it cannot store.
    return storable_problem(name) is None and HolidayCalendar.objects.filter(tenant_id=tenant_id, name=name).exists()


def _is_catch_up(seconds: int) -> bool:
    return MIN_CATCH_UP_SECONDS <= seconds <= MAX_CATCH_UP_SECONDS


def name_taken(definition: Definition, name: str) -> str:
    """Return the problem of a name that another schedule of the definition has."""
    return f"{name!r} is taken; {definition.key} needs another name for this schedule"


def _name_problems(
    definition: Definition, fields: ScheduleFields, schedule_id: uuid.UUID | None
) -> Iterator[tuple[str, str]]:
    name = fields.name
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH or storable_problem(name):
        yield "name", f"must be text of 1 to {MAX_NAME_LENGTH} characters"
        return
    same = Schedule.objects.filter(definition=definition, name=name, removed_at__isnull=True)
    is_own_trigger = same.filter(id=schedule_id or definition.id, origin=ScheduleOrigin.TRIGGER).exists()
    if same.exclude(id=schedule_id or definition.id).exists() or (name == TRIGGER_NAME and not is_own_trigger):
        yield "name", name_taken(definition, name)


def _payload_problems(definition: Definition, fields: ScheduleFields) -> Iterator[tuple[str, str]]:
    if not isinstance(fields.payload, dict):
        yield "payload", "must be a JSON object"
        return
    unstorable = storable_problem(fields.payload)
    if unstorable is not None:
        yield "payload", f"{unstorable[0]} {unstorable[1]}".strip()
        return
    sample = Schedule(id=definition.id, name="sample", time_zone="UTC", payload=fields.payload)
    now = timezone.now()
    try:
        payload = run_payload(sample, scheduled_at=now, fired_at=now)
    except RunError as error:
        yield "payload", f"has an invalid expression: {error.message}"
        return
    version = definition.published_version
    if version is not None:
        ref = version.document()["payloadSchemaRef"]
        problem = payload_problem(payload, tenant_id=definition.tenant_id, ref=ref)
        if problem is not None:
            yield "payload", f"does not match the schema {ref} of the published version: {problem}"

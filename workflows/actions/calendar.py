"""Actions `calendar.*`: arithmetic with time zones, working hours and holidays (docs/reference/engine.md#actions).

They run in an activity, because the rules of time zones are updated. The run keeps the result of the activity, so an
update of the time zone data does not change a replay.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictInt, model_validator

from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine import dates
from workflows.engine.errors import Category

MAX_AMOUNT = 1_000_000
MAX_BUSINESS_DAYS = 10_000
MAX_HOLIDAYS = 5_000
# About 100 years. A search for working time that takes longer has no sensible result.
MAX_DAYS_SEARCHED = 36_525
ONE_DAY = timedelta(days=1)


def _moment(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be RFC 3339 text with a zone, or epoch milliseconds")
    return dates.moment_of_text(value) if isinstance(value, str) else dates.moment_of_ms(value)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a plain name, or the name of a folder
        raise ValueError("is not an IANA time zone, such as Europe/Berlin") from None
    return name


def _minutes(text: str) -> int:
    """Return the minutes since midnight of a text `HH:MM`. 24:00 is the end of the day."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _day(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("must be a date such as 2026-12-25")
    return date.fromisoformat(value)


Day = Annotated[date, BeforeValidator(_day)]
Moment = Annotated[Any, BeforeValidator(_moment)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Amount = Annotated[StrictInt, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
Clock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


class InZoneInput(ActionInput):
    value: Moment
    zone: Zone


class AddInput(InZoneInput):
    """Units: as the names of the fields say. `at` is the local time of the result, as HH:MM."""

    years: Amount = 0
    months: Amount = 0
    weeks: Amount = 0
    days: Amount = 0
    hours: Amount = 0
    minutes: Amount = 0
    seconds: Amount = 0
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = None


class AddBusinessTimeInput(InZoneInput):
    """`workdays` are ISO weekdays: 1 is Monday, 7 is Sunday. `opens` and `closes` are local times, as HH:MM."""

    days: Annotated[StrictInt, Field(ge=-MAX_BUSINESS_DAYS, le=MAX_BUSINESS_DAYS)] = 0
    hours: Annotated[StrictInt, Field(ge=0, le=MAX_BUSINESS_DAYS * 24)] = 0
    minutes: Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT)] = 0
    workdays: Annotated[list[Literal[1, 2, 3, 4, 5, 6, 7]], Field(min_length=1, max_length=7)] = [1, 2, 3, 4, 5]
    holidays: Annotated[frozenset[Day], Field(max_length=MAX_HOLIDAYS)] = frozenset()
    opens: Clock = "00:00"
    closes: Clock = "24:00"

    @model_validator(mode="after")
    def _has_hours(self) -> Self:
        if _minutes(self.opens) >= _minutes(self.closes):
            raise ValueError("opens must be before closes")
        return self

    def is_workday(self, day: date) -> bool:
        return day.isoweekday() in self.workdays and day not in self.holidays


class CalendarOutput(BaseModel):
    """A moment in a zone.

    `result` is RFC 3339 text with the offset of the zone. `ms` is epoch milliseconds. `date`, `time` and `weekday` are
    local. The weekday 1 is Monday.
    """

    result: str
    ms: int
    date: str
    time: str
    weekday: int
    offset: str


def in_zone(value: InZoneInput, _context: ActionContext) -> CalendarOutput:
    """Return the local date and time of a moment in a zone."""
    return _output(value, value.value)


def add(value: AddInput, _context: ActionContext) -> CalendarOutput:
    """Add to a moment in the calendar of a zone.

    Years to days keep the local time, also across a change of the clocks. Hours to seconds are exact durations. A local
    time that the clocks skip becomes the time after the gap. A local time that occurs twice is the first of the two.
    Errors: ActionFailed TIME_INVALID if the result is outside the years 1 to 9999. The author must act.
    """

    def moved() -> datetime:
        local = _local(value, value.value).replace(tzinfo=UTC)
        days = {"years": value.years, "months": value.months, "weeks": value.weeks, "days": value.days}
        local = dates.moved(local, days)
        if value.at is not None:
            local = local.replace(hour=int(value.at[:2]), minute=int(value.at[3:]), second=0, microsecond=0)
        is_moved = any(days.values()) or value.at is not None
        start = _instant(value, local.replace(tzinfo=None)) if is_moved else value.value
        exact = {"hours": value.hours, "minutes": value.minutes, "seconds": value.seconds}
        return dates.moved(start.astimezone(UTC), exact)

    return _output(value, _in_calendar(moved))


def add_business_time(value: AddBusinessTimeInput, _context: ActionContext) -> CalendarOutput:
    """Add working days, and then working hours and minutes.

    `days` counts the working days after the day of the moment, and keeps the local time. Hours and minutes count only
    between `opens` and `closes` of working days.
    Errors: ActionFailed TIME_INVALID if the result is outside the years 1 to 9999, or more than 100 years away. The
    author must act.
    """

    def moved() -> datetime:
        moment = value.value
        if value.days:
            local = _local(value, moment)
            day = _workday(value, local.date(), value.days)
            moment = _instant(value, datetime.combine(day, local.time()))
        left = timedelta(hours=value.hours, minutes=value.minutes)
        return _after_working_time(value, moment.astimezone(UTC), left) if left else moment

    return _output(value, _in_calendar(moved))


def _workday(value: AddBusinessTimeInput, day: date, count: int) -> date:
    left, step = abs(count), ONE_DAY if count > 0 else -ONE_DAY
    for _ in range(MAX_DAYS_SEARCHED):
        day += step
        left -= value.is_workday(day)
        if not left:
            return day
    raise _invalid("is more than 100 years away")


def _after_working_time(value: AddBusinessTimeInput, start: datetime, left: timedelta) -> datetime:
    day = _local(value, start).date()
    opens, closes = _minutes(value.opens), _minutes(value.closes)
    for _ in range(MAX_DAYS_SEARCHED):
        if value.is_workday(day):
            begins = max(start, _at(value, day, opens))
            available = max(timedelta(), _at(value, day, closes) - begins)
            if left <= available:
                return begins + left
            left -= available
        day += ONE_DAY
    raise _invalid("is more than 100 years away")


def _at(value: InZoneInput, day: date, minutes: int) -> datetime:
    return _instant(value, datetime.combine(day, time()) + timedelta(minutes=minutes))


def _local(value: InZoneInput, moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(value.zone))


def _instant(value: InZoneInput, local: datetime) -> datetime:
    return local.replace(tzinfo=ZoneInfo(value.zone)).astimezone(UTC)


def _in_calendar(compute: Any) -> datetime:
    try:
        moment: datetime = compute()
    except (OverflowError, ValueError):
        raise _invalid(dates.OUTSIDE) from None
    return moment


def _output(value: InZoneInput, moment: datetime) -> CalendarOutput:
    local = _in_calendar(lambda: _local(value, moment))
    text = local.isoformat(timespec="milliseconds")
    return CalendarOutput(
        result=dates.text_of_moment(local),
        ms=dates.ms_of_moment(moment),
        date=text[:10],
        time=text[11:23],
        weekday=local.isoweekday(),
        offset=text[23:],
    )


def _invalid(what: str) -> ActionFailed:
    return ActionFailed(f"The result {what}. Use smaller amounts.", category=Category.VALIDATION, code="TIME_INVALID")

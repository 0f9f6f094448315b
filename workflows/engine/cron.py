"""Cron expressions of recurring triggers: their problems, and the times at which they are due.

Rule: the times are those of Temporal, which runs the schedules. Two rules of Temporal differ from other cron programs:

- A time must match the day of the month and also the day of the week.
- A local time that does not exist on a day is left out. In an hour that occurs twice, Temporal can leave out times or
  use both. These times are computed in the same way, so that a preview shows what Temporal will do.

Source: docs/reference/schedules.md#times
"""

import calendar
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, 1)}
WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
MAX_LENGTH = 200
# Temporal computes no times after this year.
LAST_YEAR = 2100
HOUR = timedelta(hours=1)


class CronInvalid(ValueError):
    """A cron expression that Temporal would refuse. The author must change it."""


@dataclass(frozen=True)
class CronRange:
    """Range of one field, with both ends included."""

    start: int
    end: int
    step: int = 1

    def values(self) -> range:
        return range(self.start, self.end + 1, self.step)


@dataclass(frozen=True)
class CronField:
    """Kind of a field: its name, the smallest and largest number, and the names that may replace numbers."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict, hash=False)


FIELDS = (
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day of the month", 1, 31),
    CronField("month", 1, 12, MONTHS),
    CronField("day of the week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """Cron expression that was read. Each field has its ranges. Sunday is the weekday 0."""

    minute: tuple[CronRange, ...]
    hour: tuple[CronRange, ...]
    day: tuple[CronRange, ...]
    month: tuple[CronRange, ...]
    weekday: tuple[CronRange, ...]
    has_day_and_weekday: bool = False


@dataclass(frozen=True)
class CronProblem:
    """Problem of a recurring trigger. `place` is the field of the trigger: `cron` or `timezone`."""

    code: str
    place: str
    message: str
    suggestion: str | None = None
    is_warning: bool = False


# -- Problems ----------------------------------------------------------------------------------------------------------


def cron_problems(cron: str, time_zone: str) -> list[CronProblem]:
    """Return the errors and warnings of a recurring trigger."""
    problems = []
    if time_zone not in _time_zones():
        near = difflib.get_close_matches(time_zone[:100], _time_zones(), n=1)
        suggestion = f"did you mean {near[0]!r}?" if near else None
        message = f"the time zone {time_zone[:100]!r} does not exist; write an IANA name such as Europe/Berlin"
        problems.append(CronProblem("TIMEZONE_UNKNOWN", "timezone", message, suggestion))
    try:
        read = parse_cron(cron)
    except CronInvalid as error:
        return [*problems, CronProblem("CRON_INVALID", "cron", str(error))]
    if next(cron_times(read, ZoneInfo("UTC"), after=datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
        message = f"no date matches {cron!r}; change the day of the month or the month"
        return [*problems, CronProblem("CRON_NEVER", "cron", message)]
    if read.has_day_and_weekday:
        message = (
            "the day of the month and the day of the week are both set; a run starts only on days that match both of"
            " them, because Temporal combines the two fields with AND"
        )
        problems.append(CronProblem("CRON_DAY_AND_WEEKDAY", "cron", message, is_warning=True))
    return problems


def parse_cron(text: str) -> Cron:
    """Read a cron expression of five fields: minute, hour, day of the month, month, day of the week.

    Errors: CronInvalid.
    """
    parts = text.split()
    if len(text) > MAX_LENGTH or len(parts) != len(FIELDS):
        raise CronInvalid(
            f"a cron expression has five fields (minute, hour, day of the month, month, day of the week), but"
            f" {text[:100]!r} has {len(parts)}"
        )
    minute, hour, day, month, weekday = (_ranges(part, kind) for part, kind in zip(parts, FIELDS, strict=True))
    has_both = not parts[2].startswith("*") and not parts[4].startswith("*")
    return Cron(minute, hour, day, month, _sunday_is_zero(weekday), has_both)


def _ranges(text: str, kind: CronField) -> tuple[CronRange, ...]:
    return tuple(_range(part, kind) for part in text.split(","))


def _range(text: str, kind: CronField) -> CronRange:
    """Read one item of a field: `*`, `5`, `1-5`, each with an optional step such as `/15`. `5/20` begins at 5."""
    span, has_step, step_text = text.partition("/")
    step = _number(step_text, kind, text) if has_step else 1
    if step < 1:
        raise CronInvalid(f"the {kind.name} {text!r} has the step 0; write a step of at least 1")
    high = min(kind.high, 6) if kind.names is WEEKDAYS else kind.high
    if span == "*":
        return CronRange(kind.low, high, step)
    first, has_end, last = span.partition("-")
    start = _number(first, kind, text)
    end = _number(last, kind, text) if has_end else (high if has_step else start)
    if not kind.low <= start <= kind.high or not kind.low <= end <= kind.high:
        raise CronInvalid(f"the {kind.name} {text!r} is outside {kind.low} to {kind.high}")
    if end < start:
        raise CronInvalid(f"the {kind.name} {text!r} ends before it begins; write two ranges with a comma")
    return CronRange(start, end, step)


def _number(text: str, kind: CronField, item: str) -> int:
    # A name may be longer than three letters, for example `monday`.
    named = kind.names.get(text.lower()[:3]) if text.isalpha() else None
    if named is not None:
        return named
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise CronInvalid(f"the {kind.name} {item[:50]!r} is not a number, a range, a list or *")
    return int(text)


def _sunday_is_zero(ranges: tuple[CronRange, ...]) -> tuple[CronRange, ...]:
    """Replace the weekday 7, which is Sunday too."""
    if all(each.end < 7 for each in ranges):
        return ranges
    return tuple(CronRange(day, day) for day in sorted({day % 7 for each in ranges for day in each.values()}))


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


# -- Times -------------------------------------------------------------------------------------------------------------


def cron_times(cron: Cron, zone: ZoneInfo, *, after: datetime) -> Iterator[datetime]:
    """Yield the times after this moment, in UTC. There may be no time. The last possible year is 2100."""
    days = _values(cron.day), _values(cron.month), _values(cron.weekday)
    clock = _values(cron.minute), _values(cron.hour)
    moment: datetime | None = after
    while moment is not None:
        moment = _next_time(days, clock, zone, moment)
        if moment is not None:
            yield moment


def _values(ranges: tuple[CronRange, ...]) -> frozenset[int]:
    return frozenset(value for each in ranges for value in each.values())


def _next_time(
    days: tuple[frozenset[int], ...], clock: tuple[frozenset[int], ...], zone: ZoneInfo, after: datetime
) -> datetime | None:
    """Return the first time after this moment, as the scheduler of Temporal computes it from the local clock.

    `is_repeat` is True while the clock shows an hour for the second time, after the clocks went back. Temporal enters
    this second hour only when the minutes of the first one are used up.
    """
    local = after.astimezone(zone)
    is_repeat = (after - HOUR).astimezone(zone).hour == local.hour
    year, month, day, hour, minute = local.year, local.month, local.day, local.hour, local.minute + 1
    while True:
        if minute > 59:
            is_repeat = not is_repeat and _is_repeated(datetime(year, month, day, hour, tzinfo=UTC), zone)
            hour, minute = (hour if is_repeat else hour + 1), 0
        if hour > 23:
            day, hour = day + 1, 0
        if month > 12:
            year, month = year + 1, 1
        if year > LAST_YEAR:
            return None
        if month not in days[1] or day > calendar.monthrange(year, month)[1]:
            month, day, hour, minute, is_repeat = month + 1, 1, 0, 0, False
        elif day not in days[0] or (calendar.weekday(year, month, day) + 1) % 7 not in days[2]:
            day, hour, minute, is_repeat = day + 1, 0, 0, False
        elif hour not in clock[1]:
            hour, minute, is_repeat = hour + 1, 0, False
        elif minute not in clock[0]:
            minute += 1
        else:
            found = _moment(datetime(year, month, day, hour, minute, tzinfo=UTC), zone)
            if found.astimezone(zone).hour == hour:
                return found + HOUR if is_repeat else found
            hour, minute = hour + 1, 0  # the clocks go forward, and this local time does not exist


def _is_repeated(wall: datetime, zone: ZoneInfo) -> bool:
    """Return True if the clock shows this local hour twice, so that the next hour begins more than an hour later."""
    return _moment(wall + HOUR, zone) - _moment(wall, zone) > HOUR


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment in UTC of a local time, which `wall` holds as if it was UTC.

    Go's `time.Date` chooses between two possible moments in this way, and Temporal uses it.
    """
    moment = wall - _offset(wall, zone)
    return wall - _offset(moment, zone)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()

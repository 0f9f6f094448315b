"""Business days of a schedule (docs/reference/schedules.md#times)."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from workflows.models import HolidayCalendar, Schedule
from workflows.models.schedules import default_weekend

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def closed_reason(schedule: Schedule, moment: datetime) -> str:
    """Return why a schedule starts no run at this moment, or "" if the day is a business day.

    The day is the day in the time zone of the schedule. A schedule without the filter has no closed days.
    """
    if not schedule.only_business_days:
        return ""
    return closed_day_reason(moment.astimezone(ZoneInfo(schedule.time_zone)).date(), schedule.calendar)


def closed_day_reason(day: date, calendar: HolidayCalendar | None) -> str:
    """Return why this day is not a business day, or "". Without a calendar, only Saturday and Sunday are closed."""
    weekend = default_weekend() if calendar is None else calendar.weekend
    if day.isoweekday() in weekend:
        return f"{day} is a {WEEKDAYS[day.weekday()]}"
    holiday = None if calendar is None else calendar.holidays.get(day.isoformat())
    return "" if calendar is None or holiday is None else f"{day} is {holiday} in the calendar {calendar.name}"

"""Times of a schedule for people: the next times in local time, with clock changes and closed days.

Source: docs/reference/schedules.md#times
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from workflows.engine.cron import Cron, cron_times, parse_cron
from workflows.models import Schedule
from workflows.services.schedules.business_days import closed_reason

SHOWN_TIMES = 10


@dataclass(frozen=True)
class NextTime:
    """One time of a schedule. `local` has the offset of its time zone.

    `clock_change` is a sentence if the clocks change before this time. `closed` is the reason if no run will start.
    """

    at: datetime
    local: datetime
    clock_change: str = ""
    closed: str = ""


def computed_times(schedule: Schedule, *, after: datetime) -> Iterator[datetime]:
    """Yield the times of a schedule after this moment, computed as Temporal does it."""
    if schedule.run_at is not None:
        yield from [schedule.run_at] if schedule.run_at > after else []
        return
    yield from cron_times(parse_cron(schedule.cron), ZoneInfo(schedule.time_zone), after=after)


def next_times(schedule: Schedule, *, now: datetime, known: Sequence[datetime] | None = None) -> list[NextTime]:
    """Return the next times of a schedule. `known` holds Temporal's own times; without them, they are computed."""
    zone = ZoneInfo(schedule.time_zone)
    moments = list(islice(computed_times(schedule, after=now), SHOWN_TIMES)) if known is None else known[:SHOWN_TIMES]
    cron = parse_cron(schedule.cron) if schedule.cron else None
    found, before = [], now.astimezone(zone)
    for moment in moments:
        local = moment.astimezone(zone)
        change = _clock_change(before, local, cron)
        found.append(NextTime(moment, local, change, closed_reason(schedule, moment)))
        before = local
    return found


def _clock_change(before: datetime, local: datetime, cron: Cron | None) -> str:
    """Return a sentence if the clocks change between two times of a schedule, or if the second time occurs twice."""
    if before.utcoffset() != local.utcoffset():
        text = f"The clocks change before this time, from {_offset(before)} to {_offset(local)}."
        missing = [] if cron is None else _missing(before, local, cron)
        return text + (f" {', '.join(missing)} does not exist on that day and is left out." if missing else "")
    if _offset_with(local, fold=0) > _offset_with(local, fold=1):
        return f"The clocks go back, so {local:%H:%M} occurs twice on this day."
    return ""


def _offset_with(local: datetime, *, fold: int) -> timedelta:
    return local.replace(fold=fold).utcoffset() or timedelta()


def _missing(before: datetime, local: datetime, cron: Cron) -> list[str]:
    """Return the local times of the cron expression between two times that the clocks leave out."""
    start, end = before.replace(tzinfo=UTC, fold=0), local.replace(tzinfo=UTC, fold=0)
    if _offset_with(local, fold=local.fold) < _offset_with(before, fold=before.fold):
        return []  # the clocks go back, and every local time exists
    between = takewhile(lambda moment: moment < end, cron_times(cron, ZoneInfo("UTC"), after=start))
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in islice(between, 3)]


def _offset(local: datetime) -> str:
    text = f"{local:%z}"
    return f"UTC{text[:3]}:{text[3:5]}"

"""Log lines of a run, from a lowest level on."""

from collections import Counter
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from workflows.models import Run, RunLog
from workflows.statuses import LogLevel

# From the lowest to the highest.
LEVELS = tuple(LogLevel)


def levels_from(lowest: str) -> tuple[LogLevel, ...]:
    """Return a level and the levels above it. Errors: ValueError for an unknown level."""
    return LEVELS[LEVELS.index(LogLevel(lowest)) :]


def lines_at_level(lines: QuerySet[RunLog], lowest: str) -> QuerySet[RunLog]:
    """Keep the lines of this level and of the levels above it."""
    return lines.filter(level__in=levels_from(lowest))


def run_lines(
    run: Run, *, step: str = "", since: datetime | None = None, until: datetime | None = None
) -> QuerySet[RunLog]:
    """Return the lines of a run, or of one of its steps, in a period. `until` is not part of the period."""
    lines = RunLog.objects.filter(tenant_id=run.tenant_id, run=run)
    wanted: dict[str, Any] = {"step_path": step, "at__gte": since, "at__lt": until}
    return lines.filter(**{name: value for name, value in wanted.items() if value})


def numbers_from_level(lines: QuerySet[RunLog]) -> dict[LogLevel, int]:
    """Return for each level the number of lines of this level and of the levels above it.

    Cost: one statement over the lines of one run. Their number is limited.
    """
    numbers = Counter(dict(lines.order_by().values_list("level").annotate(Count("id"))))
    return {level: sum(numbers[other] for other in levels_from(level)) for level in LEVELS}

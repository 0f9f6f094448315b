"""Runs and events of the last 24 hours: numbers per hour, and success rate and duration per definition.

The statements read ranges of indexes, with a limit for each hour and each definition. They never read all runs.

Source: docs/reference/screens.md#dashboard
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from workflows.selectors.attention import FAILED_STATUSES
from workflows.shares import TENTH, percent
from workflows.statuses import OPEN_RUN_STATUSES, EventOutcome, RunStatus

HOURS = 24
MOST_PER_HOUR = 5_000
MOST_PER_DEFINITION = 2_000
MOST_OPEN = 1_000
MOST_DEFINITIONS = 200
DELIVERED = (EventOutcome.DELIVERED, EventOutcome.PARTLY_DELIVERED)
CANCELED = (RunStatus.CANCELED, RunStatus.TERMINATED)
LAG_RUNS = 100
GOOD_RATE, FAIR_RATE = 0.95, 0.9

# A group is counted by a filter. GROUP BY would hash each row, which takes twice the time of an hour with many rows.
_PER_HOUR = """WITH hours AS (
    SELECT generate_series(%(first)s::timestamptz, %(last)s::timestamptz, interval '1 hour') AS hour
)
SELECT 'run', hour, found.* FROM hours, LATERAL (
    SELECT count(*), count(*) FILTER (WHERE status = %(succeeded)s), count(*) FILTER (WHERE status = ANY(%(failed)s)),
           count(*) FILTER (WHERE status = ANY(%(canceled)s))
    FROM (
        SELECT status FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND ended_at >= hour AND ended_at < hour + interval '1 hour'
        AND replay_of_id IS NULL LIMIT %(most)s
    ) ended
) found
UNION ALL
SELECT 'event', hour, found.*, NULL, NULL FROM hours, LATERAL (
    SELECT count(*), count(*) FILTER (WHERE outcome = ANY(%(delivered)s))
    FROM (
        SELECT outcome FROM workflow_runtime_events
        WHERE tenant_id = %(tenant)s AND received_at >= hour AND received_at < hour + interval '1 hour'
        LIMIT %(most)s
    ) received
) found
UNION ALL
SELECT 'lag', NULL, percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM projected_at - ended_at)),
       NULL, NULL, NULL
FROM (
    SELECT projected_at, ended_at FROM workflow_runs
    WHERE tenant_id = %(tenant)s AND ended_at >= %(last)s ORDER BY ended_at DESC LIMIT %(lag_runs)s
) newest
"""
_CHANGED_LAST = "deleted_at IS NULL AND archived_at IS NULL ORDER BY updated_at DESC LIMIT %(most_definitions)s"
_PER_DEFINITION = """SELECT definition.id, definition.key, definition.name, published.version, open.number,
       ended.number, ended.succeeded, ended.failed, ended.p95
FROM (
    SELECT id, key, name, published_version_id FROM workflow_definitions
    WHERE tenant_id = %(tenant)s AND {chosen}
) definition
LEFT JOIN workflow_definition_versions published ON published.id = definition.published_version_id
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT 1 FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND definition_id = definition.id AND status = ANY(%(open)s) LIMIT %(most_open)s
    ) runs
) open
CROSS JOIN LATERAL (
    SELECT count(*) AS number, count(*) FILTER (WHERE status = %(succeeded)s) AS succeeded,
           count(*) FILTER (WHERE status = ANY(%(failed)s)) AS failed,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY ended_at - started_at) AS p95
    FROM (
        SELECT status, started_at, ended_at FROM workflow_runs
        WHERE tenant_id = %(tenant)s AND definition_id = definition.id AND ended_at >= %(since)s
        AND replay_of_id IS NULL ORDER BY ended_at DESC LIMIT %(most)s
    ) runs
) ended
ORDER BY ended.failed DESC, open.number DESC, ended.number DESC, definition.key
"""


@dataclass(frozen=True)
class Hour:
    """Numbers of one hour. The keys are the names of the two series of a chart."""

    at: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Activity:
    """Runs that ended and events that were received in each of the last 24 hours, oldest hour first.

    `is_limited`: at least one hour has more rows than `MOST_PER_HOUR`, and shows only those.
    `lag_seconds`: 95 of 100 of the newest runs that ended were recorded within this time. None if no run ended in this
    hour.
    """

    runs: list[Hour]
    events: list[Hour]
    is_limited: bool
    lag_seconds: float | None
    read_at: datetime


@dataclass(frozen=True)
class DefinitionActivity:
    """One definition: its open runs, and its runs that ended in the last 24 hours, without replays.

    `is_limited`: only the newest `MOST_PER_DEFINITION` runs are counted. `p95`: 95 of 100 runs took at most this time.
    """

    id: uuid.UUID
    key: str
    name: str
    version: int | None
    open: int
    ended: int
    succeeded: int
    failed: int
    p95: timedelta | None

    @property
    def is_limited(self) -> bool:
        return self.ended == MOST_PER_DEFINITION

    @property
    def success_rate(self) -> float | None:
        """Return the share of succeeded runs among those that succeeded or failed. None if there are no such runs."""
        decided = self.succeeded + self.failed
        return self.succeeded / decided if decided else None

    @property
    def percent(self) -> Decimal | None:
        decided = self.succeeded + self.failed
        return percent(self.succeeded, decided, unit=TENTH) if decided else None

    @property
    def tone(self) -> str:
        """Return the tone of the success rate."""
        rate = self.success_rate
        return "grey" if rate is None else "green" if rate >= GOOD_RATE else "amber" if rate >= FAIR_RATE else "red"

    @property
    def open_text(self) -> str:
        return f"{self.open:,}" if self.open <= MOST_OPEN else f"{MOST_OPEN:,}+"


def activity_per_hour(*, tenant_id: uuid.UUID) -> Activity:
    now = timezone.now()
    last = now.replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=HOURS - 1)
    values = {
        "tenant": tenant_id, "first": first, "last": last, "most": MOST_PER_HOUR, "lag_runs": LAG_RUNS,
        "succeeded": str(RunStatus.SUCCEEDED), "failed": _texts(FAILED_STATUSES), "canceled": _texts(CANCELED),
        "delivered": _texts(DELIVERED),
    }  # fmt: skip
    runs, events, is_limited, lag = dict[datetime, Hour](), dict[datetime, Hour](), False, None
    for kind, hour, number, *groups in _rows(_PER_HOUR, values):
        if kind == "lag":
            lag = None if number is None else max(0.0, float(number))
            continue
        is_limited = is_limited or number == MOST_PER_HOUR
        if kind == "run":
            runs[hour] = Hour(hour, dict(zip(("succeeded", "failed", "canceled"), map(int, groups), strict=True)))
        else:
            delivered = int(groups[0])
            events[hour] = Hour(hour, {"delivered": delivered, "not_delivered": int(number) - delivered})
    hours = [first + timedelta(hours=n) for n in range(HOURS)]
    return Activity([runs[at] for at in hours], [events[at] for at in hours], is_limited, lag, now)


def activity_of_definitions(*, tenant_id: uuid.UUID, ids: list[uuid.UUID]) -> dict[uuid.UUID, DefinitionActivity]:
    """Return what the runs of these definitions did, by the id of the definition. Cost: one statement."""
    rows = _rows(_PER_DEFINITION.format(chosen="id = ANY(%(ids)s)"), {**_limits(tenant_id), "ids": ids})
    return {row[0]: DefinitionActivity(*row) for row in rows}


def activity_per_definition(*, tenant_id: uuid.UUID) -> list[DefinitionActivity]:
    """Return the definitions, those with the most failed runs first.

    Archived and deleted definitions are left out. At most `MOST_DEFINITIONS` are returned, those that changed last.
    """
    rows = _rows(_PER_DEFINITION.format(chosen=_CHANGED_LAST), _limits(tenant_id))
    return [DefinitionActivity(*row) for row in rows]


def _limits(tenant_id: uuid.UUID) -> dict[str, Any]:
    return {
        "tenant": tenant_id,
        "since": timezone.now() - timedelta(hours=HOURS),
        "open": _texts(OPEN_RUN_STATUSES),
        "failed": _texts(FAILED_STATUSES),
        "succeeded": str(RunStatus.SUCCEEDED),
        "most": MOST_PER_DEFINITION,
        "most_open": MOST_OPEN + 1,
        "most_definitions": MOST_DEFINITIONS,
    }


def _texts(values: Iterable[str]) -> list[str]:
    return [str(value) for value in values]


def _rows(sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows

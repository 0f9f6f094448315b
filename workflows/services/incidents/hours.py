"""Hourly counters of incidents. They count each piece of work once, by incident, hour (UTC) and version."""

import uuid
from collections import Counter
from datetime import datetime
from typing import Any

from django.db import connection

from workflows.models.fields import new_id

HourCounts = Counter[tuple[uuid.UUID, datetime, int]]

_ADD = """
INSERT INTO workflow_incident_hours AS known (id, tenant_id, incident_id, hour, version, failures)
SELECT id, %s, incident_id, hour, version, failures
FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::int[], %s::int[])
    AS added (id, incident_id, hour, version, failures)
ON CONFLICT (tenant_id, incident_id, hour, version) DO UPDATE SET failures = known.failures + excluded.failures
"""
_SUBTRACT = """
UPDATE workflow_incident_hours known SET failures = known.failures - taken.failures
FROM unnest(%s::uuid[], %s::timestamptz[], %s::int[], %s::int[]) AS taken (incident_id, hour, version, failures)
WHERE known.tenant_id = %s AND known.incident_id = taken.incident_id AND known.hour = taken.hour
    AND known.version = taken.version
"""


def hour_of(moment: datetime) -> datetime:
    """Return the begin of the hour. The moment is in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)


def hours_add(tenant_id: uuid.UUID, counts: HourCounts) -> None:
    """Add to the counters. Cost: one statement."""
    if counts:
        _execute(_ADD, [tenant_id, [new_id() for _ in counts], *_columns(counts)])


def hours_subtract(tenant_id: uuid.UUID, counts: HourCounts) -> None:
    """Subtract from the counters. Cost: one statement."""
    if counts:
        _execute(_SUBTRACT, [*_columns(counts), tenant_id])


def _columns(counts: HourCounts) -> list[list[Any]]:
    """Return incidents, hours, versions and numbers. The order of the rows is fixed, so that locks cannot cross."""
    keys = sorted(counts)
    return [[key[place] for key in keys] for place in range(3)] + [[counts[key] for key in keys]]


def _execute(statement: str, values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)

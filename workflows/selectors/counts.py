"""Counts of runs, rows of lists and problems, of one tenant or of all tenants."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.utils import timezone

from workflows.database_errors import is_canceled
from workflows.models import Run, Tenant
from workflows.models.statements import statement_limit
from workflows.selectors.navigation import CappedCount
from workflows.statuses import OPEN_RUN_STATUSES

MOST_COUNTED = MOST_STARTS = 1_000
COUNT_SECONDS = 1.0


def part_counts(
    parts: Mapping[str, QuerySet[Any]], *, tenant_id: uuid.UUID, order: Sequence[str] = ()
) -> dict[str, int] | None:
    """Return the number of rows of each part of a list, with the filters of the list.

    `MOST_COUNTED` + 1 means more than `MOST_COUNTED`. Return None if the count takes longer than `COUNT_SECONDS`.
    `order` is that of the index that has the parts. Cost: one statement. With an index for a part, it reads at most
    `MOST_COUNTED` + 1 rows of the part.
    """
    numbers = [CappedCount(rows, limit=MOST_COUNTED + 1, order=order) for rows in parts.values()]
    try:
        with statement_limit(COUNT_SECONDS):
            row = Tenant.objects.filter(id=tenant_id).values_list(*numbers).get()
    except OperationalError as error:
        if not is_canceled(error):
            raise
        return None
    return dict(zip(parts, row, strict=True))


def count_text(count: int | None) -> str:
    """Return a count of `part_counts` as text: `12`, `1,000+`, or an empty text for rows that were not counted."""
    if count is None:
        return ""
    return f"{count:,}" if count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"


def starts_of_last_hour(*, tenant_id: uuid.UUID) -> int:
    """Return the number of runs that were created in the last hour, at most `MOST_STARTS` + 1. Cost: one statement."""
    runs = Run.objects.filter(tenant_id=tenant_id, created_at__gte=timezone.now() - timedelta(hours=1))
    return runs.order_by("-created_at")[: MOST_STARTS + 1].count()


@dataclass(frozen=True)
class ProblemCounts:
    """Counts of problems over all tenants that the reconciler and the workers have found.

    `marked_runs`: open runs with drift. `stuck_runs`: open runs that Temporal cannot move. `oldest_starting_seconds`:
    age of the oldest run that has no record yet. `missing_actions`: actions, as `id@version`, that no worker has.
    """

    marked_runs: int
    stuck_runs: int
    oldest_starting_seconds: float
    unknown_commands: int
    missing_actions: list[str]


def problem_counts() -> ProblemCounts:
    """Count the problems of all tenants, in any tenancy scope.

    Cost: one call of a database function that has the rights of the owner, because no scope of a web process sees the
    rows of all tenants. It reads the open runs and the commands of the last 30 days.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM workflow_problem_counts(%s)", [list(map(str, OPEN_RUN_STATUSES))])
        return ProblemCounts(*cursor.fetchone())

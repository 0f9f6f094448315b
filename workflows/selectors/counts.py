"""Counts of runs, events and problems, of one tenant or of all tenants."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from workflows.event_outcomes import has_outcome
from workflows.models import Event, Run, Tenant
from workflows.selectors.navigation import CappedCount
from workflows.statuses import OPEN_RUN_STATUSES, EventOutcome

MOST_EVENTS = MOST_STARTS = 1_000


def event_counts(*, tenant_id: uuid.UUID, since_hours: int = 24) -> dict[str, int]:
    """Return the number of the tenant's events, by outcome. Only events of the last `since_hours` hours count.

    `MOST_EVENTS` + 1 means more than `MOST_EVENTS`. Cost: one statement, which reads a range of an index per outcome.
    """
    events = Event.objects.filter(tenant_id=tenant_id, received_at__gte=timezone.now() - timedelta(hours=since_hours))
    numbers = {
        outcome.value: CappedCount(events.filter(has_outcome(outcome)), limit=MOST_EVENTS + 1)
        for outcome in EventOutcome
    }
    row = Tenant.objects.filter(id=tenant_id).values_list(*numbers.values()).get()
    return dict(zip(numbers, row, strict=True))


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

"""Counts of runs, events and problems, of one tenant or of all tenants."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Min
from django.utils import timezone

from workflows.models import Command, Event, Run, Tenant
from workflows.selectors.navigation import CappedCount
from workflows.statuses import OPEN_RUN_STATUSES, CommandState, Engine, EventOutcome, RunStatus

MOST_EVENTS = 10_000


def stuck_run_count(*, tenant_id: uuid.UUID | None = None) -> int:
    """Return the number of open runs that Temporal cannot move, of one tenant or of all tenants."""
    runs = Run.objects.filter(status__in=OPEN_RUN_STATUSES, stuck_since__isnull=False)
    return (runs if tenant_id is None else runs.filter(tenant_id=tenant_id)).count()


def event_counts(*, tenant_id: uuid.UUID, since_hours: int = 24) -> dict[str, int]:
    """Return the number of the tenant's events, by outcome. Only events of the last `since_hours` hours count.

    `MOST_EVENTS` + 1 means more than `MOST_EVENTS`. Cost: one statement, which reads a range of an index per outcome.
    """
    events = Event.objects.filter(tenant_id=tenant_id, received_at__gte=timezone.now() - timedelta(hours=since_hours))
    numbers = {
        outcome.value: CappedCount(events.filter(outcome=outcome.value), limit=MOST_EVENTS + 1)
        for outcome in EventOutcome
    }
    row = Tenant.objects.filter(id=tenant_id).values_list(*numbers.values()).get()
    return dict(zip(numbers, row, strict=True))


@dataclass(frozen=True)
class DriftCounts:
    """Counts of problems that the reconciler has not repaired.

    `stuck_runs`: open runs that Temporal cannot move. `oldest_starting_seconds`: age of the oldest run that has no
    record yet.
    """

    marked_runs: int
    stuck_runs: int
    oldest_starting_seconds: float
    unknown_commands: int


def drift_counts(*, tenant_id: uuid.UUID | None = None) -> DriftCounts:
    """Count the problems of one tenant, or of all tenants.

    Cost: four queries, over open runs and the commands of the last 30 days.
    """
    now = timezone.now()
    runs, commands = Run.objects.filter(status__in=OPEN_RUN_STATUSES), Command.objects.all()
    if tenant_id is not None:
        runs, commands = runs.filter(tenant_id=tenant_id), commands.filter(tenant_id=tenant_id)
    oldest = runs.filter(status=RunStatus.STARTING, queued_until__isnull=True).aggregate(at=Min("created_at"))["at"]
    recent = commands.filter(state=CommandState.UNKNOWN, requested_at__gt=now - timedelta(days=30))
    return DriftCounts(
        marked_runs=runs.filter(engine=Engine.TEMPORAL, drift_found_at__isnull=False).count(),
        stuck_runs=stuck_run_count(tenant_id=tenant_id),
        oldest_starting_seconds=0.0 if oldest is None else (now - oldest).total_seconds(),
        unknown_commands=recent.count(),
    )

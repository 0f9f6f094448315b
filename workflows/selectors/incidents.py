"""Rows of incidents for the dashboard, the list and other pages (docs/reference/incidents.md)."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.utils import timezone

from workflows.models import Incident, IncidentFailure, IncidentHour, Run, Tenant
from workflows.selectors.navigation import CappedCount
from workflows.selectors.replay_counts import (
    MOST_RUNS,
    ReplayCounts,
    newest_replays,
    replay_groups,
    replays_of_failures,
)
from workflows.statuses import ACTIVE_INCIDENT_STATES, IncidentState

HOURS = 24
MOST_COUNTED = 1_000
# Up to this number of runs of an incident, a list reads them by their ids.
MOST_LISTED = 500
NEWEST_FAILURE_FIRST = ("-last_failed_at", "-id")


@dataclass(frozen=True)
class IncidentRow:
    """One incident as the lists show it. `hours` has the number of failures in each of the last 24 hours.

    `replays` is None if no run of the incident was replayed.
    """

    incident: Incident
    hours: list[int]
    replays: ReplayCounts | None = None


def dashboard_incidents(*, tenant_id: uuid.UUID, limit: int = 4) -> tuple[list[IncidentRow], dict[str, int]]:
    """Return the first active incidents of their list, and `incident_counts`. Cost: three statements.

    Of these incidents, the one with most runs comes first.
    """
    active = with_newest_error(incidents_shown(tenant_id=tenant_id)).filter(state__in=ACTIVE_INCIDENT_STATES)
    first = list(active.annotate(counts=_counts_by_state(tenant_id)).order_by(*NEWEST_FAILURE_FIRST)[:limit])
    counts = first[0].counts if first else incident_counts(tenant_id=tenant_id)
    return incident_rows(sorted(first, key=lambda incident: -incident.run_count)), counts


def with_newest_error(incidents: QuerySet[Incident]) -> QuerySet[Any]:
    """Annotate incidents with `newest_error`: the error of the newest counted run, or None if it was deleted.

    A failure of a merged incident is not read. PostgreSQL reads two rows by index for each row of the page.
    """
    failures = IncidentFailure.objects.filter(
        tenant_id=OuterRef("tenant_id"), incident=OuterRef("pk"), is_counted=True
    ).order_by("-failed_at")
    runs = Run.objects.filter(tenant_id=OuterRef("tenant_id"), id=OuterRef("run_id"))
    return incidents.annotate(newest_error=Subquery(failures.values(error=Subquery(runs.values("error")[:1]))[:1]))


def incidents_shown(*, tenant_id: uuid.UUID) -> QuerySet[Incident]:
    """Return the incidents that are not merged into another incident."""
    shown = Incident.objects.filter(tenant_id=tenant_id, merged_into__isnull=True)
    return shown.select_related("definition").defer("definition__draft_text")


def incident_rows(incidents: Sequence[Incident]) -> list[IncidentRow]:
    """Return incidents of one tenant with their failures of 24 hours and their replays. Cost: two statements."""
    if not incidents:
        return []
    begin, tenant_id = first_hour(), incidents[0].tenant_id
    counts: dict[uuid.UUID, dict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    shown = Incident.objects.filter(id__in=[incident.id for incident in incidents])
    rows = IncidentHour.objects.filter(
        tenant_id=tenant_id, incident__in=family_of(shown, tenant_id=tenant_id), hour__gte=begin
    ).values_list("incident_id", "incident__merged_into_id", "hour", "failures")
    for own, merged_into, hour, failures in rows:
        counts[merged_into or own][hour] += failures
    times = [begin + timedelta(hours=number) for number in range(HOURS)]
    replays = replays_of_incidents(incidents)
    return [
        IncidentRow(incident, [counts[incident.id][time] for time in times], replays.get(incident.id))
        for incident in incidents
    ]


def replays_of_incidents(incidents: Sequence[Incident]) -> dict[uuid.UUID, ReplayCounts]:
    """Return the replays of those incidents of one tenant of which runs were replayed. Cost: one statement."""
    groups = replay_groups(tenant_id=incidents[0].tenant_id, incidents=[incident.id for incident in incidents])
    return {incident_id: newest_replays(incident_id, found) for incident_id, found in groups.items()}


def first_hour() -> datetime:
    """Return the begin of the first of the last 24 hours. The present hour is the last of them."""
    now = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return now - timedelta(hours=HOURS - 1)


def incident_counts(*, tenant_id: uuid.UUID) -> dict[str, int]:
    """Return the number of shown incidents by state, at most MOST_COUNTED + 1 each. Cost: one statement."""
    counts: dict[str, int] = Tenant.objects.filter(id=tenant_id).values_list(_counts_by_state(tenant_id)).get()[0]
    return counts


def _counts_by_state(tenant_id: uuid.UUID) -> JSONObject:
    shown = Incident.objects.filter(tenant_id=tenant_id, merged_into__isnull=True)
    limit = MOST_COUNTED + 1
    return JSONObject(**{state: CappedCount(shown.filter(state=state), limit=limit) for state in IncidentState.values})


def shown_incident_of_run(*names: str) -> Subquery:
    """Return the incident that shows the failure of a run of the outer query: its id, number and number of runs.

    `names`: other fields of the incident to return instead.
    """
    failures = IncidentFailure.objects.filter(
        tenant_id=OuterRef("tenant_id"), run_id=OuterRef("pk"), failed_at=OuterRef("ended_at")
    )
    facts = {
        name: Coalesce(f"incident__merged_into__{name}", f"incident__{name}")
        for name in names or ("id", "number", "run_count")
    }
    return Subquery(failures.values(shown=JSONObject(**facts))[:1])


def runs_of_incident(
    runs: QuerySet[Run], counted: bool = True, replays: bool = False, *, tenant_id: uuid.UUID, number: int
) -> QuerySet[Run]:
    """Return the runs that the count of an incident contains, or the replays of the newest of them, or both.

    Cost: one statement for the ids of the counted runs, or two for the ids of the replays.
    """
    family = family_of(Incident.objects.filter(number=number), tenant_id=tenant_id)
    failures = IncidentFailure.objects.filter(tenant_id=tenant_id, incident__in=family, is_counted=True)
    if not replays:
        ids = list(failures.values_list("run_id", flat=True)[: MOST_LISTED + 1])
        # A few ids are read first. With a subquery, PostgreSQL would sometimes look for them among all runs.
        return runs.filter(id__in=ids) if len(ids) <= MOST_LISTED else runs.filter(id__in=failures.values("run_id"))
    newest = list(failures.order_by("-failed_at").values_list("run_id", "origin_id")[:MOST_RUNS])
    # The ids are read first. With a subquery, PostgreSQL would look for the replays among all runs.
    ids = replays_of_failures(tenant_id=tenant_id, failures=newest)
    return runs.filter(id__in=[*ids, *(run_id for run_id, _ in newest if counted)])


def incident_number(text: str) -> int | None:
    """Return the number in a text such as `118` or `INC-118`, or None."""
    number = text.strip().upper().removeprefix("INC-")
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= 9 else None


def family_of(incidents: QuerySet[Incident], *, tenant_id: uuid.UUID) -> Any:
    """Return the ids of incidents of a tenant and of the incidents that are merged into them."""
    own = incidents.filter(tenant_id=tenant_id).order_by().values("id")
    return own.union(Incident.objects.filter(tenant_id=tenant_id, merged_into__in=own).values("id"), all=True)

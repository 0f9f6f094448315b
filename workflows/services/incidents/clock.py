"""Changes of incidents that time makes: the end of a snooze, and the end of a quiet incident."""

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from workflows.models import Incident
from workflows.models.statements import update_rows
from workflows.services.incidents.states import STATE_FIELDS, state_set, wake
from workflows.statuses import IncidentState

BATCH = 500


def incidents_wake() -> int:
    """End the snoozes whose time has come, of all tenants. Return their number, at most BATCH."""
    now = timezone.now()
    due = Incident.objects.filter(state=IncidentState.SNOOZED, snoozed_until__lte=now)
    with transaction.atomic():
        incidents = _locked(due)
        for incident in incidents:
            wake(incident, at=incident.snoozed_until or now)
        update_rows(incidents, STATE_FIELDS)
    return len(incidents)


def incidents_close_quiet() -> int:
    """Close the incidents of all tenants without a failure for INCIDENT_QUIET_DAYS. Return their number, at most BATCH.

    A change of the state begins the quiet time again. A snooze until a time ends first.
    """
    days = settings.INCIDENT_QUIET_DAYS
    limit = timezone.now() - timedelta(days=days)
    quiet = Incident.objects.filter(merged_into__isnull=True, last_failed_at__lt=limit, state_since__lt=limit)
    close = partial(state_set, state=IncidentState.CLOSED, at=timezone.now(), reason=f"no failure for {days:g} days")
    with transaction.atomic():
        incidents = _locked(quiet.exclude(state=IncidentState.CLOSED).exclude(snoozed_until__isnull=False))
        for incident in incidents:
            close(incident)
        update_rows(incidents, STATE_FIELDS)
    return len(incidents)


def _locked(incidents: QuerySet[Incident]) -> list[Incident]:
    return list(incidents.select_for_update(no_key=True, skip_locked=True).order_by("id")[:BATCH])

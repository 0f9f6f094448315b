"""The dashboard: counts, failed and waiting runs, and the health of the servers."""

from typing import Any

from django.http import HttpRequest

from portal.health import health_checks
from workflows import status_colours
from workflows.admin.base import actor_of
from workflows.models import Definition, Run
from workflows.selectors.counts import drift_counts, event_counts, open_decision_count, run_counts
from workflows.statuses import OPEN_RUN_STATUSES, EventOutcome, RunStatus

SHOWN_PAUSED = 8


def dashboard_context(request: HttpRequest) -> dict[str, Any]:
    actor = actor_of(request)
    runs = Run.objects.filter(tenant_id=actor.tenant_id)
    counts = run_counts(tenant_id=actor.tenant_id)
    events = event_counts(tenant_id=actor.tenant_id)
    return {
        "tenant": getattr(request, "tenant", None),
        "actor": actor,
        "run_chips": [
            {
                "label": status.label,
                "value": status.value,
                "count": counts.get(status, 0),
                "type": status_colours.RUN[status],
            }
            for status in RunStatus
        ],
        "event_chips": [
            {
                "label": outcome.label,
                "value": outcome.value,
                "count": events.get(outcome, 0),
                "type": status_colours.EVENT[outcome],
            }
            for outcome in EventOutcome
        ],
        "failed_runs": runs.filter(status__in=["FAILED", "TERMINATED", "TIMED_OUT"]).order_by("-ended_at")[:8],
        "waiting_runs": runs.filter(status="WAITING").order_by("created_at")[:8],
        "health": health_checks(),
        "open_decisions": open_decision_count(tenant_id=actor.tenant_id),
        "auto_paused": Definition.objects.filter(
            tenant_id=actor.tenant_id, is_paused=True, is_auto_paused=True, archived_at__isnull=True
        ).order_by("-paused_at")[:SHOWN_PAUSED],
        "drift": drift_counts(tenant_id=actor.tenant_id),
        "stuck_runs": runs.filter(status__in=OPEN_RUN_STATUSES, stuck_since__isnull=False).order_by("stuck_since")[:8],
        "drifted_runs": runs.filter(status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=False)[:8],
    }

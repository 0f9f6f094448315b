"""The dashboard: what needs an operator now, what comes next, the last 24 hours, and the health of the system.

The page "System health" shows the same lines of health, with more words.

Source: docs/reference/screens.md#dashboard
"""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from portal.pages.attention import (
    absent_problems,
    attention_rows,
    compared_text,
    count_text,
    unchecked_address,
)
from portal.pages.bar_chart import Series, bar_chart
from portal.pages.comparison import shown_comparison
from portal.pages.next_due import due_rows, retry_places
from portal.pages.system_health import health_context, health_items, servers
from workflows.admin.base import actor_of
from workflows.admin.live import live_page
from workflows.selectors.activity import (
    MOST_PER_HOUR,
    Activity,
    DefinitionActivity,
    activity_per_definition,
    activity_per_hour,
)
from workflows.selectors.dashboard import dashboard_numbers
from workflows.selectors.due import MOST_PASSED, next_due
from workflows.selectors.incidents import dashboard_incidents
from workflows.selectors.retry_limits import Place, retry_limits
from workflows.selectors.versions import dashboard_version
from workflows.statuses import ACTIVE_INCIDENT_STATES, IncidentState, Role

PAGE_AGE_SECONDS = 15
ACTIVITY_SECONDS = 30
"""Time for which the numbers of the last 24 hours are kept, for each tenant. Units: seconds."""
SHOWN_DEFINITIONS = 8
RUN_SERIES = (
    Series("succeeded", "Succeeded", "green"),
    Series("failed", "Failed", "red"),
    Series("canceled", "Canceled", "grey"),
)
EVENT_SERIES = (Series("delivered", "Delivered", "blue"), Series("not_delivered", "Not delivered", "amber"))
SHOWN_DUE = 8


@live_page(dashboard_version, age_seconds=PAGE_AGE_SECONDS)
def dashboard_page(index: Callable[..., HttpResponse], request: HttpRequest) -> HttpResponse:
    """Show the dashboard. `index` renders the index page of the admin with a context."""
    return index(request, dashboard_context(request))


def dashboard_context(request: HttpRequest) -> dict[str, Any]:
    actor = actor_of(request)
    numbers = dashboard_numbers(tenant_id=actor.tenant_id)
    problems, backlog = numbers.problems, numbers.backlog
    request.navigation_counts = numbers.navigation  # type: ignore[attr-defined]
    steps = next_due(tenant_id=actor.tenant_id, limit=SHOWN_DUE)
    limits = _retry_limits(problems["retrying"].first, steps)
    activity, definitions = _activity(actor.tenant_id)
    health = health_items(servers(), backlog, overdue=problems["overdue"], lag_seconds=activity.lag_seconds)
    return {
        "tenant": getattr(request, "tenant", None),
        "actor": actor,
        "may_act": actor.has_role(Role.OPERATOR),
        "attention": attention_rows(problems),
        "absent": absent_problems(problems),
        "compared": "" if problems["drift"].count else compared_text(backlog),
        "oldest_check_at": backlog.oldest_check_at,
        "oldest_check_url": unchecked_address() if backlog.unchecked else reverse("admin:health"),
        **_incidents(actor.tenant_id),
        "next_steps": due_rows(steps, limits),
        "next_total": count_text(numbers.due),
        "most_passed": MOST_PASSED,
        "more_passed": count_text(numbers.passed - MOST_PASSED) if numbers.passed > MOST_PASSED else "",
        "charts": [
            {
                "id": "h-c1", "title": "Runs that ended, per hour", "note": "Without replays.",
                "empty": "No run ended in this period", "chart": bar_chart(activity.runs, RUN_SERIES),
            },
            {
                "id": "h-c2", "title": "Events received, per hour", "note": "",
                "empty": "No event was received in this period", "chart": bar_chart(activity.events, EVENT_SERIES),
            },
        ],
        "activity": activity,
        "most_per_hour": MOST_PER_HOUR,
        "definitions": definitions[:SHOWN_DEFINITIONS],
        "more_definitions": max(0, len(definitions) - SHOWN_DEFINITIONS),
        "alarms": [item for item in health if item.effect],
        **health_context(health),
    }  # fmt: skip


@live_page(dashboard_version, age_seconds=PAGE_AGE_SECONDS)
def health_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the page "System health": the lines of the dashboard's card, each with its limit and what to do."""
    actor = actor_of(request)
    numbers = dashboard_numbers(tenant_id=actor.tenant_id)
    request.navigation_counts = numbers.navigation  # type: ignore[attr-defined]
    lag = _activity(actor.tenant_id)[0].lag_seconds
    items = health_items(servers(), numbers.backlog, overdue=numbers.problems["overdue"], lag_seconds=lag)
    context = {
        **site.each_context(request),
        "title": "System health",
        "newest": shown_comparison(actor.tenant_id),
        "may_act": actor.has_role(Role.OPERATOR),
        **health_context(items),
    }
    return TemplateResponse(request, "portal/health_page.html", context)


def _activity(tenant_id: Any) -> tuple[Activity, list[DefinitionActivity]]:
    name = f"dashboard-activity-{tenant_id}"
    found: tuple[Activity, list[DefinitionActivity]] | None = caches["process"].get(name)
    if found is None:
        found = activity_per_hour(tenant_id=tenant_id), activity_per_definition(tenant_id=tenant_id)
        caches["process"].set(name, found, ACTIVITY_SECONDS)
    return found


def _incidents(tenant_id: uuid.UUID) -> dict[str, Any]:
    rows, counts = dashboard_incidents(tenant_id=tenant_id)
    return {
        "incidents": rows,
        "more_incidents": sum(counts[state] for state in ACTIVE_INCIDENT_STATES) - len(rows),
        "snoozed_incidents": counts[IncidentState.SNOOZED],
    }


def _retry_limits(retrying: dict[str, Any] | None, steps: list[dict[str, Any]]) -> dict[Place, int]:
    """Return the numbers of attempts of the steps, and add that of the first long retry to its facts."""
    places = retry_places(steps)
    if retrying is None:
        return retry_limits(places)
    own = uuid.UUID(retrying["version"]), retrying["path"]
    limits = retry_limits([*places, own])
    retrying["limit"] = limits.get(own)
    return limits

"""Screens of incidents: the list (docs/reference/incidents.md#pages)."""

import uuid
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import actor_of
from workflows.admin.incident_page import IncidentPageViews
from workflows.admin.live import live_page
from workflows.errors import unknown_name
from workflows.models import Definition, Incident
from workflows.selectors.incidents import (
    MOST_COUNTED,
    NEWEST_FAILURE_FIRST,
    incident_counts,
    incident_number,
    incident_rows,
    incidents_shown,
)
from workflows.selectors.versions import incidents_version
from workflows.status_marks import INCIDENT
from workflows.statuses import ACTIVE_INCIDENT_STATES, IncidentState, Role

SHOWN = 50
ACTIVE, ALL = "active", "all"
STATES = {
    ACTIVE: ACTIVE_INCIDENT_STATES,
    **{state.value: (state,) for state in IncidentState},
    ALL: tuple(IncidentState),
}
PARAMETERS = ("state", "q", "definition", "before")


@admin.register(Incident)
class IncidentAdmin(IncidentPageViews):
    @method_decorator(require_safe)
    @live_page(incidents_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        actor = actor_of(request)
        chosen = {name: request.GET.get(name, "").strip() for name in PARAMETERS}
        state = chosen["state"] or ACTIVE
        problem = _problem(request, state, chosen["before"])
        found: list[Incident] = []
        if not problem:
            found = list(_filtered(incidents_shown(tenant_id=actor.tenant_id), state, chosen)[: SHOWN + 1])
        rows = incident_rows(found[:SHOWN])
        kept = {**chosen, "state": state}
        names = Definition.objects.filter(tenant_id=actor.tenant_id).order_by("name").values_list("key", "name")
        context = self.page_context(
            request,
            "Incidents",
            chips=_chips(incident_counts(tenant_id=actor.tenant_id), kept),
            rows=rows,
            problem=problem,
            state=state,
            q=chosen["q"],
            definition=chosen["definition"],
            definitions=list(names[:MOST_COUNTED]),
            is_later=bool(chosen["before"]),
            first_query=_query(kept, before=""),
            next_query=_query(kept, before=_position(rows[-1].incident)) if len(found) > SHOWN else "",
            may_act=actor.has_role(Role.OPERATOR),
        )
        return TemplateResponse(request, "portal/incident_list.html", context, status=400 if problem else 200)


def _problem(request: HttpRequest, state: str, before: str) -> str:
    """Return the reason why the list cannot be shown, or an empty text."""
    for name in request.GET:
        if name not in PARAMETERS:
            return f"The list shows no rows. {unknown_name(name, PARAMETERS, kind='filter')}"
    if any("\x00" in str(value) for value in request.GET.values()):
        return "The list shows no rows, because a filter contains a NUL character. Remove the character."
    if state not in STATES:
        return f"The list shows no rows. {unknown_name(state, STATES, kind='state')}"
    if before and _read_position(before) is None:
        return "The position in the list cannot be read. Begin with the first page."
    return ""


def _filtered(incidents: QuerySet[Incident], state: str, chosen: dict[str, str]) -> QuerySet[Incident]:
    incidents = incidents.filter(state__in=STATES[state])
    if chosen["definition"]:
        incidents = incidents.filter(definition__key=chosen["definition"])
    if text := chosen["q"]:
        wanted = Q(error_code__icontains=text) | Q(step_name__icontains=text) | Q(step_id__icontains=text)
        wanted |= Q(message__icontains=text) | Q(definition__name__icontains=text)
        if (number := incident_number(text)) is not None:
            wanted |= Q(number=number)
        incidents = incidents.filter(wanted)
    position = _read_position(chosen["before"])
    if position is not None:
        at, row_id = position
        incidents = incidents.filter(Q(last_failed_at__lt=at) | Q(last_failed_at=at, id__lt=row_id))
    return incidents.order_by(*NEWEST_FAILURE_FIRST)


def _chips(counts: dict[str, int], kept: dict[str, str]) -> list[dict[str, Any]]:
    chips = []
    for value, states in STATES.items():
        mark = INCIDENT.get(value)
        number = sum(counts[state] for state in states)
        is_capped = any(counts[state] > MOST_COUNTED for state in states)
        chips.append(
            {
                "label": mark.word if mark else value.capitalize(),
                "icon": mark.icon if mark else "",
                "tone": mark.tone if mark else "",
                "count": f"{MOST_COUNTED:,}+" if is_capped else number,
                "query": _query(kept, state=value, before=""),
                "is_chosen": kept["state"] == value,
            }
        )
    return chips


def _query(kept: dict[str, str], **changes: str) -> str:
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in {**kept, **changes}.items() if value})
    return query.urlencode()


def _position(incident: Incident) -> str:
    return f"{incident.last_failed_at.isoformat()}_{incident.id}"


def _read_position(text: str) -> tuple[datetime, uuid.UUID] | None:
    time, _, row_id = text.partition("_")
    try:
        at = datetime.fromisoformat(time)
        return (at, uuid.UUID(row_id)) if at.tzinfo is not None else None
    except ValueError:
        return None

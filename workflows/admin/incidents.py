"""Screens of incidents: the list (docs/reference/incidents.md#pages)."""

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
    with_newest_error,
)
from workflows.selectors.keyset import POSITION_VAR, KeysetPage, keyset_page
from workflows.selectors.versions import incidents_version
from workflows.status_marks import INCIDENT
from workflows.statuses import ACTIVE_INCIDENT_STATES, IncidentState, Role

ACTIVE, ALL = "active", "all"
STATES = {
    ACTIVE: ACTIVE_INCIDENT_STATES,
    **{state.value: (state,) for state in IncidentState},
    ALL: tuple(IncidentState),
}
PARAMETERS = ("state", "q", "definition", POSITION_VAR)


@admin.register(Incident)
class IncidentAdmin(IncidentPageViews):
    @method_decorator(require_safe)
    @live_page(incidents_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        actor = actor_of(request)
        chosen = {name: request.GET.get(name, "").strip() for name in PARAMETERS}
        state = chosen["state"] or ACTIVE
        problem = _problem(request, state)
        page = KeysetPage([])
        if not problem:
            wanted = _filtered(incidents_shown(tenant_id=actor.tenant_id), state, chosen)
            page = keyset_page(with_newest_error(wanted).order_by(*NEWEST_FAILURE_FIRST), at=chosen[POSITION_VAR])
        kept = {**chosen, "state": state, POSITION_VAR: ""}
        names = Definition.objects.filter(tenant_id=actor.tenant_id).order_by("name").values_list("key", "name")
        context = self.page_context(
            request,
            "Incidents",
            chips=_chips(incident_counts(tenant_id=actor.tenant_id), kept),
            page=page,
            rows=incident_rows(list(page.rows)),
            problem=problem,
            state=state,
            q=chosen["q"],
            definition=chosen["definition"],
            definitions=list(names[:MOST_COUNTED]),
            may_act=actor.has_role(Role.OPERATOR),
        )
        return TemplateResponse(request, "portal/incident_list.html", context, status=400 if problem else 200)


def _problem(request: HttpRequest, state: str) -> str:
    """Return the reason why the list cannot be shown, or an empty text."""
    for name in request.GET:
        if name not in PARAMETERS:
            return f"The list shows no rows. {unknown_name(name, PARAMETERS, kind='filter')}"
    if any("\x00" in str(value) for value in request.GET.values()):
        return "The list shows no rows, because a filter contains a NUL character. Remove the character."
    if state not in STATES:
        return f"The list shows no rows. {unknown_name(state, STATES, kind='state')}"
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
    return incidents


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
                "query": _query(kept, state=value),
                "is_chosen": kept["state"] == value,
            }
        )
    return chips


def _query(kept: dict[str, str], **changes: str) -> str:
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in {**kept, **changes}.items() if value})
    return query.urlencode()

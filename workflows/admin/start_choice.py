"""Page on which a person chooses the definition of a new run.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import TenantAdmin, actor_of, role_problem
from workflows.errors import unknown_name
from workflows.models import Definition
from workflows.selectors.definition_page import starts_of_definitions
from workflows.statuses import DefinitionState, Role

SHOWN = 100
SHOWN_OTHERS = 10
MOST_CHARACTERS = 200
TO_DO = {
    DefinitionState.PAUSED: "An author must resume it.",
    DefinitionState.DRAFT: "An author must publish it.",
}


class StartChoiceViews(TenantAdmin):
    """View of `DefinitionAdmin` that lists the definitions of which a person can start a run now."""

    def start_choice_urls(self) -> list[URLPattern]:
        return [path("start/", self.admin_site.admin_view(self.start_choice_view), name="workflows_definition_choose")]

    @method_decorator(require_safe)
    def start_choice_view(self, request: HttpRequest) -> HttpResponse:
        """Show the definitions that start runs now, and those that do not with what an author must do."""
        actor = actor_of(request)
        search, problem = request.GET.get("q", "").strip(), _problem(request)
        why_not = role_problem(actor, Role.OPERATOR, to="start a run")
        found = Definition.objects.filter(tenant_id=actor.tenant_id, archived_at__isnull=True)
        if search and not problem:
            found = found.filter(Q(key__icontains=search) | Q(name__icontains=search))
        context = self.page_context(
            request,
            "Start a run: choose a definition",
            crumbs=[("Runs", reverse("admin:workflows_run_changelist")), ("Start a run", "")],
            search=search,
            problem=problem,
            why_not=why_not,
            may_write=actor.has_role(Role.AUTHOR),
            **({} if why_not or problem else _choices(found)),
        )
        return TemplateResponse(request, "portal/start_choice.html", context, status=400 if problem else 200)


def _choices(found: QuerySet[Definition]) -> dict[str, Any]:
    """Return the definitions that start runs, and the first of the others. Cost: three statements."""
    can_start = Q(is_paused=False, published_version__isnull=False)
    ordered = found.select_related("published_version").defer("draft_text").order_by("key")
    rows = list(ordered.filter(can_start)[: SHOWN + 1])
    starts = starts_of_definitions(rows, tenant_id=rows[0].tenant_id) if rows else {}
    others = list(ordered.exclude(can_start)[:SHOWN_OTHERS])
    return {
        "rows": [{"definition": row, "starts": starts[row.id]} for row in rows[:SHOWN]],
        "has_more": len(rows) > SHOWN,
        "others": [{"definition": row, "to_do": TO_DO[row.state]} for row in others],
    }


def _problem(request: HttpRequest) -> str:
    """Return the reason why the search cannot be carried out, or an empty text."""
    for name in request.GET:
        if name != "q":
            return unknown_name(name, ["q"], kind="filter")
    search = request.GET.get("q", "")
    if len(search) > MOST_CHARACTERS or "\x00" in search:
        return f"Search for at most {MOST_CHARACTERS} characters, without the character NUL."
    return ""

"""Base of all admin screens. They show only rows of the member's tenant. The tenant role decides about permissions."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.utils.functional import SimpleLazyObject
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from workflows.actors import Actor
from workflows.admin.forms import KeyedActionForm
from workflows.admin.list_filters import CheckedChangeList, filter_names, show_problems
from workflows.errors import PortalError
from workflows.redaction import rules_in
from workflows.statuses import Role

# Template of a list without filters and commands. Other lists have a template of their own.
ROW_LIST = "portal/row_list.html"


def actor_of(request: HttpRequest) -> Actor:
    """Return the actor of the request. Errors: PermissionDenied if the user is not a member of any tenant."""
    actor = getattr(request, "actor", None)
    if actor is None:
        raise PermissionDenied("You are not a member of any tenant. Ask an administrator to add you.")
    return actor


def error_text(error: PortalError) -> str:
    """Return one text for a person. It has the code, the message, Temporal's error and the hint of a refusal."""
    cause = error.details.get("error", "")
    parts = (error.message, cause and f"Error of Temporal: {cause}", error.details.get("hint", ""))
    sentences = (part if part.endswith((".", "?", "!")) else f"{part}." for part in map(str, parts) if part)
    return f"{error.code}: {' '.join(sentences)}"


def role_problem(actor: Actor, needs: Role, *, to: str) -> str:
    """Return the reason why the role of the actor is too low, or an empty text. `to` names the action: `start a run`.

    A page shows the reason instead of its form.
    """
    return "" if actor.has_role(needs) else f"You need the role {needs} to {to}. Your role is {actor.role}."


class ListAdmin(ModelAdmin):
    """Base class of screens with a list of rows.

    `list_about` is the text beside the title of a list with the template ROW_LIST. `list_empty` says what an empty list
    is for and what to do.
    """

    list_about = ""
    list_empty = "The list has no rows yet."
    actions = None
    action_form = KeyedActionForm
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_fullwidth = True
    compressed_fields = True

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[CheckedChangeList]:
        return CheckedChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list. If a filter cannot be read, show the error with status 400, no rows, and no actions.

        If the role may not use an action, refuse the POST for it. Django would show the list without an error.
        """
        if request.method == "POST":
            if not self.actions:
                return HttpResponseNotAllowed(["GET", "HEAD"])
            chosen = request.POST.get("action", "")
            if chosen and chosen not in self.get_actions(request):
                raise PermissionDenied(f"Your role may not use the action {chosen}.")
            if self.get_changelist_instance(request).problems:
                request.POST = QueryDict()  # without an action, the list is shown
        response = super().changelist_view(request, extra_context)
        shown = (getattr(response, "context_data", None) or {}).get("cl")
        if shown is not None and shown.problems:
            show_problems(request, shown.problems)
            response.status_code = 400
        return response

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the filters of the list.

        With other filters, a viewer could guess hidden fields, character by character.
        """
        return lookup in filter_names(self.get_list_filter(request))


class TenantAdmin(ListAdmin):
    """Base class for rows that services write. The admin shows them and sends commands to the services."""

    change_form_template = "portal/row_page.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(tenant_id=actor_of(request).tenant_id)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return getattr(request, "actor", None) is not None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return getattr(request, "actor", None) is not None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def page_context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        """Return the template context of a custom page. `redaction` is read only if a tag shows a payload."""
        actor = actor_of(request)
        return {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": title,
            "actor": actor,
            "redaction": SimpleLazyObject(lambda: rules_in(request.tenant)),  # type: ignore[attr-defined]
            **more,
        }

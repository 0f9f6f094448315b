"""What all admin screens of this portal share: rows of the member's tenant, and rights that come from the role."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.functional import SimpleLazyObject
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from workflows.actors import Actor
from workflows.redaction import rules_of


def actor_of(request: HttpRequest) -> Actor:
    """Errors: PermissionDenied for a user who is in no tenant."""
    actor = getattr(request, "actor", None)
    if actor is None:
        raise PermissionDenied("you are not a member of any tenant; an administrator can add you")
    return actor


class TenantAdmin(ModelAdmin):
    """Rows that another part of the portal writes: to be read here, and acted on through services only."""

    actions = None
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_fullwidth = True
    compressed_fields = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(tenant_id=actor_of(request).tenant_id)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A POST asks for an action on rows; whoever may not is told, and does not get the list as if nothing was asked."""
        if request.method == "POST":
            if not self.actions:
                return HttpResponseNotAllowed(["GET", "HEAD"])
            chosen = request.POST.get("action", "")
            if chosen and chosen not in self.get_actions(request):
                raise PermissionDenied(f"your role may not ask for {chosen}")
        return super().changelist_view(request, extra_context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list offers as a filter: else a viewer could ask hidden fields, character by character."""
        for entry in self.get_list_filter(request):
            if isinstance(entry, type):
                if lookup == getattr(entry, "parameter_name", None):
                    return True
                continue
            name = entry[0] if isinstance(entry, tuple) else entry
            if lookup == name or lookup.startswith((f"{name}__", f"{name}_from", f"{name}_to")):
                return True
        return False

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
        """The context of a page of our own within this model's part of the site. `redaction` is for the tags that show
        payloads, and is read when one does."""
        actor = actor_of(request)
        return {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": title,
            "actor": actor,
            "redaction": SimpleLazyObject(lambda: rules_of(actor.tenant_id)),
            **more,
        }

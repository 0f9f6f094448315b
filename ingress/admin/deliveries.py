"""The dead-letter inbox and the list of all deliveries. The commands are in `dead_letters.py`."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from unfold.contrib.filters.admin import DropdownFilter

from ingress.admin.dead_letter_list import ALL, HELD, deliveries_of, list_context
from ingress.admin.dead_letters import DeadLetterViews, event_page_of
from workflows.admin.base import actor_of
from workflows.admin.list_filters import DateTimeRangeFilter, TextFilter
from workflows.admin.live import live_page
from workflows.models import Definition, EventDelivery
from workflows.selectors.delivery_targets import waiting_step
from workflows.selectors.versions import dead_letters_version
from workflows.status_marks import DELIVERY
from workflows.statuses import DeliveryStatus


class InboxFilter(DropdownFilter):
    """Filter that selects dead deliveries by default."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((value, DELIVERY[value].word) for value in DeliveryStatus.values), (HELD, "On hold"), (ALL, "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> QuerySet[EventDelivery]:
        return deliveries_of(queryset, self.value() or DeliveryStatus.DEAD)


class DefinitionFilter(TextFilter):
    title = "definition"
    parameter_name = "definition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        keys = Definition.objects.filter(tenant_id=actor_of(request).tenant_id).order_by("key")
        return [(key, key) for key in keys.values_list("key", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> QuerySet[EventDelivery]:
        return queryset.filter(definition__key=self.value()) if self.value() else queryset


@admin.register(EventDelivery)
class DeliveryAdmin(DeadLetterViews):
    list_display = ("id",)  # the template of the list has its own columns
    list_filter = (InboxFilter, DefinitionFilter, ("created_at", DateTimeRangeFilter))
    list_select_related = ("event__tenant", "run__definition", "wait", "definition")
    search_fields = ("event__event_id",)
    search_help_text = "Event id or correlation key"
    ordering = ("-created_at",)
    actions = ("redeliver_many", "discard_many")  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventDelivery]:
        rows = super().get_queryset(request).select_related(*self.list_select_related)
        unread = ("run__input", "run__output", "run__definition__draft_text", "definition__draft_text")
        return rows.defer(*unread).annotate(step_name=waiting_step())

    def get_urls(self) -> list[URLPattern]:
        return [*self.one_urls(), *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[EventDelivery], term: str
    ) -> tuple[QuerySet[EventDelivery], bool]:
        term = term.strip()
        if not term:
            return queryset, False
        of_event = Q(event__tenant_id=actor_of(request).tenant_id, event__event_id=term)
        return queryset.filter(of_event | Q(correlation_key=term)), False

    @live_page(dead_letters_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": "Dead letters", **(extra_context or {})})
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            context |= list_context(context["cl"], request, actor_of(request))
        return response

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page of the delivery's event, because that page shows the delivery."""
        delivery = self.get_object(request, object_id)
        if delivery is None:
            raise Http404(f"There is no delivery {object_id}.")
        return HttpResponseRedirect(event_page_of(delivery))

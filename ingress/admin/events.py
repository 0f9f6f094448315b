"""Event screens: the list with correlation keys, the page with the decision trace, and the form that sends an event."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from ingress.admin.event_batch import EventBatchViews
from ingress.admin.event_list import list_context
from ingress.admin.event_page import EventPageViews
from ingress.admin.send_event import SendEventViews
from ingress.admin.what_if import WhatIfViews
from ingress.search import events_by_term
from workflows.admin.base import actor_of
from workflows.admin.list_filters import DateTimeRangeFilter, TextFilter
from workflows.admin.live import live_page
from workflows.admin.problem_filters import EventProblemFilter
from workflows.event_outcomes import has_outcome
from workflows.models import Event, EventType
from workflows.redaction import rules_in
from workflows.selectors.versions import events_version
from workflows.statuses import Role


class EventTypeFilter(TextFilter):
    title = "event type"
    parameter_name = "event_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = (
            EventType.objects.filter(tenant_id=actor_of(request).tenant_id)
            .order_by("name")
            .values_list("name", flat=True)
        )
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(event_type=self.value()) if self.value() else queryset


class OutcomeFilter(ChoicesDropdownFilter):
    """Filter by the outcome that the list shows, which is not the stored one after the buffer time."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(has_outcome(self.value())) if self.value() else queryset


@admin.register(Event)
class EventAdmin(EventPageViews, SendEventViews, EventBatchViews, WhatIfViews):
    list_display = ("id",)  # the template of the list has its own columns
    list_filter = (
        ("outcome", OutcomeFilter),
        EventTypeFilter,
        EventProblemFilter,
        ("correlation_status", ChoicesDropdownFilter),
        ("received_at", DateTimeRangeFilter),
    )
    list_select_related = ("tenant",)
    search_fields = ("event_id",)
    search_help_text = "Beginning or end of a key, or an event id"
    ordering = ("-received_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], term: str
    ) -> tuple[QuerySet[Event], bool]:
        if not term.strip():
            return queryset, False
        actor, rules = actor_of(request), rules_in(request.tenant)  # type: ignore[attr-defined]
        return events_by_term(queryset, tenant_id=actor.tenant_id, term=term, rules=rules), False

    @live_page(events_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": "Events", **(extra_context or {})})
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            context |= list_context(context["cl"], request)
            context["may_send"] = actor_of(request).has_role(Role.OPERATOR)
        return response

    def get_urls(self) -> list[URLPattern]:
        return [
            *self.send_urls(),
            *self.batch_urls(),
            *self.what_if_urls(),
            *super().get_urls(),
        ]

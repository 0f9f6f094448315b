"""Event screens: the list with correlation keys, the page with the decision trace, and the form that sends an event."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from ingress.admin.event_batch import EventBatchViews
from ingress.admin.event_page import EventPageViews
from ingress.admin.send_event import SendEventViews
from ingress.admin.what_if import WhatIfViews
from ingress.search import events_by_term
from ingress.templatetags.event_pages import countdown, short_id
from workflows import status_colours
from workflows.admin.base import actor_of
from workflows.admin.list_filters import DateTimeRangeFilter, TextFilter
from workflows.admin.live import live_page
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventType
from workflows.redaction import rules_in
from workflows.selectors.counts import event_counts
from workflows.selectors.versions import events_version
from workflows.statuses import EventOutcome, Role
from workflows.templatetags.pointsman import moment, nowrap


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


@admin.register(Event)
class EventAdmin(EventPageViews, SendEventViews, EventBatchViews, WhatIfViews):
    list_display = (
        "outcome_label",
        "event_type",
        "key_label",
        "id_label",
        "received_label",
        "reason_label",
        "source_label",
    )
    list_display_links = ("outcome_label", "event_type")
    list_filter = (
        ("outcome", ChoicesDropdownFilter),
        EventTypeFilter,
        ("correlation_status", ChoicesDropdownFilter),
        ("received_at", DateTimeRangeFilter),
    )
    list_filter_submit = True
    list_before_template = "portal/_event_chips.html"
    list_select_related = ("tenant",)
    search_fields = ("event_id",)
    search_help_text = "Beginning of a key, or an event id"
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
        counts = event_counts(tenant_id=actor_of(request).tenant_id)
        chosen = request.GET.get("outcome__exact", "")
        chips = [
            {
                "label": outcome.label,
                "value": outcome.value,
                "count": counts.get(outcome.value, 0),
                "type": status_colours.EVENT[outcome],
                "is_chosen": chosen == outcome.value,
            }
            for outcome in EventOutcome
        ]
        may_send = actor_of(request).has_role(Role.OPERATOR)
        extra = {"chips": chips, "is_all": not chosen, "may_send": may_send, "title": "Events"}
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        return [
            *self.send_urls(),
            *self.batch_urls(),
            *self.what_if_urls(),
            *super().get_urls(),
        ]

    @display(description="Outcome", ordering="outcome", label=status_colours.EVENT)
    def outcome_label(self, event: Event) -> tuple[str, str]:
        return event.outcome, event.get_outcome_display()

    @display(description="Correlation key", ordering="correlation_key")
    def key_label(self, event: Event) -> str:
        if not event.correlation_keys:
            return "none"
        keys = EventRedaction(event, rules_in(event.tenant)).keys(event.correlation_keys)
        return nowrap(", ".join(keys) + (" (sent)" if event.correlation_status == "explicit" else ""))

    @display(description="Event id", ordering="event_id")
    def id_label(self, event: Event) -> str:
        return short_id(event.event_id)

    @display(description="Received", ordering="received_at")
    def received_label(self, event: Event) -> str:
        return moment(event.received_at)

    @display(description="Source", ordering="source")
    def source_label(self, event: Event) -> str:
        return nowrap(event.get_source_display())

    @display(description="Reason", ordering="outcome_reason")
    def reason_label(self, event: Event) -> str:
        left = countdown(event.buffered_until) if event.outcome == EventOutcome.BUFFERED else ""
        why = EventRedaction(event, rules_in(event.tenant)).reason(event.outcome_reason)
        return format_html('<span class="pm-sentence">{} <small>{}</small></span>', why, left)

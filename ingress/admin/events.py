"""Event screens: the list with correlation keys, the page with the decision trace, and the form that sends an event."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from ingress.admin.event_page import EventPageViews
from ingress.admin.what_if import WhatIfViews
from ingress.intake.receive import event_receive
from ingress.templatetags.event_pages import countdown, short_id
from workflows import status_colours
from workflows.actors import Actor
from workflows.admin.base import actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import SendEventForm
from workflows.admin.list_filters import DateTimeRangeFilter, TextFilter
from workflows.errors import PortalError
from workflows.event_redaction import EventRedaction
from workflows.ledger import command_failures_recorded, command_finish
from workflows.models import Event, EventType
from workflows.redaction import rules_in
from workflows.selectors.counts import event_counts
from workflows.services.idempotency import command_request
from workflows.statuses import CommandAction, CommandState, EventOutcome, EventSource, Role
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
class EventAdmin(EventPageViews, WhatIfViews):
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
    search_help_text = "Event id or correlation key"
    ordering = ("-received_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], term: str
    ) -> tuple[QuerySet[Event], bool]:
        term = term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(event_id=term) | Q(correlation_key=term)), False

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
            path("send/", self.admin_site.admin_view(self.send_view), name="workflows_event_send"),
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

    def send_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        form = SendEventForm(request.POST or None, initial={"event_type": request.GET.get("event_type", "")})
        if request.method == "POST" and form.is_valid():
            try:
                event_id = once(lambda: _send(actor, form.cleaned_data, key_of(request)))
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.success(request, "The event is stored. This page shows its outcome.")
                return HttpResponseRedirect(reverse("admin:workflows_event_change", args=[event_id]))
        names = EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name")
        context = self.page_context(
            request,
            "Send an event",
            form=form,
            back=reverse("admin:workflows_event_changelist"),
            button="Send the event",
            event_types=names,
            note="The event is stored and routed like an event from an application. It can start runs and resume"
            " waiting runs.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)


def _send(actor: Actor, fields: dict[str, Any], key: str) -> str:
    """Send an event through the same intake as the entry points. Record the command in the ledger.

    Return the id of the event's row.
    """
    asked = command_request(
        actor=actor,
        action=CommandAction.SEND_EVENT,
        target_type="event",
        target_id=fields["event_type"],
        payload={name: value for name, value in fields.items() if name != "payload"},
        idempotency_key=key,
        also_hashed=fields["payload"],
    )
    command = asked.command
    if not asked.is_new:
        return str((command.details or {})["id"])
    # This is not a transaction. A rejected event must stay stored, although the request fails.
    with command_failures_recorded([command]):
        actor.require(Role.OPERATOR, to="send events")
        value = {name: value for name, value in fields.items() if value != ""}
        receipt = event_receive(tenant_id=actor.tenant_id, value=value, source=EventSource.ADMIN, sender=actor)
    details = {"eventId": receipt.event.event_id, "id": str(receipt.event.id)}
    command_finish(command, CommandState.OBSERVED, details=details)
    return str(receipt.event.id)

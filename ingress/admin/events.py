"""Events: list with the resolved key, page with the decision trace, and sending one by hand."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter
from unfold.decorators import display

from ingress.correlation_config import parse_paths
from ingress.services import Receipt, event_receive
from workflows import labels
from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import SendEventForm
from workflows.errors import PortalError
from workflows.ledger import command_recorded
from workflows.models import Event, EventType
from workflows.selectors import event_counts
from workflows.statuses import CommandAction, EventOutcome, EventSource, Role
from workflows.templatetags.pointsman import moment, nowrap


class EventTypeFilter(DropdownFilter):
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
class EventAdmin(TenantAdmin):
    list_display = (
        "outcome_label",
        "event_type",
        "key_label",
        "id_label",
        "received_label",
        "outcome_reason",
        "source",
    )
    list_display_links = ("outcome_label", "event_type")
    list_filter = (
        ("outcome", ChoicesDropdownFilter),
        EventTypeFilter,
        ("correlation_status", ChoicesDropdownFilter),
        ("received_at", RangeDateTimeFilter),
    )
    list_filter_submit = True
    list_before_template = "portal/_event_chips.html"
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
            {"label": outcome.label, "value": outcome.value, "count": counts.get(outcome.value, 0),
             "type": labels.EVENT[outcome], "is_chosen": chosen == outcome.value}
            for outcome in EventOutcome
        ]  # fmt: skip
        may_send = actor_of(request).has_role(Role.OPERATOR)
        extra = {"chips": chips, "is_all": not chosen, "may_send": may_send, "title": "Events"}
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        return [
            path("send/", self.admin_site.admin_view(self.send_view), name="workflows_event_send"),
            *super().get_urls(),
        ]

    @display(description="Outcome", ordering="outcome", label=labels.EVENT)
    def outcome_label(self, event: Event) -> tuple[str, str]:
        return event.outcome, event.get_outcome_display()

    @display(description="Correlation key", ordering="correlation_key")
    def key_label(self, event: Event) -> str:
        if not event.correlation_keys:
            return "– none –"
        return nowrap(", ".join(event.correlation_keys) + (" (sent)" if event.correlation_status == "explicit" else ""))

    @display(description="Event id", ordering="event_id")
    def id_label(self, event: Event) -> str:
        return nowrap(event.event_id if len(event.event_id) < 44 else f"{event.event_id[:42]}…")

    @display(description="Received", ordering="received_at")
    def received_label(self, event: Event) -> str:
        return moment(event.received_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        event = self.get_object(request, object_id)
        if event is None:
            raise Http404("there is no such event")
        context = self.page_context(
            request,
            f"{event.event_type} · {event.correlation_key or 'no key'}",
            event=event,
            deliveries=event.deliveries.select_related("run", "wait", "definition").order_by("created_at"),
            started_runs=event.started_runs.order_by("created_at"),
            resolved_waits=event.resolved_waits.select_related("run"),
        )
        return TemplateResponse(request, "portal/event_page.html", context)

    def send_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        form = SendEventForm(request.POST or None, initial={"event_type": request.GET.get("event_type", "")})
        if request.method == "POST" and form.is_valid():
            try:
                receipt = _send(actor, form.cleaned_data)
            except PortalError as error:
                form.add_error(None, f"{error.code}: {error.message}")
            else:
                messages.success(request, "The event is stored; below is what became of it.")
                return HttpResponseRedirect(reverse("admin:workflows_event_change", args=[receipt.event.id]))
        names = EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name")
        context = self.page_context(
            request, "Send an event", form=form, back=reverse("admin:workflows_event_changelist"), button="Send the event",
            event_types=names, note="The event is stored and routed as if a program had sent it: it may start runs and resume waiting ones.",
        )  # fmt: skip
        return TemplateResponse(request, "portal/form_page.html", context)


def _send(actor: Actor, fields: dict[str, Any]) -> Receipt:
    """Through the same service as every door, with a row in the command ledger, because somebody clicked."""
    asked = {name: value for name, value in fields.items() if name != "payload"}
    with command_recorded(
        actor=actor, action=CommandAction.SEND_EVENT, target_type="event", target_id=fields["event_type"], payload=asked
    ) as command:
        actor.require(Role.OPERATOR, to="send events")
        value = {name: value for name, value in fields.items() if value != ""}
        receipt = event_receive(tenant_id=actor.tenant_id, value=value, source=EventSource.ADMIN, sender=actor.name)
        command.details = {"eventId": receipt.event.event_id, "id": str(receipt.event.id)}
    return receipt


class EventTypeForm(forms.ModelForm):
    class Meta:
        model = EventType
        fields = ("name", "description", "correlation_paths", "buffer_seconds", "is_active")

    tenant_id: Any = None

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        others = EventType.objects.filter(tenant_id=self.tenant_id, name=name).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError("This event type is in the catalogue already.")
        return name

    def clean_correlation_paths(self) -> Any:
        paths = self.cleaned_data["correlation_paths"]
        if paths in (None, "", []):
            return None
        try:
            return list(parse_paths(paths, of=self.cleaned_data.get("name", "")))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


@admin.register(EventType)
class EventTypeAdmin(TenantAdmin):
    """The event catalogue: where the key stands, and how long an event may come before its wait."""

    form = EventTypeForm
    list_display = ("name", "paths_label", "buffer_seconds", "is_active", "updated_at")
    search_fields = ("name",)
    ordering = ("name",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Event catalogue", **(extra_context or {})})

    @display(description="Correlation paths")
    def paths_label(self, event_type: EventType) -> str:
        return ", ".join(event_type.correlation_paths or []) or "– from the environment –"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).has_role(Role.AUTHOR)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return actor_of(request).has_role(Role.AUTHOR)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        form.tenant_id = actor_of(request).tenant_id
        return form

    def save_model(self, request: HttpRequest, obj: EventType, form: Any, change: bool) -> None:
        actor = actor_of(request)
        obj.tenant_id = actor.tenant_id
        asked = {
            "correlation_paths": obj.correlation_paths,
            "buffer_seconds": obj.buffer_seconds,
            "is_active": obj.is_active,
        }
        with command_recorded(
            actor=actor,
            action=CommandAction.EDIT_EVENT_TYPE,
            target_type="event type",
            target_id=obj.name,
            payload=asked,
        ):
            super().save_model(request, obj, form, change)

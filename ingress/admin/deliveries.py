"""The dead-letter inbox and the list of all deliveries. The commands are in `dead_letters.py`."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.views.decorators.http import require_safe
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from ingress.admin.dead_letters import DeadLetterViews, event_page_of
from ingress.dead_letters.selectors import dead_letter_count, outbox_refused
from ingress.templatetags.event_pages import short_id
from workflows import status_colours, status_marks
from workflows.admin.base import actor_of
from workflows.admin.list_filters import CheckedChangeList, DateTimeRangeFilter, TextFilter
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, EventDelivery
from workflows.redaction import rules_in
from workflows.selectors.attention import held_deliveries
from workflows.statuses import DeliveryStatus
from workflows.templatetags.pointsman import ago, nowrap

ALL, HELD = "all", "held"
SHOWN_REFUSED = 20
MOST_LISTED = 10_000


class InboxPaginator(Paginator):
    """Paginator that counts at most `MOST_LISTED` rows, so that a user can select all rows of the inbox."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_LISTED].count())


class InboxList(CheckedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.opts = self.model_admin.opts
        # This hides the link "show all". The list without a filter shows only dead deliveries, so the link would be
        # wrong.
        self.full_result_count = self.result_count


class InboxFilter(DropdownFilter):
    """Filter that selects dead deliveries by default."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*DeliveryStatus.choices, (HELD, "On hold"), (ALL, "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> QuerySet[EventDelivery]:
        chosen = self.value() or DeliveryStatus.DEAD
        if chosen == HELD:
            return held_deliveries(queryset).order_by()
        return queryset if chosen == ALL else queryset.filter(status=chosen)


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
    list_display = ("status_label", "since_label", "event_label", "target_label", "key_label", "attempts")
    list_display_links = None
    paginator = InboxPaginator
    list_filter = (InboxFilter, DefinitionFilter, ("created_at", DateTimeRangeFilter))
    list_filter_submit = True
    list_before_template = "portal/_delivery_chips.html"
    list_after_template = "portal/_outbox_refused.html"
    list_select_related = ("event__tenant", "run", "wait", "definition")
    search_fields = ("event__event_id",)
    search_help_text = "Event id or correlation key"
    ordering = ("-created_at",)
    actions = ("redeliver_many", "discard_many")  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventDelivery]:
        return (
            super().get_queryset(request).select_related(*self.list_select_related).defer("run__input", "run__output")
        )

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Show the column with the reason only to roles that may view payloads. A reason can contain payload values."""
        return (*self.list_display, "reason_label") if actor_of(request).sees_payloads else self.list_display

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[CheckedChangeList]:
        return InboxList

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

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        tenant_id = actor_of(request).tenant_id
        chosen = request.GET.get("status", DeliveryStatus.DEAD)
        refused = outbox_refused(tenant_id=tenant_id)
        extra = {
            "title": "Dead letters",
            "dead": dead_letter_count(tenant_id=tenant_id),
            "chips": [
                {
                    "mark": status_marks.DELIVERY[status.value],
                    "value": status.value,
                    "is_chosen": chosen == status.value,
                }
                for status in DeliveryStatus
                if status != DeliveryStatus.DEAD
            ],
            "is_dead_chosen": chosen == DeliveryStatus.DEAD,
            "is_all_chosen": chosen == ALL,
            "refused": refused[:SHOWN_REFUSED],
            "refused_count": refused.count(),
            "actor": actor_of(request),
        }
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page of the delivery's event, because that page shows the delivery."""
        delivery = self.get_object(request, object_id)
        if delivery is None:
            raise Http404(f"There is no delivery {object_id}.")
        return HttpResponseRedirect(event_page_of(delivery))

    # -- Columns -----------------------------------------------------------------------------------------------------

    @display(description="Status", ordering="status", label=status_colours.DELIVERY)
    def status_label(self, delivery: EventDelivery) -> tuple[str, str]:
        return delivery.status, delivery.get_status_display()

    @display(description="Since", ordering="created_at")
    def since_label(self, delivery: EventDelivery) -> str:
        return nowrap(ago(delivery.decided_at or delivery.created_at))

    @display(description="Event", ordering="event__event_type")
    def event_label(self, delivery: EventDelivery) -> str:
        event = delivery.event
        return format_html(
            '<a class="pm-link" href="{}">{}</a><br><small>{}</small>',
            event_page_of(delivery),
            event.event_type,
            short_id(event.event_id),
        )

    @display(description="Target")
    def target_label(self, delivery: EventDelivery) -> str:
        if delivery.wait is not None and delivery.run is not None:
            return f"{delivery.run.definition_key} · {delivery.wait.step_id}"
        return f"start of {delivery.definition.key}" if delivery.definition else ""

    @display(description="Key", ordering="correlation_key")
    def key_label(self, delivery: EventDelivery) -> str:
        return _redaction(delivery).key(delivery.correlation_key) or "none"

    @display(description="Reason", ordering="reason")
    def reason_label(self, delivery: EventDelivery) -> str:
        return _redaction(delivery).delivery_reason(delivery)


def _redaction(delivery: EventDelivery) -> EventRedaction:
    return EventRedaction(delivery.event, rules_in(delivery.event.tenant))

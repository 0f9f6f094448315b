"""The run list.

Actions on many runs are in `run_bulk.py`, the page of one run is in `run_page.py`, and its commands are in
`run_commands.py`.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from workflows import status_colours
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.list_filters import DateTimeRangeFilter, TextFilter
from workflows.admin.run_bulk import RunBulkActions
from workflows.admin.run_commands import RunCommandViews
from workflows.admin.run_page import RunPageViews
from workflows.admin.run_verify import RunVerifyViews
from workflows.models import Definition, Run
from workflows.selectors.counts import run_counts
from workflows.selectors.run_search import runs_by_term
from workflows.selectors.runs import runs_with_open_cancel
from workflows.statuses import RunStatus
from workflows.templatetags.pointsman import duration_between, moment, nowrap


class DefinitionFilter(TextFilter):
    title = "definition"
    parameter_name = "definition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        keys = (
            Definition.objects.filter(tenant_id=actor_of(request).tenant_id)
            .order_by("key")
            .values_list("key", flat=True)
        )
        return [(key, key) for key in keys]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return queryset.filter(definition_key=self.value()) if self.value() else queryset


@admin.register(Run)
class RunAdmin(RunPageViews, RunCommandViews, RunVerifyViews, RunBulkActions, TenantAdmin):
    list_display = (
        "status_label",
        "definition_label",
        "key_label",
        "state",
        "trigger_label",
        "created_label",
        "took",
        "error_label",
    )
    list_display_links = ("status_label", "definition_label")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        DefinitionFilter,
        ("trigger_type", ChoicesDropdownFilter),
        ("created_at", DateTimeRangeFilter),
    )
    list_filter_submit = True
    list_filter_sheet = False
    list_before_template = "portal/_run_chips.html"
    search_fields = ("id",)
    search_help_text = "Beginning of a key; or a run id, event id, workflow id or definition key"
    ordering = ("-created_at",)
    actions = ("cancel_runs", "replay_runs", "terminate_runs")  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return runs_with_open_cancel(super().get_queryset(request)).defer("input", "output")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], term: str
    ) -> tuple[QuerySet[Run], bool]:
        if not term.strip():
            return queryset, False
        return runs_by_term(queryset, tenant_id=actor_of(request).tenant_id, term=term), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        counts = run_counts(tenant_id=actor_of(request).tenant_id)
        chosen = request.GET.get("status__exact", "")
        chips = [
            {
                "label": status.label,
                "value": status.value,
                "count": counts.get(status.value, 0),
                "type": status_colours.RUN[status],
                "is_chosen": chosen == status.value,
            }
            for status in RunStatus
        ]
        extra = {"chips": chips, "total": sum(counts.values()), "is_all": not chosen, "title": "Runs"}
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        return self.command_urls() + self.verify_urls() + super().get_urls()

    # -- Columns -----------------------------------------------------------------------------------------------------

    @display(description="Status", ordering="status", label=status_colours.RUN)
    def status_label(self, run: Run) -> tuple[str, str]:
        return run.status, "cancel requested" if getattr(run, "has_open_cancel", False) else run.get_status_display()

    @display(description="Definition", ordering="definition_key")
    def definition_label(self, run: Run) -> str:
        return nowrap(f"{run.definition_key}@{run.version}")

    @display(description="Trigger", ordering="trigger_type")
    def trigger_label(self, run: Run) -> str:
        return str(run.trigger_metadata.get("eventName") or run.get_trigger_type_display())

    @display(description="Correlation key", ordering="correlation_key")
    def key_label(self, run: Run) -> str:
        return nowrap(run.correlation_key)

    @display(description="Created", ordering="created_at")
    def created_label(self, run: Run) -> str:
        return moment(run.created_at)

    @display(description="Took")
    def took(self, run: Run) -> str:
        return nowrap(duration_between(run.started_at, run.ended_at))

    @display(description="Error", ordering="error_category")
    def error_label(self, run: Run) -> str:
        if not run.error:
            return ""
        return format_html(
            '<span title="{}">{}</span>', run.error["message"], f"{run.error_category}: {run.error['message'][:60]}"
        )

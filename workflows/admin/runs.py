"""The run list.

The filters are in `run_filters.py`, and the list with its columns and orders is in `run_changelist.py`. Actions on many
runs are in `run_bulk.py`, the page of one run is in `run_page.py`, and its commands are in `run_commands.py`.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from workflows.admin.base import actor_of
from workflows.admin.list_filters import CheckedChangeList
from workflows.admin.live import live_page
from workflows.admin.run_bulk import RunBulkActions
from workflows.admin.run_changelist import RunChangeList, list_context
from workflows.admin.run_commands import RunCommandViews
from workflows.admin.run_export import RunExportViews
from workflows.admin.run_hold import RunHoldViews
from workflows.admin.run_page import RunPageViews
from workflows.admin.run_verify import RunVerifyViews
from workflows.admin.run_views import RunViewViews, views_context
from workflows.models import Run
from workflows.selectors.run_rows import with_step_names
from workflows.selectors.runs import runs_with_open_cancel
from workflows.selectors.versions import runs_version
from workflows.statuses import Role


@admin.register(Run)
class RunAdmin(
    RunPageViews, RunCommandViews, RunVerifyViews, RunHoldViews, RunExportViews, RunViewViews, RunBulkActions
):
    list_display = ("id",)  # the template of the list has its own columns
    search_fields = ("id",)
    ordering = ("-created_at",)  # of the suggestions that a field of another page asks for
    actions = ("replay_runs", "cancel_runs", "terminate_runs")  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        runs = runs_with_open_cancel(super().get_queryset(request)).defer("input", "output")
        return with_step_names(runs)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[CheckedChangeList]:
        return RunChangeList

    @live_page(runs_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": "Runs", **(extra_context or {})})
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            actor = actor_of(request)
            context |= list_context(context["cl"], request) | views_context(actor, request)
            context["may_start"] = actor.has_role(Role.OPERATOR)
        return response

    def get_urls(self) -> list[URLPattern]:
        own = self.command_urls() + self.verify_urls() + self.hold_urls() + self.export_urls() + self.view_urls()
        return own + super().get_urls()

"""List of bulk jobs, and the page of one job. The page shows the preview first and the outcome of each run later."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from workflows import status_colours
from workflows.admin.bulk_steps import BulkStepViews
from workflows.admin.live import live_page
from workflows.models import BulkJob
from workflows.selectors.versions import bulk_job_version
from workflows.templatetags.pointsman import duration_between, moment, nowrap


@admin.register(BulkJob)
class BulkJobAdmin(BulkStepViews):
    list_display = ("state_label", "action_label", "items_label", "reason", "requester", "created_label", "took")
    list_display_links = ("state_label", "action_label")
    list_filter = (("state", ChoicesDropdownFilter),)
    list_filter_submit = True
    ordering = ("-created_at",)
    list_select_related = ("command",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Bulk jobs", **(extra_context or {})})

    @display(description="State", ordering="state", label=status_colours.BULK)
    def state_label(self, job: BulkJob) -> tuple[str, str]:
        return job.state, job.get_state_display()

    @display(description="Action")
    def action_label(self, job: BulkJob) -> str:
        return nowrap(f"{job.action} {job.total} run{'' if job.total == 1 else 's'}")

    @display(description="Requests")
    def items_label(self, job: BulkJob) -> str:
        """Return the number of items per state for a job that has ended.

        The page of an open job shows the numbers itself.
        """
        counts = (job.command.details or {}).get("counts", {}) if job.command and job.ended_at else {}
        return ", ".join(f"{number} {state}" for state, number in counts.items() if number)

    @display(description="Requested by", ordering="actor_name")
    def requester(self, job: BulkJob) -> str:
        return job.actor_name

    @display(description="Created", ordering="created_at")
    def created_label(self, job: BulkJob) -> str:
        return moment(job.created_at)

    @display(description="Took")
    def took(self, job: BulkJob) -> str:
        return nowrap(duration_between(job.started_at, job.ended_at))

    @method_decorator(require_safe)
    @live_page(bulk_job_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404(f"There is no bulk job {object_id}.")
        return self.job_page(request, job)

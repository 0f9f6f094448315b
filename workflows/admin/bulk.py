"""List of bulk jobs, and the page of one job. The page shows the preview first and the outcome of each run later."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import actor_of
from workflows.admin.bulk_page import shown_state
from workflows.admin.bulk_steps import BulkStepViews
from workflows.admin.live import live_page
from workflows.errors import unknown_name
from workflows.models import BulkJob
from workflows.selectors.keyset import keyset_page
from workflows.selectors.versions import bulk_job_version
from workflows.status_marks import BULK
from workflows.statuses import BulkState

PARAMETERS = ("state", "at")


@admin.register(BulkJob)
class BulkJobAdmin(BulkStepViews):
    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        state, problem = request.GET.get("state", ""), _problem(request)
        jobs = BulkJob.objects.filter(tenant_id=actor_of(request).tenant_id).select_related("command", "incident")
        if problem:
            jobs = jobs.none()
        elif state:
            jobs = jobs.filter(state=state)
        page = keyset_page(jobs.defer("preview"), by="created_at", at=request.GET.get("at", ""))
        context = self.page_context(
            request,
            "Bulk jobs",
            state=state,
            chips=[(value, BULK[value]) for value in BulkState.values],
            page=page,
            rows=[{"job": job, "state": shown_state(job), "requests": _requests(job)} for job in page.rows],
            problem=problem,
        )
        return TemplateResponse(request, "portal/bulk_list.html", context, status=400 if problem else 200)

    @method_decorator(require_safe)
    @live_page(bulk_job_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404(f"There is no bulk job {object_id}.")
        return self.job_page(request, job)


def _problem(request: HttpRequest) -> str:
    """Return the reason why the list cannot be shown, or an empty text."""
    for name in request.GET:
        if name not in PARAMETERS:
            return unknown_name(name, PARAMETERS, kind="filter")
    state = request.GET.get("state", "")
    if state and state not in BulkState.values:
        return unknown_name(state, BulkState.values, kind="state")
    return ""


def _requests(job: BulkJob) -> str:
    """Return the number of requests by their state, for a job that has ended. Its page shows the states of the runs."""
    counts = (job.command.details or {}).get("counts", {}) if job.command and job.ended_at else {}
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number)

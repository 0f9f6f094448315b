"""List of bulk jobs, and the page of one job. The page shows the preview first and the outcome of each run later."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import actor_of
from workflows.admin.bulk_page import shown_state
from workflows.admin.bulk_results import result_parts
from workflows.admin.bulk_steps import BulkStepViews
from workflows.admin.live import live_page
from workflows.errors import unknown_name
from workflows.models import BulkJob
from workflows.selectors.keyset import keyset_page
from workflows.selectors.versions import bulk_job_version, bulk_jobs_version
from workflows.services.bulk.results import bulk_outcomes_of
from workflows.services.bulk.selectors import job_title, left_out_of_job, working_times
from workflows.status_marks import BULK
from workflows.statuses import BulkState
from workflows.templatetags.pointsman import duration

PARAMETERS = ("state", "at")
# The list counts the results of the newest jobs until they have this number of runs together.
MOST_COUNTED_ITEMS = 10_000


@admin.register(BulkJob)
class BulkJobAdmin(BulkStepViews):
    @method_decorator(require_safe)
    @live_page(bulk_jobs_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        state, problem = request.GET.get("state", ""), _problem(request)
        jobs = BulkJob.objects.filter(tenant_id=actor_of(request).tenant_id).select_related("incident")
        if problem:
            jobs = jobs.none()
        elif state:
            jobs = jobs.filter(state=state)
        jobs = jobs.defer("preview").annotate(left_out=left_out_of_job()).order_by("-created_at", "-id")
        page = keyset_page(jobs, at=request.GET.get("at", ""))
        context = self.page_context(
            request,
            "Bulk jobs",
            state=state,
            chips=[(value, BULK[value]) for value in BulkState.values],
            page=page,
            rows=_rows(page.rows),
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


def _rows(jobs: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the jobs of `left_out_of_job` with their results and the times in which they worked.

    The result of a job is None if it has not started, or if the jobs before it have too many runs to count.
    Cost: one statement, and one each action.
    """
    counted, total = [], 0
    for job in jobs:
        total += job.total
        if job.started_at is not None and total <= MOST_COUNTED_ITEMS:
            counted.append(job)
    outcomes: dict[uuid.UUID, dict[str, int]] = {}
    for action in {job.action for job in counted}:
        outcomes |= bulk_outcomes_of([job for job in counted if job.action == action])
    worked = working_times([job for job in jobs if job.ended_at is not None])
    results = {job.id: result_parts(job.action, outcomes[job.id]) for job in jobs if job.id in outcomes}
    return [
        {
            "job": job,
            "title": job_title(job, job.left_out),
            "state": shown_state(job),
            "result": results.get(job.id),
            "worked": _text_of(worked.get(job.id)),
        }
        for job in jobs
    ]


def _text_of(worked: timedelta | None) -> str:
    return "" if worked is None else duration(worked.total_seconds())

"""The steps of a bulk job from its page, all by POST. What cannot be taken back is asked about on a page of its own."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import ReasonForm
from workflows.errors import PortalError
from workflows.models import BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.jobs import BULK_STEPS, bulk_find

ASKED_FIRST = {
    "stop": (
        "Stop this job?",
        "Runs that were not asked yet are never asked by this job; to go on, a new job is needed. What was asked stays asked.",
    ),
    "retry-failures": (
        "Ask those that failed again?",
        "Failed requests, those whose outcome is unknown, and those that Temporal refused are made again, each as a new request. "
        "Refusals by a run's own state stay. What has been accepted meanwhile is not asked again, nor a replay that may have "
        "started its run.",
    ),
}
TOLD = {
    "start": "The job is started. Workers ask Temporal for one run after the other.",
    "pause": "The job is paused. The requests that are under way are the last.",
    "resume": "The job goes on.",
    "stop": "The job is stopped.",
    "retry-failures": "What failed is asked again.",
}


def why_not(job: BulkJob, actor: Actor) -> str:
    """Why this person is offered no step of the job; empty when they are."""
    needs = BULK_ACTIONS[job.action].needs
    return "" if actor.has_role(needs) else f"It needs the role {needs}."


class BulkStepViews(TenantAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{step}/", wrap(self.step_view), {"step": step}, name=f"workflows_bulkjob_{step}")
            for step in BULK_STEPS
        ]
        return [*own, *super().get_urls()]

    def step_view(self, request: HttpRequest, pk: uuid.UUID, step: str) -> HttpResponse:
        """GET asks where there is something to ask, POST does. A refusal is told with its code."""
        actor = actor_of(request)
        back = reverse("admin:workflows_bulkjob_change", args=[pk])
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            if step in ASKED_FIRST:
                return self._ask(request, pk, step, form)
            for problems in form.errors.values():
                messages.error(request, f"The reason: {' '.join(map(str, problems))}")
            return HttpResponseRedirect(back)
        try:
            BULK_STEPS[step](actor=actor, job_id=pk, reason=form.cleaned_data["reason"])
        except PortalError as error:
            if error.status == 404:
                raise Http404(error.message) from error
            messages.error(request, f"{error.code}: {error.message}")
        else:
            messages.success(request, TOLD[step])
        return HttpResponseRedirect(back)

    def _ask(self, request: HttpRequest, pk: uuid.UUID, step: str, form: Any) -> HttpResponse:
        try:
            job = bulk_find(actor=actor_of(request), job_id=pk)
        except PortalError as error:
            raise Http404(error.message) from error
        title, note = ASKED_FIRST[step]
        back = reverse("admin:workflows_bulkjob_change", args=[pk])
        context = self.page_context(
            request, title, form=form, back=back, button=title.rstrip("?"), note=note, job=job
        )  # fmt: skip
        return TemplateResponse(request, "portal/form_page.html", context)

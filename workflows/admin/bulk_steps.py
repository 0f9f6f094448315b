"""Steps of a bulk job, such as start and pause. Each step is a POST.

A step that cannot be undone has a confirmation page.
"""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm
from workflows.errors import PortalError
from workflows.models import BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.jobs import BULK_STEPS, bulk_find

CONFIRMATIONS = {
    "stop": (
        "Stop this job?",
        "This job sends no more requests. Requests that were already sent are not undone. To continue, create a new "
        "job.",
    ),
    "retry-failures": (
        "Retry the failures?",
        "The job sends a new request for each run whose request failed, has an unknown outcome, or was refused by "
        "Temporal. It does not retry a run that was refused because of its status, a run that has been accepted "
        "meanwhile, or a replay that may have started its run.",
    ),
}
DONE_MESSAGES = {
    "start": "The job has started. Workers send the requests to Temporal one after the other.",
    "pause": "The job is paused. Requests that are already running will finish.",
    "resume": "The job continues.",
    "stop": "The job is stopped.",
    "retry-failures": "The job retries the failures.",
}


def why_not(job: BulkJob, actor: Actor) -> str:
    """Return the reason why the actor may not change the job, or an empty text."""
    needs = BULK_ACTIONS[job.action].needs
    return "" if actor.has_role(needs) else f"You need the role {needs}."


class BulkStepViews(TenantAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{step}/", wrap(self.step_view), {"step": step}, name=f"workflows_bulkjob_{step}")
            for step in BULK_STEPS
        ]
        return [*own, *super().get_urls()]

    def step_view(self, request: HttpRequest, pk: uuid.UUID, step: str) -> HttpResponse:
        """Show the confirmation page on GET, if the step has such a page. Carry out the step on POST."""
        actor = actor_of(request)
        back = reverse("admin:workflows_bulkjob_change", args=[pk])
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            if step in CONFIRMATIONS:
                return self._ask(request, pk, step, form)
            for problems in form.errors.values():
                messages.error(request, f"The reason is not valid. {' '.join(map(str, problems))}")
            return HttpResponseRedirect(back)
        try:
            reason, key = form.cleaned_data["reason"], key_of(request)
            once(lambda: BULK_STEPS[step](actor=actor, job_id=pk, reason=reason, idempotency_key=key))
        except PortalError as error:
            if error.status == 404:
                raise Http404(error.message) from error
            messages.error(request, error_text(error))
        else:
            messages.success(request, DONE_MESSAGES[step])
        return HttpResponseRedirect(back)

    def _ask(self, request: HttpRequest, pk: uuid.UUID, step: str, form: Any) -> HttpResponse:
        try:
            job = bulk_find(actor=actor_of(request), job_id=pk)
        except PortalError as error:
            raise Http404(error.message) from error
        title, note = CONFIRMATIONS[step]
        back = reverse("admin:workflows_bulkjob_change", args=[pk])
        context = self.page_context(request, title, form=form, back=back, button=title.rstrip("?"), note=note, job=job)
        return TemplateResponse(request, "portal/form_page.html", context)

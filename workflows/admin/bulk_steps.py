"""Page of a bulk job and its steps, such as start and pause. Each step is a POST.

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
from workflows.admin.bulk_page import job_rows, preview_context, progress_context
from workflows.admin.bulk_places import INCIDENT, is_on_incident, page_of_job
from workflows.admin.bulk_questions import step_question
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import BulkAgainForm, BulkStartForm, ReasonForm
from workflows.errors import PortalError
from workflows.models import BulkJob, Incident
from workflows.selectors.incident_page import notes_and_merged
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.first_runs import FIRST_RUN
from workflows.services.bulk.jobs import BULK_STEPS, bulk_find
from workflows.services.bulk.preview_facts import preview_facts
from workflows.services.bulk.results import bulk_outcomes, bulk_preview_again
from workflows.services.bulk.selectors import bulk_counts, job_title
from workflows.services.incidents.find import incident_find
from workflows.services.runs.replay_rules import REPEATS
from workflows.statuses import BulkItemState, BulkOutcome, BulkState

# Field of the start form that shows the error with this code, and the sentence beside the field.
FIELDS_OF_ERRORS = {
    REPEATS: ("accept_repeats", "Tick that a second effect is acceptable. If it is not, go back without changes."),
    FIRST_RUN: ("first_run_id", "The job does not start this run. Choose another run."),
    "REASON_REQUIRED": ("reason", "Give a reason. It is kept in the command ledger."),
}
DONE_MESSAGES = {
    "start": "The start is recorded. A worker sends {requests} to Temporal.{rest}",
    "pause": "The job is paused. Requests that are already running will finish.",
    "resume": "The job continues.",
    "stop": "The job is stopped.",
    "retry-failures": "The job repeats the failed requests.",
}
DONE_AT_ONCE = ("pause", "stop")


def why_not(job: BulkJob, actor: Actor) -> str:
    """Return the reason why the actor may not change the job, or an empty text."""
    needs = BULK_ACTIONS[job.action].needs
    return "" if actor.has_role(needs) else f"You need the role {needs}."


def _may_change(job: BulkJob, outcomes: dict[str, int]) -> bool:
    """Return True if the page must be loaded again: the job goes on, or its runs do. Polls slow down by themselves."""
    return job.ended_at is None or bool(outcomes[BulkOutcome.OPEN])


class BulkStepViews(TenantAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{step}/", wrap(self.step_view), {"step": step}, name=f"workflows_bulkjob_{step}")
            for step in BULK_STEPS
        ]
        own.append(path("<uuid:pk>/again/", wrap(self.again_view), name="workflows_bulkjob_again"))
        return [*own, *super().get_urls()]

    def job_page(self, request: HttpRequest, job: BulkJob, form: Any = None) -> HttpResponse:
        """Show the page of a job. `form` is a start form with errors, so that the page shows what was typed."""
        outcomes = bulk_outcomes(job)
        is_preview = job.state == BulkState.PREVIEW
        context = self.page_context(
            request,
            job_title(job, preview_facts(job).left_out),
            job=job,
            form=form or BulkStartForm(initial={"reason": job.reason}),
            back_address=reverse("admin:workflows_run_changelist"),
            outcomes=outcomes,
            is_live=not is_preview and _may_change(job, outcomes),
            why_not=why_not(job, actor_of(request)),
            **job_rows(request, job, outcomes),
            **(preview_context(job) if is_preview else progress_context(job, outcomes)),
        )
        return TemplateResponse(request, "portal/bulk_job.html", context, status=400 if context["problem"] else 200)

    def again_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Create a new preview with the runs of this job, and show it."""
        actor = actor_of(request)
        form = BulkAgainForm(request.POST)
        back = page_of_job(request, _job_or_404(actor, pk))
        if request.method != "POST" or not form.is_valid():
            return HttpResponseRedirect(back)
        options = {name: value for name, value in form.cleaned_data.items() if value}
        try:
            job = once(lambda: bulk_preview_again(actor=actor, job_id=pk, idempotency_key=key_of(request), **options))
            assert job is not None, "a preview returns its job also for a repeat"
        except PortalError as error:
            if error.status == 404:
                raise Http404(error.message) from error
            messages.error(request, error_text(error))
            return HttpResponseRedirect(back)
        return HttpResponseRedirect(page_of_job(request, job))

    def step_view(self, request: HttpRequest, pk: uuid.UUID, step: str) -> HttpResponse:
        """Show the confirmation page on GET, if the step has such a page. Carry out the step on POST."""
        actor = actor_of(request)
        job = _job_or_404(actor, pk)
        form = (BulkStartForm if step == "start" else ReasonForm)(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            question = step_question(job, step)
            if question is not None:
                return self._ask(request, job, question, form)
            # The page has no form for a role that may not start the job, so a message says what is wrong.
            if step == "start" and request.method == "POST" and actor.has_role(BULK_ACTIONS[job.action].needs):
                return self._page_with_errors(request, job, form)
            for problems in form.errors.values():
                messages.error(request, f"The reason is not valid. {' '.join(map(str, problems))}")
            return HttpResponseRedirect(page_of_job(request, job))
        try:
            key = key_of(request)
            options = form.options() if isinstance(form, BulkStartForm) else form.cleaned_data
            once(lambda: BULK_STEPS[step](actor=actor, job_id=pk, idempotency_key=key, **options))
        except PortalError as error:
            if error.code in FIELDS_OF_ERRORS:
                form.add_error(*FIELDS_OF_ERRORS[error.code])
                job = bulk_find(actor=actor, job_id=pk)
                if error.code == REPEATS and not preview_facts(job).repeats:  # the preview does not name the actions
                    messages.error(request, error_text(error))
                return self._page_with_errors(request, job, form)
            messages.error(request, error_text(error))
        else:
            show = messages.success if step in DONE_AT_ONCE else messages.info
            show(request, _done_text(bulk_find(actor=actor, job_id=pk), step, form.cleaned_data))
        return HttpResponseRedirect(page_of_job(request, bulk_find(actor=actor, job_id=pk)))

    def _page_with_errors(self, request: HttpRequest, job: BulkJob, form: Any) -> HttpResponse:
        if job.incident is None or not is_on_incident(request, job):
            return self.job_page(request, job, form)
        incidents: Any = self.admin_site.get_model_admin(Incident)
        incident = incident_find(actor=actor_of(request), incident_id=job.incident.id, annotations=notes_and_merged())
        page: HttpResponse = incidents.incident_page(request, incident, preview_id=job.id, form=form)
        return page

    def _ask(self, request: HttpRequest, job: BulkJob, question: tuple[str, str], form: Any) -> HttpResponse:
        title, note = question
        context = self.page_context(
            request,
            title,
            form=form,
            back=page_of_job(request, job),
            button=title.rstrip("?"),
            note=note,
            job=job,
            why_not=why_not(job, actor_of(request)),
            hidden={"shown_on": [INCIDENT]} if is_on_incident(request, job) else {},
        )
        return TemplateResponse(request, "portal/form_page.html", context)


def _done_text(job: BulkJob, step: str, values: dict[str, Any]) -> str:
    """Return the sentence after a step of a job."""
    eligible = job.total - bulk_counts(job)[BulkItemState.INELIGIBLE]
    is_alone = bool(values.get("first_only")) and eligible > 1
    requests = "one request" if is_alone or eligible == 1 else f"{eligible} requests"
    others = "run waits until you start it" if eligible == 2 else f"{eligible - 1} runs wait until you start them"
    rest = f" The other {others}." if is_alone else ""
    return DONE_MESSAGES[step].format(requests=requests, rest=rest)


def _job_or_404(actor: Actor, pk: uuid.UUID) -> BulkJob:
    try:
        return bulk_find(actor=actor, job_id=pk)
    except PortalError as error:
        raise Http404(error.message) from error

"""Confirmation pages for the commands on one run: cancel and terminate. The page of a replay is in `run_replay`.

Source: docs/reference/authority.md#control-matrix, docs/reference/screens.md#all-screens
"""

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.admin.base import actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm, RequiredReasonForm
from workflows.admin.run_replay import RunReplayView
from workflows.errors import NotFound, PortalError
from workflows.models import Run
from workflows.selectors.failed_endings import is_on_run_page
from workflows.services.runs.control import run_cancel, run_terminate
from workflows.services.runs.requests import run_find
from workflows.statuses import Role

# The role that each command needs.
NEEDED = {"cancel": Role.OPERATOR, "terminate": Role.ADMIN}


class RunCommandViews(RunReplayView):
    """Views of `RunAdmin` for commands on one run. GET shows the confirmation page. POST sends the command.

    The run page shows an accepted command and its effect, and one that Temporal did not carry out. So no message about
    these is added. Such a message would be on the page twice, and would stay there when it is no longer true.
    """

    def command_urls(self) -> list[URLPattern]:
        views = {"cancel": self.cancel_view, "terminate": self.terminate_view, "replay": self.replay_view}
        return [
            path(f"<uuid:run_id>/{name}/", self.admin_site.admin_view(view), name=f"workflows_run_{name}")
            for name, view in views.items()
        ]

    def cancel_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = run_or_404(request, run_id)

        def send(fields: dict[str, Any]) -> str:
            command = run_cancel(
                actor=actor_of(request), run_id=run_id, reason=fields["reason"], idempotency_key=key_of(request)
            )
            if command.code:
                messages.warning(request, f"{command.code}: {command.message}")
            return _run_url(run_id)

        return self._confirm(request, run, ReasonForm(request.POST or None), "cancel", send)

    def terminate_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = run_or_404(request, run_id)

        def send(fields: dict[str, Any]) -> str:
            run_terminate(
                actor=actor_of(request), run_id=run_id, reason=fields["reason"], idempotency_key=key_of(request)
            )
            return _run_url(run_id)

        return self._confirm(request, run, RequiredReasonForm(request.POST or None), "terminate", send)

    def _confirm(
        self, request: HttpRequest, run: Run, form: forms.Form, name: str, send: Callable[[dict[str, Any]], str]
    ) -> HttpResponse:
        """Show the confirmation page, or send the command after a valid POST. Show a refusal with its code and hint."""
        if request.method != "POST" or not form.is_valid():
            return self._page(request, run, form, name)
        try:
            return HttpResponseRedirect(once(lambda: send(form.cleaned_data)) or _run_url(run.id))
        except PortalError as error:
            if not is_on_run_page(error.code, run):
                messages.error(request, error_text(error))
        return HttpResponseRedirect(_run_url(run.id))

    def _page(self, request: HttpRequest, run: Run, form: forms.Form, name: str, **more: Any) -> HttpResponse:
        actor = actor_of(request)
        context = self.page_context(
            request,
            f"{name.title()} this run?",
            refusal="" if actor.has_role(NEEDED[name]) else f"You need the role {NEEDED[name]} to {name} runs.",
            run=run,
            form=form,
            back=_run_url(run.id),
            may_terminate=actor.has_role(Role.ADMIN),
            **more,
        )
        return TemplateResponse(request, f"portal/{name}_one.html", context)


def run_or_404(request: HttpRequest, run_id: uuid.UUID) -> Run:
    try:
        return run_find(actor=actor_of(request), run_id=run_id)
    except NotFound as error:
        raise Http404(error.message) from error


def _run_url(run_id: uuid.UUID) -> str:
    return reverse("admin:workflows_run_change", args=[run_id])

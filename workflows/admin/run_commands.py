"""Acting on one run from its page: a page that says what will happen, and the button that does it (docs/reference/authority.md#control-matrix, docs/reference/screens.md#all-screens)."""

import difflib
import json
import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import NeededReasonForm, ReasonForm, ReplayForm
from workflows.errors import NotFound, PortalError
from workflows.models import Run
from workflows.redaction import redact, restored, rules_of
from workflows.services.runs.control import run_cancel, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.services.runs.requests import run_find

CANCELLED = "Temporal has taken the cancel. The run is canceled when its workflow has recorded it."
TERMINATED = "Temporal has ended the workflow. The run is shown as terminated when the reconciler has read that."


class RunCommandViews(TenantAdmin):
    """The views of `RunAdmin` that act on one run: GET asks, POST does."""

    def command_urls(self) -> list[URLPattern]:
        views = {"cancel": self.cancel_view, "terminate": self.terminate_view, "replay": self.replay_view}
        return [
            path(f"<uuid:run_id>/{name}/", self.admin_site.admin_view(view), name=f"workflows_run_{name}")
            for name, view in views.items()
        ]

    def cancel_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = run_or_404(request, run_id)

        def do(fields: dict[str, Any]) -> str:
            run_cancel(actor=actor_of(request), run_id=run_id, reason=fields["reason"])
            messages.success(request, CANCELLED)
            return _page_of(run_id)

        return self._asked(request, run, ReasonForm(request.POST or None), "cancel", do)

    def terminate_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = run_or_404(request, run_id)

        def do(fields: dict[str, Any]) -> str:
            run_terminate(actor=actor_of(request), run_id=run_id, reason=fields["reason"])
            messages.success(request, TERMINATED)
            return _page_of(run_id)

        return self._asked(request, run, NeededReasonForm(request.POST or None), "terminate", do)

    def replay_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """The input as a difference first; a second POST starts the new run. What is redacted goes along as it is."""
        run = run_or_404(request, run_id)
        actor = actor_of(request)
        shown = redact(run.input, rules_of(actor.tenant_id), "/payload") if actor.sees_payloads else {}
        form = ReplayForm(request.POST or None, initial={"payload": _text(shown)})
        is_valid = request.method == "POST" and form.is_valid()
        changes = _difference(shown, form.cleaned_data["payload"]) if is_valid else []
        if is_valid and "confirmed" in request.POST:

            def do(fields: dict[str, Any]) -> str:
                payload = restored(fields["payload"], shown, run.input)
                new_run_id, _ = run_replay(actor=actor, run_id=run_id, payload=payload, reason=fields["reason"])
                messages.success(request, "The new run is started; it is linked with the one that it replays.")
                return _page_of(new_run_id)

            return self._asked(request, run, form, "replay", do)
        return self._page(request, run, form, "replay", changes=changes, is_shown=is_valid)

    def _asked(
        self, request: HttpRequest, run: Run, form: forms.Form, name: str, do: Callable[[dict[str, Any]], str]
    ) -> HttpResponse:
        """A refusal is told with its code and what to do, and nothing changed."""
        if request.method != "POST" or not form.is_valid():
            return self._page(request, run, form, name)
        try:
            return HttpResponseRedirect(do(form.cleaned_data))
        except PortalError as error:
            words = error.details.get("error", "")
            parts = (f"{error.message}.", words and f"Temporal said: {words}.", error.details.get("hint", ""))
            messages.error(request, f"{error.code}: {' '.join(part for part in parts if part)}")
        return HttpResponseRedirect(_page_of(run.id))

    def _page(self, request: HttpRequest, run: Run, form: forms.Form, name: str, **more: Any) -> HttpResponse:
        context = self.page_context(
            request, f"{name.title()} this run?", run=run, form=form, back=_page_of(run.id), **more
        )
        return TemplateResponse(request, f"portal/{name}_one.html", context)


def run_or_404(request: HttpRequest, run_id: uuid.UUID) -> Run:
    try:
        return run_find(actor=actor_of(request), run_id=run_id)
    except NotFound as error:
        raise Http404(error.message) from error


def _page_of(run_id: uuid.UUID) -> str:
    return reverse("admin:workflows_run_change", args=[run_id])


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _difference(before: Any, after: Any) -> list[dict[str, str]]:
    """Lines of a unified difference: `kind` is added, removed or same."""
    kinds = {"+": "added", "-": "removed", " ": "same"}
    lines = difflib.unified_diff(_text(before).splitlines(), _text(after).splitlines(), n=3, lineterm="")
    return [{"kind": kinds[line[0]], "text": line} for line in list(lines)[2:] if line[0] in kinds]

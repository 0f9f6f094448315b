"""Pages that set and release the legal hold of a run (docs/reference/retention.md#legal-hold)."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.run_commands import run_or_404
from workflows.errors import NotFound, PermissionRefused, PortalError
from workflows.services.retention.holds import PURPOSE, require_hold_role, run_hold, run_release
from workflows.statuses import CommandAction, Role

NOTES = {
    "hold": "Retention deletes neither this run nor the other runs of its family until the hold is released.",
    "release": "Retention deletes this run again when it is older than the period of the tenant.",
}
DONE = {"hold": "The run has a legal hold.", "release": "The legal hold is released."}


class HoldForm(forms.Form):
    reason = forms.CharField(
        max_length=2000,
        widget=forms.TextInput(attrs={"class": "in"}),
        help_text="Stored in the command ledger. The run page shows the reason of a hold.",
    )


class RunHoldViews(TenantAdmin):
    """Views of `RunAdmin` for the legal hold."""

    def hold_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:run_id>/hold/", wrap(self.hold_view), name="workflows_run_hold"),
            path("<uuid:run_id>/release/", wrap(self.release_view), name="workflows_run_release"),
        ]

    def hold_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        return self._hold_page(request, run_id, "hold", run_hold, CommandAction.HOLD_RUN)

    def release_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        return self._hold_page(request, run_id, "release", run_release, CommandAction.RELEASE_RUN)

    def _hold_page(
        self, request: HttpRequest, run_id: uuid.UUID, name: str, service: Any, action: CommandAction
    ) -> HttpResponse:
        actor, run = actor_of(request), run_or_404(request, run_id)
        back = reverse("admin:workflows_run_change", args=[run.id])
        form = HoldForm(request.POST or None)
        try:
            if request.method == "POST":
                require_hold_role(actor=actor, run_id=run_id, action=action)
            actor.require(Role.ADMIN, to=PURPOSE)
            if request.method == "POST" and form.is_valid():
                reason, key = form.cleaned_data["reason"], key_of(request)
                once(lambda: service(actor=actor, run_id=run_id, reason=reason, idempotency_key=key))
                messages.success(request, DONE[name])
                return HttpResponseRedirect(back)
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except NotFound as error:
            raise Http404(error.message) from error
        except PortalError as error:
            messages.error(request, error_text(error))
            return HttpResponseRedirect(back)
        title = "Set a legal hold on this run?" if name == "hold" else "Release the legal hold of this run?"
        button = "Set the legal hold" if name == "hold" else "Release the legal hold"
        context = self.page_context(request, title, run=run, form=form, back=back, button=button, note=NOTES[name])
        return TemplateResponse(request, "portal/run_hold.html", context)

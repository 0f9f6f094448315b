"""The page that compares the rows of a run with Temporal and repairs them.

Source: docs/reference/authority.md#age-and-repair-of-projections, docs/reference/screens.md#run-page
"""

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm
from workflows.admin.run_commands import run_or_404
from workflows.errors import PortalError
from workflows.services.runs.verify import RunVerification, run_repair, run_verify
from workflows.statuses import CommandState, Role


class RunVerifyViews(TenantAdmin):
    """Views of `RunAdmin` that compare and repair. A GET sends no request to Temporal and changes nothing."""

    def verify_urls(self) -> list[URLPattern]:
        views = {"verify": self.verify_view, "repair": self.repair_view}
        return [
            path(f"<uuid:run_id>/{name}/", self.admin_site.admin_view(view), name=f"workflows_run_{name}")
            for name, view in views.items()
        ]

    def verify_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = run_or_404(request, run_id)
        verified: RunVerification | None = None
        if request.method == "POST":
            try:
                verified = run_verify(actor=actor_of(request), run_id=run_id)
            except PortalError as error:
                messages.error(request, error_text(error))
        context = self.page_context(
            request,
            "Compare with Temporal",
            run=verified.run if verified else run,
            verified=verified,
            differences=[(difference, *difference.texts()) for difference in verified.differences] if verified else [],
            form=ReasonForm(),
            may_repair=actor_of(request).has_role(Role.OPERATOR),
            back=reverse("admin:workflows_run_change", args=[run_id]),
        )
        return TemplateResponse(request, "portal/verify_one.html", context)

    def repair_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """Repair the rows on POST.

        A confirmation page is not needed, because the comparison page has shown the differences.
        """
        run = run_or_404(request, run_id)
        form = ReasonForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return HttpResponseRedirect(reverse("admin:workflows_run_verify", args=[run.id]))
        try:
            reason, key = form.cleaned_data["reason"], key_of(request)
            repaired = once(
                lambda: run_repair(actor=actor_of(request), run_id=run_id, reason=reason, idempotency_key=key)
            )
            assert repaired is not None, "a repair returns its command also for a repeat"
            command, found = repaired
        except PortalError as error:
            messages.error(request, error_text(error))
        else:
            detail = found.detail if found else ""
            outcome = found.outcome if found else "done by an earlier request"
            show = messages.success if command.state == CommandState.OBSERVED else messages.warning
            show(request, f"The rows were compared with Temporal. Outcome: {outcome}. {detail}")
        return HttpResponseRedirect(reverse("admin:workflows_run_change", args=[run.id]))

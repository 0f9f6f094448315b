"""The page of one run: where it stands, why, and what can be done (PRODUCT 7.2)."""

import json
import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import ReasonForm
from workflows.errors import NotFound, PortalError
from workflows.selectors import RunPage, run_page
from workflows.services.run_control import UNSUPPORTED_HINTS, run_cancel, run_find
from workflows.statuses import CommandAction, Engine, Role

TABS = ("overview", "steps", "waits", "events", "actions", "children", "input", "commands", "json")


class RunPageViews(TenantAdmin):
    """The views of `RunAdmin` that show and act on one run."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        actor = actor_of(request)
        page = run_page(tenant_id=actor.tenant_id, run_id=_run_id(object_id))
        if page is None:
            raise Http404(f"there is no run {object_id}")
        tab = request.GET.get("tab", "overview")
        context = self.page_context(
            request,
            f"{page.run.definition_key} · {page.run.correlation_key or str(page.run.id)[:8]}",
            page=page,
            run=page.run,
            tab=tab if tab in TABS else "overview",
            tabs=_tabs(page),
            commands_offered=_offers(page, may_act=actor.has_role(Role.OPERATOR)),
            temporal_url=_temporal_url(page),
            definition_text=json.dumps(page.run.definition_version.document(), indent=2, ensure_ascii=False),
        )
        return TemplateResponse(request, "portal/run_page.html", context)

    def confirmed_command(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """Cancel one run: GET asks, POST does. A refusal is told with its code and what to do, and nothing changed."""
        actor = actor_of(request)
        back = reverse("admin:workflows_run_change", args=[run_id])
        try:
            run = run_find(actor=actor, run_id=run_id)
        except NotFound as error:
            raise Http404(error.message) from error
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                run_cancel(actor=actor, run_id=run_id, reason=form.cleaned_data["reason"])
            except PortalError as error:
                hint = error.details.get("hint", "")
                words = error.details.get("error", "")
                told = " ".join(
                    part for part in (f"{error.message}.", words and f"Temporal said: {words}.", hint) if part
                )
                messages.error(request, f"{error.code}: {told}")
            else:
                messages.success(
                    request, "Temporal has taken the cancel. The run is canceled when its workflow has recorded it."
                )
            return HttpResponseRedirect(back)
        context = self.page_context(request, "Cancel this run?", run=run, form=form, back=back)
        return TemplateResponse(request, "portal/cancel_one.html", context)


def _run_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Http404(f"{text!r} is no run id") from error


def _tabs(page: RunPage) -> list[dict[str, Any]]:
    counts = {
        "steps": len(page.steps),
        "waits": len(page.waits),
        "events": len(page.deliveries),
        "actions": len(page.invocations),
        "children": len(page.children),
        "commands": len(page.commands),
    }
    names = {"input": "Input", "json": "JSON"}
    return [{"id": tab, "name": names.get(tab, tab.title()), "count": counts.get(tab)} for tab in TABS]


def _offers(page: RunPage, *, may_act: bool) -> list[dict[str, str]]:
    """The commands, in the order of use; one with a reason in `why_not` is not offered."""
    run = page.run
    cancel_why = ""
    if run.engine == Engine.DB:
        cancel_why = "History of an older engine can be read, not acted on."
    elif not page.is_open:
        cancel_why = f"The run has ended: {run.get_status_display().lower()}."
    elif page.open_cancel:
        cancel_why = "A cancel was asked for; the workflow has not recorded its end yet."
    elif not may_act:
        cancel_why = "Your role may look, not act."
    offers = [{"name": "Cancel", "url": reverse("admin:workflows_run_cancel", args=[run.id]), "why_not": cancel_why}]
    for action in (CommandAction.RESUME, CommandAction.RETRY, CommandAction.REQUEUE_EVENT_WAIT):
        offers.append({"name": str(action.label).removesuffix(" run"), "url": "", "why_not": UNSUPPORTED_HINTS[action]})
    return offers


def _temporal_url(page: RunPage) -> str:
    run = page.run
    base = f"{settings.TEMPORAL_UI_URL}/namespaces/{settings.TEMPORAL_NAMESPACE}/workflows/{run.temporal_workflow_id}"
    return f"{base}/{run.projection_epoch}/history" if run.projection_epoch else base

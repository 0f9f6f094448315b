"""The page of one run. It shows the status, the reason for it, and the commands.

Source: docs/reference/screens.md#run-page
"""

import json
import uuid
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.live import live_page
from workflows.concurrency_keys import holder_of
from workflows.models import Run
from workflows.selectors.runs import RunPage, row_count, run_page
from workflows.selectors.versions import run_version
from workflows.services.missing_actions import missing_action_of
from workflows.services.runs.control import UNSUPPORTED_HINTS
from workflows.statuses import CommandAction, Engine, Role

TABS = ("overview", "steps", "waits", "events", "actions", "children", "input", "commands", "json")


class RunPageViews(TenantAdmin):
    """View of `RunAdmin` that shows one run."""

    @method_decorator(require_safe)
    @live_page(run_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        actor = actor_of(request)
        page = run_page(tenant_id=actor.tenant_id, run_id=_run_id(object_id))
        if page is None:
            raise Http404(f"There is no run {object_id}.")
        tab = request.GET.get("tab", "overview")
        context = self.page_context(
            request,
            f"{page.run.definition_key} · {page.run.correlation_key or str(page.run.id)[:8]}",
            page=page,
            run=page.run,
            tab=tab if tab in TABS else "overview",
            tabs=_tabs(page),
            commands_offered=_offers(page, actor),
            may_terminate=actor.has_role(Role.ADMIN),
            temporal_url=_temporal_url(page),
            missing_action=(missing_action_of(tenant_id=actor.tenant_id, run_id=page.run.id) if page.is_open else None),
            queued_behind=holder_of(page.run) if page.run.queued_until is not None and page.is_open else None,
            definition_text=json.dumps(page.run.definition_version.document(), indent=2, ensure_ascii=False),
        )
        return TemplateResponse(request, "portal/run_page.html", context)


def _run_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Http404(f"{text!r} is not a run id.") from error


def _tabs(page: RunPage) -> list[dict[str, Any]]:
    run = page.run
    counts = {
        "steps": row_count(run.steps.all(), page.steps),
        "waits": row_count(run.waits.all(), page.waits),
        "events": row_count(run.deliveries.all(), page.deliveries),
        "actions": row_count(run.invocations.all(), page.invocations),
        "children": row_count(run.children.all(), page.children),
        "commands": row_count(run.commands.all(), page.commands),
    }
    names = {"input": "Input and output", "json": "JSON"}
    return [{"id": tab, "name": names.get(tab, tab.title()), "count": counts.get(tab)} for tab in TABS]


def _offers(page: RunPage, actor: Actor) -> list[dict[str, str]]:
    """Return the commands in the order in which operators use them.

    If `why_not` has a text, the command is not available.
    """
    run = page.run
    legacy = "The history of an older engine is read-only." if run.engine == Engine.DB else ""
    closed = "" if page.is_open else f"The run is closed: {run.get_status_display().lower()}."
    may_operate = "" if actor.has_role(Role.OPERATOR) else f"You need the role {Role.OPERATOR}."
    may_terminate = "" if actor.has_role(Role.ADMIN) else f"You need the role {Role.ADMIN}."
    cancelling = "A cancel was requested. The workflow has not recorded its end yet." if page.open_cancel else ""
    offers = [
        _offer("Cancel", "cancel", run, legacy or closed or cancelling or may_operate),
        _offer("Replay", "replay", run, legacy or may_operate),
        _offer("Terminate", "terminate", run, legacy or closed or may_terminate),
    ]
    for action in (CommandAction.RESUME, CommandAction.RETRY, CommandAction.REQUEUE_EVENT_WAIT):
        offers.append({"name": str(action.label).removesuffix(" run"), "url": "", "why_not": UNSUPPORTED_HINTS[action]})
    return offers


def _offer(name: str, view: str, run: Run, why_not: str) -> dict[str, str]:
    url = reverse(f"admin:workflows_run_{view}", args=[run.id])
    return {"name": name, "view": view, "url": url, "why_not": why_not}


def _temporal_url(page: RunPage) -> str:
    run = page.run
    base = f"{settings.TEMPORAL_UI_URL}/namespaces/{settings.TEMPORAL_NAMESPACE}/workflows/{run.temporal_workflow_id}"
    return f"{base}/{run.projection_epoch}/history" if run.projection_epoch else base

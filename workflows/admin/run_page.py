"""The page of one run. It says what happened, why and what to do, and shows the steps with what they sent and received.

Source: docs/reference/screens.md#run-page
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.business_data import business_data_of
from workflows.admin.expression_lab import lab_address
from workflows.admin.live import live_page
from workflows.admin.run_answer import TONES, answer_kind, default_step, run_answer, stopping
from workflows.admin.run_children import children_content
from workflows.admin.run_graph import run_graph
from workflows.admin.run_items import item_fields, item_jump
from workflows.admin.run_logs_tab import logs_content
from workflows.admin.run_offers import run_offers
from workflows.admin.run_steps_tab import shown_rows, step_panel
from workflows.admin.running_step import RunningStep, running_step
from workflows.concurrency_keys import holder_of
from workflows.engine.definition import parse_definition
from workflows.models.fields import short_id
from workflows.outline.rows import Outline, RunSteps, outline_of, step_counts
from workflows.redaction import rules_in
from workflows.selectors.keyset import keyset_page
from workflows.selectors.near_misses import wait_near_misses
from workflows.selectors.pruned_runs import run_not_found
from workflows.selectors.run_steps import run_steps
from workflows.selectors.runs import RunPage, run_page
from workflows.selectors.versions import run_version
from workflows.services.missing_actions import missing_action_of
from workflows.status_marks import RUN
from workflows.statuses import Role, RunStatus, WaitKind

SHOWN_PATHS = 20


@dataclass(frozen=True)
class RunView:
    """Data that every tab of the run page can use."""

    page: RunPage
    steps: RunSteps
    outline: Outline
    actor: Actor
    request: HttpRequest


@dataclass(frozen=True)
class Tab:
    """A tab of the run page. `content` returns the context of its template. `count` returns the number in its label."""

    id: str
    name: str
    template: str
    content: Callable[[RunView], dict[str, Any]] = lambda view: {}
    count: Callable[[RunView], Any] = lambda view: None


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
            raise Http404(run_not_found(tenant_id=actor.tenant_id, run_id=_run_id(object_id)).message)
        view = _run_view(page, actor, request)
        jump = item_jump(request.GET, view.outline)
        if jump is not None and jump.address:
            return HttpResponseRedirect(jump.address)
        tab = next((tab for tab in TABS if tab.id == request.GET.get("tab")), TABS[0])
        missing = _missing_action(page)
        kind = answer_kind(page, missing_action=missing)
        answer = run_answer(page, view.outline, kind=kind, facts=view.steps.facts)
        running = running_step(page.run, answer.row, actor) if kind == "running" else None
        context = self.page_context(
            request,
            f"{page.run.definition.name} {page.run.correlation_key or short_id(page.run.id)}",
            crumbs=_crumbs(page),
            page=page,
            run=page.run,
            answer=answer,
            tone=_tone(page, kind, running),
            running=running,
            offers=run_offers(page, answer, actor),
            tab=tab,
            tabs=[{"tab": item, "name": _tab_name(item, page), "count": item.count(view)} for item in TABS],
            business_data=business_data_of(page.run.definition, page.values, actor, rules_in(page.run.tenant)),
            redaction=SimpleLazyObject(lambda: rules_in(page.run.tenant)),
            missing_action=missing,
            may_terminate=actor.has_role(Role.ADMIN),
            queued_behind=holder_of(page.run) if kind == "queued" else None,
            counts=step_counts(view.steps.facts, view.steps.place),
            jump=jump,
            temporal_url=_temporal_url(page),
            **tab.content(view),
        )
        context["outages"] = stopping(page, kind, context["outages"])
        return TemplateResponse(request, "portal/run_page.html", context)


def _tone(page: RunPage, kind: str, running: RunningStep | None) -> str:
    """Return the tone of the answer. A running step that takes longer than usual has the tone of a warning."""
    if running is not None and running.needs_attention:
        return "amber"
    return TONES.get(kind) or RUN[page.shown_status].tone


def _crumbs(page: RunPage) -> list[tuple[str, str]]:
    """Return the path to the page: the list, the runs of the definition, the run."""
    run, runs = page.run, reverse("admin:workflows_run_changelist")
    of_definition = f"{runs}?{urlencode({'definition': run.definition_key})}"
    return [("Runs", runs), (run.definition.name, of_definition), (run.correlation_key or short_id(run.id), "")]


def _run_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Http404(f"{text!r} is not a run id.") from error


def _run_view(page: RunPage, actor: Actor, request: HttpRequest) -> RunView:
    run, query = page.run, request.GET
    definition = parse_definition(run.definition_version.canonical_text)
    steps = run_steps(run, definition, step=query.get("step", ""), iteration=query.get("iteration", ""))
    if page.shown_status == "unknown" and page.wait is not None:
        steps = replace(steps, waits_since=page.wait.opened_at)
    outline = outline_of(
        definition,
        steps,
        start=run.began_at,
        end=run.ended_at or timezone.now(),
        failed_only=query.get("rows") == "failed",
    )
    return RunView(page, steps, outline, actor, request)


def _missing_action(page: RunPage) -> str | None:
    """Return the action that no worker has. Only a run that executes a step can lack one."""
    if page.run.status not in (RunStatus.RUNNING, RunStatus.STARTING):
        return None
    return missing_action_of(tenant_id=page.run.tenant_id, run_id=page.run.id)


def _temporal_url(page: RunPage) -> str:
    run = page.run
    base = f"{settings.TEMPORAL_UI_URL}/namespaces/{settings.TEMPORAL_NAMESPACE}/workflows/{run.temporal_workflow_id}"
    return f"{base}/{run.projection_epoch}/history" if run.projection_epoch else base


# -- The tabs ----------------------------------------------------------------------------------------------------------


def _steps_content(view: RunView) -> dict[str, Any]:
    run, query, rules = view.page.run, view.request.GET, rules_in(view.page.run.tenant)
    last = max(view.steps.facts, key=lambda path: view.steps.facts[path].last_seq, default="")
    rows = {row.node.path: row for row in view.outline.rows}
    wanted = query.get("step", "")
    path = wanted if wanted in rows else default_step(view.page, [row.node for row in view.outline.rows], last)
    selected = rows.get(path)
    wait = view.page.wait
    is_event_wait = wait is not None and wait.kind == WaitKind.EVENT
    return {
        "axis": view.outline.axis,
        "outline": shown_rows(view.outline, query, selected),
        "is_failed_only": query.get("rows") == "failed",
        "panel": step_panel(run, selected, query, view.actor, rules) if selected else None,
        "panel_wait": wait if wait is not None and selected is not None and wait.step_path == path else None,
        "lab_url": lab_address(run, selected) if selected and view.actor.has_role(Role.OPERATOR) else "",
        "shows_ending": view.page.ending is not None and not view.page.is_open and not wanted,
        "unknown_paths": sorted(set(view.steps.facts) - set(rows))[:SHOWN_PATHS],
        "near_misses": wait_near_misses(wait, view.page.deliveries, rules=rules, sees_payloads=view.actor.sees_payloads)
        if is_event_wait and wait is not None
        else [],
    }


def _graph_content(view: RunView) -> dict[str, Any]:
    graph = run_graph(view.page.run.definition_version.document(), view.outline, view.steps.place)
    loops = [(row, item_fields(view.request.GET, row.loop, row.node.path)) for row in view.outline.rows if row.loop]
    return {"graph": graph, "loops": loops}


def _events_content(view: RunView) -> dict[str, Any]:
    run, query = view.page.run, view.request.GET
    deliveries = run.deliveries.select_related("event", "wait").filter(tenant_id=run.tenant_id)
    waits = run.waits.select_related("event").filter(tenant_id=run.tenant_id)
    return {
        "deliveries": keyset_page(deliveries.order_by("-created_at", "-id"), at=query.get("events", "")),
        "waits": keyset_page(waits.order_by("-opened_at", "-id"), at=query.get("waits", "")),
    }


def _children_content(view: RunView) -> dict[str, Any]:
    nodes = {row.node.path: row.node for row in view.outline.rows}
    return children_content(view.page.run, view.page.counts.children, view.request.GET, nodes)


def _audit_content(view: RunView) -> dict[str, Any]:
    run = view.page.run
    commands = run.commands.filter(tenant_id=run.tenant_id).order_by("-requested_at", "-id")
    return {"commands": keyset_page(commands, at=view.request.GET.get("audit", ""))}


def _logs_content(view: RunView) -> dict[str, Any]:
    return logs_content(view.page.run, view.request.GET, {row.node.path: row.node for row in view.outline.rows})


def _definition_content(view: RunView) -> dict[str, Any]:
    document = view.page.run.definition_version.document()
    return {"definition_text": json.dumps(document, indent=2, ensure_ascii=False)}


def _tab_name(tab: Tab, page: RunPage) -> str:
    return f"{tab.name} v{page.run.version}" if tab.id == "definition" else tab.name


TABS = (
    Tab(
        "steps", "Steps", "portal/_run_steps.html", _steps_content,
        lambda view: step_counts(view.steps.facts, view.steps.place).ran,
    ),
    Tab("graph", "Graph", "portal/_run_graph.html", _graph_content),
    Tab("input", "Input and result", "portal/_run_input.html"),
    Tab("events", "Events", "portal/_run_events.html", _events_content, lambda view: view.page.counts.events),
    Tab("children", "Children", "portal/_run_children.html", _children_content, lambda view: view.page.counts.children),
    Tab("audit", "Audit", "portal/_run_audit.html", _audit_content, lambda view: view.page.counts.audit),
    Tab("logs", "Logs", "portal/_run_logs.html", _logs_content, lambda view: view.page.counts.logs),
    Tab("definition", "Definition", "portal/_run_definition.html", _definition_content),
)  # fmt: skip

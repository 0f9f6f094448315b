"""Tabs of the page of a definition. Each tab computes only what its template shows.

Source: docs/reference/screens.md#definition-page
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.definition_commands import definition_offers
from workflows.admin.definition_graph import definition_graph
from workflows.admin.definition_map import definition_map, map_choice, seg_links
from workflows.admin.schedules import state_of
from workflows.engine.validate import Problem
from workflows.json_numbers import write_json
from workflows.models import Command, Definition, Incident, Schedule
from workflows.selectors.definition_page import (
    SHOWN_INCIDENTS,
    incidents_of_definition,
    starts_of,
)
from workflows.selectors.failure_counts import failures_of
from workflows.selectors.incidents import replays_of_incidents
from workflows.selectors.run_list import OPEN
from workflows.selectors.step_counts import OpenRuns, open_runs
from workflows.services.definitions.drafts import draft_document
from workflows.services.definitions.pause import starts_waiting
from workflows.services.definitions.problems import definition_problems
from workflows.services.definitions.publish import draft_differs
from workflows.statuses import DefinitionState, Role

PRIMARY = ("start", "resume")
# Tabs whose box of failures has numbers by version. The other tabs have too many statements of their own.
NUMBERED_TABS = ("map", "versions")
SHOWN_HELD = 20
SHOWN_COMMANDS = 20
SHOWN_SCHEDULES = 50
SHOWN_VERSIONS = 50


@dataclass(frozen=True)
class DefinitionView:
    """Data that every tab can use. `document` is the published version, or the draft."""

    definition: Definition
    document: dict[str, Any]
    query: QueryDict
    actor: Actor
    open_runs: OpenRuns
    incidents: list[Incident]

    def problems(self) -> list[Problem]:
        """Return the errors and warnings of the document.

        Cost: three statements, and one each for the schemas and the called versions that the document names.
        """
        return definition_problems(self.document, tenant_id=self.definition.tenant_id)


@dataclass(frozen=True)
class Tab:
    """A tab of the page. `content` returns the context of its template."""

    id: str
    name: str
    template: str
    content: Callable[[DefinitionView], dict[str, Any]]


def definition_view(definition: Definition, query: QueryDict, actor: Actor) -> DefinitionView:
    published = definition.published_version
    document = published.document() if published else draft_document(definition)
    if published is None:  # no run has started, so nothing is open and nothing has failed
        return DefinitionView(definition, document, query, actor, OpenRuns({}), [])
    return DefinitionView(
        definition, document, query, actor, open_runs(definition), incidents_of_definition(definition)
    )


def definition_context(view: DefinitionView) -> dict[str, Any]:
    """Return the context of the chosen tab, and of the head above the tabs.

    The definition must have the annotations of `page_annotations`.
    """
    definition, actor = view.definition, view.actor
    published = definition.published_version
    tab = next((tab for tab in TABS if tab.id == view.query.get("tab")), TABS[0])
    content = tab.content(view)
    problems = content.get("problems")
    if problems is None and published is None:
        problems = view.problems()
    has_change = bool(published) and draft_differs(definition)
    held_count = content.get("held_count")
    if held_count is None:
        held_count = starts_waiting(definition).count() if _may_hold(definition) else 0
    offers = definition_offers(definition, actor, no_publish=_no_publish(definition, problems or [], has_change))
    runs_url = f"{reverse('admin:workflows_run_changelist')}?{urlencode({'definition': definition.key})}"
    return {
        "definition": definition,
        "document": view.document,
        "tab": tab,
        "tabs": TABS,
        "offers": offers,
        "primary": next(
            (offer for offer in offers if not offer["why_not"] and offer["view"] in ("start", "resume")), None
        ),
        "may_edit": actor.has_role(Role.AUTHOR) and definition.state != DefinitionState.ARCHIVED,
        "has_change": has_change,
        "held_count": held_count,
        "runs_url": runs_url,
        "open_url": f"{runs_url}&status__exact={OPEN}",
        "open_versions": view.open_runs.by_version,
        **_failures(view, has_numbers=tab.id in NUMBERED_TABS),
        "starts": starts_of(definition, definition.schedule_names),  # type: ignore[attr-defined]
        **content,
    }


def _failures(view: DefinitionView, *, has_numbers: bool) -> dict[str, Any]:
    """Return the context of the box that says since when, how often and why the definition fails.

    `has_numbers`: with the numbers of the versions and of the replays. Cost: two statements for them.
    """
    if not view.incidents:
        return {"incidents": []}
    shown = view.incidents[:SHOWN_INCIDENTS]
    replays = replays_of_incidents(shown) if has_numbers else {}
    return {
        "incidents": [{"incident": incident, "replays": replays.get(incident.id)} for incident in shown],
        "has_more_incidents": len(view.incidents) > SHOWN_INCIDENTS,
        "failures": failures_of(view.incidents) if has_numbers else None,
        "fails_since": min(incident.first_failed_at for incident in view.incidents),
        "first_version": min(incident.first_version for incident in view.incidents),
    }


def _may_hold(definition: Definition) -> bool:
    """Return True if starts of the definition can be held now."""
    return bool(definition.is_paused or definition.concurrency_limit)


def _no_publish(definition: Definition, problems: list[Problem], has_change: bool) -> str:
    """Return why the draft cannot be published. `problems` are those of the draft if no version is published."""
    if not definition.draft_text:
        return "The definition has no draft."
    if definition.published_version is not None:
        return "" if has_change else "The draft is published already."
    return "The draft has errors." if any(problem.is_error for problem in problems) else ""


# -- The tabs ----------------------------------------------------------------------------------------------------------


def _map_content(view: DefinitionView) -> dict[str, Any]:
    choice = map_choice(view.definition, view.query)
    if choice is None:
        problems = view.problems()
        return {"problems": problems, "graph": definition_graph(view.document, problems)}
    shown = definition_map(choice, view.open_runs, view.incidents[:SHOWN_INCIDENTS])
    return {"map": shown, "segs": seg_links(choice, shown.versions)}


def _versions_content(view: DefinitionView) -> dict[str, Any]:
    return {"versions": view.definition.versions.order_by("-version")[:SHOWN_VERSIONS]}


def _text_content(view: DefinitionView) -> dict[str, Any]:
    return {"problems": view.problems(), "text": write_json(view.document, indent=2, ensure_ascii=False)}


def _starts_content(view: DefinitionView) -> dict[str, Any]:
    definition, can_run = view.definition, view.definition.published_version is not None
    held = starts_waiting(definition).select_related("event", "definition_version").defer("event__payload")
    return {
        "held_count": held.count() if can_run else 0,
        "held": held[:SHOWN_HELD] if can_run else [],
        "schedules": _schedules(definition),
        "runs": definition.runs.defer("input", "output").order_by("-created_at")[:10] if can_run else [],
    }


def _audit_content(view: DefinitionView) -> dict[str, Any]:
    definition = view.definition
    of_key = Command.objects.filter(tenant_id=definition.tenant_id, target_id=definition.key, target_type="definition")
    return {"commands": list(of_key.order_by("-requested_at")[:SHOWN_COMMANDS])}


def _schedules(definition: Definition) -> list[tuple[Schedule, str]]:
    """Return the schedules of the definition, each with its state as text."""
    rows = definition.schedules.filter(removed_at__isnull=True).select_related("definition").order_by("name")
    return [(row, state_of(row)[1]) for row in rows[:SHOWN_SCHEDULES]]


TABS = (
    Tab("map", "Map", "portal/_definition_map_tab.html", _map_content),
    Tab("versions", "Versions", "portal/_definition_versions.html", _versions_content),
    Tab("text", "Text and settings", "portal/_definition_text.html", _text_content),
    Tab("starts", "Starts", "portal/_definition_starts.html", _starts_content),
    Tab("audit", "Audit", "portal/_commands.html", _audit_content),
)

"""Search of the command palette: runs, events, pages, and the rows of `palette_rows.py`.

Source: docs/reference/screens.md#command-palette
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from ingress.search import first_events_by_term
from portal.navigation import navigation
from portal.pages.palette_rows import incident_number_of, named_rows
from workflows.admin.base import actor_of
from workflows.event_decisions import shown_outcome
from workflows.redaction import rules_of
from workflows.selectors.run_search import first_runs_by_term
from workflows.statuses import CommandAction, Role
from workflows.templatetags.times import clock_text, zone_name

MAX_TERM = 200
SHOWN = 6
# The models of `palette_rows.py` by their heading, and the icons of their pages.
NAMED = {
    "Incidents": "incident", "Tasks": "humantask", "Definitions": "definition", "Schedules": "schedule",
    "Bulk jobs": "bulkjob", "Commands": "command",
}  # fmt: skip
ICONS = {
    "incident": "inc", "humantask": "task", "definition": "def", "schedule": "clock", "bulkjob": "bulk",
    "command": "ledger",
}  # fmt: skip


# Pages that the navigation does not have: title, icon, name of the address, and the role that can use the page.
STEPS = (
    ("Send an event", "send", "admin:workflows_event_send", Role.OPERATOR),
    ("Send events from a file", "send", "admin:workflows_event_batch", Role.OPERATOR),
    ("What if an event arrived now?", "lab", "admin:workflows_event_what_if", Role.OPERATOR),
    ("Start a run", "plus", "admin:workflows_definition_choose", Role.OPERATOR),
    ("Compare all with Temporal", "retry", "admin:compare", Role.OPERATOR),
    ("System health", "check", "admin:health", Role.VIEWER),
    ("New definition", "plus", "admin:workflows_definition_add", Role.AUTHOR),
    ("Import a bundle", "in", "admin:workflows_definition_import", Role.AUTHOR),
    ("Security of my account", "lock", "mfa_index", Role.VIEWER),
)


@dataclass(frozen=True)
class Result:
    """One line of the palette. `status` is the status of a run, or empty. `is_replay`: the run repeats another run."""

    title: str
    note: str
    link: str
    icon: str
    status: str = ""
    is_replay: bool = False


def palette_view(request: HttpRequest) -> HttpResponse:
    """Return the results for the text `s` as a part of a page. Without a text, return the pages.

    The best results of each kind come first. Cost: eight statements.
    """
    term = request.GET.get("s", "").replace("\x00", "").strip()[:MAX_TERM]
    tenant_id = actor_of(request).tenant_id
    found = [("Pages", list(_pages(request, term)))]
    if term:
        named = named_rows(tenant_id=tenant_id, term=term, number=SHOWN)
        of_words = {title: [_named(model, row) for row in named[model]] for title, model in NAMED.items()}
        by_number = [("Incidents", of_words.pop("Incidents"))] if incident_number_of(term) else []
        found = [
            *by_number,
            ("Runs", list(_runs(tenant_id, term))),
            ("Definitions", of_words.pop("Definitions")),
            ("Events", list(_events(tenant_id, term))),
            *found,
            *of_words.items(),
        ]
    groups = [{"title": title, "results": results} for title, results in found if results]
    return TemplateResponse(request, "portal/frame/palette_results.html", {"groups": groups, "term": term})


def _pages(request: HttpRequest, term: str) -> Iterable[Result]:
    for group in navigation(request):
        for item in group["items"]:
            if term.casefold() in item["title"].casefold():
                yield Result(item["title"], group["title"], item["link"], item["icon"])
    actor = actor_of(request)
    for title, icon, name, needs in STEPS:
        if term and term.casefold() in title.casefold() and actor.has_role(needs):
            yield Result(title, "", reverse(name), icon)


def _runs(tenant_id: uuid.UUID, term: str) -> Iterable[Result]:
    for run in first_runs_by_term(tenant_id=tenant_id, term=term, number=SHOWN):
        note = f"{run['definition__name']}, version {run['version']}, started {_moment(run['created_at'])}"
        title, page = run["correlation_key"] or str(run["id"]), _page("run", run["id"])
        yield Result(title, note, page, "runs", run["status"], is_replay=run["replay_of"] is not None)


def _named(model: str, row: dict[str, Any]) -> Result:
    title = CommandAction(row["title"]).label if model in ("bulkjob", "command") else row["title"]
    return Result(str(title), row["note"], _page(model, row["id"]), ICONS[model])


def _events(tenant_id: uuid.UUID, term: str) -> Iterable[Result]:
    for event in first_events_by_term(tenant_id=tenant_id, term=term, rules=rules_of(tenant_id), number=SHOWN):
        outcome = shown_outcome(event["outcome"], event["buffered_until"]).label.lower()
        note = f"{event['event_type']}, {outcome}, received {_moment(event['received_at'])}"
        yield Result(event["event_id"], note, _page("event", event["id"]), "event")


def _moment(at: datetime) -> str:
    return f"{clock_text(at)} {zone_name(at)}"


def _page(model: str, row_id: Any) -> str:
    return reverse(f"admin:workflows_{model}_change", args=[row_id])

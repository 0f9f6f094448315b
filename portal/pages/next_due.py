"""The page "Next": everything that comes due, in the order of time. The dashboard shows its first rows.

Source: docs/reference/screens.md#next
"""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from portal.pages.attention import attempt_text, count_text
from workflows.admin.base import actor_of
from workflows.admin.list_filters import LIST_SECONDS, TOO_SLOW
from workflows.admin.live import live_page
from workflows.database_errors import is_canceled
from workflows.errors import unknown_name
from workflows.models import Definition
from workflows.models.statements import statement_limit
from workflows.selectors.due import KINDS, RETRY, due_counts, due_page
from workflows.selectors.keyset import KeysetPage
from workflows.selectors.retry_limits import Place, retry_limits
from workflows.selectors.schedules import DOUBT_WORDS
from workflows.selectors.versions import dashboard_version

PAGE_AGE_SECONDS = 15
PARAMETERS = ("kind", "definition", "at")
MOST_DEFINITIONS = 500
# The icon and the words of each source of rows.
WORDS = {
    "event": ("event", "Deadline"),
    "time": ("clock", "Timer"),
    "retry": ("retry", "Retry"),
    "quota": ("clock", "Next try"),
    "task": ("task", "Task due"),
    "schedule": ("replay", "Schedule"),
}
KIND_WORDS = {
    "deadline": ("event", "Deadlines"),
    "timer": ("clock", "Timers"),
    "retry": ("retry", "Retries"),
    "task": ("task", "Tasks"),
    "schedule": ("replay", "Schedules"),
}
_PAGES = {"task": "workflows_humantask_change", "schedule": "workflows_schedule_change"}


@live_page(dashboard_version, age_seconds=PAGE_AGE_SECONDS)
def next_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show what comes due. A parameter that cannot be read gives no rows, its problem, and status 400."""
    tenant_id = actor_of(request).tenant_id
    given = {name: request.GET.get(name, "") for name in PARAMETERS}
    problems = _problems(request, given["kind"])
    page, counts = KeysetPage([]), dict.fromkeys(KINDS, 0)
    if not problems:
        try:
            with statement_limit(LIST_SECONDS):
                page = due_page(tenant_id=tenant_id, **given)
                counts = due_counts(tenant_id=tenant_id, definition=given["definition"])
        except OperationalError as error:
            if not is_canceled(error):
                raise
            problems["definition"] = TOO_SLOW
    definitions = Definition.objects.filter(tenant_id=tenant_id, deleted_at__isnull=True).order_by("name")
    rows = list(page.rows)
    context = {
        **site.each_context(request),
        "title": "Next",
        "rows": due_rows(rows, retry_limits(retry_places(rows))),
        "chips": _chips(given, counts),
        "definitions": definitions.values_list("key", "name")[:MOST_DEFINITIONS],
        "given": given,
        "problems": problems,
        "page": page,
    }
    return TemplateResponse(request, "portal/next_page.html", context, status=400 if problems else 200)


def due_rows(rows: list[dict[str, Any]], limits: dict[Place, int]) -> list[dict[str, Any]]:
    """Return rows of `workflows.selectors.due` with `url`, `label`, `icon`, `words`, and the `doubt` in words.

    `limits` are the numbers of attempts of `retry_places`.
    """
    return [_row(row, limits.get(_place(row)) if row["kind"] == RETRY else None) for row in rows]


def retry_places(rows: list[dict[str, Any]]) -> list[Place]:
    """Return the place of each row that is a retry."""
    return [_place(row) for row in rows if row["kind"] == RETRY]


def _place(row: dict[str, Any]) -> Place:
    return uuid.UUID(row["version"]), row["path"]


def _row(row: dict[str, Any], limit: int | None) -> dict[str, Any]:
    icon, words = WORDS[row["kind"]]
    if row.get("attempt"):
        words = attempt_text(row["attempt"] + 1, limit).capitalize()
    page = _PAGES.get(row["kind"])
    url = reverse(f"admin:{page}", args=[row["id"]]) if page else _run_url(row["run"])
    label, doubt = row.get("key") or row["definition"], DOUBT_WORDS.get(row.get("doubt", ""), "")
    return {**row, "icon": icon, "words": words, "url": url, "label": label, "doubt": doubt}


def _run_url(run_id: str) -> str:
    return reverse("admin:workflows_run_change", args=[run_id])


def _problems(request: HttpRequest, kind: str) -> dict[str, str]:
    problems = {
        name[:100]: unknown_name(name, PARAMETERS, kind="filter") for name in request.GET if name not in PARAMETERS
    }
    if kind and kind not in KINDS:
        problems["kind"] = unknown_name(kind, tuple(KINDS), kind="kind")
    return problems


def _chips(given: dict[str, str], counts: dict[str, int]) -> list[dict[str, Any]]:
    numbers = {"": count_text(sum(counts.values())), **{kind: count_text(number) for kind, number in counts.items()}}
    words = {"": ("", "All"), **KIND_WORDS}
    return [
        {
            "word": word, "icon": icon, "number": numbers[kind], "is_chosen": given["kind"] == kind,
            "query": _query({"kind": kind, "definition": given["definition"]}),
        }
        for kind, (icon, word) in words.items()
    ]  # fmt: skip


def _query(given: dict[str, str]) -> str:
    return f"?{urlencode({name: value for name, value in given.items() if value})}"

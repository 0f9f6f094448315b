"""Template context of the list of tasks, and the check of its address."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from workflows.actors import Actor
from workflows.admin.base import actor_of
from workflows.admin.task_page import assignees_of, due_tone
from workflows.errors import unknown_name
from workflows.models import HumanTask
from workflows.selectors.keyset import POSITION_VAR, KeysetPage
from workflows.selectors.tasks import ALL, CLOSED, DECISIONS, DUE_SOON, PARTS, inbox_counts, inbox_page
from workflows.services.task_access import is_assignee

INBOX_PARAMETERS = ("show", "kind", "due", POSITION_VAR)


def inbox_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the list of tasks. `problems` has the error text for each wrong parameter."""
    actor = actor_of(request)
    part, kind, due, position = (request.GET.get(name, "") for name in INBOX_PARAMETERS)
    problems = {} if request.path.endswith("/change/") else _problems(request, part, kind, due)
    user_id = int(actor.id) if actor.kind == "user" else 0
    context: dict[str, Any] = {
        "problems": problems,
        "part": part or ALL,
        "kind": kind,
        "due": due,
        "page": KeysetPage([]),
    }
    filters = {"only_decisions": kind == DECISIONS, "only_due_soon": due == DUE_SOON}
    if not problems:
        context["page"] = inbox_page(
            tenant_id=actor.tenant_id, user_id=user_id, part=part if part in PARTS else ALL, at=position, **filters
        )
    counts = inbox_counts(tenant_id=actor.tenant_id, user_id=user_id, **filters)
    names = {"mine": "Mine", "unclaimed": "Unclaimed", "all": "All", CLOSED: "Closed"}
    context["parts"] = [{"value": value, "label": names[value], "count": counts.get(value, "")} for value in PARTS]
    kept = {name: value for name, value in (("kind", kind), ("due", due)) if value}
    context["kept"] = f"&{urlencode(kept)}" if kept else ""
    context["kept_place"] = f"&{urlencode({POSITION_VAR: position})}" if position else ""
    context["rows"] = [(task, due_tone(task), _for_whom(actor, task)) for task in context["page"].rows]
    return context


def _for_whom(actor: Actor, task: HumanTask) -> str:
    """Return the assignees of a task as a text. It is empty if the reader is one of them because of the own role."""
    return assignees_of(task) if task.assigned_users or not is_assignee(actor, task) else ""


def _problems(request: HttpRequest, part: str, kind: str, due: str) -> dict[str, str]:
    problems = {name: f"The inbox has no filter {name}." for name in request.GET if name not in INBOX_PARAMETERS}
    if part and part not in PARTS:
        problems["show"] = unknown_name(part, PARTS, kind="part")
    if kind not in ("", DECISIONS):
        problems["kind"] = unknown_name(kind, (DECISIONS,), kind="kind")
    if due not in ("", DUE_SOON):
        problems["due"] = unknown_name(due, (DUE_SOON,), kind="due time")
    return problems

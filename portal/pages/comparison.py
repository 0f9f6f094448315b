"""The page that compares all open runs and schedules with Temporal, and the line with the progress.

Source: docs/reference/authority.md#compare-all-now
"""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.admin.base import actor_of, error_text, role_problem
from workflows.admin.form_keys import key_of, once
from workflows.errors import PermissionRefused, PortalError
from workflows.models import Command
from workflows.services.comparison import MOST_COUNTED, PURPOSE, comparison_request, newest_comparison
from workflows.statuses import CommandState, Role


@dataclass(frozen=True)
class Comparison:
    """The newest comparison of a tenant. `tone` is that of its line; `text` has its numbers."""

    command: Command
    is_running: bool
    tone: str
    text: str


def comparison_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show what a comparison does, and request it on POST."""
    actor, back = actor_of(request), reverse("admin:health")
    if request.method == "POST":
        try:
            once(lambda: comparison_request(actor=actor, idempotency_key=key_of(request)))
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except PortalError as error:
            messages.error(request, error_text(error))
        else:
            messages.info(request, "The comparison is accepted. This page shows its progress.")
        return HttpResponseRedirect(back)
    context = {
        **site.each_context(request),
        "title": "Compare all with Temporal",
        "back": back,
        "newest": shown_comparison(actor.tenant_id),
        "why_not": role_problem(actor, Role.OPERATOR, to=PURPOSE),
    }
    return TemplateResponse(request, "portal/comparison.html", context)


def shown_comparison(tenant_id: uuid.UUID) -> Comparison | None:
    """Return the newest comparison as the pages show it, or None. Cost: one statement."""
    command = newest_comparison(tenant_id)
    if command is None:
        return None
    is_running = command.state == CommandState.ACCEPTED
    numbers = command.details
    different = numbers["different"] + numbers["schedulesDifferent"]
    has_failed = command.state == CommandState.FAILED
    is_whole = not has_failed and not numbers["notCompared"]
    tone = "blue" if is_running else "green" if is_whole and not different else "amber"
    return Comparison(command, is_running, "red" if has_failed else tone, _text(command, numbers, different))


def _text(command: Command, numbers: dict[str, Any], different: int) -> str:
    total = numbers["total"]
    of = f"{total:,}" if total <= MOST_COUNTED else f"{MOST_COUNTED:,}+"
    parts = [
        f"{numbers['compared']:,} of {of} open run{'' if total == 1 else 's'}"
        f" and {numbers['schedules']:,} schedule{'' if numbers['schedules'] == 1 else 's'} compared",
        f"{different:,} differed" if different else "no difference",
    ]
    if numbers["notCompared"]:
        parts.append(f"{numbers['notCompared']:,} could not be compared; the log of the Celery worker says why")
    if command.message:
        parts.append(command.message)
    return ". ".join(parts)

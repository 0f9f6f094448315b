"""Template filters and tags of the event pages."""

import re
from datetime import datetime
from functools import partial
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from ingress.explain.summary import span
from workflows.statuses import WaitStatus
from workflows.templatetags.screens import code_marks

register = template.Library()

SHOWN_ID = 24

_RUN = re.compile(r"\b([Rr]un) ([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@register.filter
def linked_runs(text: str, keys: dict[str, str]) -> SafeString:
    """Escape the text, render parts between backticks as code, and replace each `run ID` by a link to the run's page.

    The link shows the key of the run from `keys`, by run id, or the beginning of the id.
    """
    escaped = str(code_marks(text))
    return mark_safe(_RUN.sub(partial(_link, keys), escaped))  # noqa: S308  _link escapes the key


def _link(keys: dict[str, str], found: re.Match[str]) -> str:
    run_id = found.group(0).partition(" ")[2]
    address = reverse("admin:workflows_run_change", args=[run_id])
    return str(
        format_html(
            '<a class="pm-link" href="{}" title="{}">{} <bdi>{}</bdi></a>',
            address, run_id, found.group(1), keys.get(run_id) or found.group(2),
        )
    )  # fmt: skip


@register.filter
def near_miss_title(near_misses: list[dict[str, Any]]) -> str:
    """Return how many near misses are listed, and how many of them are open now. Routing keeps only the best waits."""
    count = len(near_misses)
    waiting = sum(near["wait_status"] == WaitStatus.WAITING for near in near_misses)
    if count == 1:
        return f"One {'open' if waiting else 'closed'} wait almost matched (near miss)"
    if waiting == count:
        return f"The {count} waits that matched best (near misses), all open"
    return f"The {count} waits that matched best (near misses), {waiting or 'none'} of them open"


@register.simple_tag
def field_label(path: str) -> str:
    """Return the name that forms use for a field of an event."""
    return "Correlation key" if path == "workflow_correlation_key" else path


@register.filter
def short_id(event_id: str) -> SafeString:
    """Shorten an event id to one line of a table. The full id is shown on hover and on the event's page."""
    shown = event_id if len(event_id) <= SHOWN_ID else f"{event_id[:8]}…{event_id[8 - SHOWN_ID :]}"
    return format_html('<span class="pm-nowrap" title="{}">{}</span>', event_id, shown)


@register.filter
def as_time(text: str) -> datetime | None:
    """Return the time of an entry of an attempt log, which is stored as ISO text."""
    return parse_datetime(text)


@register.filter
def thousands(count: int) -> str:
    return f"{count:,}"


@register.simple_tag
def countdown(until: datetime | None) -> SafeString | str:
    """Render the remaining time. countdown.js counts down from this value and does not use the browser's clock."""
    if until is None:
        return ""
    left = (until - timezone.now()).total_seconds()
    if left <= 0:
        return "over"
    return format_html('<span class="pm-countdown" data-seconds="{}">{} left</span>', f"{left:.1f}", span(left))

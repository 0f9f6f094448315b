"""Template tags of the run page. Source: docs/reference/screens.md#run-page"""

import re
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from workflows.json_numbers import write_json
from workflows.models.fields import short_id
from workflows.outline.axis import TimeAxis
from workflows.templatetags.times import time_element

register = template.Library()
_PARTS = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?')


@register.filter
def code_json(value: Any) -> SafeString:
    """Render a value as indented JSON in the colours of `code_text`. A text that looks like JSON is not indented."""
    is_text = isinstance(value, str) and value.startswith(("{", "["))
    return code_text(value if is_text else write_json(value, indent=2, ensure_ascii=False))


@register.filter
def code_text(text: str) -> SafeString:
    """Render a JSON text with a class for keys (`k`) and for texts (`s`)."""
    parts, last = [], 0
    for found in _PARTS.finditer(text):
        name = "k" if found.group(2) else "s"
        parts.append(str(escape(text[last : found.start()])))
        parts.append(f'<span class="{name}">{escape(found.group(1))}</span>{found.group(2) or ""}')
        last = found.end()
    parts.append(str(escape(text[last:])))
    return mark_safe("".join(parts))  # noqa: S308  each part is escaped above


@register.filter
def unlocalized(number: float) -> str:
    """Return a number for a style, with a point whatever the language of the page."""
    return f"{number:g}"


@register.simple_tag
def axis_time(axis: TimeAxis, at: datetime) -> SafeString:
    """Render a label of a time axis: the time of day, or the day if the axis is longer than that."""
    local = timezone.localtime(at)
    return time_element(at, f"{local.day} {local:%b}" if axis.shows_days else f"{local:%H:%M}")


@register.filter
def item_number(iteration: str) -> str:
    """Return an iteration as people count, from 1: `298` is `299`, and item 3 of item 2 is `2.3`."""
    return ".".join(str(int(index) + 1) for index in iteration.split("."))


register.filter("short_id", short_id)

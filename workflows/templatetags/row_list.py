"""Template tags of the lists that Django's changelist reads. Source: docs/reference/screens.md#look"""

from collections.abc import Iterator
from typing import Any

from django import template
from django.contrib.admin.utils import display_for_field, display_for_value, lookup_field
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.templatetags.unfold_list import result_headers

from workflows.templatetags.screens import icon

register = template.Library()
# Icon and tone of a state, by the type that `@display(label=...)` gives it.
LOOKS = {
    "success": ("ok", "green"),
    "info": ("check", "blue"),
    "warning": ("warn", "amber"),
    "danger": ("failed", "red"),
    "default": ("cancel", "grey"),
}
NO_VALUE = "–"


@register.simple_tag
def list_headers(cl: Any) -> list[dict[str, Any]]:
    """Return the column headers of a changelist.

    Shape: `{text, sortable, sorted, ascending, url_primary, url_toggle}`. The last four are set only if sortable.
    """
    return list(result_headers(cl))


@register.simple_tag
def list_rows(cl: Any) -> Iterator[dict[str, Any]]:
    """Yield `{address, cells}` for each row of a changelist. A cell is `{label, value}`. Its label is the header."""
    labels = [header["text"] for header in result_headers(cl)]
    for row in cl.result_list:
        values = (_cell(cl.model_admin, name, row) for name in cl.list_display)
        yield {
            "address": cl.url_for_result(row),
            "cells": [{"label": label, "value": value} for label, value in zip(labels, values, strict=True)],
        }


def _cell(model_admin: Any, name: str, row: Any) -> str:
    field, method, value = lookup_field(name, row, model_admin)
    if field is not None:
        return str(display_for_field(value, field, NO_VALUE)) if value not in ("", None) else NO_VALUE
    types = getattr(method, "label", None)
    if types:
        state, text = value if isinstance(value, tuple) else (value, value)
        return _state(types[state], text)
    return NO_VALUE if value == "" else str(display_for_value(value, NO_VALUE))


def _state(kind: str, text: str) -> SafeString:
    name, tone = LOOKS[kind]
    return format_html('<span class="pill c-{}">{}{}</span>', tone, icon(name), text[:1].upper() + text[1:])

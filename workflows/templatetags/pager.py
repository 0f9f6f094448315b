"""Links between the pages of a list. Source: docs/reference/screens.md#pages-of-lists"""

from typing import Any

from django import template
from django.contrib.admin.views.main import PAGE_VAR
from django.http import QueryDict

from workflows.selectors.keyset import POSITION_VAR, KeysetPage

register = template.Library()


@register.inclusion_tag("portal/_pager.html", takes_context=True)
def pager(
    context: Any, page: KeysetPage, noun: str = "rows", total: str = "", name: str = POSITION_VAR
) -> dict[str, Any]:
    """Render links to the first page and to the pages before and after. They keep all other parameters.

    `total` is the shown number of all rows. `name` is the parameter with the position, if a page has several lists.
    """
    query = context["request"].GET
    number = len(page.rows)
    return {
        "text": f"{number:,} of {total} {noun}" if total else f"{number:,} {noun}",
        "first": "" if page.is_first else _link(query, name, ""),
        "previous": _link(query, name, page.previous) if page.previous else "",
        "following": _link(query, name, page.following) if page.following else "",
    }


def _link(query: QueryDict, name: str, position: str) -> str:
    changed = query.copy()
    for parameter in (name, PAGE_VAR):
        changed.pop(parameter, None)
    if position:
        changed[name] = position
    return f"?{changed.urlencode()}"

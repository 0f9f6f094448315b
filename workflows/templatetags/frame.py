"""Template tags of the frame: the path of a page, and the initials of the signed-in user."""

from typing import Any

from django import template
from django.template import Context

from workflows.actors import person_name
from workflows.models import Run
from workflows.models.fields import short_id
from workflows.services.tenant_usage import Use, uses_of
from workflows.statuses import Role

register = template.Library()


@register.simple_tag(takes_context=True)
def limit_warnings(context: Context) -> list[Use]:
    """Return the limits of the tenant that are at 80 % or more. Only administrators see them. Cost: no statement."""
    actor = getattr(context["request"], "actor", None)
    if actor is None or not actor.has_role(Role.ADMIN):
        return []
    return [use for use in uses_of(context["request"].tenant) if use.level]


@register.simple_tag(takes_context=True)
def breadcrumb(context: Context) -> list[dict[str, Any]]:
    """Return the parts of the path to the page: `{title, link}`. The last part is the page itself.

    The path is the section and the item of the navigation. Below a list, it also has the title of the page. If the page
    goes back to the page of a row, the row is between the two. A view can give another path as `crumbs`, a list of
    pairs of title and address.
    """
    if given := context.get("crumbs"):
        return [{"title": title, "link": link} for title, link in given]
    path, title = context["request"].path, str(context.get("title") or "")
    for group in context.get("sidebar_navigation") or []:
        for item in group["items"]:
            if not item["active"]:
                continue
            if item["link"] != path:
                first = {"title": item["title"], "link": item["link"]}
                return [first, *_row(context, item["link"]), {"title": title, "link": ""}]
            section = [] if item["is_home"] else [{"title": group["title"], "link": ""}]
            return [*section, {"title": item["title"], "link": path}]
    return [{"title": title, "link": ""}]


def _row(context: Context, list_link: str) -> list[dict[str, Any]]:
    """Return the row whose page the address `back` shows, or nothing."""
    back = context.get("back")
    rows = (context.get(name) for name in ("definition", "run", "incident", "row"))
    row = next((found for found in rows if found), None)
    if not back or row is None or back.partition("?")[0] in (list_link, context["request"].path):
        return []
    title = getattr(row, "name", "") or getattr(row, "correlation_key", "")
    if not title:
        # A run without a key has a short name in its path, as on its own page, so that the path fits.
        title = f"{row.definition.name} {short_id(row.id)}" if isinstance(row, Run) else str(row)
    return [{"title": title, "link": back}]


register.filter(person_name)


@register.filter
def initials(user: Any) -> str:
    """Return the first letters of the user's names, or of the user name."""
    names = [user.first_name, user.last_name] if user.get_full_name() else [user.get_username()]
    return "".join(name[:1] for name in names).upper()

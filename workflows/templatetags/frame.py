"""Template tags of the frame: the path of a page, and the initials of the signed-in user."""

from typing import Any

from django import template
from django.template import Context

register = template.Library()


@register.simple_tag(takes_context=True)
def breadcrumb(context: Context) -> list[dict[str, Any]]:
    """Return the parts of the path to the page: `{title, link}`. The last part is the page itself.

    A view can give the path as `crumbs`, a list of pairs of title and address. Otherwise the path is the section and
    the item of the navigation, and below a list also the title of the page.
    """
    given = context.get("crumbs")
    if given:
        return [{"title": title, "link": link} for title, link in given]
    path, title = context["request"].path, str(context.get("title") or "")
    for group in context.get("sidebar_navigation") or []:
        for item in group["items"]:
            if not item["active"]:
                continue
            if item["link"] != path:
                return [{"title": item["title"], "link": item["link"]}, {"title": title, "link": ""}]
            section = [] if item["is_home"] else [{"title": group["title"], "link": ""}]
            return [*section, {"title": item["title"], "link": path}]
    return [{"title": title, "link": ""}]


@register.filter
def initials(user: Any) -> str:
    """Return the first letters of the user's names, or of the user name."""
    names = [user.first_name, user.last_name] if user.get_full_name() else [user.get_username()]
    return "".join(name[:1] for name in names).upper()

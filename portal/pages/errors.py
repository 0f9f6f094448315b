"""Pages for 400, 403, 404 and 500. A member sees them inside the frame, so the navigation stays.

Source: docs/reference/screens.md#all-screens
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

TITLES = {400: "Bad request", 403: "Not allowed", 404: "Not found"}
IN_FRAME, ALONE = "portal/error_in_frame.html", "portal/error_alone.html"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 400, exception)


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 403, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 404, exception)


def _page(request: HttpRequest, status: int, exception: Exception) -> HttpResponse:
    # The resolver puts a dictionary into its error, and an error without arguments has no reason to show.
    reason = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    context: dict[str, Any] = {"title": TITLES[status], "reason": reason, "layout": ALONE}
    if getattr(request, "actor", None) is None:  # a visitor, or an error before the session was read
        return HttpResponse(render_to_string(f"{status}.html", context), status=status)
    context |= {**admin.site.each_context(request), **context, "layout": IN_FRAME}
    return HttpResponse(render_to_string(f"{status}.html", context, request), status=status)

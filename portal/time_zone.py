"""Middleware: the time zone in which pages show times (docs/reference/screens.md#times).

The script `zone.js` writes the browser's time zone to a cookie. The user menu has a switch that shows UTC instead. The
cookies only choose how times are shown. The API always uses UTC.
"""

from collections.abc import Callable
from datetime import UTC, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

ZONE_COOKIE, UTC_COOKIE = "pointsman_zone", "pointsman_utc"
# An invitation says until when it can be used.
PAGES = ("/admin/", "/account/", "/invitation")


class TimeZoneMiddleware:
    """Activate the browser's time zone for the request of a page. Without a valid cookie, pages show UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        zone = zone_of(request) if request.path.startswith(PAGES) else UTC
        with timezone.override(zone):
            response = self.get_response(request)
            # A template response must be rendered before the zone is reset.
            if getattr(response, "is_rendered", True) is False:
                response.render()  # type: ignore[attr-defined]
            return response


def zone_of(request: HttpRequest) -> tzinfo:
    """Return the time zone that the cookies choose. An unknown zone is ignored and gives UTC."""
    name = request.COOKIES.get(ZONE_COOKIE, "")
    if UTC_COOKIE in request.COOKIES or name not in _known_zones():
        return UTC
    return ZoneInfo(name)


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())

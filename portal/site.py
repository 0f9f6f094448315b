"""The admin site: who may enter, and what the navigation shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from unfold.sites import UnfoldAdminSite


class PointsmanAdminSite(UnfoldAdminSite):
    """Every member of a tenant may enter; what they may do is asked of their role, not of Django's permissions."""

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and (getattr(request, "actor", None) is not None or request.user.is_superuser))


def environment_badge(request: HttpRequest) -> list[str] | None:
    return None if settings.PRODUCTION else ["Development", "info"]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    return []


def stylesheet(request: HttpRequest) -> str:
    return static("portal/portal.css")

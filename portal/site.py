"""The admin site: access, navigation and the choice of the tenant."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

from portal.middleware import SESSION_TENANT
from portal.pages.support import support_view

# Views of Django that the portal replaces: by no page at all, or by a page of `portal/sign_in/urls.py`.
REPLACED = ("view_on_site", "password_change", "password_change_done")
NO_TENANT = "You are not a member of any tenant. Ask an administrator to add you"


class PointsmanAdminSite(UnfoldAdminSite):
    """Admin site that every tenant member may open. The tenant role authorises actions. Django's permissions do not."""

    index_title = "Dashboard"

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and getattr(request, "actor", None) is not None)

    def get_urls(self) -> list[URLPattern]:
        return [
            path("sign-in-rules/", self.admin_view(sign_in_rules_page), name="sign_in_rules"),
            path("health/", self.admin_view(self.health), name="health"),
            path("health/compare/", self.admin_view(self.compare), name="compare"),
            path("next/", self.admin_view(self.next_due), name="next"),
            path("retention/", self.admin_view(retention_page), name="retention"),
            path("support/", self.admin_view(support_view), name="support"),
            # At this address, Django redirects to the page of a row on the public site. The portal has no such pages.
            path("r/<path:content_type_id>/<path:object_id>/", self.admin_view(no_such_page), name="view_on_site"),
            path("tenant/", self.admin_view(require_POST(choose_tenant)), name="choose_tenant"),
            *(url for url in super().get_urls() if getattr(url, "name", None) not in REPLACED),
        ]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send a visitor to the sign-in page of the portal, which is the only one.

        Errors: PermissionDenied for a signed-in user without a tenant. An administrator of a tenant must add them.
        """
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied(NO_TENANT)
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from allauth.account.views import logout  # models are not loaded yet when the site is created

        return require_POST(logout)(request)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the results of the command palette. Unfold's own search would share a cache between tenants."""
        from portal.pages.palette_search import palette_view  # models are not loaded yet when the site is created

        return palette_view(request)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the models of one app, and nothing for all apps.

        The portal has its own navigation. Django would read the permissions of the user with two statements a page.
        """
        return super().get_app_list(request, app_label) if app_label else []

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of every page. Only a page that shows `outages` reads the state of the servers."""
        from portal.pages.outages import outages  # models are not loaded yet when the site is created

        return {**super().each_context(request), "outages": SimpleLazyObject(outages)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from portal.pages.dashboard import dashboard_page  # models are not loaded yet when the site is created

        return dashboard_page(super().index, request)

    def health(self, request: HttpRequest) -> HttpResponse:
        from portal.pages.dashboard import health_page  # models are not loaded yet when the site is created

        return health_page(self, request)

    def compare(self, request: HttpRequest) -> HttpResponse:
        from portal.pages.comparison import comparison_view  # models are not loaded yet when the site is created

        return comparison_view(self, request)

    def next_due(self, request: HttpRequest) -> HttpResponse:
        from portal.pages.next_due import next_page  # models are not loaded yet when the site is created

        return next_page(self, request)


def sign_in_rules_page(request: HttpRequest) -> HttpResponse:
    from portal.pages.sign_in_rules import sign_in_rules_view  # models are not loaded yet when the site is created

    return sign_in_rules_view(request)


def retention_page(request: HttpRequest) -> HttpResponse:
    from portal.pages.retention import retention_view  # models are not loaded yet when the site is created

    return retention_view(request)


def no_such_page(request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponse:
    raise Http404("The portal has no pages of rows on another site.")


def choose_tenant(request: HttpRequest) -> HttpResponse:
    """Switch to another tenant of the user and return to the page `next`. POST fields: `tenant`, `next`."""
    wanted = request.POST.get("tenant", "")
    choices = {str(tenant.id): tenant for tenant in getattr(request, "tenant_choices", [])}
    if wanted in choices:
        request.session[SESSION_TENANT] = str(uuid.UUID(wanted))
    else:
        messages.error(request, "You are not a member of this tenant. Ask an administrator to add you.")
    back = request.POST.get("next", "")
    is_own_page = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    return HttpResponseRedirect(back if is_own_page else reverse("admin:index"))


def environment_badge(request: HttpRequest) -> list[str]:
    return ["Production", "danger"] if settings.PRODUCTION else ["Development", "info"]


def icon(request: HttpRequest) -> str:
    return static("portal/icon.svg")

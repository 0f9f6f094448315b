"""The admin site: access, navigation and the choice of the tenant."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

from portal.middleware import SESSION_TENANT
from portal.pages.support import support_view
from workflows.statuses import Role


class PointsmanAdminSite(UnfoldAdminSite):
    """Admin site that every tenant member may open. The tenant role authorises actions. Django's permissions do not."""

    index_title = "Dashboard"

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and getattr(request, "actor", None) is not None)

    def get_urls(self) -> list[URLPattern]:
        return [
            path("support/", self.admin_view(support_view), name="support"),
            # At this address, Django redirects to the page of a row on the public site. The portal has no such pages.
            path("r/<path:content_type_id>/<path:object_id>/", self.admin_view(no_such_page), name="view_on_site"),
            path("tenant/", self.admin_view(require_POST(choose_tenant)), name="choose_tenant"),
            *(url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site"),
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from portal.pages.dashboard import dashboard_context  # models are not loaded yet when the site is created

        return super().index(request, {**dashboard_context(request), **(extra_context or {})})


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


def environment_badge(request: HttpRequest) -> list[str] | None:
    return None if settings.PRODUCTION else ["Development", "info"]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    def item(title: str, icon: str, name: str) -> dict[str, Any]:
        return {"title": title, "icon": icon, "link": reverse(f"admin:{name}")}

    return [
        {
            "title": "Operate",
            "items": [
                item("Dashboard", "dashboard", "index"),
                item("Runs", "alt_route", "workflows_run_changelist"),
                item("Bulk jobs", "checklist", "workflows_bulkjob_changelist"),
                item("Tasks", "assignment", "workflows_humantask_changelist"),
                item("Events", "bolt", "workflows_event_changelist"),
                {
                    **item("Dead letters", "mark_email_unread", "workflows_eventdelivery_changelist"),
                    **dead_letters_badge(request),
                },
                item("My notifications", "notifications", "workflows_notification_changelist"),
            ],
        },
        {
            "title": "Author",
            "items": [
                item("Definitions", "account_tree", "workflows_definition_changelist"),
                item("Schedules", "schedule", "workflows_schedule_changelist"),
                item("Holiday calendars", "event_busy", "workflows_holidaycalendar_changelist"),
                item("Event catalogue", "menu_book", "workflows_eventtype_changelist"),
                item("Schemas", "data_object", "workflows_payloadschema_changelist"),
                item("Actions", "extension", "workflows_connector_catalogue"),
                # The address of the catalogue is below the address of the connectors.
                {
                    **item("Connectors", "hub", "workflows_connector_changelist"),
                    **({"active": False} if "/connector/catalogue/" in request.path else {}),
                },
            ],
        },
        {
            "title": "Audit",
            "items": [
                item("Command ledger", "gavel", "workflows_command_changelist"),
                item("What is supported", "help", "support"),
            ],
        },
        *administration(request),
    ]


def dead_letters_badge(request: HttpRequest) -> dict[str, Any]:
    """Return the number of dead deliveries for the navigation.

    Return an empty dictionary if there are no dead deliveries.
    """
    from ingress.dead_letters.selectors import MOST_COUNTED, dead_letter_count

    actor = getattr(request, "actor", None)
    dead = dead_letter_count(tenant_id=actor.tenant_id) if actor else 0
    return {"badge": dead if dead < MOST_COUNTED else f"{MOST_COUNTED}+"} if dead else {}


def administration(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the part of the navigation that only administrators see."""
    actor = getattr(request, "actor", None)
    if actor is None or not actor.has_role(Role.ADMIN):
        return []
    secrets = {"title": "Secrets", "icon": "key", "link": reverse("admin:workflows_secret_changelist")}
    redaction = {"title": "Redaction", "icon": "visibility_off", "link": reverse("admin:workflows_secret_redaction")}
    return [{"title": "Administer", "items": [secrets, redaction]}]


def icon(request: HttpRequest) -> str:
    return static("portal/icon.svg")


def forms_script(request: HttpRequest) -> str:
    return static("portal/forms.js")


def stylesheet(request: HttpRequest) -> str:
    return static("portal/portal.css")


def design_stylesheet(request: HttpRequest) -> str:
    return static("portal/design.css")

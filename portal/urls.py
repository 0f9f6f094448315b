from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views import defaults
from django.views.generic import RedirectView

from portal import health
from portal.pages import errors
from portal.pages.invitation import invitation_view
from workflows.api.errors import error_body

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/v1/", include(("portal.api", "api"))),
    path("account/", include("portal.sign_in.urls")),
    path("admin/", admin.site.urls),
    path("invitation", invitation_view, name="invitation"),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(
            error_body("NOT_FOUND", f"The API has no URL {request.path}. The list of URLs is at /api/v1/docs."),
            status=404,
        )
    return errors.not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(
            error_body(
                "INTERNAL_ERROR",
                "The portal failed because of an error in its code. The log of the web process has the details.",
            ),
            status=500,
        )
    return defaults.server_error(request)


handler400 = "portal.pages.errors.bad_request"
handler403 = "portal.pages.errors.not_allowed"
handler404 = "portal.urls.not_found"
handler500 = "portal.urls.server_error"

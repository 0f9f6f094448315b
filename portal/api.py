"""URLs of the REST API under `/api/v1/`."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", include("workflows.api.urls")),
    path("", include("ingress.api.urls")),
    path("schema", SpectacularAPIView.as_view(permission_classes=[], authentication_classes=[]), name="schema"),
    path(
        "docs",
        SpectacularSwaggerView.as_view(
            url_name="api:schema",
            template_name="portal/api_docs.html",
            permission_classes=[],
            authentication_classes=[],
            http_method_names=["get", "head"],
        ),
        name="docs",
    ),
]

"""Baseline of the REST benchmark: a DRF view that does one insert. It uses the settings and tokens of the portal."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.ROOT_URLCONF = __name__
application = get_wsgi_application()

from django.urls import path  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from workflows.models import OutboxEvent  # noqa: E402


class BareView(APIView):
    def post(self, request: Request) -> Response:
        row = OutboxEvent.objects.create(tenant_id=request.auth.tenant_id, envelope=request.data)
        return Response({"id": str(row.id)}, status=201)


urlpatterns = [path("api/v1/events", BareView.as_view())]

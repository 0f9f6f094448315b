"""REST API of bundles (docs/reference/language.md#bundles)."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import role_first
from workflows.api.bundle_serializers import (
    BundleExportQuerySerializer,
    BundleImportQuerySerializer,
    BundleImportResultSerializer,
)
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_export import BUNDLE_HEADERS, BUNDLE_TYPE, bundle_export
from workflows.services.bundle_import import ImportResult, bundle_import, bundle_preview, require_import_role
from workflows.services.idempotency import CommandRepeated


class BundleImport(CheckedView):
    """Import the definitions of a bundle."""

    query_parameters = ("dry_run", "publish", "partial", "force", "placeholders")

    @extend_schema(
        request=OpenApiTypes.OBJECT,
        responses={200: BundleImportResultSerializer},
        parameters=[BundleImportQuerySerializer, IDEMPOTENCY_HEADER],
    )
    def post(self, request: Request) -> Response:
        """Import a bundle, or return what an import would do. The body is the bundle."""
        actor = actor_of(self)
        with role_first(lambda: require_import_role(actor=actor)):
            document = request.data
            query = BundleImportQuerySerializer(data=request.query_params.dict())
            query.is_valid(raise_exception=True)
        chosen = dict(query.validated_data)
        is_dry_run = chosen.pop("dry_run")
        options = ImportOptions(**chosen)
        if is_dry_run:
            result = bundle_preview(actor=actor, document=document, options=options)
            return Response(_body(result, [vars(item) for item in result.imported], is_dry_run=True))
        key = request.headers.get("Idempotency-Key", "")
        try:
            result = bundle_import(actor=actor, document=document, options=options, idempotency_key=key)
        except CommandRepeated as repeated:
            stored = (repeated.command.details or {})["imported"]
            return Response(_body(ImportResult([], command=repeated.command), stored, is_dry_run=False))
        return Response(_body(result, [vars(item) for item in result.imported], is_dry_run=False))


def _body(result: ImportResult, imported: list[dict[str, Any]], *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": is_dry_run,
        "accepted": result.is_accepted,
        "command_id": None if result.command is None else str(result.command.id),
        "workflows": [{name: value for name, value in item.items() if name != "unchanged"} for item in imported],
    }


class BundleExport(CheckedView):
    """Return definitions with their drafts and versions as a bundle."""

    query_parameters = ("keys", "with_children")

    @extend_schema(responses={200: OpenApiTypes.OBJECT}, parameters=[BundleExportQuerySerializer])
    def get(self, request: Request) -> HttpResponse:
        query = BundleExportQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        keys = query.validated_data["keys"]
        text = bundle_export(
            actor=actor_of(self),
            keys=None if keys is None else [key.strip() for key in keys.split(",") if key.strip()],
            with_children=query.validated_data["with_children"],
        )
        return HttpResponse(text, content_type=BUNDLE_TYPE, headers=BUNDLE_HEADERS)

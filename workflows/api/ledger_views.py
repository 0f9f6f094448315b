"""REST API of signed exports of the command ledger (docs/reference/authority.md#signed-export)."""

import uuid
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Command
from workflows.services.ledger_export import (
    export_lines,
    export_signature,
    ledger_export_create,
    ledger_export_find,
    require_export_role,
)

LINES, SIGNATURE = "application/jsonl", "application/json"


class LedgerExportCreateSerializer(KnownFieldsSerializer):
    since = serializers.DateTimeField(required=False, allow_null=True, default=None)
    until = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="before this time")
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class LedgerExportSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Id of the row in the ledger.")
    manifest = serializers.JSONField(help_text="First line of the file.")
    signature = serializers.JSONField(help_text="Content of the signature file.")


class LedgerExportCreate(CheckedView):
    @extend_schema(
        request=LedgerExportCreateSerializer, responses={201: LedgerExportSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Sign an export of the ledger for a period. `/commands/exports/{id}` returns its lines."""
        actor = actor_of(self)
        body = read_body(LedgerExportCreateSerializer, request, lambda: require_export_role(actor=actor))
        key = request.headers.get("Idempotency-Key", "")
        export = ledger_export_create(actor=actor, idempotency_key=key, **body)
        return Response({"id": str(export.id), **(export.details or {})}, status=status.HTTP_201_CREATED)


class LedgerExportFile(CheckedView):
    @extend_schema(responses={(200, LINES): OpenApiTypes.STR})
    def get(self, request: Request, pk: uuid.UUID) -> StreamingHttpResponse:
        """Return the file of an export as JSON lines. The response is streamed."""
        return file_response(ledger_export_find(actor=actor_of(self), export_id=pk))


class LedgerExportSignature(CheckedView):
    @extend_schema(responses={(200, SIGNATURE): OpenApiTypes.STR})
    def get(self, request: Request, pk: uuid.UUID) -> HttpResponse:
        """Return the detached signature of an export."""
        return signature_response(ledger_export_find(actor=actor_of(self), export_id=pk))


def file_response(export: Command) -> StreamingHttpResponse:
    name = f"ledger-{export.id}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(export_lines(export), content_type=LINES, headers=headers)


def signature_response(export: Command) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="ledger-{export.id}.jsonl.sig"'}
    return HttpResponse(export_signature(export), content_type=SIGNATURE, headers=headers)

"""The registry of payload schemas over HTTP (docs/reference/screens.md#other-screens, docs/reference/api.md#scope)."""

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body, role_first
from workflows.api.payload_schema_serializers import (
    PayloadSchemaDetailSerializer,
    PayloadSchemaFieldsSerializer,
    PayloadSchemaSerializer,
    SavedPayloadSchemaSerializer,
)
from workflows.api.scope import TenantScoped, actor_of
from workflows.models import PayloadSchema
from workflows.services.schemas import SavedSchema, require_schema_role, schema_delete, schema_find, schema_save


class PayloadSchemaList(TenantScoped, generics.ListAPIView):
    model = PayloadSchema
    newest_first = ("ref",)
    serializer_class = PayloadSchemaSerializer

    @extend_schema(request=PayloadSchemaFieldsSerializer, responses={201: SavedPayloadSchemaSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        asked = read_body(PayloadSchemaFieldsSerializer, request, lambda: require_schema_role(actor=actor))
        return _answer(schema_save(actor=actor, must_be_new=True, **asked))


class PayloadSchemaDetail(TenantScoped, generics.RetrieveAPIView):
    model = PayloadSchema
    serializer_class = PayloadSchemaDetailSerializer

    def get_object(self) -> PayloadSchema:
        return schema_find(tenant_id=actor_of(self).tenant_id, ref=self.kwargs["ref"])

    @extend_schema(
        request=PayloadSchemaFieldsSerializer,
        responses={200: SavedPayloadSchemaSerializer, 201: SavedPayloadSchemaSerializer},
    )
    def put(self, request: Request, ref: str) -> Response:
        """In the place of the schema under this name, or new."""
        actor = actor_of(self)
        with role_first(lambda: require_schema_role(actor=actor, ref=ref)):
            sent = request.data if isinstance(request.data, dict) else {}
            if sent.get("ref", ref) != ref:
                raise ValidationError({"ref": [f"must be {ref!r}, as in the address, or left out"]})
            body = PayloadSchemaFieldsSerializer(data={**sent, "ref": ref})
            body.is_valid(raise_exception=True)
        return _answer(schema_save(actor=actor, **body.validated_data))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, ref: str) -> Response:
        schema_delete(actor=actor_of(self), ref=ref)
        return Response(status=204)


def _answer(saved: SavedSchema) -> Response:
    shown = SavedPayloadSchemaSerializer(saved.row, context={"warnings": saved.warnings})
    return Response(shown.data, status=201 if saved.is_new else 200)

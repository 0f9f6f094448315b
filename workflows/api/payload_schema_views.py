"""REST API of payload schemas (docs/reference/api.md#scope)."""

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
    SchemaCheckSerializer,
    SchemaImpactSerializer,
)
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.models import PayloadSchema
from workflows.services.schemas import (
    SavedSchema,
    require_schema_role,
    schema_check,
    schema_delete,
    schema_find,
    schema_save,
)


class PayloadSchemaList(TenantScoped, generics.ListAPIView):
    """Return the payload schemas of the tenant, by name."""

    model = PayloadSchema
    row_order = ("ref",)
    serializer_class = PayloadSchemaSerializer

    @extend_schema(request=PayloadSchemaFieldsSerializer, responses={201: SavedPayloadSchemaSerializer})
    def post(self, request: Request) -> Response:
        """Create a payload schema."""
        actor = actor_of(self)
        body = read_body(PayloadSchemaFieldsSerializer, request, lambda: require_schema_role(actor=actor))
        return _saved(schema_save(actor=actor, must_be_new=True, **body))


class PayloadSchemaDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a payload schema and the definitions and event types that use it."""

    model = PayloadSchema
    serializer_class = PayloadSchemaDetailSerializer

    def get_object(self) -> PayloadSchema:
        return schema_find(tenant_id=actor_of(self).tenant_id, ref=self.kwargs["ref"])

    @extend_schema(
        request=PayloadSchemaFieldsSerializer,
        responses={200: SavedPayloadSchemaSerializer, 201: SavedPayloadSchemaSerializer},
    )
    def put(self, request: Request, ref: str) -> Response:
        """Replace the payload schema with this name, or create it."""
        actor = actor_of(self)
        with role_first(lambda: require_schema_role(actor=actor, ref=ref)):
            sent = request.data if isinstance(request.data, dict) else {}
            if sent.get("ref", ref) != ref:
                raise ValidationError({"ref": [f"Must be {ref!r}, as in the URL. Or leave the field out."]})
            body = PayloadSchemaFieldsSerializer(data={**sent, "ref": ref})
            body.is_valid(raise_exception=True)
        return _saved(schema_save(actor=actor, **body.validated_data))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, ref: str) -> Response:
        """Delete a payload schema that nothing uses."""
        schema_delete(actor=actor_of(self), ref=ref)
        return Response(status=204)


class PayloadSchemaCheck(CheckedView):
    """Return what a new text of a payload schema would break. Nothing is stored."""

    @extend_schema(request=SchemaCheckSerializer, responses=SchemaImpactSerializer)
    def post(self, request: Request, ref: str) -> Response:
        tenant_id = actor_of(self).tenant_id
        body = read_body(SchemaCheckSerializer, request, lambda: schema_find(tenant_id=tenant_id, ref=ref))
        return Response(SchemaImpactSerializer(schema_check(tenant_id=tenant_id, ref=ref, schema=body["schema"])).data)


def _saved(saved: SavedSchema) -> Response:
    shown = SavedPayloadSchemaSerializer(saved.row, context={"warnings": saved.warnings})
    return Response(shown.data, status=201 if saved.is_new else 200)

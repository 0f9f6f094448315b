"""REST API of identity providers, for administrators only (docs/reference/sign-in.md#openid-connect)."""

from contextlib import suppress

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import IdentityProvider
from workflows.services.idempotency import CommandRepeated
from workflows.services.identity_providers import (
    ProviderFields,
    identity_provider_delete,
    identity_provider_save,
    require_provider_role,
)
from workflows.statuses import CommandAction, Role


class IdentityProviderSerializer(serializers.ModelSerializer[IdentityProvider]):
    class Meta:
        model = IdentityProvider
        fields = (
            "id", "name", "issuer", "client_id", "secret_name", "group_claim", "roles", "extra_scopes", "is_active",
            "created_at",
        )  # fmt: skip


class IdentityProviderSaveSerializer(KnownFieldsSerializer):
    issuer = serializers.CharField(help_text="`issuer` of the provider's configuration. It never changes.")
    client_id = serializers.CharField()
    secret_name = serializers.CharField(help_text="Name of the secret of the tenant with the client secret.")
    group_claim = serializers.CharField(required=False, default="groups")
    roles = serializers.DictField(child=serializers.CharField(), help_text="Role of each group.")
    extra_scopes = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        default=list,
        help_text="Scopes that the portal requests besides openid, profile and email, for example groups.",
    )
    is_active = serializers.BooleanField(required=False, default=True)


class IdentityProviderList(TenantScoped, generics.ListAPIView):
    """Return the identity providers of the tenant. Only administrators may call it."""

    model = IdentityProvider
    row_order = ("name", "id")
    serializer_class = IdentityProviderSerializer

    def get_queryset(self) -> QuerySet[IdentityProvider]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see identity providers")
        return super().get_queryset()


class IdentityProviderDetail(CheckedView):
    @extend_schema(
        request=IdentityProviderSaveSerializer,
        responses={200: IdentityProviderSerializer, 201: IdentityProviderSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def put(self, request: Request, name: str) -> Response:
        """Create or change an identity provider."""
        actor = actor_of(self)
        body = read_body(
            IdentityProviderSaveSerializer,
            request,
            lambda: require_provider_role(actor=actor, action=CommandAction.SAVE_IDENTITY_PROVIDER),
        )
        key = request.headers.get("Idempotency-Key", "")
        try:
            row, is_new = identity_provider_save(
                actor=actor, name=name, fields=ProviderFields(**body), idempotency_key=key
            )
        except CommandRepeated:
            row, is_new = IdentityProvider.objects.get(tenant_id=actor.tenant_id, name=name), False
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(IdentityProviderSerializer(row).data, status=code)

    @extend_schema(responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, name: str) -> Response:
        """Delete an identity provider. Its accounts stay, and nobody can sign in through it."""
        key = request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            identity_provider_delete(actor=actor_of(self), name=name, idempotency_key=key)
        return Response(status=status.HTTP_204_NO_CONTENT)

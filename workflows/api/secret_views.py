"""REST API of secrets and redaction rules, for administrators only. No response contains the value of a secret.

Source: docs/reference/administration.md#tenants-and-roles
"""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import NotFound
from workflows.models import Secret
from workflows.redaction import BUILT_IN
from workflows.secret_encryption import has_key
from workflows.services.redaction_rules import redaction_rules_of, redaction_rules_save, require_redaction_role
from workflows.services.secrets import require_secret_role, secret_delete, secret_save
from workflows.statuses import CommandAction, Role


class SecretSerializer(serializers.ModelSerializer[Secret]):
    replaced_at = serializers.DateTimeField(source="rotated_at", help_text="Time of the last replacement of the value.")
    created_by = serializers.CharField(source="created_by_name")
    readable = serializers.SerializerMethodField(help_text="True if the portal has the key that encrypts the secret.")

    class Meta:
        model = Secret
        fields = ("name", "description", "created_by", "created_at", "replaced_at", "last_used_at", "readable")

    def get_readable(self, secret: Secret) -> bool:
        return has_key(secret.key_id)


class SecretSaveSerializer(serializers.Serializer[Any]):
    """Fields of a secret.

    The service checks the value, because an error message of this serializer would repeat the value.
    """

    value = serializers.JSONField(
        write_only=True, help_text="Text of 4 to 65,536 characters. The portal never shows it again."
    )
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="Absent: the description does not change."
    )


class SecretList(TenantScoped, generics.ListAPIView):
    """Return the names and times of all secrets of the tenant. Only administrators may call it."""

    model = Secret
    row_order = ("name",)
    serializer_class = SecretSerializer

    def get_queryset(self) -> QuerySet[Secret]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see the names of secrets")
        return super().get_queryset()


class SecretDetail(CheckedView):
    """Return the name and the times of a secret. Only administrators may call it."""

    @extend_schema(responses=SecretSerializer)
    def get(self, request: Request, name: str) -> Response:
        actor = actor_of(self)
        actor.require(Role.ADMIN, to="see the names of secrets")
        secret = Secret.objects.filter(tenant_id=actor.tenant_id, name=name).first()
        if secret is None:
            raise NotFound(f"The tenant has no secret with the name {name}.", code="SECRET_NOT_FOUND")
        return Response(SecretSerializer(secret).data)

    @extend_schema(request=SecretSaveSerializer, responses={200: SecretSerializer, 201: SecretSerializer})
    def put(self, request: Request, name: str) -> Response:
        """Create a secret, or replace its value."""
        actor = actor_of(self)
        body = read_body(
            SecretSaveSerializer,
            request,
            lambda: require_secret_role(actor=actor, name=name, action=CommandAction.SAVE_SECRET),
        )
        secret, is_new = secret_save(
            actor=actor, name=name, value=body["value"], description=body.get("description")
        )  # fmt: skip
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(SecretSerializer(secret).data, status=code)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Delete a secret. Actions that use it fail until it is saved again."""
        secret_delete(actor=actor_of(self), name=name)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RedactionSerializer(serializers.Serializer[Any]):
    rules = serializers.JSONField(
        help_text="List of JSON pointers such as `/payload/card/number`, and of key patterns such as `*iban*`."
    )
    built_in = serializers.ListField(
        read_only=True, child=serializers.CharField(), help_text="Key patterns that always apply."
    )


class RedactionRules(CheckedView):
    """Return the redaction rules of the tenant. Only administrators may call it."""

    @extend_schema(responses=RedactionSerializer)
    def get(self, request: Request) -> Response:
        return self._shown(redaction_rules_of(actor=actor_of(self)))

    @extend_schema(request=RedactionSerializer, responses=RedactionSerializer)
    def put(self, request: Request) -> Response:
        """Replace the redaction rules of the tenant."""
        actor = actor_of(self)
        body = read_body(RedactionSerializer, request, lambda: require_redaction_role(actor=actor))
        return self._shown(redaction_rules_save(actor=actor, rules=body["rules"]))

    def _shown(self, rules: list[str]) -> Response:
        return Response({"rules": rules, "built_in": list(BUILT_IN)})

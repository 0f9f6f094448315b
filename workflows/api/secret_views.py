"""Secrets over HTTP (docs/reference/administration.md#tenants-and-roles): their names and times, never a value; and the redaction rules. For administrators only."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows.api.bodies import read_body
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import NotFound
from workflows.models import Secret
from workflows.redaction import BUILT_IN
from workflows.secret_encryption import can_open
from workflows.services.redaction_rules import redaction_rules_of, redaction_rules_save, require_redaction_role
from workflows.services.secrets import require_secret_role, secret_delete, secret_save
from workflows.statuses import CommandAction, Role


class SecretSerializer(serializers.ModelSerializer[Secret]):
    replaced_at = serializers.DateTimeField(source="rotated_at", help_text="When its value was last replaced.")
    created_by = serializers.CharField(source="created_by_name")
    readable = serializers.SerializerMethodField(help_text="Whether this process has the key it is encrypted under.")

    class Meta:
        model = Secret
        fields = ("name", "description", "created_by", "created_at", "replaced_at", "last_used_at", "readable")

    def get_readable(self, secret: Secret) -> bool:
        return can_open(secret.key_id)


class SecretSaveSerializer(serializers.Serializer[Any]):
    """Checked by the service, which repeats nothing of the value."""

    value = serializers.JSONField(
        write_only=True, help_text="A text of 4 to 65,536 characters. It is never shown again."
    )
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="Left out: as it was."
    )


class SecretList(TenantScoped, generics.ListAPIView):
    model = Secret
    newest_first = ("name",)
    serializer_class = SecretSerializer

    def get_queryset(self) -> QuerySet[Secret]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see the names of secrets")
        return super().get_queryset()


class SecretDetail(APIView):
    @extend_schema(responses=SecretSerializer)
    def get(self, request: Request, name: str) -> Response:
        actor = actor_of(self)
        actor.require(Role.ADMIN, to="see the names of secrets")
        secret = Secret.objects.filter(tenant_id=actor.tenant_id, name=name).first()
        if secret is None:
            raise NotFound(f"there is no secret {name}", code="SECRET_NOT_FOUND")
        return Response(SecretSerializer(secret).data)

    @extend_schema(request=SecretSaveSerializer, responses={200: SecretSerializer, 201: SecretSerializer})
    def put(self, request: Request, name: str) -> Response:
        actor = actor_of(self)
        asked = read_body(
            SecretSaveSerializer,
            request,
            lambda: require_secret_role(actor=actor, name=name, action=CommandAction.SAVE_SECRET),
        )
        secret, is_new = secret_save(
            actor=actor, name=name, value=asked["value"], description=asked.get("description")
        )  # fmt: skip
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(SecretSerializer(secret).data, status=code)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        secret_delete(actor=actor_of(self), name=name)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RedactionSerializer(serializers.Serializer[Any]):
    rules = serializers.JSONField(
        help_text="JSON pointers such as `/payload/card/number`, patterns of keys such as `*iban*`."
    )
    built_in = serializers.ListField(
        read_only=True, child=serializers.CharField(), help_text="Patterns that always hold."
    )


class RedactionRules(APIView):
    @extend_schema(responses=RedactionSerializer)
    def get(self, request: Request) -> Response:
        return self._shown(redaction_rules_of(actor=actor_of(self)))

    @extend_schema(request=RedactionSerializer, responses=RedactionSerializer)
    def put(self, request: Request) -> Response:
        actor = actor_of(self)
        asked = read_body(RedactionSerializer, request, lambda: require_redaction_role(actor=actor))
        return self._shown(redaction_rules_save(actor=actor, rules=asked["rules"]))

    def _shown(self, rules: list[str]) -> Response:
        return Response({"rules": rules, "built_in": list(BUILT_IN)})

"""REST API of API tokens, for administrators only. A token is in a response once, when it was created.

Source: docs/reference/api.md#authentication
"""

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.actors import Actor
from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.models import ApiToken
from workflows.selectors.people import with_roles_now
from workflows.services.tokens import (
    MAX_NAME_LENGTH,
    MAX_OVERLAP,
    MAX_RATE_PER_MINUTE,
    TokenFields,
    require_token_role,
    token_create,
    token_revoke,
    token_rotate,
)
from workflows.statuses import CommandAction, Role
from workflows.token_scopes import SCOPES

TOKEN_FIELDS: tuple[str, ...] = (
    "id", "name", "role", "role_now", "scopes", "prefix", "rate_limit_per_minute", "created_by", "created_at",
    "expires_at", "revoked_at", "last_used_at",
)  # fmt: skip


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    scopes = serializers.ListField(
        child=serializers.CharField(), help_text="Empty: everything that the role of the token may do."
    )
    created_by = serializers.CharField(source="created_by.username", default=None)
    role_now = serializers.CharField(
        read_only=True, allow_null=True, help_text="No higher than the role of its person. null: the person has left."
    )

    class Meta:
        model = ApiToken
        fields = TOKEN_FIELDS


class NewTokenSerializer(TokenSerializer):
    """A token that was just created. `token` is shown only in this response."""

    token = serializers.SerializerMethodField(help_text="Value for `Authorization: Bearer`. It cannot be read again.")

    class Meta(TokenSerializer.Meta):
        fields = (*TOKEN_FIELDS, "token")

    def get_token(self, row: ApiToken) -> str:
        return str(self.context["token"])


class TokenCreateSerializer(KnownFieldsSerializer):
    name = serializers.CharField(max_length=MAX_NAME_LENGTH, help_text="The program that uses the token.")
    role = serializers.ChoiceField(choices=Role.choices)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), required=False, default=list, help_text="Empty: the whole role."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    rate_limit_per_minute = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=MAX_RATE_PER_MINUTE
    )


class TokenRotateSerializer(KnownFieldsSerializer):
    overlap_seconds = serializers.IntegerField(
        required=False,
        default=3600,
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()),
        help_text="Time for which the old token stays valid.",
    )


class TokenRevokeSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class TokenList(TenantScoped, generics.ListAPIView):
    """Return the API tokens of the tenant, without their values. Only administrators may call it."""

    model = ApiToken
    row_order = ("-created_at", "-id")
    related = ("created_by",)
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see tokens")
        return super().get_queryset()

    def paginate_queryset(self, queryset: Any) -> Any:
        return with_roles_now(super().paginate_queryset(queryset) or [])

    @extend_schema(request=TokenCreateSerializer, responses={201: NewTokenSerializer})
    def post(self, request: Request) -> Response:
        """Create a token. Its value is only in this response, so a repeat creates another token."""
        actor = actor_of(self)
        body = _checked_body(TokenCreateSerializer, request, actor, CommandAction.CREATE_TOKEN)
        fields = TokenFields(**{**body, "role": Role(body["role"])})
        row, token = token_create(actor=actor, fields=fields, created_by_id=_user_id(request))
        return _created(row, token)


class TokenRotate(CheckedView):
    @extend_schema(request=TokenRotateSerializer, responses={201: NewTokenSerializer})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Create a token with the same properties. The old token stays valid for the overlap."""
        actor = actor_of(self)
        body = _checked_body(TokenRotateSerializer, request, actor, CommandAction.ROTATE_TOKEN, pk)
        row, token = token_rotate(
            actor=actor,
            token_id=pk,
            overlap=timedelta(seconds=body["overlap_seconds"]),
            created_by_id=_user_id(request),
        )
        return _created(row, token)


class TokenRevoke(CheckedView):
    @extend_schema(request=TokenRevokeSerializer, responses=TokenSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Revoke a token at once."""
        actor = actor_of(self)
        body = _checked_body(TokenRevokeSerializer, request, actor, CommandAction.REVOKE_TOKEN, pk)
        row = token_revoke(actor=actor, token_id=pk, reason=body["reason"])
        return Response(TokenSerializer(*with_roles_now([row])).data)


def _checked_body(
    kind: type[KnownFieldsSerializer],
    request: Request,
    actor: Actor,
    action: CommandAction,
    token_id: uuid.UUID | None = None,
) -> dict[str, Any]:
    return read_body(kind, request, lambda: require_token_role(actor=actor, action=action, token_id=token_id))


def _user_id(request: Request) -> int | None:
    """Return the person of the session, or the person of the token that sends the request.

    So a token that a token has created ends together with the membership of its person.
    """
    token: ApiToken | None = getattr(request.user, "token", None)
    pk: Any = request.user.pk if token is None else token.created_by_id
    return pk


def _created(row: ApiToken, token: str) -> Response:
    shown = NewTokenSerializer(*with_roles_now([row]), context={"token": token})
    return Response(shown.data, status=status.HTTP_201_CREATED)

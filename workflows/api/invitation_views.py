"""REST API of invitations to a tenant, for administrators only (docs/reference/administration.md#invitations).

No response contains the link of an invitation. Only its e-mail does.
"""

import uuid
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
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Invitation
from workflows.services.idempotency import CommandRepeated
from workflows.services.invitations import (
    invitation_create,
    invitation_resend,
    invitation_revoke,
    require_invitation_role,
)
from workflows.statuses import CommandAction, Role


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = (
            "id", "email", "role", "created_by_name", "created_at", "sent_at", "expires_at", "accepted_at",
            "accepted_by_name", "revoked_at",
        )  # fmt: skip


class InvitationCreateSerializer(KnownFieldsSerializer):
    email = serializers.CharField(max_length=254, help_text="Address of the person. The link is sent to it.")
    role = serializers.ChoiceField(choices=Role.choices)


class InvitationResendSerializer(KnownFieldsSerializer):
    """A request without fields."""


class InvitationRevokeSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class InvitationList(TenantScoped, generics.ListAPIView):
    """Return the invitations of the tenant. Only administrators may call it."""

    model = Invitation
    row_order = ("-created_at", "-id")
    serializer_class = InvitationSerializer

    def get_queryset(self) -> QuerySet[Invitation]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see invitations")
        return super().get_queryset()

    @extend_schema(
        request=InvitationCreateSerializer, responses={201: InvitationSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Invite a person by e-mail. If the e-mail cannot be sent, nothing is stored."""
        actor = actor_of(self)
        body = _checked_body(InvitationCreateSerializer, request, actor, CommandAction.INVITE_MEMBER)
        email = body["email"]
        try:
            row = invitation_create(actor=actor, email=email, role=Role(body["role"]), idempotency_key=_key(request))
        except CommandRepeated as repeat:
            row = _row(actor, (repeat.command.details or {})["invitationId"])
        return Response(InvitationSerializer(row).data, status=status.HTTP_201_CREATED)


class InvitationResend(CheckedView):
    @extend_schema(request=InvitationResendSerializer, responses=InvitationSerializer, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Send the e-mail again with a new link and a new time of expiry. The earlier link ends."""
        actor = actor_of(self)
        _checked_body(InvitationResendSerializer, request, actor, CommandAction.RESEND_INVITATION, pk)
        try:
            row = invitation_resend(actor=actor, invitation_id=pk, idempotency_key=_key(request))
        except CommandRepeated:
            row = _row(actor, pk)
        return Response(InvitationSerializer(row).data)


class InvitationRevoke(CheckedView):
    @extend_schema(request=InvitationRevokeSerializer, responses=InvitationSerializer, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """End an invitation at once."""
        actor = actor_of(self)
        body = _checked_body(InvitationRevokeSerializer, request, actor, CommandAction.REVOKE_INVITATION, pk)
        reason, key = body["reason"], _key(request)
        try:
            row = invitation_revoke(actor=actor, invitation_id=pk, reason=reason, idempotency_key=key)
        except CommandRepeated:
            row = _row(actor, pk)
        return Response(InvitationSerializer(row).data)


def _checked_body(
    kind: type[KnownFieldsSerializer],
    request: Request,
    actor: Actor,
    action: CommandAction,
    invitation_id: uuid.UUID | None = None,
) -> dict[str, Any]:
    return read_body(
        kind,
        request,
        lambda: require_invitation_role(actor=actor, action=action, invitation_id=invitation_id),
    )


def _key(request: Request) -> str:
    return request.headers.get("Idempotency-Key", "")


def _row(actor: Actor, pk: uuid.UUID | str) -> Invitation:
    return Invitation.objects.get(tenant_id=actor.tenant_id, id=pk)

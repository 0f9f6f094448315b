"""REST API of the members of a tenant, for administrators only (docs/reference/administration.md#members)."""

from contextlib import suppress

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView, WholeNumberFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import TenantMembership
from workflows.selectors.people import MOST_DAYS, absent_members
from workflows.services.idempotency import CommandRepeated
from workflows.services.members import member_remove, member_save, require_member_role
from workflows.statuses import CommandAction, Role


class MemberSerializer(serializers.ModelSerializer[TenantMembership]):
    username = serializers.CharField(source="user.username")
    email = serializers.CharField(source="user.email")
    is_active = serializers.BooleanField(source="user.is_active", help_text="False: the account was deactivated.")
    last_sign_in_at = serializers.DateTimeField(source="user.last_login", allow_null=True, help_text="Null: never.")

    class Meta:
        model = TenantMembership
        fields = ("username", "email", "is_active", "role", "may_see_payloads", "created_at", "last_sign_in_at")


class MemberFilter(django_filters.FilterSet):
    absent_days = WholeNumberFilter(
        method="by_absence",
        max_value=MOST_DAYS,
        help_text="Only members who have not signed in for this many days. Without a sign-in, the membership counts.",
    )

    class Meta:
        model = TenantMembership
        fields: list[str] = []

    def by_absence(self, rows: QuerySet[TenantMembership], _name: str, value: int) -> QuerySet[TenantMembership]:
        return absent_members(rows, days=value)


class MemberSaveSerializer(KnownFieldsSerializer):
    role = serializers.ChoiceField(choices=Role.choices)
    may_see_payloads = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Absent: it does not change."
    )


class MemberList(TenantScoped, generics.ListAPIView):
    """Return the members of the tenant with their roles. Only administrators may call it."""

    model = TenantMembership
    row_order = ("created_at", "id")
    related = ("user",)
    serializer_class = MemberSerializer
    filterset_class = MemberFilter

    def get_queryset(self) -> QuerySet[TenantMembership]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see members")
        return super().get_queryset()


class MemberDetail(CheckedView):
    @extend_schema(
        request=MemberSaveSerializer,
        responses={200: MemberSerializer, 201: MemberSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def put(self, request: Request, username: str) -> Response:
        """Change the role of a member. A session of a superuser also adds an existing account."""
        actor = actor_of(self)
        body = read_body(
            MemberSaveSerializer,
            request,
            lambda: require_member_role(actor=actor, action=CommandAction.SAVE_MEMBER, username=username),
        )
        try:
            member, is_new = member_save(
                actor=actor,
                username=username,
                role=Role(body["role"]),
                may_see_payloads=body["may_see_payloads"],
                idempotency_key=request.headers.get("Idempotency-Key", ""),
            )
        except CommandRepeated:
            member, is_new = TenantMembership.objects.get(tenant_id=actor.tenant_id, user__username=username), False
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(MemberSerializer(member).data, status=code)

    @extend_schema(responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, username: str) -> Response:
        """End a membership. Tokens of this tenant that the person created are revoked."""
        key = request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            member_remove(actor=actor_of(self), username=username, idempotency_key=key)
        return Response(status=status.HTTP_204_NO_CONTENT)

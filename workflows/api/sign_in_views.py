"""REST API of sign-in, for administrators only: the audit log and the rules (docs/reference/sign-in.md)."""

from contextlib import suppress

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView, MomentFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import SignInRecord
from workflows.services.idempotency import CommandRepeated
from workflows.services.sign_in_rules import require_rules_role, second_factor_is_required, second_factor_require
from workflows.sign_in_kinds import SignInKind
from workflows.statuses import Role


class SignInSerializer(serializers.ModelSerializer[SignInRecord]):
    class Meta:
        model = SignInRecord
        fields = ("id", "at", "kind", "method", "account_name", "by_name", "detail", "address", "user_agent")


class SignInFilter(django_filters.FilterSet):
    kind = django_filters.ChoiceFilter(choices=SignInKind.choices)
    account = django_filters.CharFilter(field_name="account_name")
    at_after = MomentFilter(field_name="at", lookup_expr="gte")
    at_before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = SignInRecord
        fields: list[str] = []


class SignInList(TenantScoped, generics.ListAPIView):
    """Return the sign-ins of the accounts of the tenant, newest first. Only administrators may call it."""

    model = SignInRecord
    serializer_class = SignInSerializer
    filterset_class = SignInFilter

    def get_queryset(self) -> QuerySet[SignInRecord]:
        if not getattr(self, "swagger_fake_view", False):
            actor_of(self).require(Role.ADMIN, to="see sign-ins")
        return super().get_queryset()


class SignInRulesSerializer(KnownFieldsSerializer):
    second_factor_required = serializers.BooleanField(
        help_text="True: a member without a second factor can open no page of the tenant. Tokens are not affected."
    )


class SignInRules(CheckedView):
    """Return the rules of the tenant for sign-in. Only administrators may call it."""

    @extend_schema(responses=SignInRulesSerializer)
    def get(self, request: Request) -> Response:
        return Response({"second_factor_required": second_factor_is_required(actor=actor_of(self))})

    @extend_schema(request=SignInRulesSerializer, responses=SignInRulesSerializer, parameters=[IDEMPOTENCY_HEADER])
    def put(self, request: Request) -> Response:
        """Replace the rules of the tenant for sign-in. They apply to the next request of each member."""
        actor = actor_of(self)
        body = read_body(SignInRulesSerializer, request, lambda: require_rules_role(actor=actor))
        key = request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            second_factor_require(actor=actor, is_required=body["second_factor_required"], idempotency_key=key)
        return Response({"second_factor_required": second_factor_is_required(actor=actor)})

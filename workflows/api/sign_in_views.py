"""REST API of the audit log of sign-ins, for administrators only (docs/reference/sign-in.md#audit-log)."""

import django_filters
from django.db.models import QuerySet
from rest_framework import generics, serializers

from workflows.api.query import MomentFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.models import SignInRecord
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

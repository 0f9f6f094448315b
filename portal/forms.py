"""Signing in: every active member of a tenant, whatever Django's staff flag says."""

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from workflows.models import TenantMembership
from workflows.tenancy import Scope, scope_of


class MemberAuthenticationForm(AuthenticationForm):
    def confirm_login_allowed(self, user: Any) -> None:
        if not user.is_active:
            raise ValidationError("This account is switched off.", code="inactive")
        if not (user.is_superuser or _is_member(user)):
            raise ValidationError("You are not a member of any tenant; an administrator can add you.", code="no_tenant")


def _is_member(user: Any) -> bool:
    with scope_of(Scope(user=str(user.pk))):
        return TenantMembership.objects.filter(user=user, tenant__is_active=True).exists()

"""Sign-in form. Every active tenant member may sign in; Django's staff flag is not used."""

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from workflows.models import TenantMembership
from workflows.tenancy import Scope, scope_of


class MemberAuthenticationForm(AuthenticationForm):
    def confirm_login_allowed(self, user: Any) -> None:
        if not user.is_active:
            raise ValidationError("This account is inactive. Ask an administrator to activate it.", code="inactive")
        if not (user.is_superuser or _is_member(user)):
            raise ValidationError(
                "You are not a member of any tenant. Ask an administrator to add you.", code="no_tenant"
            )


def _is_member(user: Any) -> bool:
    with scope_of(Scope(user=str(user.pk))):
        return TenantMembership.objects.filter(user=user, tenant__is_active=True).exists()

"""Base of the pages that only administrators of the tenant may open: tokens and members."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from workflows.admin.base import TenantAdmin, actor_of
from workflows.errors import PermissionRefused
from workflows.statuses import Role


class AdministratorsAdmin(TenantAdmin):
    """Admin of rows that only the role admin may see.

    `purpose`: the words after "may not" in a refusal, for example `manage tokens`. `require_role`: the check of the
    service, which records a refused POST in the command ledger.
    """

    purpose: str
    require_role: Any

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        actor = getattr(request, "actor", None)
        return actor is not None and actor.has_role(Role.ADMIN)

    has_add_permission = has_view_permission

    def require_admin(self, request: HttpRequest, action: Any) -> None:
        """Errors: PermissionDenied. An administrator of the tenant can give the role."""
        actor = actor_of(request)
        if actor.has_role(Role.ADMIN):
            return
        try:
            if request.method == "POST":
                type(self).require_role(actor=actor, action=action)
            actor.require(Role.ADMIN, to=self.purpose)
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error

"""Middleware: the current tenant of the user."""

import uuid
from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse

from workflows.actors import Actor, person_name
from workflows.api.errors import error_body
from workflows.models import Tenant, TenantMembership
from workflows.statuses import CommandSource, Role
from workflows.tenancy import NO_SCOPE, Scope, enter_scope, scope_of
from workflows.tenant_starts import maintenance_of, with_maintenance

SESSION_TENANT = "tenant_id"
# Tenant of a session that an identity provider opened. The session opens no other tenant.
ONLY_TENANT = "only_tenant_id"
WITHOUT_TENANT = ("/healthz", "/readyz", "/metrics", "/static/")
# A POST to these addresses has the same effect in every tenant.
IN_ANY_TENANT = ("/account/", "/admin/logout/", "/admin/login/", "/admin/tenant/", "/invitation")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
GetResponse = Callable[[HttpRequest], HttpResponse]


class CurrentTenantMiddleware:
    """Set `request.tenant`, `.tenant_choices`, `.maintenance` and `.actor` for a signed-in user.

    The session stores which tenant the user has chosen. Without a choice, the tenant is the user's first tenant by
    name. A superuser also works in one tenant at a time, with the role ADMIN.

    If the membership in the chosen tenant has ended, the first request that would change something is refused. A form
    that was loaded in one tenant is never carried out in another one.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.tenant = request.actor = None  # type: ignore[attr-defined]
        request.maintenance = None  # type: ignore[attr-defined]
        request.tenant_choices = []  # type: ignore[attr-defined]
        with scope_of(NO_SCOPE):  # no tenant is visible until the user is known
            if request.user.is_authenticated and not request.path.startswith(WITHOUT_TENANT):
                is_same = _choose_tenant(request)
                if not is_same and request.method not in SAFE_METHODS and not request.path.startswith(IN_ANY_TENANT):
                    return _refused(request)
            return self.get_response(request)


def _refused(request: HttpRequest) -> HttpResponse:
    """Errors: PermissionDenied for a page. The next request is carried out in the tenant that is now chosen."""
    why = (
        "You are no longer a member of the tenant that you had chosen, or it was closed. Nothing was changed. The"
        " portal now shows another tenant of yours, or none"
    )
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("TENANT_LEFT", f"{why}."), status=403)
    raise PermissionDenied(why)


def _choose_tenant(request: HttpRequest) -> bool:
    """Return False if the tenant that the session had chosen is no longer a choice of the user."""
    user = request.user
    if user.pk is None:
        return True
    with scope_of(Scope(user=str(user.pk))):
        memberships = {
            row.tenant_id: row
            for row in with_maintenance(TenantMembership.objects.select_related("tenant"))
            .filter(user_id=user.pk, tenant__is_active=True)
            .order_by("tenant__name")
        }
    choices = [row.tenant for row in memberships.values()]
    only = request.session.get(ONLY_TENANT)
    if only is not None:  # the administrators of this tenant control its provider, so it opens no rights of superusers
        choices = [tenant for tenant in choices if str(tenant.id) == only and not user.is_superuser]
    elif user.is_superuser:
        with scope_of(Scope(superuser=str(user.pk))):
            choices = list(with_maintenance(Tenant.objects.filter(is_active=True)).order_by("name"))
    chosen = request.session.get(SESSION_TENANT)
    if not choices:
        return chosen is None
    found = next((choice for choice in choices if str(choice.id) == chosen), None)
    tenant = found or choices[0]
    if found is None and (chosen or len(choices) > 1):
        request.session[SESSION_TENANT] = str(tenant.id)
    membership = memberships.get(tenant.id)
    role = Role(membership.role) if membership else Role.ADMIN
    request.tenant, request.tenant_choices = tenant, choices  # type: ignore[attr-defined]
    row = tenant if user.is_superuser else membership
    request.maintenance = maintenance_of(tenant, row)  # type: ignore[attr-defined]
    enter_scope(Scope(tenant=str(tenant.id), superuser=str(user.pk) if user.is_superuser else ""))
    request.actor = Actor(  # type: ignore[attr-defined]
        "user",
        str(user.pk),
        person_name(user),
        uuid.UUID(str(tenant.id)),
        role,
        CommandSource.API if request.path.startswith("/api/") else CommandSource.ADMIN,
        may_see_payloads=bool(membership and membership.may_see_payloads),
        is_superuser=user.is_superuser,
        username=user.get_username(),
    )
    return found is not None or chosen is None

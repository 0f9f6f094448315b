"""Middleware: the current tenant of the user."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from workflows.actors import Actor
from workflows.models import Tenant, TenantMembership
from workflows.statuses import CommandSource, Role
from workflows.tenancy import NO_SCOPE, Scope, enter_scope, scope_of

SESSION_TENANT = "tenant_id"
WITHOUT_TENANT = ("/healthz", "/readyz", "/metrics", "/static/")
GetResponse = Callable[[HttpRequest], HttpResponse]


class CurrentTenantMiddleware:
    """Set `request.tenant`, `request.tenant_choices` and `request.actor` for a signed-in user.

    The session stores which tenant the user has chosen. Without a choice, the tenant is the user's first tenant by
    name. A superuser also works in one tenant at a time, with the role ADMIN.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.tenant = request.actor = None  # type: ignore[attr-defined]
        request.tenant_choices = []  # type: ignore[attr-defined]
        with scope_of(NO_SCOPE):  # no tenant is visible until the user is known
            if request.user.is_authenticated and not request.path.startswith(WITHOUT_TENANT):
                _choose_tenant(request)
            return self.get_response(request)


def _choose_tenant(request: HttpRequest) -> None:
    user = request.user
    if user.pk is None:
        return
    with scope_of(Scope(user=str(user.pk))):
        memberships = {
            row.tenant_id: row
            for row in TenantMembership.objects.select_related("tenant")
            .filter(user_id=user.pk, tenant__is_active=True)
            .order_by("tenant__name")
        }
    choices = [row.tenant for row in memberships.values()]
    if user.is_superuser:
        choices = list(Tenant.objects.filter(is_active=True).order_by("name"))
    if not choices:
        return
    chosen = request.session.get(SESSION_TENANT)
    tenant = next((choice for choice in choices if str(choice.id) == chosen), choices[0])
    membership = memberships.get(tenant.id)
    role = Role(membership.role) if membership else Role.ADMIN
    request.tenant, request.tenant_choices = tenant, choices  # type: ignore[attr-defined]
    enter_scope(Scope(tenant=str(tenant.id)))
    request.actor = Actor(  # type: ignore[attr-defined]
        "user",
        str(user.pk),
        user.get_username(),
        uuid.UUID(str(tenant.id)),
        role,
        CommandSource.API if request.path.startswith("/api/") else CommandSource.ADMIN,
        may_see_payloads=bool(membership and membership.may_see_payloads),
    )

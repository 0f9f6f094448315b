"""Middleware: the limit of the request body, and the current tenant of the user."""

import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from workflows.actors import Actor
from workflows.api.errors import error_body
from workflows.models import Tenant, TenantMembership
from workflows.statuses import CommandSource, Role
from workflows.tenancy import NO_SCOPE, Scope, enter_scope, scope_of

SESSION_TENANT = "tenant_id"
GetResponse = Callable[[HttpRequest], HttpResponse]


class BodySizeLimitMiddleware:
    """Refuse a body over the limit with status 413, before any code reads it into memory.

    The limit is REQUEST_MAX_BYTES. The URL for batches of events accepts EVENT_BATCH_MAX_BYTES; its view then checks
    the limit of a single event.
    """

    BATCH_PATH = "/api/v1/events"
    DRAINED_BYTES = 32 * 1024 * 1024

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.headers.get("Content-Length") or "0"
        limit = settings.REQUEST_MAX_BYTES
        if request.path == self.BATCH_PATH:
            limit = max(limit, settings.EVENT_BATCH_MAX_BYTES)
        if length.isdecimal() and int(length) > limit:
            self._drain(request, int(length))
            return JsonResponse(
                error_body(
                    "PAYLOAD_TOO_LARGE",
                    f"The body has {length} bytes. At most {limit} are allowed.",
                    {"bytes": int(length), "limit": limit},
                ),
                status=413,
            )
        return self.get_response(request)

    def _drain(self, request: HttpRequest, length: int) -> None:
        """Read the rest of the body. A client that is still sending would otherwise see a reset connection."""
        if length > self.DRAINED_BYTES:
            return
        while request.read(65536):
            pass


class CurrentTenantMiddleware:
    """Set `request.tenant`, `request.tenant_choices` and `request.actor` for a signed-in user.

    The tenant is the one chosen in the session, otherwise the first by name. A superuser also works in one tenant at a
    time, with the role ADMIN.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.tenant = request.actor = None  # type: ignore[attr-defined]
        request.tenant_choices = []  # type: ignore[attr-defined]
        with scope_of(NO_SCOPE):  # no tenant until the user is known; the scope ends with the request
            if request.user.is_authenticated and not request.path.startswith(("/healthz", "/readyz", "/static/")):
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

"""Authentication of the API. A client uses a bearer token, and a member uses a session.

In both cases, `request.auth` is an `Actor`. Only this actor determines the tenant of the request.
Source: docs/reference/api.md#authentication
"""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from workflows.actors import Actor
from workflows.models import ApiToken
from workflows.selectors.people import token_roles_now
from workflows.services.tokens import token_hash
from workflows.statuses import CommandSource
from workflows.tenancy import Scope, enter_scope, scope_of

SCHEME = "Bearer"


class TokenUser(AnonymousUser):
    """User of a request with a token. This user is authenticated, but has no account in the portal."""

    def __init__(self, token: ApiToken) -> None:
        super().__init__()
        self.token = token
        self.scopes: list[str] = token.scopes

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        return True


class TokenAuthentication(BaseAuthentication):
    """Bearer token of an API client."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        """Return the user and the actor of a token, or None for a request without a token.

        The actor has the role of the token, but no higher one than the person of the token has now.

        Errors: AuthenticationFailed for an unknown, revoked or expired token, and for a token of an account that was
        deactivated or has left the tenant. The API client must act.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME.lower():
            return None
        wanted = token_hash(token.strip())
        with scope_of(Scope(token_hash=wanted)):
            row = ApiToken.objects.select_related("tenant", "created_by").filter(token_hash=wanted).first()
        now = timezone.now()
        if row is not None and row.revoked_at is None and not row.tenant.is_active:
            raise AuthenticationFailed(
                f"The tenant {row.tenant.name} is closed. A superuser of the portal can open it.", code="TENANT_CLOSED"
            )
        if row is None or row.revoked_at is not None:
            raise AuthenticationFailed(
                "The token is unknown or revoked. Create a new token in the portal.", code="TOKEN_INVALID"
            )
        if row.created_by is not None and not row.created_by.is_active:
            raise AuthenticationFailed(
                f"The account {row.created_by.get_username()} of this token is deactivated. Create a new token in the"
                " portal.",
                code="TOKEN_INVALID",
            )
        if row.expires_at is not None and row.expires_at <= now:
            raise AuthenticationFailed(
                f"The token expired at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC. Create a new token in the portal.",
                code="TOKEN_EXPIRED",
            )
        enter_scope(Scope(tenant=str(row.tenant_id)))
        role = token_roles_now([row])[row.id]
        if role is None:
            raise AuthenticationFailed(
                f"The account {row.created_by} of this token is no longer a member of {row.tenant.name}. Create a new"
                " token in the portal.",
                code="TOKEN_INVALID",
            )
        if row.last_used_at is None or (now - row.last_used_at).total_seconds() > 60:
            ApiToken.objects.filter(id=row.id).update(last_used_at=now)
        actor = Actor("token", str(row.id), row.name, row.tenant_id, role, CommandSource.API)
        return TokenUser(row), actor

    def authenticate_header(self, request: Request) -> str:
        return SCHEME


class TenantSessionAuthentication(SessionAuthentication):
    """Session of a member. The tenant is the tenant that the member chose in the portal."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        actor = getattr(request._request, "actor", None)
        if actor is None:
            raise PermissionDenied("You are not a member of any tenant. Ask an administrator to add you.")
        return found[0], actor

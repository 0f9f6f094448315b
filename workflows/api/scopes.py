"""Check of the scopes of API tokens (docs/reference/api.md#scopes).

The area of a scope follows from the first part of the address. GET needs the scope `AREA:read`. All other methods need
`AREA:write`, except those that change nothing. A token without scopes may do everything that its role may do. A session
has no scopes.
"""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from workflows.errors import PermissionRefused
from workflows.token_scopes import AREAS

# Names of addresses whose POST changes nothing. `run-verify` needs `runs:write` for a repair.
READING = frozenset(
    {
        "definition-validate",
        "event-types-what-if",
        "event-what-if",
        "expression-evaluate",
        "language-validate",
        "ledger-exports",
        "payload-schema-check",
        "run-verify",
        "schedule-preview",
    }
)
_ROOT = "api/v1/"


def needed_scope(*, route: str, name: str, method: str) -> str:
    """Return the scope that a request needs. `route` and `name` are those of Django's resolver match."""
    area = AREAS[route.removeprefix(_ROOT).split("/", 1)[0]]
    return f"{area}:read" if method in SAFE_METHODS or name in READING else f"{area}:write"


def require_scope(request: Request, scope: str) -> None:
    """Refuse a token that has scopes, but not this one.

    Errors: PermissionRefused. An administrator of the tenant must create a token with the scope.
    """
    scopes = getattr(request.user, "scopes", ())
    if scopes and scope not in scopes:
        raise PermissionRefused(
            f"the token has the scopes {', '.join(scopes)}; this request needs the scope {scope}. An administrator can"
            " create a token with this scope",
            code="SCOPE_MISSING",
            details={"needed": scope, "scopes": list(scopes)},
        )


class HasScope(BasePermission):
    """Permission of every view of the API. It checks the scopes of the token."""

    def has_permission(self, request: Request, view: Any) -> bool:
        match = request.resolver_match
        assert match is not None, "Django sets the resolver match before it calls a view."
        require_scope(request, needed_scope(route=match.route, name=match.url_name or "", method=request.method or ""))
        return True

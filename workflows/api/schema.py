"""OpenAPI descriptions: the two authentication schemes, and the scope that a token needs for each operation.

The import of this module registers the schemes.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.urls import URLPattern, get_resolver
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from workflows.api.scopes import needed_scope


class ScopedSchema(AutoSchema):
    """Description of an operation. Its property `x-required-scope` and its text name the scope."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is not None:
            route = path_regex.removeprefix("/")
            scope = needed_scope(route=route, name=_names()[route], method=method)
            operation["x-required-scope"] = scope
            text = f"A token with scopes needs `{scope}`."
            operation["description"] = "\n\n".join(filter(None, [operation.get("description"), text]))
        return operation


@cache
def _names() -> dict[str, str]:
    """Return the name of each route."""
    return dict(_named_routes(get_resolver().url_patterns, ""))


def _named_routes(patterns: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            yield route, pattern.name or ""
        else:
            yield from _named_routes(pattern.url_patterns, route)


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "workflows.api.authentication.TokenAuthentication"
    name = "bearer token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "API token. It determines the tenant."}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "workflows.api.authentication.TenantSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Session of a tenant member."}

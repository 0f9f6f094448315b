"""OpenAPI descriptions of the two authentication schemes. The import of this module registers them."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension


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

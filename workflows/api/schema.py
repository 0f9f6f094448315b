"""How OpenAPI describes our two ways to sign in. drf-spectacular finds these classes once the module is imported."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "workflows.api.authentication.TokenAuthentication"
    name = "bearer token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token of the portal; the tenant is the token's."}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "workflows.api.authentication.TenantSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A member who is signed in."}

"""Names of the scopes of API tokens: an area of the API, and `read` or `write` (docs/reference/api.md#scopes)."""

from workflows.errors import InputInvalid, unknown_name

# First part of an address below /api/v1/, and its area.
AREAS = {
    "actions": "definitions",
    "bulk": "runs",
    "bundles": "definitions",
    "commands": "ledger",
    "comparison": "runs",
    "connectors": "administration",
    "definition-examples": "definitions",
    "definitions": "definitions",
    "deliveries": "events",
    "event-types": "definitions",
    "events": "events",
    "expressions": "runs",
    "holiday-calendars": "schedules",
    "identity-providers": "administration",
    "incidents": "runs",
    "invitations": "administration",
    "language": "definitions",
    "maintenance": "administration",
    "members": "administration",
    "redaction-rules": "administration",
    "retention": "administration",
    "runs": "runs",
    "schedules": "schedules",
    "schemas": "definitions",
    "secrets": "administration",
    "sign-in-rules": "administration",
    "sign-ins": "ledger",
    "tasks": "tasks",
    "tenants": "administration",
    "tokens": "administration",
}
ONLY_READ = ("ledger",)
SCOPES = tuple(
    f"{area}:{kind}"
    for area in sorted(set(AREAS.values()))
    for kind in ("read", "write")
    if kind == "read" or area not in ONLY_READ
)


def require_known_scopes(scopes: list[str]) -> None:
    """Errors: InputInvalid for the first unknown scope. The administrator must correct it."""
    for scope in scopes:
        if scope not in SCOPES:
            raise InputInvalid(
                f"{scope!r} is not a scope. {unknown_name(scope, SCOPES, kind='scope')}", code="SCOPE_UNKNOWN"
            )

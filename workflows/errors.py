"""Errors that a service raises, as API, admin and commands show them (docs/reference/api.md#errors): a code, a sentence, details, a status."""

from typing import Any


class PortalError(Exception):
    """`{"error": {"code", "message", "details"}}` with an HTTP status. The sentence says who must do what."""

    status = 400
    code = "VALIDATION_ERROR"

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, Any] | None = None) -> None:
        self.message = message
        self.code = code or self.code
        self.details = details or {}
        super().__init__(message)

    def as_body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class InputInvalid(PortalError):
    """Whoever sent it must change it."""


class PermissionRefused(PortalError):
    status = 403
    code = "PERMISSION_DENIED"


class NotFound(PortalError):
    status = 404
    code = "NOT_FOUND"


class Conflict(PortalError):
    """The state of the target, or Temporal, does not allow it."""

    status = 409
    code = "CONFLICT"


class DependencyDown(PortalError):
    """An operator must see to a server. Nothing but the ledger was written."""

    status = 503
    code = "DEPENDENCY_UNAVAILABLE"

"""Errors that a service raises: a code, a message, details and an HTTP status (docs/reference/api.md#errors).

The API, the admin and the management commands show these errors. Any other exception is a bug of the portal.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class PortalError(Exception):
    """Refusal of a request. The message says what happened, why, and what the caller or operator must do."""

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
    """Invalid request. The sender must change the request."""


class PermissionRefused(PortalError):
    """Missing permission. An administrator of the tenant must give the permission."""

    status = 403
    code = "PERMISSION_DENIED"


class NotFound(PortalError):
    """Target that does not exist in the actor's tenant."""

    status = 404
    code = "NOT_FOUND"


class Conflict(PortalError):
    """Request that Temporal or the state of the target does not allow."""

    status = 409
    code = "CONFLICT"


class DependencyDown(PortalError):
    """Failure of a server that the portal needs.

    An operator must restore this server. Only the command ledger was written.
    """

    status = 503
    code = "DEPENDENCY_UNAVAILABLE"


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> str:
    """Return the error text for a name that does not exist. The text suggests the nearest known name."""
    near = difflib.get_close_matches(name[:100], sorted(known), n=1)
    return f"This {kind} does not exist." + (f" Did you mean {near[0]}?" if near else "")

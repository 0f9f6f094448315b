"""Error responses of the API: `{"error": {"code", "message", "details"}}` (docs/reference/api.md#errors)."""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from workflows.database_errors import is_canceled, is_data_error
from workflows.errors import PortalError

logger = logging.getLogger(__name__)

_CODES: dict[type[Exception], str] = {
    exceptions.ParseError: "BODY_INVALID",
    exceptions.NotAuthenticated: "NOT_AUTHENTICATED",
    exceptions.AuthenticationFailed: "TOKEN_INVALID",
    exceptions.PermissionDenied: "PERMISSION_DENIED",
    exceptions.NotFound: "NOT_FOUND",
    exceptions.MethodNotAllowed: "METHOD_NOT_ALLOWED",
    exceptions.NotAcceptable: "NOT_ACCEPTABLE",
    exceptions.UnsupportedMediaType: "MEDIA_TYPE_UNSUPPORTED",
    exceptions.Throttled: "TOO_MANY_REQUESTS",
}


def error_body(code: str, message: str, details: Any = None) -> dict[str, Any]:
    """Return the body of an error response."""
    return {"error": {"code": code, "message": message, "details": details or {}}}


def exception_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response for an error, or None for a bug, which Django reports with status 500.

    This is the exception handler of Django REST framework.
    """
    set_rollback()
    if isinstance(error, PortalError):
        wait = getattr(error, "retry_after", None)
        return Response(error.as_body(), status=error.status, headers={"Retry-After": str(wait)} if wait else None)
    if isinstance(error, Http404):
        error = exceptions.NotFound("No row with this id or name exists in your tenant.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, DatabaseError) and is_data_error(error):
        logger.warning("PostgreSQL refused a value of a request: %s", error)
        message = "A value is too long, or PostgreSQL cannot store it. Nothing was stored. Correct the request."
        return Response(error_body("VALIDATION_ERROR", message), status=400)
    elif isinstance(error, OperationalError) and is_canceled(error):
        logger.error("PostgreSQL stopped a statement of a request at its time limit: %s", error)
        message = (
            "The database needed too long for this request. Nothing was stored. Use narrower filters, or repeat it."
        )
        return Response(error_body("DATABASE_UNAVAILABLE", message), status=503)
    elif isinstance(error, OperationalError | InterfaceError):
        logger.error("The database is unreachable: %s", error)
        message = "The database is unreachable. Nothing was stored. Send the request again later."
        return Response(error_body("DATABASE_UNAVAILABLE", message), status=503)
    if isinstance(error, exceptions.ValidationError):
        return Response(
            error_body("VALIDATION_ERROR", "The request is invalid. See details.fields.", {"fields": error.detail}),
            status=error.status_code,
        )
    if isinstance(error, exceptions.APIException):
        return _api_exception(error)
    return None


def _api_exception(error: exceptions.APIException) -> Response:
    codes = error.get_codes()
    own = codes if isinstance(codes, str) and codes.isupper() else None
    response = Response(
        error_body(own or _CODES.get(type(error), "REQUEST_REFUSED"), str(error.detail)), status=error.status_code
    )
    header = getattr(error, "auth_header", None)
    if header:
        response["WWW-Authenticate"] = header
    wait = getattr(error, "wait", None)
    if wait:
        response["Retry-After"] = str(int(wait))
    return response

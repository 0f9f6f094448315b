"""Every error of the API in one shape: `{"error": {"code", "message", "details"}}` (docs/reference/api.md#errors)."""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from workflows.database_errors import is_of_the_data
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
    return {"error": {"code": code, "message": message, "details": details or {}}}


def exception_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None: a bug, which Django answers with 500."""
    set_rollback()
    if isinstance(error, PortalError):
        return Response(error.as_body(), status=error.status)
    if isinstance(error, Http404):
        error = exceptions.NotFound("there is no such thing here")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, DatabaseError) and is_of_the_data(error):
        logger.warning("a value cannot be stored: %s", error)
        return Response(error_body("VALIDATION_ERROR", "a value is too long, or cannot be stored"), status=400)
    elif isinstance(error, OperationalError | InterfaceError):
        logger.error("the database did not answer: %s", error)
        return Response(
            error_body("DATABASE_UNAVAILABLE", "the database does not answer; nothing was stored, try again"),
            status=503,
        )
    if isinstance(error, exceptions.ValidationError):
        return Response(
            error_body("VALIDATION_ERROR", "the request is invalid", {"fields": error.detail}), status=error.status_code
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

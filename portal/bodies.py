"""Middleware that limits the size of request bodies. It also limits chunked bodies, for which no header gives the size.

Source: docs/reference/api.md#scope
"""

from collections.abc import Callable
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse, JsonResponse

from workflows.api.errors import error_body

BATCH_PATH = "/api/v1/events"
DRAINED_BYTES = 32 * 1024 * 1024
PART_BYTES = 65_536
IN_MEMORY_BYTES = 1_048_576
GetResponse = Callable[[HttpRequest], HttpResponse]


class _TooLarge(Exception):
    """The body is larger than the limit. The argument is the number of bytes that were read."""


class BodySizeLimitMiddleware:
    """Refuse a body over the limit with status 413, before any code reads it into memory.

    The limit is REQUEST_MAX_BYTES. The URL for batches of events accepts EVENT_BATCH_MAX_BYTES. The view of this URL
    then checks the limit of a single event. A chunked body is counted while it is read. Django does not read a body
    without a Content-Length. So the middleware sets Content-Length to the size that it counted.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        limit = settings.REQUEST_MAX_BYTES
        if request.path == BATCH_PATH:
            limit = max(limit, settings.EVENT_BATCH_MAX_BYTES)
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as body:
                refusal = _take_chunked_body(request, body, limit)
                return self.get_response(request) if refusal is None else refusal
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > limit:
            _drain(request, int(length))
            return _too_large(f"The body has {length} bytes. At most {limit} are allowed.", limit, int(length))
        return self.get_response(request)


def _take_chunked_body(request: HttpRequest, body: IO[bytes], limit: int) -> HttpResponse | None:
    """Copy a chunked body to the file `body` and use this file as the request's body.

    Return the response that refuses the request, or None if the body is accepted.
    """
    environ: dict[str, Any] = request.environ  # type: ignore[attr-defined]
    if not environ.get("wsgi.input_terminated"):
        message = "This web server cannot read a chunked body. Nothing was read. Send the header Content-Length."
        return JsonResponse(error_body("LENGTH_REQUIRED", message), status=411)
    try:
        length = _copy(environ["wsgi.input"], body, limit)
    except _TooLarge as error:
        message = f"The chunked body has more than {limit} bytes. At most {limit} are allowed."
        return _too_large(message, limit, error.args[0])
    except OSError as error:
        message = (
            f"The chunked body cannot be read: {error or type(error).__name__}. Nothing was stored. Send it again."
        )
        return JsonResponse(error_body("BODY_INVALID", message), status=400)
    body.seek(0)
    request.META["CONTENT_LENGTH"] = str(length)
    request.__dict__.pop("headers", None)  # Django cached the headers without the length
    request._stream = LimitedStream(cast(BytesIO, body), length)  # type: ignore[assignment]
    return None


def _copy(source: Any, target: IO[bytes], limit: int) -> int:
    """Copy a stream up to the limit and return its length.

    Errors: _TooLarge. Before that, a limited part of the remaining body is read, so that the client sees the response.
    """
    length = 0
    while part := source.read(PART_BYTES):
        length += len(part)
        if length <= limit:
            target.write(part)
        elif length > limit + DRAINED_BYTES:
            break
    if length > limit:
        raise _TooLarge(length)
    return length


def _drain(request: HttpRequest, length: int) -> None:
    """Read the rest of the body up to a limit.

    Otherwise a client that is still sending would see a reset connection.
    """
    if length > DRAINED_BYTES:
        return
    while request.read(PART_BYTES):
        pass


def _too_large(message: str, limit: int, length: int) -> HttpResponse:
    return JsonResponse(error_body("PAYLOAD_TOO_LARGE", message, {"bytes": length, "limit": limit}), status=413)

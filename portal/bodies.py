"""Middleware that limits the size of request bodies.

The web server counts every body while it arrives, and does not keep a body over its limit (`portal/web/requests.py`).

Source: docs/reference/api.md#scope
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from ingress.files.reading import MAX_FILE_BYTES
from workflows.api.errors import error_body

BATCH_PATH = "/api/v1/events"
# The form for bundles has some bytes besides the bundle.
BUNDLE_PATHS = {"/api/v1/bundles/import": 0, "/admin/workflows/definition/import/": 1_048_576}
# The form for events from a file has the file as base64, and some bytes besides it.
EVENT_FILE_PATH = "/admin/workflows/event/batch/"
# The web server reads this much beyond the limit. Otherwise a client that is still sending sees a reset connection.
DRAINED_BYTES = 32 * 1024 * 1024
GetResponse = Callable[[HttpRequest], HttpResponse]


def body_limit(path: str) -> int:
    """Return the largest number of bytes of a body for this address."""
    if path == BATCH_PATH:
        return max(settings.REQUEST_MAX_BYTES, settings.EVENT_BATCH_MAX_BYTES)
    if path == EVENT_FILE_PATH:
        return max(settings.REQUEST_MAX_BYTES, 2 * MAX_FILE_BYTES)
    if path in BUNDLE_PATHS:
        return max(settings.REQUEST_MAX_BYTES, settings.BUNDLE_MAX_BYTES + BUNDLE_PATHS[path])
    return settings.REQUEST_MAX_BYTES


def largest_body() -> int:
    return max(body_limit(path) for path in (BATCH_PATH, EVENT_FILE_PATH, *BUNDLE_PATHS))


class BodySizeLimitMiddleware:
    """Refuse a body over the limit with status 413, before any code reads it into memory.

    The limit is REQUEST_MAX_BYTES. The URL for batches of events accepts EVENT_BATCH_MAX_BYTES. The view of this URL
    then checks the limit of a single event. The URLs for bundles accept BUNDLE_MAX_BYTES. Django does not read a body
    without a Content-Length. The portal's web server sets the header for a chunked body. If another server does not set
    it, the body is refused with status 411.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.META.get("HTTP_TRANSFER_ENCODING"):
            message = "This web server cannot read a chunked body. Nothing was read. Send the header Content-Length."
            return JsonResponse(error_body("LENGTH_REQUIRED", message), status=411)
        limit = body_limit(request.path)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > limit:
            message = f"The body has {length} bytes or more. At most {limit} are allowed."
            return JsonResponse(
                error_body("PAYLOAD_TOO_LARGE", message, {"bytes": int(length), "limit": limit}), status=413
            )
        return self.get_response(request)

"""Live pages: the browser asks for a page again with the version that it shows.

While nothing has changed, the response is 304 without a body, and only the version is read from the database.
`portal/static/portal/live.js` sends the requests and swaps only the parts that differ.

Source: docs/reference/screens.md#live-updates
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from workflows.admin.base import actor_of

Version = Callable[..., Any]
View = Callable[..., HttpResponse]
PAGE_AGE_SECONDS = 60


def live_page(version: Version, *, age_seconds: int = PAGE_AGE_SECONDS) -> Callable[[View], View]:
    """Return a decorator for the view of a live page, a method of an admin class.

    `version` gets the tenant's id and the view's arguments after the request. It returns a value with a stable `repr`
    that changes when the content of the page changes. It must read few rows, with an index.

    `age_seconds`: a page that is older is sent again without a change, so that relative times are right and changes
    that the version does not contain appear.

    The template gets the text `live_version` for the attribute `data-version` of its live elements.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def respond(self: Any, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
            if request.method not in ("GET", "HEAD"):
                return view(self, request, *args, **options)
            # The version is read before the page. A change in between is then shown by the next request.
            content = version(actor_of(request).tenant_id, *args, **options)
            tag = f"{_digest(request, content)}.{age_of(age_seconds)}"
            if request.headers.get("If-None-Match") == f'"{tag}"':
                return HttpResponse(status=304, headers={"ETag": f'"{tag}"'})
            response = view(self, request, *args, **options)
            if isinstance(response, TemplateResponse) and response.context_data is not None:
                response.context_data["live_version"] = tag
            return response

        return respond

    return decorate


def age_of(seconds: int) -> int:
    """Return a number that changes every `seconds` seconds."""
    return int(timezone.now().timestamp() // seconds)


def _digest(request: HttpRequest, content: Any) -> str:
    """Return a short text for the content of a page, as this member sees it at this address."""
    actor = actor_of(request)
    seen_by = (
        actor.id,
        actor.role.value,
        actor.sees_payloads,
        timezone.get_current_timezone_name(),
        request.get_full_path(),
    )
    return hashlib.sha256(repr((seen_by, content)).encode()).hexdigest()[:24]

"""Middleware of sign-in."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


class SignInMiddleware:
    """Show a page with status 503 if Redis does not respond, because failed sign-ins cannot be counted then."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, RedisError) or not request.path.startswith("/account/"):
            return None
        logger.error("Redis does not respond, so nobody can sign in: %s", exception)
        return render(request, "account/unavailable.html", status=503)

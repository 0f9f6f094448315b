"""Middleware of sign-in."""

import logging
from collections.abc import Callable

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from redis.exceptions import RedisError

from workflows.api.errors import error_body

logger = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


# Addresses that a member without a second factor may still open.
FREE = ("/account/", "/admin/logout/", "/admin/tenant/", "/static/", "/invitation", "/healthz", "/readyz", "/metrics")
MISSING = "This tenant requires a second factor. Set up an authenticator app or a passkey"


class SignInMiddleware:
    """Lead a member to the set-up of a second factor if the tenant requires one.

    If Redis does not respond, show a page with status 503, because failed sign-ins cannot be counted then.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        tenant = getattr(request, "tenant", None)
        needs = tenant is not None and tenant.requires_second_factor and not request.path.startswith(FREE)
        if needs and not used_second_factor(request):
            return _missing(request)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, RedisError) or not request.path.startswith("/account/"):
            return None
        logger.error("Redis does not respond, so nobody can sign in: %s", exception)
        return render(request, "account/unavailable.html", status=503)


def used_second_factor(request: HttpRequest) -> bool:
    """Return True if this session was signed in with a second factor that the account still has."""
    records = get_authentication_records(request, request.user)
    if not any(record["method"] == "mfa" for record in records):
        return False
    return is_mfa_enabled(request.user, [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN])


def _missing(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("SECOND_FACTOR_REQUIRED", f"{MISSING} in the portal."), status=403)
    if is_mfa_enabled(request.user, [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]):
        method = get_adapter(request).get_reauthentication_methods(request.user)[-1]
        return redirect_to_login(request.get_full_path(), method["url"])
    messages.warning(request, f"{MISSING}. Until then, you cannot open other pages of it.")
    return HttpResponseRedirect(reverse("mfa_index"))

"""Pages of sign-in that differ from those of django-allauth."""

from typing import Any

import requests
from allauth.account import views as library
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import RemoveWebAuthnView
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.openid_connect.views import callback, login
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.sign_in.http import provider_calls
from portal.sign_in.sessions import end_session, own_sessions
from workflows.models import IdentityProvider
from workflows.services.identity_providers import identity_provider_by_id, identity_providers_of


@method_decorator(login_required, name="dispatch")
class PasswordChange(library.PasswordChangeView):
    """Page inside the frame of the portal. An account of an identity provider has no password here."""

    success_url = reverse_lazy("admin:index")

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not request.user.has_usable_password():
            raise PermissionDenied("This account has no password in the portal. Change it at your identity provider")
        return super().dispatch(request, *args, **options)

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        title = "Change the password"
        return super().get_context_data(**admin.site.each_context(self.request), title=title, **more)


class PasskeyRemove(RemoveWebAuthnView):
    success_url = reverse_lazy("mfa_index")


@never_cache
@login_required
@require_safe
def security(request: HttpRequest) -> HttpResponse:
    """Show the second factors and the open sessions of the account."""
    factors = list(Authenticator.objects.filter(user_id=request.user.pk).order_by("created_at"))
    by_type = {kind: [one for one in factors if one.type == kind] for kind in Authenticator.Type}
    codes = by_type[Authenticator.Type.RECOVERY_CODES]
    context = {
        **admin.site.each_context(request),
        "title": "Security of my account",
        "app": next(iter(by_type[Authenticator.Type.TOTP]), None),
        "passkeys": by_type[Authenticator.Type.WEBAUTHN],
        "sessions": own_sessions(request),
        "idle_minutes": settings.SESSION_IDLE_MINUTES,
        "max_hours": settings.SESSION_MAX_HOURS,
        "codes_left": len(codes[0].wrap().get_unused_codes()) if codes else None,
    }
    return render(request, "account/security.html", context)


@login_required
@require_POST
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of the own sessions."""
    row = get_object_or_404(UserSession, user_id=request.user.pk, pk=pk)
    end_session(request, row)
    return HttpResponseRedirect(reverse("mfa_index"))


@require_http_methods(["GET", "HEAD", "POST"])
def organisation(request: HttpRequest) -> HttpResponseBase:
    """Show the identity providers of the tenant whose slug the visitor types. A POST with a single one starts there."""
    given = request.POST if request.method == "POST" else request.GET
    slug = given.get("tenant", "").strip().lower()
    found = identity_providers_of(slug) if slug else []
    if request.method == "POST" and len(found) == 1:
        return _reporting(login, request, str(found[0].id))
    return _choice(request, slug, found)


@require_http_methods(["GET", "HEAD", "POST"])
def oidc_login(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Send the browser to a provider. A GET shows a button: another site could otherwise start a sign-in by a link.

    A provider that does not respond is an error on the sign-in page.
    """
    if request.method == "POST":
        return _reporting(login, request, provider_id)
    row = _provider(provider_id)
    return _choice(request, row.sign_in_name, [row])


def _choice(request: HttpRequest, slug: str, found: list[IdentityProvider]) -> HttpResponse:
    context = {"slug": slug, "providers": found}
    return render(request, "account/organisation.html", context, status=404 if slug and not found else 200)


def _provider(provider_id: str) -> IdentityProvider:
    row = identity_provider_by_id(provider_id)
    if row is None:
        raise Http404("There is no such identity provider.")
    return row


@require_safe
def oidc_callback(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    return _reporting(callback, request, provider_id)


def _reporting(view: Any, request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Call a view of the library. It reports the errors of some requests to a provider, and raises others."""
    row = _provider(provider_id)
    try:
        with provider_calls(row.tenant_id):
            return view(request, provider_id)
    except (requests.RequestException, KeyError, ValueError) as error:
        adapter = get_adapter(request)
        try:
            adapter.on_authentication_error(request, adapter.get_provider(request, provider_id), exception=error)
        except ImmediateHttpResponse as refused:
            return refused.response
        raise

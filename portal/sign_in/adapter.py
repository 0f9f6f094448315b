"""Rules of the portal for django-allauth: who may sign in, lockouts, and the audit log (docs/reference/sign-in.md)."""

import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.userkit import get_user_by_username
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import truncate_ip
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from portal.middleware import ONLY_TENANT
from portal.sign_in.requests import client_address, client_of
from portal.sign_in.sessions import PROVIDER
from workflows.models import TenantMembership
from workflows.services.identity_providers import identity_provider_by_id
from workflows.services.sign_in_records import sign_in_record
from workflows.sign_in_kinds import SignInKind, SignInMethod
from workflows.tenancy import Scope, scope_of

LOCKOUT_IS_RECORDED_EVERY = 60  # seconds
REAUTHENTICATION_TIMEOUT = 300  # seconds
INACTIVE = "This account is inactive. Ask a superuser to activate it."
ONLY_PROVIDER = "Your account belongs to an identity provider. Sign in through your organisation."
PROVIDER_ENDED = "The identity provider was switched off during your sign-in. Ask an administrator of your tenant."
NO_TENANT = "You are not a member of any tenant. Ask an administrator to add you."


class AccountAdapter(DefaultAccountAdapter):
    """Adapter of the library. Accounts come from administrators, invitations and identity providers."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "The name or the password is wrong. Correct them, or reset the password.",
        "too_many_login_attempts": f"Too many failed sign-ins. Wait {settings.SIGN_IN_LOCKOUT_MINUTES} minutes, then"
        " try again.",
        "enter_current_password": "This is not your current password.",
        "incorrect_password": "The password is wrong.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        address = client_address(request)
        if not address:
            raise PermissionDenied("The web server did not report the address of the client")
        return address

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return the key that counts failures of one name. The library's own key depends on the header `Host`."""
        return str(credentials.get("username", "")).lower()

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            # All unknown names share one key, because a visitor can send any number of them.
            account = get_user_by_username(str(credentials.get("username", "")))
            key = f"lockout:{truncate_ip(client_address(request))}:{account.pk if account else ''}"
            if cache.add(key, True, LOCKOUT_IS_RECORDED_EVERY):
                self._record(request, SignInKind.LOCKED_OUT, **credentials)
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        self._record(request, SignInKind.FAILED, **credentials)

    def _record(self, request: HttpRequest, kind: SignInKind, **credentials: Any) -> None:
        name = str(credentials.get("username", ""))
        account = get_user_by_username(name)
        sign_in_record(
            kind=kind,
            account=account,
            unknown_name="" if account else name,
            method=SignInMethod.PASSWORD,
            origin=client_of(request),
        )

    def pre_login(self, request: HttpRequest, user: Any, **options: Any) -> HttpResponse | None:
        """Refuse an account that may not use the portal. Its password or its passkey was right.

        An account without a tenant may accept an invitation. An account of an identity provider has no password. With
        its passkey alone, it could sign in after the provider has locked it, and would open each of its tenants.
        """
        reason = "" if user.is_active else INACTIVE
        through_provider = "sociallogin" in (options.get("signal_kwargs") or {})
        if not reason and not through_provider and not user.has_usable_password():
            reason = ONLY_PROVIDER
        may_enter = user.is_superuser or _is_member(user) or options.get("redirect_url") == reverse("invitation")
        if not reason and not may_enter:
            reason = NO_TENANT
        return _refusal(request, user, reason) if reason else None

    def login(self, request: HttpRequest, user: Any) -> None:
        """Open the session. A session through the provider of a tenant opens only this tenant.

        Errors: ImmediateHttpResponse if the provider was deleted or switched off while the person gave a second factor.
        """
        records = get_authentication_records(request, user)
        provider = next((one["provider"] for one in records if one["method"] == "socialaccount"), "")
        row = identity_provider_by_id(provider) if provider else None
        if provider and row is None:
            raise ImmediateHttpResponse(_refusal(request, user, PROVIDER_ENDED))
        super().login(request, user)
        if row is not None:
            request.session[ONLY_TENANT], request.session[PROVIDER] = str(row.tenant_id), str(row.id)

    def is_reauthentication_required(self, *, app: str, **options: Any) -> bool:
        """Ask for the password or a second factor again, unless the sign-in was a few minutes ago."""
        records = get_authentication_records(self.request, self.request.user)
        return not (records and time.time() - records[-1]["at"] < REAUTHENTICATION_TIMEOUT)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Errors: PermissionDenied for an account of an identity provider without a second factor."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if not methods:
            raise PermissionDenied(
                "Your sign-in was too long ago for this change. Log out, sign in through your identity provider, and"
                f" repeat the change within {REAUTHENTICATION_TIMEOUT // 60} minutes"
            )
        return methods

    def set_password(self, user: Any, password: str) -> None:
        user.set_password(password)
        user.save(update_fields=["password"])

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *more: Any, **options: Any
    ) -> None:
        """Add no message for a sign-in and a sign-out. The next page shows the result."""
        if message_template not in ("account/messages/logged_in.txt", "account/messages/logged_out.txt"):
            super().add_message(request, level, message_template, *more, **options)


def _refusal(request: HttpRequest, user: Any, reason: str) -> HttpResponse:
    sign_in_record(kind=SignInKind.REFUSED, account=user, detail=reason, origin=client_of(request))
    messages.error(request, reason)
    return HttpResponseRedirect(reverse("account_login"))


def _is_member(user: Any) -> bool:
    with scope_of(Scope(user=str(user.pk))):
        return TenantMembership.objects.filter(user=user, tenant__is_active=True).exists()

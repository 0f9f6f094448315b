"""Sign-in through the OpenID Connect provider of a tenant (docs/reference/sign-in.md#openid-connect)."""

import hmac
import re
import secrets
from typing import Any

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import consume
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from portal.database_router import SIGNIN
from portal.sign_in.http import guarded_session
from portal.sign_in.requests import client_of
from workflows.actors import Actor
from workflows.database_errors import is_unique_violation
from workflows.engine.errors import RunError
from workflows.errors import PortalError
from workflows.models import IdentityProvider, Tenant, TenantMembership
from workflows.services.identity_providers import SCOPES, identity_provider_by_id, role_of_groups
from workflows.services.members import member_remove, member_save
from workflows.services.secrets import secret_values
from workflows.services.sign_in_records import sign_in_record
from workflows.sign_in_kinds import SignInKind, SignInMethod
from workflows.statuses import CommandSource, Role
from workflows.tenancy import tenant_scope

FAILED = "The sign-in at the identity provider failed. Try again, or tell an administrator of your tenant."
AT_ONCE = "Another sign-in was creating the same account at this moment. Sign in again."
NO_GROUP = "None of your groups has a role in this tenant. Ask an administrator of the identity provider."
NOT_FROM_NAME = re.compile(r"[^\w.+-]")


class NonceProvider(OpenIDConnectProvider):
    """Provider of the library that also sends a nonce. The ID token must contain it (`_claims`).

    The library would let the address of the page set parameters of the request to the provider, for example its
    redirect address. Here, only the page after the sign-in comes from the address.
    """

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        """Return the arguments of the redirect. The library stores the nonce with `state` in the session."""
        nonce = secrets.token_urlsafe(32)
        of_library = super().get_redirect_from_request_kwargs(request)
        return {
            **{name: value for name, value in of_library.items() if name == "next_url"},
            "process": "login",
            "scope": self.get_scope(),
            "auth_params": {"nonce": nonce},
            "nonce": nonce,
        }


class ProviderAdapter(DefaultSocialAccountAdapter):
    """Adapter of the library: providers of tenants, accounts by subject, and roles from groups."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        """Return the provider with this id as the library's object, without storing it."""
        row = identity_provider_by_id(str(provider))
        if row is None:
            return []
        try:
            with tenant_scope(row.tenant_id):
                secret = secret_values(tenant_id=row.tenant_id, names=[row.secret_name])[row.secret_name]
        except RunError as error:
            raise _refusal(request, row, FAILED, detail=f"{error.code}: {error.message}") from error
        return [
            SocialApp(
                provider="openid_connect",
                provider_id=str(row.id),
                name=row.name,
                client_id=row.client_id,
                secret=secret,
                settings={
                    "server_url": row.issuer.rstrip("/"),
                    "oauth_pkce_enabled": True,
                    "scope": [*SCOPES, *row.extra_scopes],
                },
            )
        ]

    def get_provider(self, request: HttpRequest, provider: Any, client_id: Any = None) -> NonceProvider:
        return NonceProvider(request, app=self.get_app(request, provider=provider, client_id=client_id))

    def get_requests_session(self) -> requests.Session:
        return guarded_session()

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        row = identity_provider_by_id(provider.app.provider_id)
        detail = f"{error or ''} {exception or ''}".strip()
        raise _refusal(request, row, FAILED, detail=detail, kind=SignInKind.FAILED)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Check the identity, and give an existing account the role of its groups.

        Errors: ImmediateHttpResponse if the person may not enter. A lost group ends the membership.
        """
        row = _row_of(sociallogin)
        claims = _claims(sociallogin, row)
        account = sociallogin.user if sociallogin.is_existing else None
        if claims is None or sociallogin.state.get("process") != "login":
            raise _refusal(request, row, FAILED, account=account, detail="the identity could not be verified")
        if account is not None and account.is_superuser:
            raise _refusal(request, row, "A superuser signs in with a password.", account=account)
        sociallogin.email_addresses = []  # the portal neither trusts nor stores the address of a provider
        role = role_of_groups(row, claims.get(row.group_claim))
        if account is not None:
            _set_role(request, row, account, role)
        if role is None:
            raise _refusal(request, row, NO_GROUP, account=account)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True  # `pre_social_login` has found a role

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> Any:
        return super().populate_user(request, sociallogin, {**data, "email": ""})

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        """Create the account with its role. Its name ends with the slug of the tenant, so it resembles no other one.

        Errors: ImmediateHttpResponse if another sign-in has taken the name or the identity at the same moment.
        """
        row = _row_of(sociallogin)
        claims = _claims(sociallogin, row) or {}
        sociallogin.user.username = _free_name(row, str(claims.get("preferred_username") or claims["sub"]))
        try:
            with transaction.atomic(using=SIGNIN):
                account = super().save_user(request, sociallogin, form)
        except IntegrityError as error:
            if not is_unique_violation(error):
                raise
            raise _refusal(request, row, AT_ONCE, detail="two first sign-ins at the same moment") from error
        _set_role(request, row, account, role_of_groups(row, claims.get(row.group_claim)))
        return account


def _row_of(sociallogin: Any) -> IdentityProvider:
    row = identity_provider_by_id(sociallogin.account.provider)
    assert row is not None, "The library has read this provider in the same request."
    return row


def _claims(sociallogin: Any, row: IdentityProvider) -> dict[str, Any] | None:
    """Return the claims, or None if they are not those of this provider.

    The library has checked audience and expiry, and that the issuer is that of the fetched configuration. The nonce is
    that of the request with which this browser began the sign-in.
    """
    data = getattr(sociallogin.account, "claims", sociallogin.account.extra_data)
    token, userinfo = data.get("id_token") or {}, data.get("userinfo") or {}
    if token.get("iss") != row.issuer or not token.get("sub"):
        return None
    nonce = sociallogin.state.get("nonce")
    if not nonce or not hmac.compare_digest(str(token.get("nonce", "")).encode(), nonce.encode()):
        return None
    if userinfo and userinfo.get("sub") != token["sub"]:
        return None
    return {**token, **userinfo}


def _set_role(request: HttpRequest, row: IdentityProvider, account: Any, role: Role | None) -> None:
    """Give the account the role, or end its membership. Errors: ImmediateHttpResponse, for example the last admin."""
    actor = Actor("system", "", f"identity provider {row.name}", row.tenant_id, Role.ADMIN, CommandSource.SYSTEM)
    with tenant_scope(row.tenant_id):
        member = TenantMembership.objects.filter(tenant_id=row.tenant_id, user_id=account.pk).first()
        try:
            if role is None and member is not None:
                member_remove(actor=actor, username=account.username, reason="lost its group")
            elif role is not None and account.is_active and (member is None or member.role != role):
                member_save(actor=actor, username=account.username, role=role)
        except PortalError as error:
            raise _refusal(request, row, f"{error.message}.", account=account) from error


def _free_name(row: IdentityProvider, wanted: str) -> str:
    with tenant_scope(row.tenant_id):
        slug = Tenant.objects.get(id=row.tenant_id).slug
    base = NOT_FROM_NAME.sub("", wanted.partition("@")[0])[:60] or "user"
    name = f"{base}@{slug}"
    while get_user_model().objects.filter(username__iexact=name).exists():
        name = f"{base}-{secrets.token_hex(3)}@{slug}"
    return name


def _is_recorded(request: HttpRequest, row: IdentityProvider | None) -> bool:
    """Return False after many failures of one address or provider in a minute. A visitor could fill the log."""
    key = str(row.id) if row is not None else ""
    return bool(consume(request, app="allauth.account", action="provider_failed", key=key, limit_get=True))


def _refusal(
    request: HttpRequest,
    row: IdentityProvider | None,
    text: str,
    *,
    account: Any = None,
    detail: str = "",
    kind: SignInKind = SignInKind.REFUSED,
) -> ImmediateHttpResponse:
    """Record a refusal, and return the response that shows its reason on the sign-in page."""
    if account is not None or _is_recorded(request, row):
        sign_in_record(
            kind=kind,
            account=account,
            method=SignInMethod.OIDC,
            detail=detail or text,
            origin=client_of(request),
            of_tenant=row.tenant_id if row is not None else None,
        )
    messages.error(request, text)
    return ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login")))

"""Attacks on sign-in: other sites, old sessions, and shortcuts around a second factor (docs/reference/sign-in.md)."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.account.app_settings import PASSWORD_RESET_TOKEN_GENERATOR
from allauth.account.utils import user_pk_to_url_str
from allauth.core.context import request_context
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialApp
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.sign_in.adapter import AccountAdapter
from portal.sign_in.oidc import NonceProvider, _claims
from tests.support.api import Api
from tests.support.blocked import start_until_blocked
from tests.support.factories import make_token
from tests.support.invitations import PAGE, PASSWORD, address, invite, opened
from tests.support.mail_server import Mailbox, mail_server
from tests.support.members import join
from workflows.models import IdentityProvider, SignInRecord, TenantMembership
from workflows.services import invitation_links
from workflows.statuses import Role

LOGIN = reverse("account_login")
ELSEWHERE = (
    "https://evil.example/", "//evil.example/", "/\\evil.example/", "https:evil.example", "javascript:alert(1)"
)  # fmt: skip


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    with mail_server(settings) as box:
        yield box


@pytest.fixture
def account(tenant: Any) -> Any:
    made = get_user_model().objects.create_user(f"maya-{uuid.uuid4().hex[:8]}", "maya@example.org", PASSWORD)
    join(tenant, made)
    return made


def request_of(path: str = "/") -> Any:
    request = RequestFactory().post(path)
    request.session, request.user = Client().session, AnonymousUser()
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    return request


@pytest.mark.parametrize("target", ELSEWHERE)
def test_sign_in_never_leads_to_another_site(account: Any, target: str) -> None:
    form, own = {"login": account.username, "password": PASSWORD}, reverse("admin:index")
    assert Client().post(f"{LOGIN}?next={target}", form).url == own
    assert Client().post(LOGIN, {**form, "next": target}).url == own
    start = Client().get(reverse("admin:login"), {"next": target}).url
    assert (start.startswith(LOGIN), Client().post(start, form).url) == (True, own)
    signed_in = Client()
    signed_in.force_login(account)
    assert signed_in.get(f"{LOGIN}?next={target}").url == own
    assert signed_in.post(reverse("admin:choose_tenant"), {"tenant": "", "next": target}).url == own


def test_session_from_before_the_sign_in_opens_nothing(account: Any) -> None:
    planted = Client()
    planted.post(PAGE, {"what": "open", "code": "any"})
    key = planted.session.session_key
    victim = Client()
    victim.cookies[django_settings.SESSION_COOKIE_NAME] = key
    victim.post(LOGIN, {"login": account.username, "password": PASSWORD})
    assert victim.session.session_key != key
    assert (victim.get("/admin/").status_code, planted.get("/admin/").status_code) == (200, 302)


def test_acting_pages_refuse_a_form_of_another_site(tenant: Any, account: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(account)
    member = TenantMembership.objects.get(tenant=tenant, user=account)
    pages = [
        *(reverse(f"account_{name}") for name in ("login", "logout", "organisation", "change_password")),
        reverse("openid_connect_login", args=[uuid.uuid4()]),
        reverse("mfa_activate_totp"),
        reverse("account_session_end", args=[1]),
        reverse("admin:choose_tenant"),
        reverse("admin:sign_in_rules"),
        reverse("admin:workflows_apitoken_add"),
        reverse("admin:workflows_invitation_add"),
        reverse("admin:workflows_tenantmembership_change", args=[member.id]),
        PAGE,
    ]
    for page in pages:
        assert client.post(page, {"what": "remove"}).status_code == 403, page
    assert client.delete(f"/api/v1/members/{account.username}").status_code == 403
    assert client.get("/admin/").status_code == 200


def test_address_of_a_sign_in_cannot_change_the_request_to_the_provider(tenant: Any) -> None:
    app = SocialApp(provider="openid_connect", provider_id="x", settings={"scope": ["openid"], "server_url": ""})
    query = "auth_params=redirect_uri%3Dhttps://evil.example%26nonce%3Dknown&scope=offline_access&process=connect"
    request = request_of(f"/?{query}&next=//evil.example")
    provider = NonceProvider(request, app=app)
    with request_context(request):
        found, again = (provider.get_redirect_from_request_kwargs(request) for _ in range(2))
    nonce = found.pop("nonce")
    assert (len(nonce) >= 40, found) == (
        True,
        {"process": "login", "scope": ["openid"], "auth_params": {"nonce": nonce}},
    )
    assert again["nonce"] != nonce


@pytest.mark.parametrize(
    ("sent", "received", "is_valid"),
    [("n", "n", True), ("n", "another", False), ("n", None, False), (None, None, False), ("", "", False)],
)
def test_id_token_needs_the_nonce_of_this_sign_in(sent: Any, received: Any, is_valid: bool) -> None:
    token = {"iss": "https://login.example.com", "sub": "1", "nonce": received}
    login: Any = SimpleNamespace(state={"nonce": sent}, account=SimpleNamespace(extra_data={"id_token": token}))
    assert (_claims(login, IdentityProvider(issuer=token["iss"])) is not None) is is_valid


def test_deactivated_account_cannot_enter_with_a_passkey(account: Any) -> None:
    account.is_active = False
    account.save()
    request = request_of()
    refused = AccountAdapter(request).pre_login(request, account)  # the library has verified the passkey
    assert (refused is not None and refused["Location"], request.user.is_authenticated) == (LOGIN, False)
    assert SignInRecord.objects.filter(account_id=account.pk, kind="refused").count() == 1


def test_reset_of_the_password_opens_no_session_and_keeps_the_second_factor(tenant: Any, account: Any) -> None:
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    key = PASSWORD_RESET_TOKEN_GENERATOR().make_token(account)
    link = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(account), key])
    person, new = Client(), "another long enough phrase"
    form = person.get(link).url
    assert person.post(form, {"password1": new, "password2": new}).status_code == 302
    assert person.get("/admin/").status_code == 302
    assert Client().get(link).status_code == 200, "the page says that the link was used"
    signed_in = person.post(LOGIN, {"login": account.username, "password": new})
    assert (signed_in.url, person.get("/admin/").status_code) == (reverse("mfa_authenticate"), 302)


def test_two_acceptances_of_one_invitation_make_one_account(
    tenant: Any, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    invite(Api(make_token(tenant, Role.ADMIN)), address())
    people = [opened(mailbox), opened(mailbox)]
    names = [f"a{number}-{tenant.slug}" for number in range(2)]

    def accept(number: int) -> int:
        form = {"what": "create", "username": names[number], "password1": PASSWORD, "password2": PASSWORD}
        return people[number].post(PAGE, form).status_code

    check, second = invitation_links._require_usable, []

    def meanwhile(invitation: Any) -> None:
        """Let the second person send the form while the first one holds the invitation."""
        if connection.in_atomic_block and not second:
            second.append(start_until_blocked(pool, lambda: accept(1)))
        check(invitation)

    monkeypatch.setattr(invitation_links, "_require_usable", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        statuses = [accept(0), second[0].result(60)]
    assert statuses == [200, 410]
    assert list(get_user_model().objects.filter(username__in=names).values_list("username", flat=True)) == names[:1]
    assert [row.user.username for row in TenantMembership.objects.filter(tenant=tenant)] == names[:1]

"""Sign-in in a real browser: identity provider, second factors, passkeys (docs/reference/sign-in.md)."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth import get_user_model
from django.urls import reverse

from tests.support.api import Api
from tests.support.browser import TOO_WIDE, follow
from tests.support.factories import make_actor, make_tenant, make_token
from tests.support.oidc_server import OidcServer, running_oidc_server
from workflows.models import Command, IdentityProvider, SignInRecord, TenantMembership
from workflows.services.identity_providers import ProviderFields, identity_provider_save
from workflows.services.secrets import secret_save
from workflows.services.sign_in_rules import second_factor_require
from workflows.statuses import Role

PASSWORD = "a long passphrase"
TOTP_PERIOD_SECONDS = 30
ROLES = {"desk": "operator", "leads": "admin"}


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcServer]:
    with running_oidc_server() as server:
        yield server


def make_provider(tenant: Any, oidc: OidcServer, site: str, **more: Any) -> IdentityProvider:
    """Create the provider of a tenant, and the client of the portal at the provider. `more`: other fields."""
    actor = make_actor(tenant, Role.ADMIN)
    secret_save(actor=actor, name="OIDC_SECRET", value="not known yet")
    fields = {"issuer": oidc.issuer, "secret_name": "OIDC_SECRET", "roles": ROLES, **more}
    row, _ = identity_provider_save(actor=actor, name="company", fields=ProviderFields(client_id="x", **fields))
    client_id, secret = oidc.register(f"{site}{reverse('openid_connect_callback', args=[row.id])}")
    secret_save(actor=actor, name="OIDC_SECRET", value=secret)
    identity_provider_save(actor=actor, name="company", fields=ProviderFields(client_id=client_id, **fields))
    return row


def sign_in_through(page: Any, site: str, tenant: Any, subject: str) -> None:
    """Begin on the sign-in page, sign in at the provider, and return to the portal."""
    page.goto(f"{site}/admin/")
    follow(page, "text=Sign in through my organisation")
    page.fill("input[name=tenant]", tenant.slug)
    follow(page, "button[type=submit]")
    page.fill("input[name=login]", subject)
    page.fill("input[name=password]", "any")
    follow(page, "button[type=submit]")
    follow(page, "button[type=submit]")  # consent
    page.wait_for_url(f"{site}/**")


def new_page(browser: Any) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Asia/Tokyo").new_page()
    page.set_default_timeout(60_000)
    return page


def account_of(subject: str) -> Any:
    from allauth.socialaccount.models import SocialAccount

    return SocialAccount.objects.get(uid=subject).user


def test_group_becomes_the_role_and_the_loss_of_the_group_ends_the_membership(
    site: str, browser: Any, tenant: Any, oidc: OidcServer
) -> None:
    make_provider(tenant, oidc, site)
    subject = f"s-{uuid.uuid4().hex[:8]}"
    oidc.set_claims(subject, preferred_username="jonas", groups=["desk", "other"], email="j@example.com")
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert page.url == f"{site}/admin/"
    assert "times in JST" in page.inner_text("main")  # the first page after the sign-in
    account = account_of(subject)
    assert account.username == f"jonas@{tenant.slug}"
    assert (account.email, account.has_usable_password()) == ("", False)
    assert TenantMembership.objects.get(tenant=tenant, user=account).role == "operator"
    ledger = Command.objects.filter(tenant=tenant, target_type="member").order_by("requested_at")
    assert list(ledger.values_list("actor_name", flat=True)) == ["identity provider company"]

    oidc.set_claims(subject, preferred_username="jonas", groups=["leads"])
    TenantMembership.objects.create(
        tenant=tenant, user=get_user_model().objects.create_user(f"a-{subject}"), role="admin"
    )
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert (account_of(subject).pk, TenantMembership.objects.get(tenant=tenant, user=account).role) == (
        account.pk, "admin"
    )  # fmt: skip

    oidc.set_claims(subject, preferred_username="jonas", groups=["other"])
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert "None of your groups has a role" in page.inner_text("main")
    assert not TenantMembership.objects.filter(tenant=tenant, user=account).exists()
    kinds = SignInRecord.objects.filter(tenant=tenant, account_id=account.pk, method="oidc").order_by("id")
    assert list(kinds.values_list("kind", flat=True)) == ["signed_in", "signed_in", "refused"]


def test_groups_that_need_a_scope_of_their_own(site: str, browser: Any, tenant: Any, oidc: OidcServer) -> None:
    make_provider(tenant, oidc, site, group_claim="teams", extra_scopes=["teams"])
    subject = f"s-{uuid.uuid4().hex[:8]}"
    oidc.set_claims(subject, preferred_username="ines", teams=["leads"])
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert page.url == f"{site}/admin/"
    assert TenantMembership.objects.get(tenant=tenant, user=account_of(subject)).role == "admin"


def test_same_e_mail_address_is_another_account(site: str, browser: Any, tenant: Any, oidc: OidcServer) -> None:
    make_provider(tenant, oidc, site)
    subject = f"s-{uuid.uuid4().hex[:8]}"
    local = get_user_model().objects.create_user(f"maya-{subject}", f"{subject}@example.com", PASSWORD)
    TenantMembership.objects.create(tenant=tenant, user=local, role="admin")
    oidc.set_claims(subject, preferred_username=local.username, groups=["desk"], email=local.email, email_verified=True)
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert account_of(subject).pk != local.pk
    assert TenantMembership.objects.get(tenant=tenant, user=account_of(subject)).role == "operator"
    stored = account_of(subject).socialaccount_set.get()
    assert (stored.uid, stored.extra_data) == (subject, {}), "no claim is stored, so neither is the address"


def test_provider_opens_only_its_tenant(site: str, browser: Any, tenant: Any, oidc: OidcServer) -> None:
    make_provider(tenant, oidc, site)
    other, subject = make_tenant(), f"s-{uuid.uuid4().hex[:8]}"
    oidc.set_claims(subject, preferred_username="tess", groups=["desk"])
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    account = account_of(subject)
    TenantMembership.objects.create(tenant=other, user=account, role="admin")
    page.goto(f"{site}/admin/")
    assert other.name not in page.inner_text("body")
    assert page.locator("#tenant-choice").count() == 0
    get_user_model().objects.filter(pk=account.pk).update(is_superuser=True)
    page.goto(f"{site}/admin/auth/user/")
    assert "You are not a member of any tenant" in page.inner_text("body")
    page = new_page(browser)
    sign_in_through(page, site, tenant, subject)
    assert "A superuser signs in with a password" in page.inner_text("main")


def test_provider_of_another_tenant_and_a_forged_callback_are_refused(
    site: str, browser: Any, tenant: Any, oidc: OidcServer
) -> None:
    own, foreign = make_provider(tenant, oidc, site), make_provider(make_tenant(), oidc, site)
    assert own.id != foreign.id
    subject = f"s-{uuid.uuid4().hex[:8]}"
    oidc.set_claims(subject, preferred_username="eve", groups=["leads"])
    page = new_page(browser)
    page.goto(f"{site}{reverse('openid_connect_login', args=[own.id])}")
    follow(page, "text=company")
    page.fill("input[name=login]", subject)
    page.fill("input[name=password]", "any")
    follow(page, "button[type=submit]")
    consent = page.get_attribute("form", "action")
    http = page.context.request
    resumed = http.post(consent, form={"prompt": "consent"}, max_redirects=0).headers["location"]
    callback = http.get(resumed, max_redirects=0).headers["location"]
    assert str(own.id) in callback
    page.goto(callback.replace(str(own.id), str(foreign.id)))
    assert "failed" in page.inner_text("main")
    assert not TenantMembership.objects.filter(tenant_id__in=[own.tenant_id, foreign.tenant_id]).exists()


def password_sign_in(page: Any, site: str, account: Any, password: str = PASSWORD) -> None:
    page.goto(f"{site}/admin/")
    page.fill("input[name=login]", account.username)
    page.fill("input[name=password]", password)
    follow(page, "text=Sign in >> nth=1")


def totp_code(secret: str) -> str:
    """Return the present code. It is also accepted if the next period begins before the portal checks it."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // TOTP_PERIOD_SECONDS))


def member(tenant: Any, role: str = "admin") -> Any:
    name = f"maya-{uuid.uuid4().hex[:8]}"
    account = get_user_model().objects.create_user(name, f"{name}@example.com", PASSWORD)
    TenantMembership.objects.create(tenant=tenant, user=account, role=role)
    return account


def kinds(account: Any) -> list[tuple[str, str]]:
    rows = SignInRecord.objects.filter(account_id=account.pk).order_by("id")
    return list(rows.values_list("kind", "method"))


def test_lockout_is_explained_and_refuses_the_right_password(
    site: str, browser: Any, tenant: Any, settings: Any
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed": "1000/15m/ip,2/15m/key"}
    account, page = member(tenant), new_page(browser)
    for password, text in (("wrong", "is wrong"), ("wrong", "is wrong"), (PASSWORD, "Too many failed sign-ins. Wait")):
        password_sign_in(page, site, account, password)
        assert text in page.inner_text("main")
    assert page.evaluate(TOO_WIDE) == []
    page.goto(f"{site}/admin/")
    assert "/account/login/" in page.url
    assert [kind for kind, _ in kinds(account)] == ["failed", "failed", "locked_out"]


def test_required_second_factor_is_set_up_first_and_then_used(site: str, browser: Any, tenant: Any) -> None:
    account = member(tenant)
    second_factor_require(actor=make_actor(tenant, Role.ADMIN), is_required=True)
    page = new_page(browser)
    password_sign_in(page, site, account)
    page.wait_for_url("**/account/security/")
    assert "requires a second factor" in page.inner_text("main")
    page.goto(f"{site}{reverse('admin:workflows_run_changelist')}")
    assert page.url.endswith("/account/security/")
    assert page.request.get(f"{site}/api/v1/runs").status == 403
    assert Api(make_token(tenant, Role.VIEWER)).get("/runs").status_code == 200
    follow(page, "text=Add an authenticator app")
    secret = page.inner_text("p code")
    page.fill("input[name=code]", "000000")
    follow(page, "text=Add the app")
    assert "The code is wrong" in page.inner_text("main")
    page.fill("input[name=code]", totp_code(secret))
    follow(page, "text=Add the app")
    page.wait_for_url("**/recovery-codes/")
    recovery = page.inner_text("pre").split()
    assert len(recovery) == 10
    page.goto(f"{site}/admin/")
    assert page.url == f"{site}/admin/"

    page = new_page(browser)
    password_sign_in(page, site, account)
    page.wait_for_url("**/account/security/code/")
    page.fill("input[name=code]", totp_code(secret))
    page.click("text=Sign in")
    page.wait_for_url(f"{site}/admin/")

    page = new_page(browser)
    password_sign_in(page, site, account)
    for code in ("wrong", recovery[0]):
        page.fill("input[name=code]", code)
        follow(page, "text=Sign in")
    page.wait_for_url(f"{site}/admin/")
    assert kinds(account) == [
        ("signed_in", "password"), ("factor_added", "totp"), ("codes_created", ""), ("signed_in", "totp"),
        ("factor_failed", "totp"), ("signed_in", "recovery_codes"),
    ]  # fmt: skip
    stored = str(list(Authenticator.objects.filter(user=account).values_list("data", flat=True)))
    assert secret not in stored


def test_passkey_is_added_and_opens_the_account_without_a_password(site: str, browser: Any, tenant: Any) -> None:
    site = site.replace("127.0.0.1", "localhost")  # a passkey belongs to a name, not to an IP address
    account, page = member(tenant), new_page(browser)
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    password_sign_in(page, site, account)
    page.wait_for_url(f"{site}/admin/")
    page.goto(f"{site}/account/security/")
    follow(page, "text=Add a passkey")
    page.fill("input[name=name]", "Laptop")
    page.click("text=Add the passkey")
    page.wait_for_url("**/recovery-codes/")
    page.goto(f"{site}/account/security/")
    assert "Laptop" in page.inner_text("main")
    page.click(".me summary")
    page.click("text=Log out")
    page.wait_for_url("**/account/login/")
    page.click("text=Sign in with a passkey")
    page.wait_for_url(f"{site}/admin/")
    assert kinds(account)[-1] == ("signed_in", "webauthn")
    page.click(".me summary")
    page.click("text=Log out")
    page.wait_for_url("**/account/login/")
    password = account.password
    account.set_unusable_password()  # as an account of an identity provider
    account.save()
    page.click("text=Sign in with a passkey")
    page.wait_for_selector("text=Sign in through your organisation")
    assert kinds(account)[-1][0] == "refused"
    account.password = password
    account.save()
    page.click("text=Sign in with a passkey")
    page.wait_for_url(f"{site}/admin/")
    page.goto(f"{site}/account/security/")
    follow(page, "text=Remove")
    page.click("text=Remove the passkey")
    page.wait_for_url("**/account/security/")
    assert not Authenticator.objects.filter(user=account).exists()
    assert [kind for kind, _ in kinds(account)][-2:] == ["factor_removed", "factor_removed"]

"""Second factors: the rule of a tenant, encryption of seeds, confirmation of changes (docs/reference/sign-in.md)."""

import uuid
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_tenant, make_token
from tests.support.members import member_of
from workflows.errors import PermissionRefused
from workflows.models import Command, Secret, SignInRecord, Tenant, TenantMembership
from workflows.services.second_factors import second_factors_reset, seed_decrypt, seed_encrypt
from workflows.statuses import Role
from workflows.tenancy import NO_SCOPE, scope_of

RULES = reverse("admin:sign_in_rules")


def required(tenant: Any) -> bool:
    return Tenant.objects.values_list("requires_second_factor", flat=True).get(id=tenant.id)


def test_administrators_change_the_rule_on_the_page_and_by_api(tenant: Any) -> None:
    client, api = member_of(tenant, role="admin"), Api(make_token(tenant, Role.ADMIN))
    assert api.get("/sign-in-rules").json() == {"second_factor_required": False}
    fields = {"is_required": "on", "reason": "policy", "idempotency_key": str(uuid.uuid4())}
    assert (client.post(RULES, fields).status_code, required(tenant)) == (302, True)
    moved = client.get(RULES)
    assert (moved.status_code, moved.url) == (302, reverse("mfa_index"))
    assert api.put("/sign-in-rules", {"second_factor_required": False}).json() == {"second_factor_required": False}
    assert (required(tenant), client.get(RULES).status_code) == (False, 200)
    assert error_of(api.put("/sign-in-rules", {"second_factor_required": "x"}), 400)["code"] == "VALIDATION_ERROR"
    rows = Command.objects.filter(tenant=tenant, target_type="sign_in_rules", state="observed").order_by("requested_at")
    assert [(row.reason, row.payload) for row in rows] == [
        ("policy", {"secondFactorRequired": True}), ("", {"secondFactorRequired": False})
    ]  # fmt: skip
    author = member_of(tenant, role="author")
    assert (author.get(RULES).status_code, author.post(RULES, fields).status_code) == (403, 403)
    assert error_of(Api(make_token(tenant, Role.AUTHOR)).get("/sign-in-rules"), 403)["code"] == "PERMISSION_DENIED"


def test_command_changes_the_rule(tenant: Any) -> None:
    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("tenant", "second-factor", tenant.slug, *arguments, "--by", "Ines", stdout=out)
        return out.getvalue()

    assert (f"members of {tenant.slug} need" in run("required", "--reason", "policy"), required(tenant)) == (True, True)
    assert ("without a second factor" in run("optional"), required(tenant)) == (True, False)
    rows = Command.objects.filter(tenant=tenant, target_type="sign_in_rules", state="observed").order_by("requested_at")
    assert [(row.actor_name, row.reason, row.payload["secondFactorRequired"]) for row in rows] == [
        ("Ines", "policy", True), ("Ines", "", False)
    ]  # fmt: skip
    with pytest.raises(CommandError, match="invalid choice"):
        run("perhaps")


def test_session_without_a_factor_is_refused_by_the_api(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    Tenant.objects.filter(id=tenant.id).update(requires_second_factor=True)
    assert error_of(client.get("/api/v1/runs"), 403)["code"] == "SECOND_FACTOR_REQUIRED"
    assert client.get(reverse("mfa_index")).status_code == 200
    user = get_user_model().objects.get(pk=client.session["_auth_user_id"])
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")  # in another session: this one has not used it
    asked = client.get(reverse("admin:index"))
    assert asked.url.startswith(reverse("mfa_reauthenticate"))


def test_seeds_are_encrypted_and_rotated(tenant: Any, settings: Any) -> None:
    # Other tests leave unreadable rows behind.
    Authenticator.objects.all().delete()
    Secret.objects.all().delete()
    account = get_user_model().objects.create_user(f"maya-{tenant.slug}")
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    row = Authenticator.objects.get(user=account)
    assert "JBSWY3DPEHPK3PXP" not in str(row.data)
    old = settings.WORKFLOW_SECRET_KEYS
    settings.WORKFLOW_SECRET_KEYS = {"new": b"n" * 32, **old}
    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    row.refresh_from_db()
    assert (row.data["secret"].startswith("new:"), seed_decrypt(row.data["secret"])) == (True, "JBSWY3DPEHPK3PXP")
    settings.WORKFLOW_SECRET_KEYS = old
    row.data["secret"] = seed_encrypt("JBSWY3DPEHPK3PXP")  # readable for the other tests
    row.save()


def test_change_of_factors_needs_a_fresh_confirmation(tenant: Any) -> None:
    with_password, without = (
        get_user_model().objects.create_user(f"{name}-{tenant.slug}", password=password)
        for name, password in (("local", "a long passphrase"), ("provider", None))
    )
    for page in ("mfa_activate_totp", "mfa_add_webauthn"):
        client = Client()
        client.force_login(with_password)
        assert client.get(reverse(page)).url.startswith(reverse("account_reauthenticate"))
        client.force_login(without)
        assert client.get(reverse(page)).status_code == 403


def test_passkey_is_always_verified_by_its_device(tenant: Any) -> None:
    account, client = (
        get_user_model().objects.create_user(f"maya-{tenant.slug}", password="a long passphrase"),
        Client(),
    )
    TenantMembership.objects.create(tenant=tenant, user=account, role="viewer")
    with scope_of(NO_SCOPE):
        client.post(reverse("account_login"), {"login": account.username, "password": "a long passphrase"})
        options = client.get(reverse("mfa_add_webauthn")).context["js_data"]["creation_options"]["publicKey"]
    assert options["authenticatorSelection"]["userVerification"] == "required"


# -- Reset by a superuser ----------------------------------------------------------------------------------------------


@pytest.fixture
def locked_out(tenant: Any, settings: Any) -> Any:
    """Return an account of two tenants that has lost its app. It has an open session, `client`."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    name = f"maya-{tenant.slug}"
    account = get_user_model().objects.create_user(name, f"{name}@example.com", "a long passphrase")
    for one in (tenant, make_tenant()):
        TenantMembership.objects.create(tenant=one, user=account, role=Role.VIEWER)
    account.client = Client()
    with scope_of(NO_SCOPE):
        form = {"login": name, "password": "a long passphrase"}
        assert account.client.post(reverse("account_login"), form).status_code == 302
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(account)
    return account


def resets(account: Any) -> list[tuple[Any, str, str]]:
    rows = SignInRecord.objects.filter(account_id=account.pk, kind="factors_reset")
    return [(row.tenant_id, row.by_name, row.detail) for row in rows]


def has_factors(account: Any) -> bool:
    return Authenticator.objects.filter(user=account).exists()


def test_superuser_resets_the_factors_and_the_sessions_of_a_person_end(tenant: Any, locked_out: Any) -> None:
    boss, page = member_of(tenant, superuser=True), reverse("admin:auth_user_reset_factors", args=[locked_out.pk])
    change = reverse("admin:auth_user_change", args=[locked_out.pk])
    assert page in boss.get(change).content.decode()
    assert "This field is required" in boss.post(page, {"reason": " "}).content.decode()
    assert (has_factors(locked_out), resets(locked_out)) == (True, [])
    assert boss.post(page, {"reason": "lost the\nphone"}).url == change
    assert (has_factors(locked_out), locked_out.client.get(reverse("admin:index")).status_code) == (False, 302)
    name = get_user_model().objects.get(pk=boss.session["_auth_user_id"]).username
    (recorded,) = {(by, detail) for _, by, detail in resets(locked_out)}
    assert recorded == (name, "Ended sessions: 1. Reason: lost the phone")
    assert len({of_tenant for of_tenant, *_ in resets(locked_out)}) == 2, "each tenant of the account has a row"
    (message,) = mail.outbox
    assert (message.to, f"{name} has removed" in message.body) == ([locked_out.email], True)
    assert ("Reason: lost the phone" in message.body, "/account/security/" in message.body) == (True, True)
    again = boss.post(page, {"reason": "again"}).content.decode()
    assert ("has no second factor" in again, len(resets(locked_out)), len(mail.outbox)) == (True, 2, 1)
    with scope_of(NO_SCOPE):
        form = {"login": locked_out.username, "password": "a long passphrase"}
        assert Client().post(reverse("account_login"), form).url == reverse("admin:index")


def test_administrator_of_a_tenant_may_not_reset_factors(tenant: Any, locked_out: Any) -> None:
    admin, page = member_of(tenant, role="admin"), reverse("admin:auth_user_reset_factors", args=[locked_out.pk])
    for response in (admin.get(page), admin.post(page, {"reason": "lost"})):
        assert (response.status_code, "can belong to other tenants" in response.content.decode()) == (403, True)
    with pytest.raises(PermissionRefused, match="the account can belong to other tenants"):
        second_factors_reset(actor=make_actor(tenant, Role.ADMIN), username=locked_out.username, reason="lost")
    assert (has_factors(locked_out), locked_out.client.get(reverse("admin:index")).status_code) == (True, 200)
    refused = SignInRecord.objects.filter(kind="reset_refused", tenant=tenant).order_by("id")
    own = get_user_model().objects.get(pk=admin.session["_auth_user_id"])
    assert [(row.account_name, row.detail) for row in refused] == [
        (own.username, f"{own.username} may not reset the second factors of account {locked_out.pk}"),
        ("", f"tester may not reset the second factors of {locked_out.username}"),
    ]
    assert not SignInRecord.objects.filter(kind="reset_refused", account_id=locked_out.pk).exists()
    member = TenantMembership.objects.get(tenant=tenant, user=locked_out)
    of_member = reverse("admin:workflows_tenantmembership_change", args=[member.id])
    assert "a superuser resets them" in admin.get(of_member).content.decode()
    boss = member_of(tenant, role="admin", superuser=True)
    boss.post(reverse("admin:choose_tenant"), {"tenant": str(tenant.id)})
    assert page in boss.get(of_member).content.decode()


def test_superuser_cannot_reset_the_own_factors(tenant: Any) -> None:
    boss = member_of(tenant, superuser=True)
    account = get_user_model().objects.get(pk=boss.session["_auth_user_id"])
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    page = reverse("admin:auth_user_reset_factors", args=[account.pk])
    assert "cannot reset your own second factors" in boss.post(page, {"reason": "lost"}).content.decode()
    assert has_factors(account)
    assert SignInRecord.objects.filter(kind="reset_refused", account_id=account.pk, tenant=tenant).exists()


def test_command_resets_factors_and_reports_that_no_e_mail_was_sent(locked_out: Any, settings: Any) -> None:
    out, problems = StringIO(), StringIO()

    def run(name: str, reason: str = "lost") -> str:
        call_command("second_factor", "reset", name, "--reason", reason, "--by", "Ines", stdout=out, stderr=problems)
        return out.getvalue()

    for name, reason, word in (("nobody", "lost", "there is no account"), (locked_out.username, "x" * 251, "at most")):
        with pytest.raises(CommandError, match=word):
            run(name, reason)
    assert has_factors(locked_out)
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = "django.core.mail.backends.smtp.EmailBackend", "127.0.0.1"
    settings.EMAIL_PORT = 1  # nothing listens there
    assert "Ended sessions: 1" in run(locked_out.username)
    assert ("could not be sent" in problems.getvalue(), has_factors(locked_out)) == (True, False)
    assert {by for _, by, _ in resets(locked_out)} == {"Ines"}
    TOTP.activate(locked_out, "JBSWY3DPEHPK3PXP")
    get_user_model().objects.filter(pk=locked_out.pk).update(email="")
    run(locked_out.username)
    assert "has no e-mail address" in problems.getvalue()

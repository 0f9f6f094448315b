"""Second factors: the rule of a tenant, encryption of seeds, confirmation of changes (docs/reference/sign-in.md)."""

import uuid
from io import StringIO
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_token
from tests.support.members import member_of
from workflows.models import Command, Tenant, TenantMembership
from workflows.services.second_factors import seed_decrypt, seed_encrypt
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

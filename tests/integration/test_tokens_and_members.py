"""Tokens, members and tenants: API, commands, ledger rows (docs/reference/administration.md#members)."""

import io
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_tenant, make_token
from tests.support.members import join, make_account, member_of
from workflows.models import ApiToken, Command, SignInRecord, Tenant, TenantMembership
from workflows.statuses import Role
from workflows.tenancy import system_scope


@pytest.fixture
def admin(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.ADMIN))


def ledger(tenant: Any, kind: str) -> list[tuple[str, str, str]]:
    rows = Command.objects.filter(tenant=tenant, target_type=kind).order_by("requested_at", "id")
    return [(row.action, row.state, row.code) for row in rows]


# -- Tokens ------------------------------------------------------------------------------------------------------------


def test_token_is_shown_once_and_has_its_properties(tenant: Any, admin: Api) -> None:
    expires_at = (timezone.now() + timedelta(days=9)).isoformat()
    body = {"name": "Mail gateway", "role": "operator", "scopes": ["events:write"], "expires_at": expires_at}
    created = admin.post("/tokens", body)
    assert created.status_code == 201
    shown = created.json()
    token = shown.pop("token")
    row = ApiToken.objects.get(id=shown["id"])
    assert (row.name, row.role, row.scopes, row.token_hash != token) == (
        "Mail gateway", "operator", ["events:write"], True
    )  # fmt: skip
    listed = next(one for one in admin.get("/tokens").json()["results"] if one["id"] == shown["id"])
    assert (listed, token in str(listed)) == (shown, False)
    assert error_of(Api(token).get("/runs"), 403)["code"] == "SCOPE_MISSING"
    assert Api(token).post("/events", {"event_type": "T", "payload": {}}).status_code == 202
    assert ledger(tenant, "token") == [("create_token", "observed", "")]
    assert token not in str(Command.objects.filter(tenant=tenant).values())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scopes": ["event:write"]}, "event:write"),
        ({"role": "owner"}, "owner"),
        ({"name": ""}, "blank"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"expires_at": "9999-12-31T23:59:59Z"}, "after the year 8999"),
        ({"rate_limit_per_minute": 0}, "greater than or equal to 1"),
        ({"scope": ["events:write"]}, "This field is unknown"),
    ],
)
def test_wrong_property_is_named_and_no_token_is_created(tenant: Any, admin: Api, change: Any, word: str) -> None:
    before = ApiToken.objects.count()
    error = error_of(admin.post("/tokens", {"name": "a", "role": "viewer", **change}), 400)
    assert word in str(error)
    assert ApiToken.objects.count() == before


def test_rotation_has_an_overlap_and_keeps_the_properties(tenant: Any, admin: Api) -> None:
    old = admin.post("/tokens", {"name": "a", "role": "viewer", "scopes": ["runs:read"]}).json()
    new = admin.post(f"/tokens/{old['id']}/rotate", {"overlap_seconds": 600}).json()
    assert (new["name"], new["scopes"], new["token"] != old["token"]) == ("a", ["runs:read"], True)
    assert [Api(one["token"]).get("/runs").status_code for one in (old, new)] == [200, 200]
    ApiToken.objects.filter(id=old["id"]).update(expires_at=timezone.now())
    assert error_of(Api(old["token"]).get("/runs"), 401)["code"] == "TOKEN_EXPIRED"
    assert error_of(admin.post(f"/tokens/{old['id']}/rotate"), 409)["code"] == "TOKEN_ROTATED"
    ApiToken.objects.filter(id=old["id"]).update(rotated_at=None)
    assert error_of(admin.post(f"/tokens/{old['id']}/rotate"), 409)["code"] == "TOKEN_EXPIRED"
    at_once = admin.post(f"/tokens/{new['id']}/rotate", {"overlap_seconds": 0}).json()
    assert [Api(one["token"]).get("/runs").status_code for one in (new, at_once)] == [401, 200]


def test_revoked_token_is_refused_at_once(tenant: Any, admin: Api) -> None:
    made = admin.post("/tokens", {"name": "a", "role": "viewer"}).json()
    assert admin.post(f"/tokens/{made['id']}/revoke", {"reason": "leaked"}).json()["revoked_at"] is not None
    assert error_of(Api(made["token"]).get("/runs"), 401)["code"] == "TOKEN_INVALID"
    assert error_of(admin.post(f"/tokens/{made['id']}/revoke"), 409)["code"] == "TOKEN_REVOKED"
    assert error_of(admin.post(f"/tokens/{made['id']}/rotate"), 409)["code"] == "TOKEN_REVOKED"
    stranger = Api(make_token(make_tenant(), Role.ADMIN))
    assert error_of(stranger.post(f"/tokens/{made['id']}/revoke"), 404)["code"] == "TOKEN_NOT_FOUND"
    assert ledger(tenant, "token")[1:] == [
        ("revoke_token", "observed", ""), ("revoke_token", "refused", "TOKEN_REVOKED"),
        ("rotate_token", "refused", "TOKEN_REVOKED"),
    ]  # fmt: skip


# -- Members -----------------------------------------------------------------------------------------------------------


def test_role_changes_at_once_and_the_last_admin_keeps_it(tenant: Any, admin: Api) -> None:
    account = make_account("first")
    join(tenant, account)
    assert error_of(admin.put(f"/members/{account}", {"role": "viewer"}), 409)["code"] == "LAST_ADMIN"
    join(tenant, make_account("second"))
    changed = admin.put(f"/members/{account}", {"role": "viewer", "may_see_payloads": True})
    assert (changed.status_code, changed.json()["role"], changed.json()["may_see_payloads"]) == (200, "viewer", True)


def test_administrator_cannot_add_or_find_an_account_by_its_name(tenant: Any, admin: Api) -> None:
    account, elsewhere = make_account("maya"), make_account("jonas")
    join(make_tenant(), elsewhere)
    own = member_of(tenant, role="admin")
    refusals = set()
    for name in (str(account), str(elsewhere), "nobody"):
        for answer in (
            admin.put(f"/members/{name}", {"role": "viewer"}),
            own.put(f"/api/v1/members/{name}", '{"role": "viewer"}', content_type="application/json"),
        ):
            error = error_of(answer, 404)
            refusals.add((error["code"], error["message"].replace(name, "NAME")))
    assert refusals == {
        (
            "MEMBER_NOT_FOUND",
            "the tenant has no member NAME. Invite the person by e-mail. Only superusers add accounts by name",
        )
    }
    assert TenantMembership.objects.filter(tenant=tenant).count() == 1
    superuser = member_of(make_tenant(), superuser=True)
    superuser.post("/admin/tenant/", {"tenant": str(tenant.id)})
    for name, status in ((str(account), 201), (str(account), 200), ("nobody", 400)):
        added = superuser.put(f"/api/v1/members/{name}", '{"role": "viewer"}', content_type="application/json")
        assert added.status_code == status, added.content
    assert TenantMembership.objects.get(tenant=tenant, user=account).role == "viewer"


# -- Commands ----------------------------------------------------------------------------------------------------------


def run(*words: str) -> str:
    out = StringIO()
    with system_scope():
        call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_installation_from_nothing_to_a_token(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slug, name = f"desk-{uuid.uuid4().hex[:8]}", f"maya-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough phrase\n"))
    assert name in run("create_admin", name, "--another")
    account = get_user_model().objects.get(username=name)
    assert (account.is_superuser, account.check_password("a long enough phrase")) == (True, True)
    row = SignInRecord.objects.get(account_id=account.pk)
    assert (row.kind, row.detail, row.by_name) == ("account_created", "superuser", "manage.py")
    assert slug in run("tenant", "create", slug, "--name", "North desk")
    assert "is now admin" in run("member", "save", name, "--role", "admin", "--tenant", slug)
    token = run("token", "create", "--tenant", slug, "--name", "Mail", "--role", "operator", "--scope", "events:write")
    api = Api(token.strip())
    assert api.post("/events", {"event_type": "T", "payload": {}}).status_code == 202
    listed = run("token", "list", "--tenant", slug)
    assert ("Mail" in listed, "events:write" in listed, token.strip() in listed) == (True, True, False)
    run("token", "revoke", listed.split()[0], "--tenant", slug)
    assert api.get("/events").status_code == 401
    tenant = Tenant.objects.get(slug=slug)
    assert {row.source for row in Command.objects.filter(tenant=tenant)} >= {"cli"}
    run("tenant", "close", slug)
    assert "closed" in next(line for line in run("tenant", "list").splitlines() if slug in line)


def test_command_deactivates_an_account_and_sets_its_password(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account("maya")
    join(tenant, account)
    session = Client()
    session.force_login(account)
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough phrase\n12345\n"))
    assert "new password" in run("account", "password", str(account), "--by", "Ines")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("account", "password", str(account))
    account.refresh_from_db()
    assert account.check_password("a long enough phrase")
    assert session.get("/admin/").status_code == 302, "the new password ends the session"
    assert run("account", "deactivate", str(account), "--by", "Ines") == f"{account} is deactivated.\n"
    assert f"deactivated  account    {account}" in run("account", "list")
    for words, problem in (
        (("deactivate", str(account)), "deactivated already"),
        (("activate", "x"), "ACCOUNT_UNKNOWN"),
    ):
        with pytest.raises(CommandError, match=problem):
            run("account", *words)
    run("account", "activate", str(account), "--by", "Ines")
    rows = SignInRecord.objects.filter(tenant=tenant, account_id=account.pk, by_name="Ines").order_by("id")
    assert [row.kind for row in rows] == ["password_changed", "account_deactivated", "account_activated"]
    account.set_unusable_password()
    account.save()
    with pytest.raises(CommandError, match="identity provider"):
        run("account", "password", str(account))


def test_password_is_not_changed_without_a_row_in_the_log(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise DatabaseError("the log is closed")

    account = make_account("maya")
    join(tenant, account)
    before = account.password
    monkeypatch.setattr(SignInRecord.objects, "create", fail)
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough phrase\n"))
    with pytest.raises(DatabaseError):
        run("account", "password", str(account))
    account.refresh_from_db()
    assert account.password == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("tenant", "create", "North Desk", "--name", "x"), "is not a slug"),
        (("token", "revoke", "x", "--tenant", "{slug}"), "is not the id of a token"),
        (("token", "create", "--tenant", "{slug}", "--name", "a", "--role", "viewer", "--scope", "a:b"), "not a scope"),
        (("member", "remove", "nobody", "--tenant", "{slug}"), "MEMBER_NOT_FOUND"),
        (("member", "save", "nobody", "--role", "admin", "--tenant", "{slug}"), "ACCOUNT_UNKNOWN"),
    ],
)
def test_wrong_arguments_are_explained(tenant: Any, words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run(*(word.format(slug=tenant.slug) for word in words))


def test_weak_password_creates_nothing(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"weak-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr("sys.stdin", io.StringIO("12345\n"))
    with pytest.raises(CommandError, match="Nothing was created"):
        run("create_admin", name, "--another")
    assert not get_user_model().objects.filter(username=name).exists()

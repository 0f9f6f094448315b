"""Identity providers of a tenant: page, API, command, checks (docs/reference/sign-in.md#openid-connect)."""

import uuid
from contextlib import ExitStack, nullcontext
from io import StringIO
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.middleware import ONLY_TENANT
from portal.sign_in.adapter import AccountAdapter
from portal.sign_in.http import provider_calls
from portal.sign_in.sessions import PROVIDER
from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_tenant, make_token
from tests.support.members import member_of
from workflows.models import Command, IdentityProvider, SignInRecord
from workflows.services.identity_providers import (
    identity_provider_by_id,
    identity_providers_of,
    role_of_groups,
)
from workflows.services.secrets import secret_save
from workflows.statuses import Role
from workflows.tenancy import NO_SCOPE, scope_of

PAGE = reverse("admin:workflows_identityprovider_changelist")
BODY: dict[str, Any] = {
    "issuer": "https://login.example.com", "client_id": "portal", "secret_name": "OIDC_SECRET",
    "roles": {"desk": "operator"},
}  # fmt: skip


@pytest.fixture
def admin(tenant: Any) -> Api:
    secret_save(actor=make_actor(tenant, Role.ADMIN), name="OIDC_SECRET", value="a client secret")
    return Api(make_token(tenant, Role.ADMIN))


def test_api_creates_changes_lists_and_deletes(tenant: Any, admin: Api) -> None:
    assert admin.put("/identity-providers/company", BODY).status_code == 201
    changed = admin.put("/identity-providers/company", {**BODY, "roles": {"desk": "admin"}, "is_active": False})
    assert (changed.status_code, changed.json()["roles"]) == (200, {"desk": "admin"})
    assert [row["name"] for row in admin.get("/identity-providers").json()["results"]] == ["company"]
    code = error_of(admin.put("/identity-providers/company", {**BODY, "issuer": "https://b.example"}), 409)["code"]
    assert code == "ISSUER_IS_FIXED"
    assert error_of(admin.put("/identity-providers/second", BODY), 409)["code"] == "ISSUER_IS_USED"
    first = IdentityProvider.objects.get(tenant=tenant).id
    assert admin.delete("/identity-providers/company").status_code == 204
    assert error_of(admin.delete("/identity-providers/company"), 404)["code"] == "IDENTITY_PROVIDER_NOT_FOUND"
    admin.put("/identity-providers/again", BODY)
    assert IdentityProvider.objects.get(tenant=tenant).id == first, "accounts of the issuer stay linked"
    actions = Command.objects.filter(tenant=tenant, target_type="identity_provider", state="observed")
    assert sorted(actions.values_list("action", flat=True)) == [
        "delete_identity_provider", *["save_identity_provider"] * 3
    ]  # fmt: skip
    for role in (Role.VIEWER, Role.AUTHOR):
        other = Api(make_token(tenant, role))
        assert error_of(other.get("/identity-providers"), 403)["code"] == "PERMISSION_DENIED"
        assert error_of(other.put("/identity-providers/x", BODY), 403)["code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("Company Login", {}, "is not a name"),
        ("a", {"issuer": "http://login.example.com"}, "must start with https"),
        ("a", {"issuer": "login.example.com"}, "the issuer is wrong"),
        ("a", {"client_id": "x" * 192}, "client id"),
        ("a", {"secret_name": "MISSING"}, "there is no secret MISSING"),
        ("a", {"roles": {}}, "no group has a role"),
        ("a", {"roles": {"desk": "boss"}}, "has no valid role"),
        ("a", {"group_claim": "x" * 101}, "group claim"),
        ("a", {"extra_scopes": ["two words"]}, "'two words' has 1 to 100 ASCII characters"),
        ("a", {"extra_scopes": ['"quoted"']}, "without spaces, quotes and backslashes"),
        ("a", {"extra_scopes": ["groups", "groups"]}, "groups is requested already"),
        ("a", {"extra_scopes": ["openid"]}, "openid is requested already"),
        ("a", {"extra_scopes": [f"s{number}" for number in range(21)]}, "at most 20 extra scopes"),
    ],
)
def test_wrong_property_is_named_and_nothing_is_stored(
    tenant: Any, admin: Api, name: str, change: Any, word: str
) -> None:
    problem = error_of(admin.put(f"/identity-providers/{name}", {**BODY, **change}), 400)
    assert (problem["code"], word in problem["message"]) == ("IDENTITY_PROVIDER_INVALID", True)
    assert not IdentityProvider.objects.filter(tenant=tenant).exists()


def test_pages_keep_what_was_typed_and_show_the_addresses(tenant: Any, admin: Api) -> None:
    client = member_of(tenant, role="admin")
    fields = {**BODY, "name": "company", "group_claim": "groups", "roles": "desk = operator\n\nleads = admin"}

    def post(page: str, **change: Any) -> Any:
        return client.post(page, {**fields, "is_active": "on", "idempotency_key": str(uuid.uuid4()), **change})

    wrong = post(f"{PAGE}add/", roles="desk operator").content.decode()
    assert ("Line 1: write the group" in wrong, "https://login.example.com" in wrong) == (True, True)
    assert post(f"{PAGE}add/").status_code == 302
    row = IdentityProvider.objects.get(tenant=tenant)
    assert row.roles == {"desk": "operator", "leads": "admin"}
    page = f"{PAGE}{row.id}/change/"
    shown = client.get(page).content.decode()
    assert (f"/account/oidc/{row.id}/login/callback/" in shown, "leads = admin" in shown) == (True, True)
    assert row.extra_scopes == []
    wrong = post(page, what="save", extra_scopes="groups openid").content.decode()
    assert ("scope openid is requested already" in wrong, 'value="groups openid"' in wrong) == (True, True)
    assert post(page, what="save", roles="desk = viewer", extra_scopes="groups  teams").status_code == 302
    row.refresh_from_db()
    assert (row.roles, row.extra_scopes, row.is_active) == ({"desk": "viewer"}, ["groups", "teams"], True)
    assert 'value="groups teams"' in client.get(page).content.decode()
    assert "company" in client.get(PAGE).content.decode()
    assert post(page, what="delete", reason="moved").status_code == 302
    assert not IdentityProvider.objects.filter(id=row.id).exists()
    assert member_of(tenant, role="author").get(PAGE).status_code == 403


def test_command(tenant: Any, admin: Api) -> None:
    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("identity_provider", *arguments, "--tenant", tenant.slug, stdout=out)
        return out.getvalue()

    save = ("save", "company", "--issuer", BODY["issuer"], "--client-id", "portal", "--secret", "OIDC_SECRET")
    assert "login/callback/" in run(*save, "--role", "a=b=admin", "--scope", "groups", "--scope", "api://x/.default")
    assert IdentityProvider.objects.get(tenant=tenant).extra_scopes == ["groups", "api://x/.default"]
    assert "a=b=admin" in run("list")
    with pytest.raises(CommandError, match="write GROUP=ROLE"):
        run(*save, "--role", "desk")
    assert "is deleted" in run("delete", "company")


def test_highest_role_of_the_groups(tenant: Any) -> None:
    provider = IdentityProvider(roles={"a": "viewer", "b": "author", "c": "operator"})
    for groups, role in (
        (["a", "b", "c"], Role.AUTHOR), (["c"], Role.OPERATOR), ("a", Role.VIEWER), (["x"], None), (None, None),
        ({"a": 1}, None), ([["a"], 1, "c"], Role.OPERATOR),
    ):  # fmt: skip
        assert role_of_groups(provider, groups) == role, groups


def test_provider_is_found_without_a_tenant_while_both_are_active(tenant: Any, admin: Api) -> None:
    admin.put("/identity-providers/company", BODY)
    row = IdentityProvider.objects.get(tenant=tenant)

    def found() -> list[bool]:
        with scope_of(NO_SCOPE):
            assert identity_provider_by_id("no-uuid") is None
            assert identity_providers_of("No Slug") == []
            return [identity_provider_by_id(str(row.id)) == row, identity_providers_of(tenant.slug) == [row]]

    with scope_of(NO_SCOPE):
        assert not IdentityProvider.objects.filter(id=row.id).exists()
        start, unknown = (reverse("openid_connect_login", args=[one]) for one in (row.id, uuid.uuid4()))
        page = Client().get(reverse("account_organisation"), {"tenant": tenant.slug.upper()})
        assert f'method="post" action="{start}"' in page.content.decode()
        assert Client().get(reverse("account_organisation"), {"tenant": "nobody"}).status_code == 404
        assert [Client().get(unknown).status_code, Client().post(unknown).status_code] == [404, 404]
    assert found() == [True, True]
    IdentityProvider.objects.filter(id=row.id).update(is_active=False)
    assert found() == [False, False]
    IdentityProvider.objects.filter(id=row.id).update(is_active=True)
    type(tenant).objects.filter(id=tenant.id).update(is_active=False)
    assert found() == [False, False]


@pytest.mark.parametrize(
    ("issuer", "allowed", "reason"),
    [
        ("http://127.0.0.1:1", ["127.0.0.1"], "failed"),  # nothing listens there
        ("https://127.0.0.1:1", [], "private address"),
        ("http://127.0.0.1:1", [], "does not use https"),
    ],
)
def test_provider_that_cannot_be_called_is_recorded_for_the_tenant(
    admin: Api, tenant: Any, settings: Any, issuer: str, allowed: list[str], reason: str
) -> None:
    settings.HTTP_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    assert admin.put("/identity-providers/company", {**BODY, "issuer": issuer}).status_code == 201
    settings.HTTP_ALLOWED_PRIVATE_HOSTS = allowed
    client, row = Client(), IdentityProvider.objects.get(tenant=tenant)
    response = client.post(reverse("openid_connect_login", args=[row.id]))
    assert (response.status_code, response.url) == (302, reverse("account_login"))
    assert "failed" in client.get(response.url).content.decode()
    record = SignInRecord.objects.get(tenant=tenant, kind="failed", method="oidc")
    assert reason in record.detail


def test_visitor_cannot_fill_the_log_with_forged_callbacks(admin: Api, tenant: Any, settings: Any) -> None:
    settings.HTTP_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    admin.put("/identity-providers/company", {**BODY, "issuer": "http://127.0.0.1:1"})
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "provider_failed": "3/m/ip,5/m/key"}
    page = reverse("openid_connect_callback", args=[IdentityProvider.objects.get(tenant=tenant).id])
    network = f"2001:db8:a{uuid.uuid4().hex[:3]}"
    for address in [f"{network}:1::1"] * 5 + [f"{network}:{number}::1" for number in range(2, 6)]:
        assert Client().get(page, {"error": "access_denied"}, REMOTE_ADDR=address).status_code == 302
    assert SignInRecord.objects.filter(tenant=tenant, method="oidc").count() == 5


def test_another_tenant_does_not_see_the_provider(tenant: Any, admin: Api) -> None:
    admin.put("/identity-providers/company", BODY)
    row, stranger = IdentityProvider.objects.get(tenant=tenant), make_tenant()
    assert Api(make_token(stranger, Role.ADMIN)).get("/identity-providers").json()["results"] == []
    assert member_of(stranger, role="admin").get(f"{PAGE}{row.id}/change/").status_code == 404


@pytest.mark.parametrize("is_active", [True, False])
def test_sign_in_ends_if_its_provider_is_switched_off_before_the_second_factor(
    tenant: Any, admin: Api, is_active: bool
) -> None:
    admin.put("/identity-providers/company", BODY)
    row, account = IdentityProvider.objects.get(tenant=tenant), get_user_model().objects.create_user(f"m-{tenant.slug}")
    IdentityProvider.objects.filter(id=row.id).update(is_active=is_active)
    request = RequestFactory().get("/")
    request.session, request.user = Client().session, AnonymousUser()
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    record_authentication(request, account, "socialaccount", provider=str(row.id), uid="1")
    with scope_of(NO_SCOPE), nullcontext() if is_active else pytest.raises(ImmediateHttpResponse):
        AccountAdapter(request).login(request, account)
    assert request.user.is_authenticated is is_active
    assert request.session.get(ONLY_TENANT) == (str(tenant.id) if is_active else None)
    assert request.session.get(PROVIDER) == (str(row.id) if is_active else None)


@pytest.mark.parametrize("end", ["delete", "switch off"])
def test_sessions_of_a_provider_end_with_it(tenant: Any, admin: Api, end: str) -> None:
    admin.put("/identity-providers/company", BODY)
    client, other = member_of(tenant), member_of(tenant)
    session = client.session
    session[ONLY_TENANT], session[PROVIDER] = str(tenant.id), str(IdentityProvider.objects.get(tenant=tenant).id)
    session.save()
    page = reverse("admin:workflows_run_changelist")
    assert client.get(page).status_code == 200
    if end == "delete":
        admin.delete("/identity-providers/company")
    else:
        admin.put("/identity-providers/company", {**BODY, "is_active": False})
    assert (client.get(page).status_code, other.get(page).status_code) == (302, 200)
    record = SignInRecord.objects.get(tenant=tenant, kind="session_expired")
    assert record.detail == "its identity provider was deleted or switched off"


def test_sign_ins_that_wait_for_a_provider_leave_threads_for_others(tenant: Any, admin: Api, settings: Any) -> None:
    settings.WEB_THREADS, settings.HTTP_ALLOWED_PRIVATE_HOSTS = 8, ["127.0.0.1"]
    admin.put("/identity-providers/company", {**BODY, "issuer": "http://127.0.0.1:1"})
    page = reverse("openid_connect_login", args=[IdentityProvider.objects.get(tenant=tenant).id])

    def last_failure() -> str:
        assert Client().post(page).url == reverse("account_login")
        return SignInRecord.objects.filter(tenant=tenant).order_by("-id")[0].detail

    for waiting, is_refused in (
        ([tenant.id], False), ([tenant.id] * 2, True), ([tenant.id, uuid.uuid4(), uuid.uuid4()], False),
        ([uuid.uuid4() for _ in range(4)], True), ([], False),
    ):  # fmt: skip
        with ExitStack() as others:
            for one in waiting:
                others.enter_context(provider_calls(one))
            assert ("too many sign-ins wait" in last_failure()) is is_refused, waiting

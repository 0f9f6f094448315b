"""Sign-in with a password: lockouts, password changes, audit log (docs/reference/sign-in.md)."""

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import NoReverseMatch, reverse

from portal.sign_in.tasks import send_reset_link
from tests.support.api import Api, error_of
from tests.support.factories import make_tenant, make_token
from tests.support.members import member_of
from workflows.models import SignInRecord, TenantMembership
from workflows.statuses import Role
from workflows.tenancy import NO_SCOPE, Scope, scope_of, tenant_scope

PASSWORD = "a long passphrase"
SIGN_IN, PAGE = reverse("account_login"), reverse("admin:workflows_signinrecord_changelist")
WRONG, LOCKED = "The name or the password is wrong", "Too many failed sign-ins"


@pytest.fixture
def address() -> str:
    """Return an IP address of this test, because failures of one address are counted together."""
    return f"2001:db8:a{uuid.uuid4().hex[:3]}:b{uuid.uuid4().hex[:3]}::1"


def make_account(tenant: Any, **more: Any) -> Any:
    name = f"maya-{uuid.uuid4().hex[:8]}"
    account = get_user_model().objects.create_user(name, f"{name}@example.com", PASSWORD, **more)
    if tenant is not None:
        TenantMembership.objects.create(tenant=tenant, user=account, role=Role.VIEWER)
    return account


def sign_in(address: str, name: str, password: str = PASSWORD, client: Client | None = None, **more: Any) -> Any:
    with scope_of(NO_SCOPE):
        return (client or Client()).post(SIGN_IN, {"login": name, "password": password}, REMOTE_ADDR=address, **more)


def kinds(account: Any) -> list[str]:
    return list(SignInRecord.objects.filter(account_id=account.pk).order_by("id").values_list("kind", flat=True))


def test_member_signs_in_and_out_and_both_are_recorded(tenant: Any, address: str) -> None:
    account, client = make_account(tenant), Client(headers={"User-Agent": "Browser 1"})
    assert client.get(reverse("admin:index"), follow=True).redirect_chain[-1][0].startswith(SIGN_IN)
    response = sign_in(address, account.username, client=client)
    assert (response.status_code, response.url) == (302, reverse("admin:index"))
    assert client.get(reverse("admin:index")).status_code == 200
    assert client.post(reverse("account_logout"), REMOTE_ADDR=address).status_code == 302
    assert client.get(reverse("admin:index")).status_code == 302
    row = SignInRecord.objects.filter(account_id=account.pk).first()
    assert row is not None
    assert (row.tenant_id, row.method, row.address, row.user_agent) == (tenant.id, "password", address, "Browser 1")
    assert kinds(account) == ["signed_in", "signed_out"]


def test_nobody_can_open_an_account() -> None:
    for name in ("account_signup", "socialaccount_signup", "account_set_password", "account_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)
    assert Client().post("/account/signup/").status_code == 404


def test_unknown_name_and_wrong_password_have_the_same_response(tenant: Any, address: str) -> None:
    account = make_account(tenant)
    shown = []
    for name in (account.username, f"nobody-{uuid.uuid4().hex[:8]}"):
        response = sign_in(address, name, "wrong")
        shown.append((response.status_code, re.sub(rf"{name}|csrf\S+ value=\S+", "", response.content.decode())))
    assert shown[0] == shown[1]
    assert WRONG in shown[0][1]


def test_account_is_locked_out_from_every_address_and_so_is_an_unknown_name(tenant: Any, settings: Any) -> None:
    account, unknown = make_account(tenant), f"nobody-{uuid.uuid4().hex[:8]}"
    for name in (account.username, unknown):
        texts = [
            sign_in(f"192.0.2.{number}", name.upper() if number % 2 else name, "wrong").content.decode()
            for number in range(settings.SIGN_IN_ACCOUNT_ATTEMPTS + 1)
        ]
        assert [LOCKED in text for text in texts] == [False] * settings.SIGN_IN_ACCOUNT_ATTEMPTS + [True]
        assert LOCKED in sign_in("192.0.2.99", name).content.decode(), "the right password does not help"
    assert kinds(account)[-2:] == ["locked_out", "locked_out"]
    assert kinds(account).count("failed") == settings.SIGN_IN_ACCOUNT_ATTEMPTS
    assert sign_in("192.0.2.99", make_account(tenant).username).status_code == 302, "other accounts are not affected"


def test_address_is_locked_out_for_all_names(tenant: Any, address: str, settings: Any) -> None:
    limits = {**settings.ACCOUNT_RATE_LIMITS, "login_failed": "3/15m/ip,5/15m/key"}
    settings.ACCOUNT_RATE_LIMITS = limits
    account = make_account(tenant)
    for _ in range(3):
        assert WRONG in sign_in(address, uuid.uuid4().hex, "wrong").content.decode()
    assert LOCKED in sign_in(address, account.username).content.decode()
    assert sign_in("192.0.2.98", account.username).status_code == 302


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_forged_headers_do_not_avoid_the_lockout_of_an_address(
    tenant: Any, address: str, settings: Any, proxies: int
) -> None:
    """The client writes the header `Host` and the first entries of `X-Forwarded-For`. The proxies append the others."""
    settings.ALLOWED_HOSTS, settings.ALLAUTH_TRUSTED_PROXY_COUNT = ["*"], proxies
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed": "3/15m/ip,5/15m/key"}
    connection_of, appended = ("192.0.2.50" if proxies else address), [address, "192.0.2.51"][:proxies]

    def attempt(name: str, number: int, *more: str) -> str:
        forged = [f"203.0.113.{number}", f"2001:db8:{number}::1", "not an address"]
        headers = {"Host": f"desk-{number}.example", "X-Forwarded-For": ", ".join([*forged, *appended])}
        return sign_in(connection_of, name, *more, headers=headers).content.decode()

    for number in range(3):
        assert WRONG in attempt(uuid.uuid4().hex, number, "wrong")
    assert LOCKED in attempt(make_account(tenant).username, 4)


@pytest.mark.parametrize(
    ("proxies", "header", "counted"),
    [
        (0, "203.0.113.7", "connection"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7", "198.51.100.1"),
        (2, "203.0.113.7", "connection"),
    ],
)
def test_address_behind_proxies(
    tenant: Any, address: str, settings: Any, proxies: int, header: str, counted: str
) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    account = make_account(tenant)
    sign_in(address, account.username, headers={"X-Forwarded-For": header})
    row = SignInRecord.objects.get(account_id=account.pk)
    assert row.address == (address if counted == "connection" else counted)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda tenant: make_account(tenant, is_active=False), "This account is inactive"),
        (lambda tenant: make_account(None), "You are not a member of any tenant"),
    ],
)
def test_account_that_may_not_enter_gets_the_reason_after_the_right_password(
    tenant: Any, address: str, make: Any, text: str
) -> None:
    account, client = make(tenant), Client()
    assert WRONG in sign_in(address, account.username, "wrong", client).content.decode()
    sign_in(address, account.username, client=client)
    assert text in client.get(SIGN_IN).content.decode()
    assert client.get(reverse("admin:index")).status_code == 302
    assert kinds(account) == ["failed", "refused"]


def test_account_without_a_tenant_may_sign_in_to_accept_an_invitation(address: str, database: None) -> None:
    account, client, page = make_account(None), Client(), reverse("invitation")
    with scope_of(NO_SCOPE):
        form = {"login": account.username, "password": PASSWORD}
        response = client.post(f"{SIGN_IN}?next={page}", form, REMOTE_ADDR=address)
        assert response.url == page
        assert client.get(reverse("admin:index"), follow=True).status_code == 403


def test_visitor_cannot_fill_the_log(tenant: Any, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed": "2/15m/ip,5/15m/key"}
    network = f"2001:db8:a{uuid.uuid4().hex[:3]}:b{uuid.uuid4().hex[:3]}"
    for number in range(8):
        sign_in(f"{network}::{number}", uuid.uuid4().hex, "wrong")
    rows = SignInRecord.objects.filter(address__gte=f"{network}::0", address__lte=f"{network}::9")
    assert [row.kind for row in rows.order_by("id")] == ["failed", "failed", "locked_out"]


def test_password_typed_as_a_name_is_not_stored(tenant: Any, address: str) -> None:
    typed = f"my secret {uuid.uuid4().hex}"
    for _ in range(2):
        sign_in(address, typed, "x")
    sign_in(address, make_account(tenant).username, typed)
    rows = list(SignInRecord.objects.filter(address=address).values())
    assert len(rows) == 3
    assert typed[:10] not in str(rows)
    assert rows[0]["unknown_mark"] == rows[1]["unknown_mark"] != ""


def test_sign_in_page_says_that_redis_does_not_respond(address: str, settings: Any, tenant: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    response = sign_in(address, make_account(tenant).username)
    assert (response.status_code, "Redis does not respond" in response.content.decode()) == (503, True)
    assert Client().get(SIGN_IN).status_code == 200


# -- Passwords ---------------------------------------------------------------------------------------------------------


def test_password_change_ends_other_sessions(tenant: Any, address: str) -> None:
    account, here, there = make_account(tenant), Client(), Client()
    for client in (here, there):
        sign_in(address, account.username, client=client)
    page, new = reverse("account_change_password"), "another long passphrase"
    fields = {"oldpassword": "wrong", "password1": new, "password2": new}
    assert "This is not your current password" in here.post(page, fields).content.decode()
    assert here.post(page, {**fields, "oldpassword": PASSWORD, "password2": "x"}).status_code == 200
    assert here.post(page, {**fields, "oldpassword": PASSWORD}).status_code == 302
    assert [client.get(reverse("admin:index")).status_code for client in (here, there)] == [200, 302]
    assert kinds(account)[-1] == "password_changed"
    assert sign_in(address, account.username, new).status_code == 302


def test_password_is_reset_with_a_link_from_an_e_mail(
    tenant: Any, address: str, settings: Any, monkeypatch: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    account, page = make_account(tenant), reverse("account_reset_password")
    sent: list[Any] = []
    monkeypatch.setattr(send_reset_link, "delay", lambda *given, **more: sent.append((given, more)))
    shown = {
        Client().post(page, {"email": email}, REMOTE_ADDR=address, follow=True).content
        for email in (account.email, f"{uuid.uuid4().hex}@example.com")
    }
    assert len(shown) == 1, "the response does not depend on the account"
    mail.outbox = []
    for given, more in sent:
        send_reset_link(*given, **more)
    assert [message.to for message in mail.outbox] == [[account.email]]
    link = re.search(r"http\S+(/account/password/reset/key/\S+)", str(mail.outbox[0].body))
    assert link is not None
    client, new = Client(), {"password1": "another long passphrase", "password2": "another long passphrase"}
    form = client.get(link[1], follow=True)
    assert link[1] not in form.redirect_chain[-1][0]
    assert "All open sessions" in client.post(form.redirect_chain[-1][0], new, follow=True).content.decode()
    assert "This link is not valid" in Client().get(link[1], follow=True).content.decode()
    assert kinds(account) == ["reset_requested", "password_reset"]
    assert sign_in(address, account.username, new["password1"]).status_code == 302


def test_too_many_requests_for_a_link_are_refused(address: str, settings: Any, monkeypatch: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "reset_password": "1/h/ip"}
    monkeypatch.setattr(send_reset_link, "delay", lambda *given, **more: None)
    page, form = reverse("account_reset_password"), {"email": f"{uuid.uuid4().hex}@example.com"}
    first, second = (Client().post(page, form, REMOTE_ADDR=address) for _ in range(2))
    assert (first.status_code, second.status_code) == (302, 429)
    assert "Wait a few minutes" in second.content.decode()


def test_task_of_the_link_is_known_to_the_worker() -> None:
    from portal.celery import app

    app.loader.import_default_modules()
    assert send_reset_link.name in app.tasks


def test_account_without_a_password_gets_no_link(tenant: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    account = make_account(tenant)
    account.set_unusable_password()
    account.save()
    mail.outbox = []
    send_reset_link(account.email)
    assert (mail.outbox, kinds(account)) == ([], [])
    client = Client()
    client.force_login(account)
    assert client.get(reverse("account_change_password")).status_code == 403


def test_superuser_changes_accounts_and_the_log_names_the_person(tenant: Any) -> None:
    account, boss = make_account(tenant), member_of(tenant, role="admin", superuser=True)
    name = get_user_model().objects.get(pk=boss.session["_auth_user_id"]).username
    session = Client()
    session.force_login(account)
    password = {"password1": "another long passphrase", "password2": "another long passphrase"}
    page = reverse("admin:auth_user_password_change", args=[account.pk])
    assert boss.post(page, {**password, "usable_password": "true", "set-password": "1"}).status_code == 302
    old, address = account.username, account.email
    change = {"username": f"{old}-2", "email": "new@example.com", "date_joined_0": "2026-01-01"}
    more = {"date_joined_1": "00:00:00", "is_superuser": "on"}
    boss.post(reverse("admin:auth_user_change", args=[account.pk]), {**change, **more})
    account.refresh_from_db()
    assert (account.is_active, account.is_superuser) == (False, True)
    rows = SignInRecord.objects.filter(account_id=account.pk, by_name=name).order_by("id")
    assert [(row.kind, row.detail) for row in rows] == [
        ("password_changed", ""), ("name_changed", f"from {old} to {old}-2"),
        ("address_changed", f"from {address} to new@example.com"), ("account_deactivated", ""),
        ("superuser_granted", ""),
    ]  # fmt: skip
    new = {"username": f"{old}-3", "usable_password": "true", **password}
    assert boss.post(reverse("admin:auth_user_add"), new).status_code == 302
    row = SignInRecord.objects.get(account_name=new["username"])
    assert (row.kind, row.by_name, row.tenant_id) == ("account_created", name, None)
    assert session.get(reverse("admin:index")).status_code == 302


def test_double_click_on_a_form_of_an_account_has_one_effect(tenant: Any) -> None:
    boss, name, key = member_of(tenant, superuser=True), f"maya-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    password = {"password1": "another long passphrase", "password2": "another long passphrase"}
    new = {"username": name, "usable_password": "true", **password, "idempotency_key": key}
    add = reverse("admin:auth_user_add")
    assert 'name="idempotency_key"' in boss.get(add).content.decode()
    wrong = boss.post(add, {**new, "password2": "x"})  # the form is shown again, so it can be sent again
    assert (wrong.status_code, get_user_model().objects.filter(username=name).exists()) == (200, False)
    places = {boss.post(add, new).headers.get("Location") for _ in range(2)}
    account = get_user_model().objects.get(username=name)
    assert places == {reverse("admin:auth_user_change", args=[account.pk])}
    page = reverse("admin:auth_user_password_change", args=[account.pk])
    assert "All sessions of the person end." in boss.get(page).content.decode()
    sent = {**password, "usable_password": "true", "idempotency_key": str(uuid.uuid4())}
    assert [boss.post(page, sent).status_code for _ in range(2)] == [302, 302]
    assert kinds(account).count("password_changed") == 1


def test_accounts_are_never_deleted_and_only_superusers_change_them(tenant: Any) -> None:
    account, boss, member = make_account(tenant), member_of(tenant, superuser=True), member_of(tenant, role="admin")
    user = get_user_model().objects.get(pk=member.session["_auth_user_id"])
    user.user_permissions.set(Permission.objects.filter(content_type__model="user"))
    assert boss.get(reverse("admin:auth_user_delete", args=[account.pk])).status_code == 403
    accounts = reverse("admin:auth_user_changelist")
    page = boss.get(accounts)
    assert (page.status_code, "delete_selected" in page.content.decode()) == (200, False)
    home = reverse("admin:index")
    assert [f'href="{accounts}"' in one.get(home).content.decode() for one in (boss, member)] == [True, False]
    change = reverse("admin:auth_user_change", args=[user.pk])
    fields = {"username": user.username, "is_active": "on", "is_superuser": "on", "date_joined_0": "2026-01-01"}
    assert member.post(change, {**fields, "date_joined_1": "00:00:00"}).status_code == 403
    user.refresh_from_db()
    assert user.is_superuser is False


# -- The audit log -----------------------------------------------------------------------------------------------------


def test_administrators_see_the_log_of_their_tenant(tenant: Any, address: str) -> None:
    account, foreign = make_account(tenant), make_account(make_tenant())
    for name in (account.username, foreign.username, "typed by mistake"):
        sign_in(address, name, "wrong")
    client, api = member_of(tenant, role="admin"), Api(make_token(tenant, Role.ADMIN))
    page = client.get(PAGE).content.decode()
    assert (account.username in page, foreign.username in page) == (True, False)
    assert account.username not in client.get(PAGE, {"kind": "signed_in"}).content.decode()
    for wrong in ({"kind": "x"}, {"of": "unknown"}, {"before": "x"}, {"color": "red"}, {"account": "\x00"}):
        assert client.get(PAGE, wrong).status_code == 400, wrong
    found = api.get(f"/sign-ins?account={account.username}&kind=failed").json()["results"]
    assert [(row["account_name"], row["address"]) for row in found] == [(account.username, address)]
    assert api.get(f"/sign-ins?account={foreign.username}").json()["results"] == []
    for role in (Role.VIEWER, Role.AUTHOR):
        assert member_of(tenant, role=role).get(PAGE).status_code == 403
        assert error_of(Api(make_token(tenant, role)).get("/sign-ins"), 403)["code"] == "PERMISSION_DENIED"


def test_only_superusers_see_rows_without_a_tenant(tenant: Any, address: str) -> None:
    sign_in(address, "typed by mistake", "wrong")
    boss = member_of(tenant, role="admin", superuser=True)
    with scope_of(NO_SCOPE):
        assert address in boss.get(PAGE, {"of": "unknown"}).content.decode()
        assert address not in boss.get(PAGE).content.decode()
    rows = SignInRecord.objects.filter(address=address)
    user = str(get_user_model().objects.get(pk=boss.session["_auth_user_id"]).pk)
    for scope, seen in ((Scope(user=user), 1), (Scope(user=str(make_account(tenant).pk)), 0), (NO_SCOPE, 0)):
        with scope_of(scope):
            assert rows.count() == seen, scope


def test_log_is_append_only(tenant: Any, address: str) -> None:
    account = make_account(tenant)
    sign_in(address, account.username)
    row = SignInRecord.objects.get(account_id=account.pk)
    for statement in ("UPDATE sign_in_records SET kind = 'failed'", "DELETE FROM sign_in_records"):
        for scope in (Scope(tenant=str(tenant.id)), Scope(is_system=True)):
            with scope_of(scope), pytest.raises(DatabaseError), transaction.atomic():
                connection.cursor().execute(f"{statement} WHERE id = %s", [row.id])
    with tenant_scope(tenant.id):
        assert SignInRecord.objects.get(id=row.id).kind == "signed_in"

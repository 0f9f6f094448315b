"""Two requests that take one name at the same moment: the second gets a clear error, and nothing of it is stored.

In each test, this thread holds a transaction that has inserted the first row. The second request waits for it.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse

from portal.database_router import SIGNIN
from portal.sign_in.oidc import ProviderAdapter
from tests.integration.test_sign_in_attacks import request_of
from tests.support.api import Api, error_of
from tests.support.blocked import start_until_blocked
from tests.support.factories import make_actor, make_token, publish
from tests.support.invitations import PAGE, PASSWORD, address, invite, opened, text_of
from tests.support.mail_server import mail_server
from tests.support.members import make_account, member_of
from tests.support.native_bundles import native_bundle
from tests.support.triggers import STATE
from workflows.models import (
    Command,
    Connector,
    Definition,
    EventType,
    HolidayCalendar,
    IdentityProvider,
    Invitation,
    PayloadSchema,
    SavedView,
    Schedule,
    Secret,
    Tenant,
    TenantMembership,
)
from workflows.services.secrets import secret_save
from workflows.statuses import Role

ISSUER = "https://login.example.com"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as threads:
        yield threads


def second_of(
    pool: ThreadPoolExecutor, first: Callable[[], Any], second: Callable[[], Any], *, using: str = "default"
) -> Any:
    """Return the result of the second request, which began before the first one was committed."""
    with transaction.atomic(using=using):
        first()
        future = start_until_blocked(pool, second, using=using)
        assert not future.done(), f"the second request did not wait: {future.result()!r}"
    return future.result(60)


# -- Names of accounts -------------------------------------------------------------------------------------------------


def account_of(name: str) -> Callable[[], Any]:
    return lambda: get_user_model().objects.create_user(name, password="x")


@pytest.mark.parametrize("spelling", [str, str.upper])
def test_invited_person_sees_the_error_beside_the_name(
    tenant: Any, pool: ThreadPoolExecutor, settings: Any, spelling: Callable[[str], str]
) -> None:
    name = f"maya-{tenant.slug}"
    form = {"what": "create", "username": name, "password1": PASSWORD, "password2": PASSWORD}
    with mail_server(settings) as mailbox:
        invite(Api(make_token(tenant, Role.ADMIN)), address())
        person = opened(mailbox)
    shown = second_of(pool, account_of(spelling(name)), lambda: person.post(PAGE, form), using=SIGNIN)
    assert shown.context["form"].errors == {"username": ["The user name is taken. Choose another name."]}
    assert f'value="{name}"' in text_of(shown)
    assert get_user_model().objects.filter(username__iexact=name).count() == 1
    assert not TenantMembership.objects.filter(tenant=tenant).exists()
    assert "Sign in with its password" in text_of(person.post(PAGE, {**form, "username": f"{name}-2"}))


@pytest.mark.parametrize("is_new", [True, False])
def test_superuser_sees_the_error_beside_the_name(tenant: Any, pool: ThreadPoolExecutor, is_new: bool) -> None:
    client, name, other = member_of(tenant, superuser=True), f"maya-{tenant.slug}", make_account("other")
    form = {"username": name, "is_active": "on"} | (
        {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"} if is_new else {}
    )
    page = reverse("admin:auth_user_add") if is_new else reverse("admin:auth_user_change", args=[other.pk])
    shown = second_of(pool, account_of(name.upper()), lambda: client.post(page, form), using=SIGNIN)
    assert shown.context["adminform"].form.errors == {"username": ["The user name is taken. Choose another name."]}
    assert get_user_model().objects.filter(username__iexact=name).count() == 1
    other.refresh_from_db()
    assert other.username.startswith("other-")


def test_command_creates_no_second_administrator_of_one_name(
    tenant: Any, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"maya-{tenant.slug}"
    monkeypatch.setattr("sys.stdin", StringIO(f"{PASSWORD}\n"))

    def create() -> str:
        with pytest.raises(CommandError) as error:
            call_command("create_admin", name, "--another")
        return str(error.value)

    assert "ACCOUNT_NAME_TAKEN: The user name is taken" in second_of(pool, account_of(name), create, using=SIGNIN)
    assert not get_user_model().objects.filter(username__iexact=name, is_superuser=True).exists()


@pytest.mark.parametrize("taken", ["name", "identity"])
def test_first_sign_in_through_a_provider_can_be_repeated(tenant: Any, pool: ThreadPoolExecutor, taken: str) -> None:
    provider = IdentityProvider.objects.create(
        tenant=tenant, name="company", issuer=ISSUER, client_id="portal", secret_name="S", roles={"desk": "operator"},
        sign_in_name=tenant.slug,
    )  # fmt: skip
    name = f"maya@{tenant.slug}" if taken == "name" else f"another@{tenant.slug}"

    def first() -> None:
        account = account_of(name)()
        SocialAccount.objects.create(user=account, provider=str(provider.id), uid="1" if taken == "identity" else "2")

    def sign_in() -> str:
        claims = {"id_token": {"iss": ISSUER, "sub": "1", "nonce": "n", "preferred_username": "maya"}}
        login = SocialLogin(
            user=get_user_model()(), account=SocialAccount(provider=str(provider.id), uid="1", extra_data=claims)
        )
        login.state = {"nonce": "n"}
        request = request_of()
        with pytest.raises(ImmediateHttpResponse) as refused:
            ProviderAdapter(request).save_user(request, login)
        shown = [str(message) for message in request._messages]
        return f"{refused.value.response.url} {shown}"

    result = second_of(pool, first, sign_in, using=SIGNIN)
    assert (reverse("account_login") in result, "at this moment. Sign in again." in result) == (True, True)
    assert [account.username for account in get_user_model().objects.filter(username__endswith=tenant.slug)] == [name]
    assert not TenantMembership.objects.filter(tenant=tenant).exists()


def test_second_click_on_an_authenticator_app_adds_no_second_one(tenant: Any, pool: ThreadPoolExecutor) -> None:
    account, client, page = make_account("maya"), Client(), reverse("mfa_activate_totp")
    TenantMembership.objects.create(tenant=tenant, user=account, role=Role.VIEWER)
    client.post(reverse("account_login"), {"login": account.username, "password": "x"})
    seed = client.get(page).context["form"].secret
    code = format_hotp_value(hotp_value(seed, int(time.time()) // 30))

    def first() -> None:
        get_user_model().objects.select_for_update(no_key=True).get(pk=account.pk)
        TOTP.activate(account, seed)

    shown = second_of(pool, first, lambda: client.post(page, {"code": code}), using=SIGNIN)
    assert (shown.status_code, shown.url) == (302, reverse("mfa_deactivate_totp"))
    assert [row.type for row in Authenticator.objects.filter(user=account)] == ["totp"]


# -- Names in a tenant -------------------------------------------------------------------------------------------------

BUNDLE = json.loads(native_bundle(5))
KEY = BUNDLE["workflows"][0]["key"]
FLOW = {"definition": "flow", "name": "daily", "cron": "0 9 * * *"}
SPEC = {"label": "Create a contact", "url": "https://crm.example/contacts"}
PROVIDER = {"client_id": "portal", "secret_name": "OIDC_SECRET", "roles": {"desk": "operator"}}

# Kind, first row, method, address, body, status and code of the second response.
NAMES = [
    ("event type", lambda tenant: EventType(name="PAID"), "post", "/event-types", {"name": "PAID"}, 409,
     "EVENT_TYPE_EXISTS"),
    ("schema", lambda tenant: PayloadSchema(ref="a.b", schema={}), "post", "/schemas", {"ref": "a.b", "schema": {}},
     409, "SCHEMA_EXISTS"),
    ("definition", lambda tenant: Definition(key="new", name="new"), "post", "/definitions", {"key": "new"}, 409,
     "DEFINITION_EXISTS"),
    ("bundle", lambda tenant: Definition(key=KEY, name="x"), "post", "/bundles/import", BUNDLE, 409,
     "DEFINITION_EXISTS"),
    ("connector", lambda tenant: Connector(action_id="crm.create", version=1, label="x", spec={}), "post",
     "/connectors", {"action_id": "crm.create", "spec": SPEC}, 409, "CONNECTOR_CHANGED"),
    ("calendar", lambda tenant: HolidayCalendar(name="US", weekend=[6, 7], holidays={}), "post", "/holiday-calendars",
     {"name": "US", "weekend": [6, 7], "holidays": {}}, 400, "CALENDAR_INVALID"),
    ("schedule", lambda tenant: Schedule(
        definition=Definition.objects.get(tenant=tenant, key="flow"), name="daily", kind="recurring",
        cron="0 9 * * *", temporal_schedule_id=f"race-{tenant.slug}", origin="portal"),
     "post", "/schedules", FLOW, 400, "SCHEDULE_INVALID"),
    ("issuer", lambda tenant: IdentityProvider(name="first", issuer=ISSUER, **PROVIDER), "put",
     "/identity-providers/second", {**PROVIDER, "issuer": ISSUER}, 409, "ISSUER_IS_USED"),
    ("provider", lambda tenant: IdentityProvider(name="one", issuer="https://a.example", **PROVIDER), "put",
     "/identity-providers/one", {**PROVIDER, "issuer": ISSUER}, 409, "ISSUER_IS_USED"),
    ("invitation", lambda tenant: Invitation(
        email=f"m-{tenant.slug}@example.org", role="viewer", code_hash=uuid.uuid4().hex,
        expires_at="2999-01-01T00:00Z"),
     "post", "/invitations", {"email": "m-{slug}@example.org", "role": "viewer"}, 409, "INVITATION_OPEN"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "method", "path", "body", "status", "code"), [row[1:] for row in NAMES],
                         ids=[row[0] for row in NAMES])  # fmt: skip
def test_second_request_of_one_name_is_refused_and_stores_nothing(
    tenant: Any, pool: ThreadPoolExecutor, first: Any, method: str, path: str, body: Any, status: int, code: str
) -> None:
    publish(tenant, STATE)
    secret_save(actor=make_actor(tenant), name="OIDC_SECRET", value="a client secret")
    api, row = Api(make_token(tenant, Role.ADMIN)), first(tenant)
    row.tenant = tenant
    text = json.dumps(body).replace("{slug}", tenant.slug)
    send = getattr(api, method)
    response = second_of(pool, lambda: row.save(force_insert=True), lambda: send(path, json.loads(text)))
    assert error_of(response, status)["code"] == code
    if status == 400:
        assert [problem["path"] for problem in response.json()["error"]["details"]["problems"]] == ["name"]
    command = Command.objects.filter(tenant=tenant).order_by("-requested_at").first()
    assert command is not None
    assert (command.state, command.code) == ("refused", code)
    assert list(type(row).objects.filter(tenant=tenant).exclude(pk=row.pk).exclude(**_flow(row))) == []


def _flow(row: Any) -> dict[str, str]:
    return {"key": "flow"} if isinstance(row, Definition) else {}


def test_second_tenant_of_one_slug_is_refused(tenant: Any, pool: ThreadPoolExecutor) -> None:
    client, slug = member_of(tenant, superuser=True), f"new-{tenant.slug}"
    body = json.dumps({"slug": slug, "name": "Second"})
    response = second_of(
        pool,
        lambda: Tenant.objects.create(slug=slug, name="First"),
        lambda: client.post("/api/v1/tenants", body, content_type="application/json"),
    )
    assert error_of(response, 409)["code"] == "TENANT_EXISTS"
    assert Tenant.objects.get(slug=slug).name == "First"


def test_second_save_of_a_secret_or_a_view_replaces_the_first(tenant: Any, pool: ThreadPoolExecutor) -> None:
    api, client = Api(make_token(tenant, Role.ADMIN)), member_of(tenant)
    first = Secret(tenant=tenant, name="KEY", ciphertext=b"x", key_id="x")
    put = second_of(pool, lambda: first.save(force_insert=True), lambda: api.put("/secrets/KEY", {"value": "a value"}))
    assert (put.status_code, Secret.objects.get(tenant=tenant).key_id != "x") == (200, True)
    view = SavedView(tenant=tenant, user_id=client.session["_auth_user_id"], name="mine", query="status__exact=FAILED")
    form = {"name": "mine", "query": "status__exact=WAITING", "idempotency_key": str(uuid.uuid4())}
    second_of(
        pool, lambda: view.save(force_insert=True), lambda: client.post(reverse("admin:workflows_run_save_view"), form)
    )
    assert SavedView.objects.get(tenant=tenant).query == "status__exact=WAITING"

"""End of a membership or of the role admin: sessions, tokens and invitations of the person.

Source: docs/reference/administration.md#members
"""

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.blocked import start_until_blocked
from tests.support.factories import make_tenant, make_token
from tests.support.invitations import PAGE, PASSWORD, address, invite, opened, text_of
from tests.support.mail_server import Mailbox, mail_server
from tests.support.members import join, make_account, member_of
from workflows.actors import Actor
from workflows.errors import PermissionRefused
from workflows.models import ApiToken, Command, Invitation, TenantMembership
from workflows.services.tokens import TokenFields, token_create, token_issue, token_rotate
from workflows.statuses import CommandSource, Role


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    with mail_server(settings) as box:
        yield box


@pytest.fixture
def admin(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.ADMIN))


# -- Tokens ------------------------------------------------------------------------------------------------------------


def test_removal_ends_membership_session_and_tokens_at_once(tenant: Any, admin: Api) -> None:
    member = member_of(tenant, role="admin")
    username = TenantMembership.objects.get(tenant=tenant).user.get_username()
    own = member.post(
        "/api/v1/tokens", '{"name": "mine", "role": "viewer"}', content_type="application/json"
    ).json()["token"]  # fmt: skip
    assert (member.get("/admin/").status_code, Api(own).get("/runs").status_code) == (200, 200)
    assert error_of(admin.delete(f"/members/{username}"), 409)["code"] == "LAST_ADMIN"
    other = make_account("other")
    join(tenant, other)
    assert admin.delete(f"/members/{username}").status_code == 204
    assert member.get("/admin/").status_code == 302
    assert error_of(Api(own).get("/runs"), 401)["code"] == "TOKEN_INVALID"
    removal = Command.objects.get(tenant=tenant, action="remove_member", state="observed")
    assert (removal.target_id, removal.details["revokedTokens"]) == (username, 1)


def test_removal_ends_tokens_that_the_person_got_from_another_token_or_by_rotation(tenant: Any, admin: Api) -> None:
    member, colleague = member_of(tenant, role="admin"), make_account("colleague")
    username = TenantMembership.objects.get(tenant=tenant).user.get_username()
    join(tenant, colleague)
    foreign = admin.post("/tokens", {"name": "of the portal", "role": "viewer"}).json()

    def session(path: str, body: Any) -> Any:
        return member.post(f"/api/v1{path}", json.dumps(body), content_type="application/json").json()

    first = session("/tokens", {"name": "first", "role": "admin"})["token"]
    second = Api(first).post("/tokens", {"name": "second", "role": "admin"}).json()["token"]
    rotated = session(f"/tokens/{foreign['id']}/rotate", {"overlap_seconds": 3600})["token"]
    known = [first, second, rotated]
    assert [Api(token).get("/runs").status_code for token in known] == [200, 200, 200]
    assert admin.delete(f"/members/{username}").status_code == 204
    assert [Api(token).get("/runs").status_code for token in known] == [401, 401, 401]
    assert Api(foreign["token"]).get("/runs").status_code == 200, "the person never saw this value"


def test_request_that_overtakes_the_removal_of_its_member_creates_no_token(tenant: Any, admin: Api) -> None:
    account, other = make_account("leaver"), make_account("other")
    for one in (account, other):
        join(tenant, one)
    actor = Actor("user", str(account.pk), account.username, tenant.id, Role.ADMIN, CommandSource.API)
    fields = TokenFields("a", Role.ADMIN)
    row, _ = token_create(actor=actor, fields=fields, created_by_id=other.pk)
    assert admin.delete(f"/members/{account}").status_code == 204
    with pytest.raises(PermissionRefused, match="has ended"):  # the actor was read before the removal
        token_create(actor=actor, fields=fields, created_by_id=account.pk)
    with pytest.raises(PermissionRefused, match="has ended"):
        token_rotate(actor=actor, token_id=row.id, overlap=timedelta(0), created_by_id=account.pk)
    assert not ApiToken.objects.filter(created_by=account, revoked_at=None).exists()


def test_removal_waits_for_a_token_in_progress_and_revokes_it(tenant: Any, admin: Api) -> None:
    account, other = make_account("leaver"), make_account("other")
    for one in (account, other):
        join(tenant, one)
    actor = Actor("user", str(account.pk), account.username, tenant.id, Role.ADMIN, CommandSource.API)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            _, token = token_create(actor=actor, fields=TokenFields("a", Role.ADMIN), created_by_id=account.pk)
            removal = start_until_blocked(pool, lambda: admin.delete(f"/members/{account}").status_code)
        assert removal.result(60) == 204
    assert error_of(Api(token).get("/runs"), 401)["code"] == "TOKEN_INVALID"


def test_tokens_of_a_deactivated_account_are_refused_until_it_is_active_again(tenant: Any) -> None:
    account = make_account("maya")
    join(tenant, account)
    _, token = token_issue(tenant_id=tenant.id, name="a", role=Role.VIEWER, created_by_id=account.pk)
    assert Api(token).get("/runs").status_code == 200
    account.is_active = False
    account.save()
    error = error_of(Api(token).get("/runs"), 401)
    assert (error["code"], account.username in error["message"]) == ("TOKEN_INVALID", True)
    account.is_active = True
    account.save()
    assert Api(token).get("/runs").status_code == 200


def test_token_can_do_no_more_than_its_person_now(tenant: Any, admin: Api) -> None:
    account, other = make_account("maya"), make_account("other")
    for one in (account, other):
        join(tenant, one)
    tokens = {
        role: Api(token_issue(tenant_id=tenant.id, name="a", role=role, created_by_id=account.pk)[1]) for role in Role
    }
    of_superuser = get_user_model().objects.create_user(f"root-{tenant.slug}", is_superuser=True)
    root = Api(token_issue(tenant_id=tenant.id, name="b", role=Role.ADMIN, created_by_id=of_superuser.pk)[1])

    def may() -> dict[str, list[int]]:
        """Return the statuses of a read of every role, and of a read that needs the role admin."""
        return {role: [api.get(path).status_code for path in ("/runs", "/members")] for role, api in tokens.items()}

    assert may() == {role: [200, 200 if role == Role.ADMIN else 403] for role in Role}
    assert admin.put(f"/members/{account}", {"role": "operator"}).status_code == 200
    assert may() == {role: [200, 403] for role in Role}
    listed = {row["role"]: row["role_now"] for row in admin.get("/tokens").json()["results"] if row["name"] == "a"}
    assert listed == {**dict.fromkeys(Role, "operator"), "viewer": "viewer"}
    started = tokens[Role.ADMIN].post("/tokens", {"name": "more", "role": "admin"})
    assert error_of(started, 403)["details"]["role"] == "operator"
    assert admin.put(f"/members/{account}", {"role": "admin"}).status_code == 200
    assert may()[Role.ADMIN] == [200, 200]
    TenantMembership.objects.filter(tenant=tenant, user=account).delete()
    assert error_of(tokens[Role.VIEWER].get("/runs"), 401)["code"] == "TOKEN_INVALID"
    out = StringIO()
    call_command("token", "list", "--tenant", tenant.slug, stdout=out)
    assert [line.split()[-1] for line in out.getvalue().splitlines() if "no role" in line] == ["a"] * len(Role)
    assert root.get("/members").status_code == 200
    of_superuser.is_superuser = False
    of_superuser.save()
    assert error_of(root.get("/members"), 401)["code"] == "TOKEN_INVALID"


# -- Sessions and invitations ------------------------------------------------------------------------------------------


def test_removal_ends_the_sessions_of_two_browsers_and_the_open_invitation(
    tenant: Any, admin: Api, mailbox: Mailbox
) -> None:
    email = address()
    account = get_user_model().objects.create_user(f"gone-{tenant.slug}", email=email, password=PASSWORD)
    TenantMembership.objects.create(tenant=tenant, user=account, role=Role.ADMIN)
    TenantMembership.objects.create(
        tenant=tenant, user=get_user_model().objects.create_user(f"stays-{tenant.slug}"), role=Role.ADMIN
    )
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(account)
        assert browser.get("/admin/").status_code == 200
    Invitation.objects.create(
        tenant=tenant, email=email, role="admin", code_hash="x" * 64, expires_at=timezone.now() + timedelta(days=1)
    )
    assert admin.delete(f"/members/{account}").status_code == 204
    assert [browser.get("/admin/").status_code for browser in browsers] == [302, 302]
    assert [browser.get("/api/v1/runs").status_code for browser in browsers] == [403, 403]
    assert Invitation.objects.get(tenant=tenant, email=email).revoked_at is not None


def _demote(admin: Api, name: str) -> int:
    return admin.put(f"/members/{name}", {"role": "author"}).status_code


def _remove(admin: Api, name: str) -> int:
    return admin.delete(f"/members/{name}").status_code


@pytest.mark.parametrize("end", [_demote, _remove])
def test_invitations_of_a_person_end_with_the_role_admin(tenant: Any, admin: Api, mailbox: Mailbox, end: Any) -> None:
    inviter, other = member_of(tenant, role="admin"), member_of(tenant, role="admin")
    name = TenantMembership.objects.filter(tenant=tenant).order_by("created_at")[0].user.get_username()

    def send(client: Client, path: str, body: Any) -> Any:
        return client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json").json()

    own = send(inviter, "/invitations", {"email": address(), "role": "admin"})["id"]
    person = opened(mailbox)
    token = Api(send(inviter, "/tokens", {"name": "a", "role": "admin"})["token"])
    of_token = invite(token, address(), "admin")["id"]
    sent_again = send(inviter, "/invitations", {"email": address(), "role": "viewer"})["id"]
    send(other, f"/invitations/{sent_again}/resend", {})
    of_portal = invite(admin, address())["id"]
    assert end(admin, name) in (200, 204)
    open_rows = Invitation.objects.filter(tenant=tenant, revoked_at=None)
    assert {str(row.id) for row in open_rows} == {sent_again, of_portal}
    revoked = Command.objects.filter(tenant=tenant, action="revoke_invitation", state="observed")
    assert set(revoked.values_list("target_id", flat=True)) == {own, of_token}
    change = Command.objects.get(tenant=tenant, target_type="member", target_id=name)
    assert change.details["revokedInvitations"] == 2
    fields = {"what": "create", "username": f"x-{tenant.slug}", "password1": PASSWORD, "password2": PASSWORD}
    assert person.post(PAGE, fields).status_code == 410
    assert not get_user_model().objects.filter(username=fields["username"]).exists()


def test_invitation_of_a_deactivated_administrator_cannot_be_used_until_it_is_sent_again(
    tenant: Any, admin: Api, mailbox: Mailbox
) -> None:
    member_of(tenant, role="admin")
    account = TenantMembership.objects.get(tenant=tenant).user
    row = invite(admin, address())["id"]
    Invitation.objects.filter(id=row).update(created_by=account, created_by_name=account.username)
    person = opened(mailbox)
    assert person.get(PAGE).status_code == 200
    account = get_user_model().objects.get(pk=account.pk)
    account.is_active = False
    account.save()
    refused = person.get(PAGE)
    assert (refused.status_code, "may no longer invite" in text_of(refused)) == (410, True)
    assert admin.post(f"/invitations/{row}/resend").status_code == 200
    assert opened(mailbox).get(PAGE).status_code == 200


def test_form_is_not_carried_out_in_a_tenant_that_was_chosen_in_another_tab(tenant: Any) -> None:
    other = make_tenant()
    client = member_of(tenant, other, role="admin")
    client.post("/admin/tenant/", {"tenant": str(tenant.id)})
    page = f"{reverse('admin:workflows_apitoken_changelist')}add/"
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', client.get(page).content.decode()))
    form = {"name": "a", "role": "viewer", "access": "role", **hidden}
    client.post("/admin/tenant/", {"tenant": str(other.id)})
    refused = client.post(page, form)
    assert (refused.status_code, "loaded in another tenant" in text_of(refused)) == (403, True)
    assert not ApiToken.objects.filter(tenant__in=[tenant, other]).exists()
    client.post("/admin/tenant/", {"tenant": str(tenant.id)})
    client.post(page, form)
    assert [row.tenant_id for row in ApiToken.objects.filter(tenant__in=[tenant, other])] == [tenant.id]


def test_form_of_an_ended_membership_is_not_carried_out_in_another_tenant(tenant: Any, admin: Api) -> None:
    other = make_tenant("AAA first by name")
    client = member_of(tenant, other, role="admin")
    client.post("/admin/tenant/", {"tenant": str(tenant.id)})
    assert tenant.name in text_of(client.get("/admin/"))
    TenantMembership.objects.filter(tenant=tenant).delete()
    form = {"name": "a", "role": "viewer", "access": "role", "idempotency_key": str(uuid.uuid4())}
    tokens = reverse("admin:workflows_apitoken_changelist")
    refused = client.post(f"{tokens}add/", form)
    assert (refused.status_code, "no longer a member of the tenant" in text_of(refused)) == (403, True)
    assert not Command.objects.filter(tenant=other).exists()
    assert client.post(f"{tokens}add/", form).status_code == 200  # the next request is in the tenant that is shown
    assert Command.objects.filter(tenant=other, action="create_token").exists()

"""Invitations by e-mail (docs/reference/administration.md#invitations)."""

import logging
import uuid
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_tenant, make_token
from tests.support.invitations import PAGE, PASSWORD, address, code_in, invite, opened, text_of
from tests.support.mail_server import Mailbox, mail_server
from tests.support.members import make_account, member_of
from workflows.models import Command, Invitation, TenantMembership
from workflows.services import invitation_links
from workflows.statuses import Role
from workflows.tenancy import system_scope

LIST = reverse("admin:workflows_invitation_changelist")


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    with mail_server(settings) as box:
        yield box


@pytest.fixture
def admin(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.ADMIN))


# -- Acceptance --------------------------------------------------------------------------------------------------------


def test_new_person_chooses_a_password_and_can_sign_in(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    email = address()
    row = Invitation.objects.get(id=invite(admin, email.upper(), "author")["id"])
    code = code_in(mailbox)
    assert (mailbox.mails[-1]["To"], tenant.name in mailbox.mails[-1]["Subject"]) == (email, True)
    assert code not in str(Invitation.objects.filter(id=row.id).values()) + str(
        list(Command.objects.filter(tenant=tenant).values())
    )
    person = opened(mailbox)
    shown = text_of(person.get(PAGE))
    assert (tenant.name in shown, "role author" in shown, code in shown) == (True, True, False)
    name = f"jonas-{tenant.slug}"
    account = {"what": "create", "username": name, "password1": PASSWORD, "password2": PASSWORD}
    weak = text_of(person.post(PAGE, {**account, "password1": "12345", "password2": "12345"}))
    assert ("too short" in weak, f'value="{name}"' in weak) == (True, True)
    assert not get_user_model().objects.filter(username=name).exists()
    assert "Sign in with its password" in text_of(person.post(PAGE, account))
    assert TenantMembership.objects.get(tenant=tenant, user__username=name).role == "author"
    assert person.login(username=name, password=PASSWORD)
    assert person.get("/admin/").status_code == 200
    ledger = Command.objects.filter(tenant=tenant, target_type="invitation").order_by("requested_at", "id")
    assert list(ledger.values_list("action", "state", "actor_name")) == [
        ("invite_member", "observed", "admin token"), ("accept_invitation", "observed", name)
    ]  # fmt: skip


def test_existing_account_joins_after_signing_in_as_this_account(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    email = address()
    account = get_user_model().objects.create_user(f"old-{tenant.slug}", email=email.upper(), password=PASSWORD)
    elsewhere = make_tenant()
    TenantMembership.objects.create(tenant=elsewhere, user=account, role=Role.VIEWER)
    invite(admin, email)
    person = opened(mailbox)
    assert "Sign in with this account" in text_of(person.get(PAGE))
    made = person.post(PAGE, {"what": "create", "username": "x", "password1": PASSWORD, "password2": PASSWORD})
    assert ("Sign in with this account" in text_of(made), get_user_model().objects.filter(username="x").exists()) == (
        True,
        False,
    )
    signed_in = person.post(f"/account/login/?next={PAGE}", {"login": str(account), "password": PASSWORD})
    assert signed_in["Location"] == PAGE
    assert "Join the tenant" in text_of(person.get(PAGE))
    assert not TenantMembership.objects.filter(tenant=tenant, user=account).exists()
    assert tenant.name in text_of(person.post(PAGE, {"what": "join"}, follow=True))
    assert TenantMembership.objects.get(tenant=tenant, user=account).role == "operator"


def _expire(row: Invitation, admin: Api) -> None:
    Invitation.objects.filter(id=row.id).update(expires_at=timezone.now() - timedelta(seconds=1))


def _use(row: Invitation, admin: Api) -> None:
    Invitation.objects.filter(id=row.id).update(accepted_at=timezone.now(), accepted_by_name="another")


def _revoke(row: Invitation, admin: Api) -> None:
    assert admin.post(f"/invitations/{row.id}/revoke", {"reason": "wrong person"}).status_code == 200


def _resend(row: Invitation, admin: Api) -> None:
    assert admin.post(f"/invitations/{row.id}/resend").status_code == 200


def _close(row: Invitation, admin: Api) -> None:
    row.tenant.is_active = False
    row.tenant.save()


@pytest.mark.parametrize(
    ("change", "status", "title"),
    [
        (_expire, 410, "The invitation has expired"),
        (_use, 410, "The invitation was used before"),
        (_revoke, 410, "The invitation was revoked"),
        (_resend, 404, "This link is not known"),
        (_close, 410, "The tenant is closed"),
    ],
)
def test_ended_link_says_why_and_gives_no_access(
    tenant: Any, admin: Api, mailbox: Mailbox, change: Any, status: int, title: str
) -> None:
    row = Invitation.objects.get(id=invite(admin, address())["id"])
    late, person = opened(mailbox), opened(mailbox)
    fields = {"what": "create", "username": f"x-{tenant.slug}", "password1": PASSWORD, "password2": PASSWORD}
    change(row, admin)
    for shown in (person.get(PAGE), late.post(PAGE, fields)):
        assert (shown.status_code, f"<h1> {title} </h1>" in text_of(shown)) == (status, True)
    assert not TenantMembership.objects.filter(tenant=tenant).exists()
    assert not get_user_model().objects.filter(username=f"x-{tenant.slug}").exists()


def test_other_account_cannot_use_the_link(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    invite(admin, address())
    other = opened(mailbox, member_of(make_tenant(), role="viewer"))
    for shown in (other.get(PAGE), other.post(PAGE, {"what": "join"})):
        assert (shown.status_code, "The invitation is for another account" in text_of(shown)) == (403, True)
    assert not TenantMembership.objects.filter(tenant=tenant).exists()


def test_link_that_a_resend_replaces_during_the_acceptance_is_unknown(
    tenant: Any, admin: Api, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited = invite(admin, address())
    client = opened(mailbox)
    find = invitation_links.invitation_of_code_hash

    def replaced_afterwards(code_hash: str) -> Invitation:
        found = find(code_hash)
        with system_scope():
            Invitation.objects.filter(id=invited["id"]).update(code_hash=uuid.uuid4().hex)
        return found

    monkeypatch.setattr(invitation_links, "invitation_of_code_hash", replaced_afterwards)
    name = f"jonas-{uuid.uuid4().hex[:8]}"
    response = client.post(PAGE, {"what": "create", "username": name, "password1": PASSWORD, "password2": PASSWORD})
    assert (response.status_code, "This link is not known" in response.content.decode()) == (404, True)
    assert not get_user_model().objects.filter(username=name).exists()


def test_link_ends_after_some_names_and_a_resend_opens_it_again(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    email, taken = address(), make_account("taken").username
    row = invite(admin, email)
    person, page = opened(mailbox), text_of
    fields = {"what": "create", "password1": PASSWORD, "password2": PASSWORD}
    weak = {**fields, "username": taken.upper(), "password1": "1", "password2": "1"}
    assert "is taken" not in page(person.post(PAGE, weak)), "an incomplete form says nothing about the name"
    for _ in range(invitation_links.MOST_TRIED_NAMES):
        assert "The user name is taken." in page(person.post(PAGE, {**fields, "username": taken}))
    late = opened(mailbox)
    for shown in (person.post(PAGE, {**fields, "username": f"free-{tenant.slug}"}), late.get(PAGE)):
        assert (shown.status_code, "Too many user names were tried" in page(shown)) == (410, True)
        assert "Ask admin token to send it again" in page(shown)
    assert not get_user_model().objects.filter(email=email).exists()
    assert admin.post(f"/invitations/{row['id']}/resend").status_code == 200
    again = opened(mailbox).post(PAGE, {**fields, "username": f"free-{tenant.slug}"})
    assert "Sign in with its password" in page(again)


def test_code_is_in_no_log(tenant: Any, admin: Api, mailbox: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        invite(admin, address())
        person = opened(mailbox)
        person.get(PAGE)
        person.post(PAGE, {"what": "create", "username": ""})
        mailbox.refuses = "550 no such mailbox"
        error_of(admin.post("/invitations", {"email": address(), "role": "viewer"}), 503)
    own = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the log of the SMTP server
    assert own
    assert code_in(mailbox) not in str(own)


# -- Requests of administrators ----------------------------------------------------------------------------------------


def test_refused_e_mail_stores_nothing(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    mailbox.refuses = "550 no such mailbox"
    error = error_of(admin.post("/invitations", {"email": address(), "role": "viewer"}), 503)
    assert (error["code"], "no such mailbox" in error["message"]) == ("MAIL_NOT_SENT", True)
    assert not Invitation.objects.filter(tenant=tenant).exists()
    assert Command.objects.get(tenant=tenant, action="invite_member").code == "MAIL_NOT_SENT"


def test_repeats_and_wrong_requests(tenant: Any, admin: Api, mailbox: Mailbox) -> None:
    email = address()
    body = {"email": email, "role": "viewer"}
    first = admin.post("/invitations", body, **{"Idempotency-Key": "k"}).json()
    assert admin.post("/invitations", body, **{"Idempotency-Key": "k"}).json() == first
    assert len(mailbox.mails) == 1
    assert error_of(admin.post("/invitations", body), 409)["code"] == "INVITATION_OPEN"
    assert error_of(admin.post("/invitations", {**body, "email": "no address"}), 400)["code"] == "VALIDATION_ERROR"
    member = get_user_model().objects.create_user(f"m-{tenant.slug}", email=address())
    TenantMembership.objects.create(tenant=tenant, user=member, role=Role.VIEWER)
    assert error_of(admin.post("/invitations", {**body, "email": member.email}), 409)["code"] == "ALREADY_MEMBER"
    Invitation.objects.filter(id=first["id"]).update(expires_at=timezone.now())
    invite(admin, email)  # replaces the expired invitation
    states = Invitation.objects.filter(tenant=tenant, email=email).order_by("created_at")
    assert [row.revoked_at is None for row in states] == [False, True]
    stranger = Api(make_token(make_tenant(), Role.ADMIN))
    assert error_of(stranger.post(f"/invitations/{first['id']}/resend"), 404)["code"] == "INVITATION_NOT_FOUND"


def test_pages_send_resend_and_revoke(tenant: Any, mailbox: Mailbox) -> None:
    client, email = member_of(tenant, role="admin"), address()
    form = {"email": email, "role": "viewer", "idempotency_key": str(uuid.uuid4())}
    assert "is not an e-mail address" in text_of(client.post(f"{LIST}add/", {**form, "email": "no address"}))
    form["idempotency_key"] = str(uuid.uuid4())
    assert f"The e-mail to {email} was sent" in text_of(client.post(f"{LIST}add/", form, follow=True))
    client.post(f"{LIST}add/", form)  # a second click
    assert len(mailbox.mails) == 1
    row = Invitation.objects.get(tenant=tenant)
    page, first = f"{LIST}{row.id}/change/", code_in(mailbox)
    client.post(page, {"what": "resend", "idempotency_key": str(uuid.uuid4())})
    assert (len(mailbox.mails), code_in(mailbox) != first) == (2, True)
    done = client.post(page, {"what": "revoke", "reason": "left", "idempotency_key": str(uuid.uuid4())}, follow=True)
    assert "Revoked" in text_of(done)
    assert "Send again" not in text_of(client.get(page))


def test_command_sends_lists_and_revokes(tenant: Any, mailbox: Mailbox) -> None:
    def run(*words: str) -> str:
        out = StringIO()
        with system_scope():
            call_command("invitation", *words, "--tenant", tenant.slug, stdout=out, stderr=out)
        return out.getvalue()

    email = address()
    assert email in run("create", email, "--role", "viewer")
    assert f"{code_in(mailbox)}" not in run("list")
    assert "was sent" in run("resend", email)
    assert "is revoked" in run("revoke", email)
    assert run("list").split()[0] == "revoked"
    with pytest.raises(CommandError, match="INVITATION_REVOKED"):
        run("resend", email)
    with pytest.raises(CommandError, match="no invitation of"):
        run("revoke", "unknown@example.org")

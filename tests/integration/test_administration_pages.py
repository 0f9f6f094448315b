"""Pages of tokens and members (docs/reference/administration.md#members)."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api
from tests.support.factories import make_tenant, make_token
from tests.support.list_pages import links_in
from tests.support.members import join, make_account, member_of
from tests.support.tenants import run_command
from workflows.models import ApiToken, Command, Invitation, TenantMembership
from workflows.services.tokens import token_issue
from workflows.statuses import Role

TOKENS, MEMBERS, INVITATIONS = (
    reverse(f"admin:workflows_{name}_changelist") for name in ("apitoken", "tenantmembership", "invitation")
)
WORDS = (("program ", ""), ("new", "@example.org"))


def key() -> dict[str, str]:
    return {"idempotency_key": str(uuid.uuid4())}


def test_token_is_shown_on_one_page_and_never_again(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    fields = {
        "name": "Mail <b>gateway",
        "role": "operator",
        "access": "scopes",
        "scopes": ["events:write"],
        "last_day": "2999-01-31",
        **key(),
    }
    made = client.post(f"{TOKENS}add/", fields)
    token = re.search(r">(pm_[\w-]+)<", made.content.decode())
    assert token is not None
    assert (Api(token[1]).get("/runs").status_code, "no-store" in made["Cache-Control"]) == (403, True)
    row = ApiToken.objects.get(tenant=tenant)
    assert f"{row.expires_at:%Y-%m-%d %H:%M}" == "2999-02-01 00:00"
    for page in (TOKENS, f"{TOKENS}{row.id}/change/"):
        content = client.get(page).content.decode()
        assert (token[1] in content, row.prefix in content, "<b>gateway" in content) == (False, True, False)
    again = client.post(f"{TOKENS}add/", fields, follow=True)  # a second click on the same form
    assert "Your first click created the token" in again.content.decode()
    assert ApiToken.objects.filter(tenant=tenant).count() == 1
    client.post(f"{TOKENS}add/", {**fields, "name": "Last day of the calendar", "last_day": "9999-12-31", **key()})
    assert ApiToken.objects.get(tenant=tenant, name="Last day of the calendar").expires_at is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"role": ""}, "This field is required"),
        ({"scopes": ["a:b"]}, "a:b is not one of the available choices"),
        ({"access": ""}, "This field is required"),
        ({"access": "scopes"}, "Choose at least one scope"),
        ({"scopes": ["events:write"]}, "You have chosen scopes"),
        ({"last_day": "2020-01-31"}, "the time of expiry is in the past"),
        ({"last_day": "soon"}, "Enter a valid date"),
    ],
)
def test_wrong_field_keeps_what_was_typed(tenant: Any, change: Any, problem: str) -> None:
    client = member_of(tenant, role="admin")
    shown = client.post(f"{TOKENS}add/", {"name": "Typed name", "role": "viewer", "access": "role", **key(), **change})
    content = shown.content.decode()
    assert (problem in content, 'value="Typed name"' in content) == (True, True)
    assert not ApiToken.objects.filter(tenant=tenant).exists()


def test_token_is_rotated_and_revoked_on_its_page(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    row, old = token_issue(tenant_id=tenant.id, name="a", role=Role.VIEWER)
    page = f"{TOKENS}{row.id}/change/"
    made = client.post(page, {"what": "rotate", "overlap_hours": "1", **key()}).content.decode()
    new = re.search(r">(pm_[\w-]+)<", made)
    assert new is not None
    assert [Api(token).get("/runs").status_code for token in (old, new[1])] == [200, 200]
    revoked = client.post(page, {"what": "revoke", "reason": "leaked", **key()}, follow=True).content.decode()
    assert ("is revoked" in revoked, Api(old).get("/runs").status_code) == (True, 401)
    assert "cannot be used again" in client.get(page).content.decode()
    reasons = Command.objects.filter(tenant=tenant, action="revoke_token").values_list("reason", flat=True)
    assert list(reasons) == ["leaked"]


def test_member_is_added_changed_and_removed(tenant: Any) -> None:
    client, superuser = member_of(tenant, role="admin"), member_of(make_tenant(), superuser=True)
    superuser.post("/admin/tenant/", {"tenant": str(tenant.id)})
    account = get_user_model().objects.create_user(f"jonas-{tenant.slug}")
    refused = client.post(f"{MEMBERS}add/", {"username": str(account), "role": "viewer", **key()})
    assert (refused.status_code, "Invite the person by e-mail" in refused.content.decode()) == (403, True)
    assert Command.objects.get(tenant=tenant).code == "PERMISSION_DENIED"
    assert client.get(f"{MEMBERS}add/").status_code == 403
    links = [f"{MEMBERS}add/" in one.get(MEMBERS).content.decode() for one in (client, superuser)]
    assert links == [False, True]
    added = superuser.post(f"{MEMBERS}add/", {"username": str(account), "role": "viewer", **key()}, follow=True)
    assert f"{account} has the role viewer" in added.content.decode()
    member = TenantMembership.objects.get(tenant=tenant, user=account)
    page = f"{MEMBERS}{member.id}/change/"
    client.post(page, {"what": "save", "role": "operator", "may_see_payloads": "on", **key()})
    member.refresh_from_db()
    assert (member.role, member.may_see_payloads) == ("operator", True)
    client.post(page, {"what": "remove", "reason": "left", **key()})
    assert not TenantMembership.objects.filter(id=member.id).exists()
    own = TenantMembership.objects.get(tenant=tenant, role="admin")
    refused = client.post(f"{MEMBERS}{own.id}/change/", {"what": "remove", **key()}).content.decode()
    assert "LAST_ADMIN" in refused
    unknown = superuser.post(f"{MEMBERS}add/", {"username": "nobody", "role": "viewer", **key()}).content.decode()
    assert ("ACCOUNT_UNKNOWN" in unknown, 'value="nobody"' in unknown) == (True, True)


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_other_roles_have_no_page_and_no_link(tenant: Any, role: str) -> None:
    client = member_of(tenant, role=role)
    for page in (TOKENS, MEMBERS, f"{TOKENS}add/", f"{MEMBERS}add/"):
        assert client.get(page).status_code == 403
    assert client.post(f"{TOKENS}add/", {"name": "a", "role": "admin", "access": "role", **key()}).status_code == 403
    assert Command.objects.get(tenant=tenant).code == "PERMISSION_DENIED"
    content = client.get("/admin/").content.decode()
    assert (TOKENS in content, MEMBERS in content) == (False, False)


def test_rows_of_another_tenant_do_not_exist(tenant: Any) -> None:
    stranger = make_tenant()
    row, _ = token_issue(tenant_id=stranger.id, name="a", role=Role.VIEWER)
    member_of(stranger)
    member = TenantMembership.objects.get(tenant=stranger)
    client = member_of(tenant, role="admin")
    pages = (f"{TOKENS}{row.id}/change/", f"{MEMBERS}{member.id}/change/")
    assert [client.get(page).status_code for page in pages] == [404, 404]


def test_lists_of_people_are_searched_and_have_pages(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    own = TenantMembership.objects.get(tenant=tenant).user
    users = get_user_model().objects
    accounts = [users.create_user(f"p{number:03}-{tenant.slug}", f"m{number}@example.org") for number in range(60)]
    TenantMembership.objects.bulk_create(
        TenantMembership(tenant=tenant, user=account, role=Role.VIEWER) for account in accounts
    )
    for number in range(60):
        token_issue(tenant_id=tenant.id, name=f"program {number:03}", role=Role.VIEWER, created_by_id=own.pk)
    token_issue(tenant_id=tenant.id, name="of another", role=Role.ADMIN, created_by_id=accounts[7].pk)
    Invitation.objects.bulk_create(
        Invitation(
            tenant=tenant,
            email=f"new{number:03}@example.org",
            role=Role.VIEWER,
            code_hash=f"{tenant.id}{number}",
            created_by_name=str(accounts[number % 2]),
            expires_at=timezone.now(),
        )
        for number in range(60)
    )

    def shown(page: str, texts: Any, **query: str) -> list[str]:
        content = client.get(page, query).content.decode()
        return [text for text in texts if f">{text}<" in content]

    names = [str(account) for account in accounts]
    programs, emails = ([f"{word}{number:03}{end}" for number in range(60)] for word, end in WORDS)
    for page, texts, searches in (
        (MEMBERS, names, {"m17@EXAMPLE": [names[17]], names[4][:4].upper(): [names[4]], "%": [], "nobody": []}),
        (TOKENS, [*programs, "of another"], {"PROGRAM 031": [programs[31]], names[7]: ["of another"], "_": []}),
        (INVITATIONS, emails, {"new044": [emails[44]], names[1]: emails[1::2]}),
    ):
        first = client.get(page)
        rest = client.get(page + links_in(first)["Next"]).content.decode()
        both = [[text for text in texts if f">{text}<" in part] for part in (first.content.decode(), rest)]
        assert (sorted(both[0] + both[1]), len(both[0]) in (49, 50)) == (sorted(texts), True), page
        for search, found in searches.items():
            assert shown(page, texts, q=search) == found, (page, search)
        for wrong in ({"search": "a"}, {"q": "a\x00"}):
            assert (client.get(page, wrong).status_code, shown(page, texts, **wrong)) == (400, []), page


def test_members_who_have_not_signed_in_are_found(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    ages = {"recent": 1, "away": 40, "long": 100, "never": None}
    for name, days in ages.items():
        account = make_account(name)
        account.last_login = None if days is None else timezone.now() - timedelta(days=days)
        account.save(update_fields=["last_login"])
        join(tenant, account, Role.VIEWER)
        TenantMembership.objects.filter(user=account).update(created_at=timezone.now() - timedelta(days=50))
    api = Api(make_token(tenant, Role.ADMIN))

    def shown(days: str) -> tuple[set[str], ...]:
        page = client.get(MEMBERS, {"absent": days}).context_data["rows"]
        body = api.get(f"/members?absent_days={days}").json()["results"]
        lines = run_command("member", "list", "--tenant", tenant.slug, "--absent-days", days).splitlines()
        names = (
            [row.user.username for row in page],
            [row["username"] for row in body],
            [line.split()[1] for line in lines],
        )
        return tuple({name.split("-")[0] for name in found} for found in names)

    assert shown("30") == ({"away", "long", "never"},) * 3
    assert shown("90") == ({"long"},) * 3
    found = client.get(MEMBERS, {"absent": "30", "q": "lon"})
    assert ([row.user.username[:4] for row in found.context_data["rows"]], "absent" in found.content.decode()) == (
        ["long"],
        True,
    )
    assert client.get(MEMBERS, {"absent": "31"}).status_code == 400
    assert api.get("/members?absent_days=-1").status_code == 400


def test_page_of_a_token_shows_what_its_person_may_do_now(tenant: Any) -> None:
    client, account = member_of(tenant, role="admin"), make_account("maya")
    join(tenant, account)
    row, _ = token_issue(tenant_id=tenant.id, name="a", role=Role.ADMIN, created_by_id=account.pk)
    page = f"{TOKENS}{row.id}/change/"
    member = TenantMembership.objects.filter(tenant=tenant, user=account)
    for change, text in (
        (lambda: member.update(role=Role.VIEWER), "no more than the role viewer"),
        (lambda: get_user_model().objects.filter(pk=account.pk).update(is_active=False), "Account deactivated"),
        (lambda: get_user_model().objects.filter(pk=account.pk).update(is_active=True), "Active"),
        (lambda: member.delete(), "Person has left"),
    ):
        assert text not in client.get(page).content.decode().replace("Deactivated", ""), text
        change()
        assert text in client.get(page).content.decode(), text
        assert text in client.get(TOKENS).content.decode().replace("Viewer now, as", "no more than the role viewer")

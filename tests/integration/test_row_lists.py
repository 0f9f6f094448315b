"""Lists that Django's changelist reads have the look of the screens (docs/reference/screens.md#look)."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from tests.support.list_pages import links_in
from tests.support.members import member_of
from workflows.models import EventType

PAGE = 50
ACCOUNTS = reverse("admin:auth_user_changelist")
LIST = reverse("admin:workflows_eventtype_changelist")


def shown(client: Client, query: str = "") -> str:
    page = client.get(f"{LIST}?{query}")
    assert page.status_code == 200, query
    return page.content.decode().split('<main id="main"')[1].split("</main>")[0]


@pytest.fixture
def author(tenant: Any) -> Client:
    """Return a signed-in author of a tenant with one event type more than a page shows."""
    EventType.objects.bulk_create(
        EventType(tenant=tenant, name=f"TYPE_{number:02}", is_active=number != 1) for number in range(PAGE + 1)
    )
    return member_of(tenant, role="author")


def test_list_shows_states_and_order_and_pages(author: Client) -> None:
    first = shown(author)
    second = shown(author, links_in(author.get(LIST))["Next"].removeprefix("?"))
    assert '<div class="ui">' in first
    assert 'aria-sort="ascending"' in first
    assert "Active</span>" in first
    assert "Off</span>" in first
    assert [("TYPE_00" in page, "TYPE_50" in page) for page in (first, second)] == [(True, False), (False, True)]
    assert [('rel="prev"' in page, 'rel="next"' in page) for page in (first, second)] == [(False, True), (True, False)]
    assert 'aria-sort="descending"' in shown(author, "o=-0")


def test_accounts_have_the_look_of_the_other_lists_and_forms(tenant: Any) -> None:
    boss, member = member_of(tenant, superuser=True), member_of(tenant)
    account = get_user_model().objects.get(pk=member.session["_auth_user_id"])
    listed = {
        name: [row.pk for row in boss.get(ACCOUNTS, {"q": account.username, "show": name}).context["cl"].result_list]
        for name in ("", "active", "deactivated", "superusers")
    }
    assert listed == {"": [account.pk], "active": [account.pk], "deactivated": [], "superusers": []}
    page = boss.get(ACCOUNTS).content.decode()
    assert ("Add an account" in page, 'aria-label="Accounts"' in page) == (True, True)
    assert boss.get(ACCOUNTS, {"is_staff__exact": "1"}).status_code == 400
    addresses = [ACCOUNTS, reverse("admin:auth_user_add")]
    addresses += [reverse(f"admin:auth_user_{name}", args=[account.pk]) for name in ("change", "password_change")]
    for address in addresses:
        shown = boss.get(address).content.decode()
        assert '<div class="ui">' in shown, address
        assert "object-tools" not in shown, address
    assert [member.get(address).status_code for address in addresses] == [403] * 4


def test_password_of_an_account_can_be_set_and_taken_away(tenant: Any) -> None:
    boss, member = member_of(tenant, superuser=True), member_of(tenant)
    account = get_user_model().objects.get(pk=member.session["_auth_user_id"])
    page = reverse("admin:auth_user_password_change", args=[account.pk])
    given = {"password1": "another long passphrase", "password2": "another long passphrase", "unset-password": ""}
    assert boss.post(page, {**given, "usable_password": "true"}).status_code == 302
    account.refresh_from_db()
    assert account.check_password("another long passphrase")
    missing = boss.post(page, {"usable_password": "true", "unset-password": ""})
    assert missing.content.decode().count("This field is required.") == 2
    assert boss.post(page, {"usable_password": "false", "unset-password": ""}).status_code == 302
    account.refresh_from_db()
    assert not account.has_usable_password()


def test_list_says_what_an_empty_list_is_for_and_who_may_add(tenant: Any, author: Client) -> None:
    assert "No row matches." in shown(author, "q=nothing")
    add = reverse("admin:workflows_eventtype_add")
    assert [add in shown(client) for client in (author, member_of(tenant, role="viewer"))] == [True, False]
    EventType.objects.filter(tenant=tenant).delete()
    assert "Without an entry, events of a type are accepted." in shown(author)

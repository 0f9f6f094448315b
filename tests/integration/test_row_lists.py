"""Lists that Django's changelist reads have the look of the screens (docs/reference/screens.md#look)."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.list_pages import links_in
from tests.support.members import member_of
from workflows.models import EventType

PAGE = 50
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


def test_list_says_what_an_empty_list_is_for_and_who_may_add(tenant: Any, author: Client) -> None:
    assert "No row matches." in shown(author, "q=nothing")
    add = reverse("admin:workflows_eventtype_add")
    assert [add in shown(client) for client in (author, member_of(tenant, role="viewer"))] == [True, False]
    EventType.objects.filter(tenant=tenant).delete()
    assert "Without an entry, events of a type are accepted." in shown(author)

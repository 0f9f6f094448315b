"""Frame of the pages: navigation, and the sign-in page (docs/reference/screens.md#frame)."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.members import member_of
from workflows.tenancy import NO_SCOPE, scope_of


@pytest.mark.parametrize(
    ("role", "place", "is_folded", "is_open"),
    [
        ("admin", "index", True, False),
        ("admin", "workflows_secret_changelist", True, True),
        ("operator", "index", False, False),
    ],
)
def test_long_section_of_the_navigation_opens_on_its_own_pages(
    tenant: Any, role: str, place: str, is_folded: bool, is_open: bool
) -> None:
    page = member_of(tenant, role=role).get(reverse(f"admin:{place}")).content.decode()
    found = re.search(r'<details class="fold"([^>]*)>\s*<summary>\s*<h2>Administer', page)
    assert (found is not None, found is not None and "open" in found[1]) == (is_folded, is_open)
    assert reverse("admin:workflows_connector_changelist") in page


def test_sign_in_page_asks_again_for_the_password() -> None:
    with scope_of(NO_SCOPE):
        first = Client().get(reverse("account_login")).content.decode()
        again = Client().post(
            reverse("account_login"), {"login": "maya", "password": "wrong"}, REMOTE_ADDR="2001:db8::7"
        )
    page = again.content.decode()
    fields = [re.findall(r'<input[^>]*name="(\w+)"[^>]*autofocus', text) for text in (first, page)]
    assert fields == [["login"], ["password"]]
    assert "User name" in first
    assert "inter/styles.css" in first

"""A page shows the reason instead of a form that the role of the member may not send.

The pages come from the access table, so a page that is added later is tested too.
Source: docs/reference/screens.md#all-screens
"""

import re
from typing import Any

import pytest
from django.test import Client

from tests.support.access_table import CELLS
from tests.support.story.places import story_places
from workflows.statuses import Role

RANKS = list(Role)
MEMBERS = {Role.VIEWER: "Vera", Role.OPERATOR: "Maya", Role.AUTHOR: "Tomas"}
FORM = re.compile(r"<form\b[^>]*>.*?</form>", re.DOTALL)
# A button that the member can press. A form with an action of its own belongs to another page.
BUTTON = re.compile(r"<button\b(?![^>]*\bdisabled\b)(?![^>]*type=\"button\")[^>]*>")
ELSEWHERE = re.compile(r'<form\b[^>]*\baction="[^"]+"')


@pytest.mark.parametrize("role", list(MEMBERS))
def test_page_has_no_form_that_the_member_may_not_send(story: Any, role: Role) -> None:
    client, found = _signed_in(story, role), []
    for place in story_places(story, MEMBERS[role]):
        needs = {cell.needs for cell in CELLS.values() if cell.name == f"admin:{place.name}" and cell.method == "POST"}
        if not needs or any(need not in RANKS or RANKS.index(Role(need)) <= RANKS.index(role) for need in needs):
            continue
        response = client.get(place.address)
        if response.status_code != 200:
            continue
        page = response.content.decode()
        main = page[page.index("<main") :]
        forms = [form for form in FORM.findall(main) if 'method="post"' in form and not ELSEWHERE.match(form)]
        if any(BUTTON.search(form) for form in forms):
            found.append(place.name)
    assert not found, "\n".join(found)


def _signed_in(story: Any, role: Role) -> Client:
    client = Client()
    client.force_login(story.users[MEMBERS[role]])
    return client

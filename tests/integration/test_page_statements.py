"""Each page of the story needs at most 12 statements (docs/reference/screens.md#all-screens)."""

from typing import Any

import pytest
from django.test import Client

from tests.support.statements import sent_statements
from tests.support.story.places import story_places

MOST_STATEMENTS = 12


@pytest.mark.parametrize("member", ["Nora", "Maya"])
def test_each_page_needs_few_statements(story: Any, member: str) -> None:
    client = Client()
    client.force_login(story.users[member])
    pages, problems = 0, []
    for place in story_places(story, member):
        client.get(place.address)  # the caches of the process are filled
        with sent_statements() as statements:
            response = client.get(place.address)
        pages += response.status_code == 200
        if len(statements) > MOST_STATEMENTS:
            problems.append(f"{place.name}: {len(statements)}")
    assert not problems
    assert pages > 30

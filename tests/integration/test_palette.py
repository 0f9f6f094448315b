"""The command palette and the frame: what is found, for whom, and at which cost.

Source: docs/reference/screens.md#command-palette, docs/reference/screens.md#frame
"""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.factories import make_tenant
from tests.support.members import member_of
from tests.support.story.places import story_run
from workflows.models import Event


def found(client: Client, term: str) -> list[str]:
    response = client.get("/admin/search/", {"s": term})
    assert response.status_code == 200
    return re.findall(r'<span class="t"><bdi[^>]*>([^<]*)</bdi>', response.content.decode())


@pytest.fixture
def maya(story: Any) -> Client:
    client = Client()
    client.force_login(story.users["Maya"])
    return client


@pytest.mark.parametrize(
    ("term", "first"),
    [
        ("tck-4471", "TCK-4471"), ("4471", "TCK-4471"), ("SET-11", "SET-1124"), ("payment c", "Payment capture"),
        ("refund-app", "Refund approval"), ("mail-8831", "mail-8831"), ("inc-118", "INC-118"), ("INC-999", None),
        ("crd-7", "card-11"),
        ("ledg", "Command ledger"), ("<b>", None),
        ("\x00", "Dashboard"), ("x" * 5000, None),
    ],
)  # fmt: skip
def test_keys_ids_definitions_and_pages_are_found_by_their_beginning_or_end(
    maya: Client, term: str, first: str | None
) -> None:
    assert next(iter(found(maya, term)), None) == first


def test_results_say_when_and_which_run_is_a_replay(maya: Client) -> None:
    page = maya.get("/admin/search/", {"s": "PAY-105"}).content.decode()
    assert re.search(r"Payment capture, version 2, started (\w+ )?\d\d:\d\d UTC", page)
    assert re.search(
        r"mail-8831</bdi></span><small>\w+, unmatched, received ",
        maya.get("/admin/search/", {"s": "mail-8831"}).content.decode(),
    )
    replays = len(re.findall(r">Replay</span>", page))
    assert 0 < replays < len(re.findall(r"Payment capture, version", page))


def test_ids_lead_to_their_rows(maya: Client, story: Any) -> None:
    run = story_run(story, "PAY-105")
    event = Event.objects.get(tenant=story.tenant, event_id="mail-8831")
    for row, address in ((run, f"/run/{run.id}/"), (event, f"/event/{event.id}/")):
        assert address in maya.get("/admin/search/", {"s": str(row.id)}).content.decode()


def test_another_tenant_finds_nothing_of_the_story(story: Any) -> None:
    assert found(member_of(make_tenant()), "TCK-4471") == []


def test_only_administrators_find_the_pages_of_administrators(maya: Client, story: Any) -> None:
    assert found(maya, "Secrets") == []
    admin = Client()
    admin.force_login(story.users["Nora"])
    assert found(admin, "Secrets") == ["Secrets"]


def test_the_frame_counts_with_one_statement_and_names_role_and_tenant(maya: Client) -> None:
    maya.get("/admin/support/")
    with CaptureQueriesContext(connection) as statements:
        page = maya.get("/admin/support/").content.decode()
    counts = [query["sql"] for query in statements if "counted" in query["sql"]]
    assert len(counts) == 1
    assert re.search(r'Tasks\s*<span class="n">6</span>', page)
    assert re.search(r'Dead letters\s*<span class="n hot">2</span>', page)
    assert "<small>Operator</small>" in page
    assert '<span class="tenant" title="Northgate desk">Northgate desk</span>' in page
    assert '<a class="skip" href="#main">' in page
    assert "chart.js" not in page

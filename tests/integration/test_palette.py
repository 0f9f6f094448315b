"""The command palette and the frame: what is found, for whom, and at which cost.

Source: docs/reference/screens.md#command-palette, docs/reference/screens.md#frame
"""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.factories import make_run, make_tenant
from tests.support.members import member_of
from tests.support.plans import copies, no_sorts, rows_read
from tests.support.statements import sent_statements
from tests.support.story.places import story_run
from workflows.models import BulkJob, Command, Definition, Event, HumanTask, Incident, Schedule

NAMED = (BulkJob, Command, Definition, HumanTask, Incident, Schedule)


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
    rows = [run, event, *(model.objects.filter(tenant=story.tenant).order_by("id").first() for model in NAMED)]
    for row in rows:
        address = f"/{row._meta.model_name}/{row.id}/"
        for term in (str(row.id), str(row.id).upper(), str(row.id)[:18], row.id.hex[:20]):
            assert address in maya.get("/admin/search/", {"s": term}).content.decode(), (address, term)


def test_schedules_and_active_incidents_are_found_by_a_part_of_their_words(maya: Client, story: Any) -> None:
    incident = Incident.objects.get(tenant=story.tenant, number=118)
    schedule = Schedule.objects.filter(tenant=story.tenant).first()
    assert schedule is not None
    for row, words in ((incident, incident.error_code), (incident, incident.step_name), (schedule, schedule.name)):
        for term in (words[1:], words[:-1].upper()):
            page = maya.get("/admin/search/", {"s": term}).content.decode()
            assert f"/{row._meta.model_name}/{row.id}/" in page, term


def test_tasks_are_found_by_their_title_and_the_key_of_their_run_while_they_are_open(maya: Client, story: Any) -> None:
    task = HumanTask.objects.filter(tenant=story.tenant, status="pending").select_related("run").first()
    assert task is not None
    for term in (task.title[2:12], task.run.correlation_key.lower()):
        assert f"/humantask/{task.id}/" in maya.get("/admin/search/", {"s": term}).content.decode(), term


def test_search_needs_at_most_12_statements_and_reads_few_rows(tenant: Any) -> None:
    run = make_run(tenant)
    task = HumanTask.objects.create(tenant=tenant, run=run, step_path="s", task_type="t", title="Review")
    copies(task, 5_000, title="'Review ' || n", due_at="now() + n * interval '1 s'")
    client = member_of(tenant)
    client.get("/admin/search/", {"s": "review"})
    with sent_statements() as statements:
        assert len(found(client, "review")) == 6
    assert len(statements) <= 12, "\n".join(statements)
    with no_sorts():
        assert rows_read(tenant, lambda: client.get("/admin/search/", {"s": "zzz"}), "workflow_tasks") <= 2 * 500 + 100


def test_another_tenant_finds_nothing_of_the_story(story: Any) -> None:
    assert found(member_of(make_tenant()), "TCK-4471") == []


def test_pages_of_steps_are_found_by_the_roles_that_may_use_them(maya: Client, story: Any) -> None:
    assert found(maya, "send ")[:2] == ["Send an event", "Send events from a file"]
    assert "/event/send/" in maya.get("/admin/search/", {"s": "send an"}).content.decode()
    viewer = Client()
    viewer.force_login(story.users["Vera"])
    assert found(viewer, "send an event") == []
    assert found(viewer, "security of") == ["Security of my account"]
    assert "System health" not in found(viewer, ""), "without a text, the palette shows the navigation"


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

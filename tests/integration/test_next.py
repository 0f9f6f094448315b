"""The page "Next": everything that comes due in the order of time, with filters and pages, in few statements."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from tests.support.events import open_wait
from tests.support.factories import make_run, make_tenant
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies
from tests.support.problems import MINUTE, add_retry, add_schedule, add_task, ago, dashboard
from tests.support.statements import sent_statements
from workflows.admin.schedules import state_of
from workflows.models import Definition, Run, Schedule
from workflows.models.fields import short_id
from workflows.projections.transaction import projection_writer
from workflows.selectors import due
from workflows.selectors.keyset import Position, behind_time, position_text
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def add_everything(tenant: Any) -> Run:
    """Add one row of each kind and some rows that never come due. Return the run of the retry."""
    now = timezone.now()
    retry = add_retry(tenant)  # in 5 minutes
    task = add_task(tenant, due_at=now + 3 * MINUTE, title="Approve it")
    run = task.run
    open_wait(tenant, run=run, deadline_at=now + 7 * MINUTE, step_id="reply")
    open_wait(tenant, run=run, key="T-2", deadline_at=ago(17 * MINUTE), step_id="late")
    open_wait(tenant, run=run, key="T-3", deadline_at=ago(timedelta(seconds=5)), step_id="just now")
    open_wait(tenant, run=run, kind="time", name="", key="", deadline_at=now + 9 * MINUTE, step_id="pause")
    open_wait(tenant, run=run, kind="quota", name="", key="", deadline_at=now + 10 * MINUTE, step_id="limited")
    add_schedule(tenant, run.definition, next_run_at=now + 11 * MINUTE)
    open_wait(tenant, run=run, kind="human", name="", key="", deadline_at=now + 3 * MINUTE)
    open_wait(tenant, run=run, key="T-4")
    open_wait(tenant, run=run, key="T-5", status="RESOLVED", deadline_at=now + MINUTE)
    add_task(tenant, status="completed", due_at=now + MINUTE)
    add_schedule(tenant, run.definition, name="paused", next_run_at=now + MINUTE, is_paused=True)
    add_schedule(tenant, run.definition, name="removed", next_run_at=now + MINUTE, removed_at=now)
    return retry


def opened(client: Client, query: str = "", status: int = 200) -> Any:
    page = client.get(reverse("admin:next") + query)
    assert page.status_code == status
    return page


def names(page: Any) -> list[str]:
    return [row["name"] for row in page.context_data["rows"]]


EVERY = ["late", "just now", "Approve it", "Upload it", "reply", "pause", "limited", "nightly"]


def test_rows_come_in_the_order_of_time_with_overdue_rows_first_and_a_link(tenant: Any) -> None:
    retry = add_everything(tenant)
    add_everything(make_tenant())
    client = member_of(tenant, role=Role.VIEWER)
    page = opened(client)
    rows = page.context_data["rows"]
    assert names(page) == EVERY
    assert [row["name"] for row in rows if row["is_overdue"]] == ["late"]
    words = ["Deadline", "Deadline", "Task due", "Attempt 3 of 4", "Deadline", "Timer", "Next try", "Schedule"]
    assert [row["words"] for row in rows] == words
    assert [client.get(row["url"]).status_code for row in rows] == [200] * 8
    assert rows[3]["url"] == reverse("admin:workflows_run_change", args=[retry.id])
    assert re.search(r"Overdue <time [^>]+>17 min</time>\s*<", page.content.decode())
    card = dashboard(client)
    assert [row["name"] for row in card.context_data["next_steps"]] == EVERY
    assert re.search(r"overdue <time [^>]+>17 min</time>\s*<", card.content.decode())
    assert f'<a href="{reverse("admin:next")}">All 8</a>' in card.content.decode()
    with projection_writer("test"):
        Run.objects.filter(id=retry.id).update(correlation_key="")
    assert f"run {short_id(retry.id)}" in opened(client).content.decode()  # runs without a key are told apart


def test_card_of_the_dashboard_begins_with_few_overdue_rows(tenant: Any) -> None:
    run = add_task(tenant, due_at=timezone.now() + 3 * MINUTE, title="Approve it").run
    for minutes in range(5, 10):
        open_wait(tenant, run=run, key=f"T-{minutes}", deadline_at=ago(minutes * MINUTE), step_id=f"late {minutes}")
    page = dashboard(member_of(tenant))
    steps = page.context_data["next_steps"]
    assert [row["name"] for row in steps] == ["late 9", "late 8", "late 7", "Approve it"]
    assert "2 more whose time has passed" in page.content.decode()


@pytest.mark.parametrize(
    ("fields", "words", "state"),
    [
        ({}, "", "active"),
        ({"sync_error": {"code": "TEMPORAL_REFUSED", "message": "no"}}, "not in Temporal", "missing"),
        ({"sync_error": {"code": "TEMPORAL_UNAVAILABLE"}}, "not compared with Temporal", "unchecked"),
        ({"last_synced_at": ago(13 * MINUTE)}, "not compared with Temporal", "unchecked"),
        ({"last_synced_at": None}, "not compared with Temporal", "unchecked"),
    ],
)
def test_time_of_a_schedule_is_promised_only_if_temporal_has_it(
    tenant: Any, fields: dict[str, Any], words: str, state: str
) -> None:
    """The page Next, the dashboard and the list of schedules agree. A doubtful time is never overdue."""
    add_schedule(tenant, next_run_at=ago(5 * MINUTE), **fields)
    client = member_of(tenant, role=Role.VIEWER)
    page, card = opened(client), dashboard(client)
    for (row,) in (page.context_data["rows"], card.context_data["next_steps"]):
        assert (row["doubt"], row["is_overdue"]) == (words, not words)
    assert [capfirst(words) in page.content.decode(), words in card.content.decode()] == [True, True]
    (listed,) = client.get(reverse("admin:workflows_schedule_changelist")).context_data["cl"].result_list
    assert state_of(listed)[0] == state


def test_schedule_of_a_definition_that_starts_no_runs_is_not_next(tenant: Any) -> None:
    changes = ({"is_paused": True}, {"archived_at": timezone.now()}, {"published_version": None})
    for number, change in enumerate(changes):
        schedule = add_schedule(tenant, next_run_at=timezone.now() + MINUTE, name=f"n{number}")
        Definition.objects.filter(id=schedule.definition_id).update(**change)
    add_schedule(tenant, next_run_at=timezone.now() + MINUTE, name="shown")
    assert names(opened(member_of(tenant))) == ["shown"]


def test_filters_by_kind_and_definition_and_the_numbers_of_the_chips(tenant: Any) -> None:
    retry = add_everything(tenant)
    client = member_of(tenant)
    kinds = {"deadline": [0, 1, 4], "timer": [5, 6], "retry": [3], "task": [2], "schedule": [7]}
    for kind, places in kinds.items():
        assert names(opened(client, f"?kind={kind}")) == [EVERY[place] for place in places]
    chips = opened(client).context_data["chips"]
    assert [chip["number"] for chip in chips] == ["8", *(str(len(places)) for places in kinds.values())]
    of_definition = opened(client, f"?definition={retry.definition_key}")
    assert names(of_definition) == ["Upload it"]
    chips = of_definition.context_data["chips"]
    assert [chip["number"] for chip in chips] == ["1", "0", "0", "1", "0", "0"]
    assert f"definition={retry.definition_key}" in chips[3]["query"]
    other = Schedule.objects.get(tenant=tenant, name="nightly").definition.key
    assert names(opened(client, f"?definition={other}&kind=schedule")) == ["nightly"]


def test_every_row_is_on_one_page_even_if_many_have_the_same_time(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "PAGE_SIZE", 3)
    monkeypatch.setattr(due, "MOST_COUNTED", 5)
    monkeypatch.setattr("portal.pages.attention.MOST_COUNTED", 5)
    run, at = make_run(tenant), timezone.now() + MINUTE
    for number in range(7):
        open_wait(tenant, run=run, key=f"T-{number}", deadline_at=at, step_id=f"same {number}")
    add_task(tenant, due_at=at, title="same time")
    client, found, query = member_of(tenant), list[str](), ""
    while True:
        page = opened(client, query)
        found += names(page)
        query = links_in(page).get("Next", "")
        if not query:
            break
    assert sorted(found) == [*(f"same {number}" for number in range(7)), "same time"]
    assert (links_in(page)["First page"], page.context_data["chips"][0]["number"]) == ("?", "5+")
    back = [names(page)]
    while previous := links_in(page).get("Previous"):
        page = opened(client, previous)
        back.insert(0, names(page))
    assert [name for shown in back for name in shown] == found


@pytest.mark.parametrize("query", ["?kind=deadlines", "?kinds=task"])
def test_unknown_filter_shows_no_rows_and_says_so(tenant: Any, query: str) -> None:
    add_everything(tenant)
    text = opened(member_of(tenant), query, status=400).content.decode()
    assert "a filter cannot be read" in text
    assert EVERY[2] not in text


def test_page_of_a_new_tenant_says_that_nothing_is_due(tenant: Any) -> None:
    client = member_of(tenant)
    assert "Nothing is due" in opened(client).content.decode()
    assert "Nothing with these filters is due" in opened(client, "?definition=none").content.decode()
    for position in ("no-position", position_text([None, tenant.id])):
        assert names(opened(client, f"?at={position}")) == []


def test_page_needs_at_most_12_statements(tenant: Any) -> None:
    retry = add_everything(tenant)
    client = member_of(tenant)
    opened(client)
    caches["default"].clear()  # the limits of retries are read again
    with sent_statements() as statements:
        opened(client, f"?definition={retry.definition_key}")
    assert len(statements) <= 12, "\n".join(statements)


def test_each_source_reads_a_range_of_its_index(tenant: Any) -> None:
    now = timezone.now()
    run = make_run(tenant)
    spread = "now() + n * interval '1 second'"
    for kind in ("event", "time", "quota", "retry"):
        wait = open_wait(tenant, run=run, kind=kind, name="", key="", deadline_at=now)
        copies(wait, 1_000, deadline_at=spread)
    copies(add_task(tenant), 2_000, due_at=spread)
    copies(add_schedule(tenant, run.definition, next_run_at=now), 2_000, next_run_at=spread, name="'n' || n",
           temporal_schedule_id="'n' || n")  # fmt: skip
    position = Position((now + 5 * MINUTE, run.id))
    for source, rows in due.due_of_sources(tenant.id).items():
        time = {"task": "due_at", "schedule": "next_run_at"}.get(source, "deadline_at")
        later = rows.filter(behind_time(position, by=time)).order_by(time, "id")[:50]
        assert f"{time} >= " in conditions_of(tenant, later), source

"""The dashboard: each count equals the rows of the list that it links to, in few statements, for every role."""

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urljoin

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.integration.test_run_answers import text_of
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.problems import (
    HOUR,
    MINUTE,
    PROBLEMS,
    add_dead,
    add_failed,
    add_incident,
    add_overdue,
    add_retry,
    add_task,
    add_unaffected,
    ago,
    dashboard,
)
from tests.support.statements import sent_statements
from workflows.models import (
    Incident,
    Schedule,
)
from workflows.statuses import Role, RunStatus

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    """Forget the numbers of the last page, which are kept for some seconds."""
    caches["process"].clear()


def shown_rows(client: Client) -> dict[str, Any]:
    return {row.name: row for row in dashboard(client).context_data["attention"]}


def listed_rows(client: Client, url: str) -> int:
    """Return the number of rows of a list with all its pages. The inboxes and some lists are no change lists."""
    page = client.get(url)
    context = page.context_data
    if "rows" in context:
        older = links_in(page).get("Next")
        return len(context["rows"]) + (listed_rows(client, urljoin(url, older)) if older else 0)
    return context["cl"].queryset.count()


@pytest.mark.parametrize("name", PROBLEMS)
def test_count_of_a_problem_equals_the_list_that_it_links_to(tenant: Any, name: str) -> None:
    client = member_of(tenant)
    add_unaffected(tenant)
    assert name not in shown_rows(client)
    for number in (1, 2):
        PROBLEMS[name](tenant)
        row = shown_rows(client)[name]
        assert (row.count, listed_rows(client, row.url)) == (str(number), number)
    assert client.get(row.first.url).status_code == 200


def test_problems_come_in_the_order_of_their_urgency_and_name_the_first_row(tenant: Any) -> None:
    client = member_of(tenant, role=Role.VIEWER)
    for add in reversed(PROBLEMS.values()):
        add(tenant)
    add_failed(tenant)
    page = dashboard(client)
    rows = page.context_data["attention"]
    assert [row.name for row in rows] == list(PROBLEMS)
    text = page.content.decode()
    for expected in ("attempt 2 of 4", "MAINTENANCE", "NOT_FOUND", "8 attempts failed", "9 of 10 failed"):
        assert expected in text, expected
    assert page.context_data["absent"] == ""


def test_run_page_and_dashboard_count_the_same_time(tenant: Any) -> None:
    late = make_run(tenant)
    open_wait(tenant, run=late, deadline_at=ago(17 * MINUTE))
    client = member_of(tenant)
    for name, run, fact, text in (
        ("retrying", add_retry(tenant), "since", ", for 20 min"),
        ("overdue", late, "overdue_since", "17 min late"),
    ):
        page = client.get(reverse("admin:workflows_run_change", args=[run.id]))
        assert getattr(page.context_data["answer"], fact) == shown_rows(client)[name].at
        assert text in text_of(page.content.decode())


def test_failed_runs_name_the_incident_with_most_of_them(tenant: Any) -> None:
    runs = [add_failed(tenant) for _ in range(4)]
    shown = add_incident(runs[0], error_code="NOT_FOUND")
    merged = add_incident(runs[1], error_code="GONE", merged_into=shown)
    add_incident(runs[2])  # of a newer failure, but of fewer runs
    row = shown_rows(member_of(tenant))["failed"]
    expected = f"INC-{shown.number}", runs[0].definition.name, "NOT_FOUND", ", 2 runs, and 1 more incident"
    assert (row.first.label, row.first.text, row.first.code, row.first.end) == expected
    assert (row.count, row.at) == ("4", runs[3].ended_at)  # the time of the newest failure
    Incident.objects.filter(id=merged.id).update(owner_name="not shown")
    assert shown_rows(member_of(tenant))["failed"].count == "4"


def test_count_stops_at_the_limit(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("workflows.selectors.dashboard", "portal.pages.attention"):
        monkeypatch.setattr(f"{module}.MOST_COUNTED", 2)
    for _ in range(4):
        add_dead(tenant)
    assert shown_rows(member_of(tenant))["dead"].count == "2+"


def test_dashboard_of_a_new_tenant_says_what_is_missing_and_that_nothing_needs_attention(tenant: Any) -> None:
    text = dashboard(member_of(tenant)).content.decode()
    for expected in (
        "Nothing needs attention", "No run is open", "There is no definition yet",
        "No run ended in this period", "No event was received in this period", "Nothing is due",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize(
    ("histories", "text"),
    [
        ([3, 4], "2 open runs compared, no difference."),
        ([3], "1 open run compared, no difference."),
        ([3, 4, 0], "2 of 3 open runs compared, no difference."),
        ([0], "1 open run not compared yet."),
    ],
)
def test_dashboard_says_how_many_open_runs_were_compared(tenant: Any, histories: list[int], text: str) -> None:
    """A comparison stores the length of the history. A run that has just been started was not compared."""
    for length in histories:
        make_run(tenant, history_event_count=length)
    make_run(tenant, status="STARTING", queued_until=ago(MINUTE))  # Temporal does not know a queued start
    page = dashboard(member_of(tenant)).content.decode()
    assert f"{text} <span" in page
    assert re.search(r"oldest check\s+<time", page)


def test_run_whose_check_is_old_is_not_hidden_by_an_earlier_comparison(tenant: Any) -> None:
    others = [make_run(tenant, history_event_count=3)]
    old = make_run(tenant, history_event_count=3, projected_at=ago(25 * MINUTE))
    others.append(make_run(tenant, history_event_count=3, projected_at=ago(25 * MINUTE), queued_until=ago(MINUTE)))
    client, listed = member_of(tenant), reverse("admin:workflows_run_changelist") + "?problem=unchecked"
    page = dashboard(client)
    line = next(item for item in page.context_data["health"] if item.name == "Oldest check of an open run")
    assert (line.state, line.value, line.url) == ("warning", "25 min", listed)
    assert line.more == "2 of 2 compared with Temporal"
    assert page.content.decode().count(f'href="{listed}"') == 2
    rows = client.get(listed).content.decode()
    assert [str(run.id) in rows for run in (old, *others)] == [True, False, False]


def test_dashboard_needs_at_most_12_statements_and_1_if_nothing_changed(tenant: Any) -> None:
    client = member_of(tenant)
    dashboard(client)
    # The retries are steps of versions whose limits are not kept yet.
    for add in (*PROBLEMS.values(), add_retry):
        add(tenant)
    add_incident(make_run(tenant, correlation_key="PAY-9", status=RunStatus.FAILED, ended_at=timezone.now()))
    caches["process"].clear()
    with sent_statements() as statements:
        page = client.get(reverse("admin:index"))
    assert len(statements) <= 12, "\n".join(statements)
    version = page.context_data["live_version"]
    assert f'data-version="{version}"' in page.content.decode()
    add_failed(tenant)
    poll = {"If-None-Match": f'"{version}"'}
    assert client.get(reverse("admin:index"), headers=poll).status_code == 200


def test_next_shows_deadlines_retries_tasks_and_schedules_in_the_order_of_their_times(tenant: Any) -> None:
    now = timezone.now()
    add_retry(tenant)  # in 5 minutes
    task = add_task(tenant, due_at=now + 3 * MINUTE, title="<script>alert(1)</script>")
    open_wait(tenant, run=task.run, deadline_at=now + 7 * MINUTE)
    open_wait(tenant, run=task.run, kind="time", name="", key="", deadline_at=now + 9 * MINUTE)
    open_wait(tenant, run=task.run, kind="human", name="", key="", deadline_at=now + 3 * MINUTE)
    add_overdue(tenant)
    Schedule.objects.create(
        tenant=tenant, definition=task.run.definition, name="nightly", origin="portal", temporal_schedule_id="s",
        kind="recurring", next_run_at=now + 11 * MINUTE,
    )  # fmt: skip
    page = dashboard(member_of(tenant, role=Role.VIEWER))
    steps = [(step["kind"], step["words"]) for step in page.context_data["next_steps"]]
    assert steps == [
        *[("event", "Deadline")] * 2,  # overdue
        ("task", "Task due"),
        ("retry", "Attempt 3 of 4"),
        ("event", "Deadline"),
        ("time", "Timer"),
        ("schedule", "Schedule"),
    ]
    assert "<script>alert(1)" not in page.content.decode()


def test_charts_and_definitions_count_the_last_24_hours_without_replays(tenant: Any) -> None:
    first = make_run(tenant, status="FAILED", started_at=ago(2 * HOUR), ended_at=ago(HOUR))
    same = {"definition_version": first.definition_version, "ended_at": ago(HOUR)}
    for status, took in (("SUCCEEDED", MINUTE), ("SUCCEEDED", MINUTE), ("CANCELED", MINUTE)):
        make_run(tenant, status=status, started_at=ago(HOUR + took), **same)
    make_run(tenant, status="FAILED", replay_of=first, started_at=ago(2 * HOUR), **same)
    make_run(tenant, status="RUNNING", definition_version=first.definition_version)
    make_run(make_tenant(), status="SUCCEEDED", ended_at=ago(HOUR))
    receive(tenant)
    page = dashboard(member_of(tenant))
    runs, events = (chart["chart"] for chart in page.context_data["charts"])
    assert runs.totals == [("Succeeded", 2), ("Failed", 1), ("Canceled", 1)]
    assert (len(runs.columns), events.totals) == (24, [("Delivered", 0), ("Not delivered", 1)])
    (row,) = page.context_data["definitions"]
    assert (row.open, row.ended, row.failed, row.percent, row.p95 >= HOUR) == (1, 4, 1, Decimal("66.7"), True)
    failed = f"{reverse('admin:workflows_run_changelist')}?problem=failed&amp;definition={row.key}"
    is_open = f"{reverse('admin:workflows_run_changelist')}?definition={row.key}&amp;status__exact=open"
    for link in (failed, is_open):
        assert link in page.content.decode()
        assert listed_rows(member_of(tenant), link.replace("&amp;", "&")) == 1


def test_bar_of_a_rate_of_0_is_filled_and_a_definition_without_a_closed_run_has_no_bar(tenant: Any) -> None:
    failed = make_run(tenant, status="FAILED", started_at=ago(2 * HOUR), ended_at=ago(HOUR))
    make_run(tenant, status="RUNNING")
    page = dashboard(member_of(tenant))
    rates = {row.id: (row.percent, row.tone) for row in page.context_data["definitions"]}
    assert rates.pop(failed.definition_id) == (0.0, "red")
    assert list(rates.values()) == [(None, "grey")]
    table = page.content.decode().split('aria-labelledby="h-def"')[1].split("</table>")[0]
    (bar,) = re.findall(r'c-red" data-l="Success rate">(.*?)</svg>', table, re.DOTALL)
    assert '<rect class="rest" width="100" height="4" />' in bar
    assert table.count("<svg") == 1


def test_each_number_of_the_dashboard_equals_the_list_that_it_links_to(story: Any) -> None:
    client = Client()
    client.force_login(story.users["Maya"])

    def numbers_and_rows() -> tuple[dict[str, int], dict[str, int]]:
        numbers = linked_numbers(client)
        return numbers, {url: listed_rows(client, url) for url in numbers}

    # Retries of the story become overdue while the test runs. A second reading of both finds the same rows again.
    numbers, rows = numbers_and_rows()
    if numbers != rows:
        numbers, rows = numbers_and_rows()
    assert rows == numbers
    assert len(numbers) >= 12


def linked_numbers(client: Client) -> dict[str, int]:
    """Return the numbers of the dashboard by the address of their list."""
    page = dashboard(client)
    runs = reverse("admin:workflows_run_changelist")
    numbers = {row.url: int(row.count) for row in page.context_data["attention"]}
    shown = [row.incident for row in page.context_data["incidents"]]
    numbers |= {f"{runs}?incident={incident.number}": incident.run_count for incident in shown}
    numbers |= {
        f"{runs}?problem=failed&definition={row.key}": row.failed
        for row in page.context_data["definitions"]
        if row.failed
    }
    numbers |= {
        item.url: int(item.value) for item in page.context_data["health"] if item.url and item.value.isdecimal()
    }
    text = page.content.decode()
    assert [url for url in numbers if url.replace("&", "&amp;") not in text] == []
    return numbers

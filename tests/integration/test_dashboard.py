"""The dashboard: each count equals the rows of the list that it links to, in few statements, for every role."""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.celery_workers import redis_client, worker_record
from portal.pages import system_health
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant, publish
from tests.support.members import member_of
from tests.support.statements import sent_statements
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import (
    BulkJob,
    Command,
    Definition,
    EventDelivery,
    HumanTask,
    Incident,
    IncidentFailure,
    Run,
    RunStep,
    Schedule,
)
from workflows.projections.transaction import projection_writer
from workflows.statuses import Role
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    """Forget the numbers of the last page, which are kept for some seconds."""
    caches["process"].clear()


def ago(span: timedelta) -> Any:
    return timezone.now() - span


def add_failed(tenant: Any) -> Run:
    return make_run(
        tenant, status="FAILED", correlation_key="PAY-1", error_code="NOT_FOUND", started_at=ago(2 * MINUTE),
        ended_at=ago(MINUTE), error={"category": "A", "message": "m", "nodePath": "x", "code": "NOT_FOUND"},
    )  # fmt: skip


def add_stuck(tenant: Any) -> Run:
    return make_run(tenant, stuck_since=ago(HOUR), stuck_cause="TypeError: no", correlation_key="PAY-2")


def add_drift(tenant: Any) -> Run:
    return make_run(tenant, drift_found_at=ago(HOUR), drift_reason="the status differs", correlation_key="PAY-3")


def add_starting(tenant: Any) -> Run:
    return make_run(tenant, status="STARTING", created_at=ago(HOUR))


def add_command(tenant: Any) -> Command:
    return Command.objects.create(
        tenant=tenant, action="cancel", target_type="run", target_id="1", actor_type="user", actor_name="a",
        source="admin", state="unknown",
    )  # fmt: skip


def add_retry(tenant: Any, began: timedelta = 20 * MINUTE) -> Run:
    upload = {"id": "upload", "type": "state.set", "config": {"state": "X"}, "retry": {"maxAttempts": 4}}
    version = publish(tenant, upload)
    run = make_run(tenant, correlation_key="PAY-4", definition_version=version)
    step = {"step_path": "root.steps[0]", "step_id": "upload"}
    with projection_writer("test"):
        for attempt, started_at in ((1, ago(began)), (2, ago(MINUTE))):
            RunStep.objects.create(
                tenant=tenant, run=run, step_type="action", name="Upload it", status="RETRY_SCHEDULED", attempt=attempt,
                started_at=started_at, error={"category": "A", "code": "MAINTENANCE", "message": "m"}, **step,
            )  # fmt: skip
    open_wait(tenant, run=run, kind="retry", name="", key="", deadline_at=timezone.now() + 5 * MINUTE, **step)
    return run


def add_overdue(tenant: Any, late: timedelta = 17 * MINUTE) -> Run:
    run = make_run(tenant, correlation_key="TCK-1")
    open_wait(tenant, run=run, deadline_at=ago(late))
    open_wait(tenant, run=run, key="T-2", deadline_at=ago(late))
    return run


def add_task(tenant: Any, **fields: Any) -> HumanTask:
    values = {"step_path": "root.steps[0]", "task_type": "t", "title": "Approve", "due_at": timezone.now() + MINUTE}
    return HumanTask.objects.create(tenant=tenant, run=make_run(tenant), **{**values, **fields})


def add_decision(tenant: Any) -> HumanTask:
    return add_task(tenant, task_type=DECIDE_OUTCOME, due_at=None, title="Did it happen?")


def add_delivery(tenant: Any, **fields: Any) -> EventDelivery:
    definition = make_run(tenant, status="SUCCEEDED").definition
    return EventDelivery.objects.create(
        tenant=tenant, event=receive(tenant, event_id=f"e-{definition.key}"), kind="trigger", definition=definition,
        **fields,
    )  # fmt: skip


def add_dead(tenant: Any) -> EventDelivery:
    return add_delivery(tenant, status="dead", attempts=8, decided_at=ago(HOUR))


def add_held(tenant: Any) -> EventDelivery:
    return add_delivery(tenant, status="pending", held_since=ago(HOUR))


def add_paused_job(tenant: Any) -> BulkJob:
    for state in ("running", "preview"):
        bulk_job(tenant, state)
    return bulk_job(tenant, "paused")


def bulk_job(tenant: Any, state: str) -> BulkJob:
    return BulkJob.objects.create(
        tenant=tenant, action="replay", state=state, total=40, actor_type="user", actor_name="a", actor_role="operator",
        source="admin", started_at=ago(MINUTE),
    )  # fmt: skip


def add_paused(tenant: Any) -> None:
    definition = make_run(tenant, status="SUCCEEDED").definition
    fields = {"is_paused": True, "is_auto_paused": True, "paused_at": timezone.now(), "paused_reason": "9 of 10 failed"}
    Definition.objects.filter(id=definition.id).update(**fields)


def add_unaffected(tenant: Any) -> None:
    """Add rows that no problem counts, although they are like the rows that one counts."""
    make_run(tenant, status="FAILED", started_at=ago(30 * HOUR), ended_at=ago(25 * HOUR))
    make_run(tenant, status="FAILED", ended_at=ago(MINUTE), replay_of=make_run(tenant, status="SUCCEEDED"))
    make_run(tenant, status="SUCCEEDED", stuck_since=ago(HOUR), drift_found_at=ago(HOUR), ended_at=ago(MINUTE))
    make_run(tenant, status="STARTING")
    make_run(tenant, status="STARTING", created_at=ago(HOUR), queued_until=timezone.now())
    owned = add_incident(add_failed(tenant), owner_name="Jonas")
    add_incident(add_failed(tenant), merged_into=owned)
    add_incident(add_failed(tenant), state="snoozed")
    add_retry(tenant, began=5 * MINUTE)
    add_overdue(tenant, late=timedelta(seconds=2))
    add_task(tenant, due_at=timezone.now() + 2 * HOUR)
    add_task(tenant, status="completed")
    add_delivery(tenant, status="pending")
    for add in PROBLEMS.values():
        add(make_tenant())


def add_incident(run: Run, **fields: Any) -> Incident:
    """Add the incident of a failed run."""
    at, number = run.ended_at, Incident.objects.filter(tenant=run.tenant).count() + 1
    incident = Incident.objects.create(
        tenant=run.tenant, definition=run.definition, number=number, fingerprint=str(number), run_count=1,
        first_failed_at=at, last_failed_at=at, **fields,
    )  # fmt: skip
    IncidentFailure.objects.create(
        tenant=run.tenant, incident=incident, run_id=run.id, origin_id=run.id, failed_at=at, version=1, is_counted=True
    )
    return incident


PROBLEMS: dict[str, Callable[[Any], Any]] = {
    "stuck": add_stuck,
    "unknown": add_decision,
    "failed": add_failed,
    "auto_paused": add_paused,
    "retrying": add_retry,
    "due": add_task,
    "overdue": add_overdue,
    "paused_jobs": add_paused_job,
    "dead": add_dead,
    "starting": add_starting,
    "commands": add_command,
    "drift": add_drift,
    "held": add_held,
}


def dashboard(client: Client) -> Any:
    caches["process"].clear()
    return client.get(reverse("admin:index"))


def shown_rows(client: Client) -> dict[str, Any]:
    return {row.name: row for row in dashboard(client).context_data["attention"]}


def listed_rows(client: Client, url: str) -> int:
    """Return the number of rows of a list with all its pages. The inboxes and some lists are no change lists."""
    context = client.get(url).context_data
    if "rows" in context:
        older = context.get("pager", context).get("older")
        return len(context["rows"]) + (listed_rows(client, urljoin(url, older)) if older else 0)
    return len(context["tasks"]) if "tasks" in context else context["cl"].queryset.count()


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
        assert text in page.content.decode()


def test_newest_failed_run_is_named_with_its_incident(tenant: Any) -> None:
    shown = add_incident(add_failed(tenant))
    merged = add_incident(add_failed(tenant), merged_into=shown)
    Incident.objects.filter(id=shown.id).update(run_count=2)
    first = shown_rows(member_of(tenant))["failed"].first
    assert (first.label, first.text, first.second_label) == (f"INC-{shown.number}", "2 runs, newest", "PAY-1")
    Incident.objects.filter(id=merged.id).update(owner_name="not shown")
    assert shown_rows(member_of(tenant))["failed"].count == "2"


def test_count_stops_at_the_limit(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("workflows.selectors.dashboard", "portal.pages.attention"):
        monkeypatch.setattr(f"{module}.MOST_COUNTED", 2)
    for _ in range(4):
        add_dead(tenant)
    assert shown_rows(member_of(tenant))["dead"].count == "2+"


def test_dashboard_of_a_new_tenant_says_what_is_missing_and_that_nothing_needs_attention(tenant: Any) -> None:
    text = dashboard(member_of(tenant)).content.decode()
    for expected in (
        "Nothing needs attention", "0 open runs agree with Temporal", "There is no definition yet",
        "No run ended in this period", "No event was received in this period", "Nothing is due",
    ):  # fmt: skip
        assert expected in text, expected


def test_dashboard_needs_at_most_12_statements_and_1_if_nothing_changed(tenant: Any) -> None:
    for add in PROBLEMS.values():
        add(tenant)
    client = member_of(tenant)
    dashboard(client)
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
    assert (row.open, row.ended, row.failed, row.percent, row.p95 >= HOUR) == (1, 4, 1, 66.6, True)
    failed = f"{reverse('admin:workflows_run_changelist')}?problem=failed&amp;definition={row.key}"
    assert failed in page.content.decode()
    assert listed_rows(member_of(tenant), failed.replace("&amp;", "&")) == 1


def test_outage_of_temporal_is_shown_and_the_page_still_works(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*, seconds: float) -> Any:
        raise gateway.TemporalUnreachable("connection refused")

    monkeypatch.setattr(system_health, "describe_task_queues", unreachable)
    page = dashboard(member_of(tenant, role=Role.VIEWER))
    text = page.content.decode()
    assert "Runs do not progress until Temporal responds" in text
    assert "connection refused" in text
    assert "Send an event" not in text  # a viewer
    assert [item.name for item in page.context_data["alarms"]] == ["Temporal", "Celery workers"]


def test_health_shows_pollers_and_backlog(tenant: Any, temporal_worker: None) -> None:
    items = {item.name: item for item in dashboard(member_of(tenant)).context_data["health"]}
    assert set(items) >= {
        "Workflow pollers", "Action pollers", "Task queue backlog", "Celery workers", "Events not routed",
        "Deliveries in progress", "Age of what you see", "Overdue timers",
    }  # fmt: skip


def test_health_names_the_limit_and_what_to_do_for_each_line(tenant: Any, temporal_worker: None) -> None:
    """The card and the page show the same lines. A warning is not counted as an error, nor an error as a warning."""
    worker_record("celery@host")
    make_run(tenant, status="SUCCEEDED", ended_at=ago(MINUTE), projected_at=ago(MINUTE) + timedelta(seconds=1.2))
    add_overdue(tenant)
    client = member_of(tenant, role=Role.VIEWER)
    card, page = dashboard(client), client.get(reverse("admin:health"))
    lines = {item.name: item for item in page.context_data["health"]}
    assert [item.name for item in card.context_data["health"]] == list(lines)
    assert all(item.limit and item.to_do for item in lines.values())
    assert (lines["Overdue timers"].state, lines["Overdue timers"].more) == ("warning", "17 min late")
    assert re.fullmatch(r"polled \d+ s ago", lines["Workflow pollers"].more)
    text, wide = card.content.decode(), page.content.decode()
    for expected in ('<span class="nowrap">limit 90 s</span>', "95 % of runs appear here within 1.2 s."):
        assert expected in text, expected
    assert [item.to_do in wide for item in lines.values()] == [True] * len(lines)


def test_age_of_the_rows_is_unknown_without_a_worker(tenant: Any, settings: Any, temporal_worker: None) -> None:
    make_run(tenant, status="SUCCEEDED", ended_at=ago(MINUTE), projected_at=ago(MINUTE) + timedelta(seconds=1.2))
    settings.TEMPORAL_TASK_QUEUE = f"nobody-polls-{tenant.slug}"
    caches["process"].clear()
    items = {item.name: item for item in dashboard(member_of(tenant)).context_data["health"]}
    age = items["Age of what you see"]
    assert (items["Workflow pollers"].value, age.state, age.value) == ("0", "warning", "unknown")


def test_health_counts_errors_apart_from_warnings(tenant: Any, settings: Any) -> None:
    settings.CELERY_TASK_DEFAULT_QUEUE = f"health-{tenant.slug}"
    add_overdue(tenant)
    page = member_of(tenant).get(reverse("admin:health"))
    states = [item.state for item in page.context_data["health"]]
    assert states.count("bad") >= 1
    numbers = (page.context_data["errors"], page.context_data["warnings"])
    assert numbers == (states.count("bad"), states.count("warning"))
    header = page.content.decode().partition('id="h-health"')[2].partition("</header>")[0]
    assert re.findall(r"(\d+) (error|warning)s?</span>", header) == [
        (str(numbers[0]), "error"),
        (str(numbers[1]), "warning"),
    ]


def test_each_number_of_the_dashboard_equals_the_list_that_it_links_to(story: Any) -> None:
    client = Client()
    client.force_login(story.users["Maya"])
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
    numbers |= {item.url: int(item.value) for item in page.context_data["health"] if item.url}
    assert len(numbers) >= 12
    text = page.content.decode()
    assert [url for url in numbers if url.replace("&", "&amp;") not in text] == []
    assert {url: listed_rows(client, url) for url in numbers} == numbers


@pytest.mark.parametrize(
    ("workers", "sent_ago", "state", "value", "more"),
    [
        (0, None, "bad", "0", "none waiting"),
        (2, None, "good", "2", "none waiting"),
        (2, -3_600, "good", "2", "1 waiting, oldest 0"),  # a sender whose clock is fast
        (1, 3_600, "warning", "1", "1 waiting, oldest 1 h"),
        (0, 3_600, "bad", "0", "1 waiting, oldest 1 h"),
    ],
)
def test_health_counts_celery_workers_and_the_age_of_the_oldest_message(
    tenant: Any, settings: Any, workers: int, sent_ago: int | None, state: str, value: str, more: str
) -> None:
    settings.CELERY_TASK_DEFAULT_QUEUE = f"health-{tenant.slug}"
    for number in range(workers):
        worker_record(f"celery@host-{number}")
    if sent_ago is not None:
        entry = json.dumps({"headers": {"sentAt": time.time() - sent_ago}, "body": ""})
        with redis_client() as client:
            client.lpush(settings.CELERY_TASK_DEFAULT_QUEUE, entry)
    page = dashboard(member_of(tenant, role=Role.VIEWER))
    item = next(item for item in page.context_data["health"] if item.name == "Celery workers")
    assert (item.state, item.value, item.more.startswith(more)) == (state, value, True), item
    assert ("Start a worker: celery -A portal worker" in page.content.decode()) == (not workers)

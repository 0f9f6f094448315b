"""System health: the card of the dashboard and the page, with the same lines (docs/reference/screens.md#dashboard)."""

import json
import re
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from celery.signals import task_success
from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from ingress.tasks import sweep_events
from portal.celery_workers import redis_client, worker_record
from portal.pages import system_health
from tests.support.factories import make_run
from tests.support.members import member_of
from tests.support.plans import copies, rows_read
from tests.support.problems import MINUTE, add_overdue, ago, dashboard
from tests.support.queues import celery_state_reads
from tests.support.servers_state import servers
from workflows.models import ActionInvocation
from workflows.selectors.dashboard import dashboard_numbers
from workflows.statuses import Role
from workflows.temporal import gateway
from workflows.temporal.task_queues import TaskQueueState

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    """Forget the numbers of the last page, which are kept for some seconds."""
    caches["process"].clear()


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
    now = timezone.now()  # only runs that ended in the present hour count
    make_run(tenant, status="SUCCEEDED", ended_at=now, projected_at=now + timedelta(seconds=1.2))
    add_overdue(tenant)
    client = member_of(tenant, role=Role.VIEWER)
    card, page = dashboard(client), client.get(reverse("admin:health"))
    lines = {item.name: item for item in page.context_data["health"]}
    assert [item.name for item in card.context_data["health"]] == list(lines)
    assert all(item.limit and item.to_do for item in lines.values())
    assert (lines["Overdue timers"].state, lines["Overdue timers"].more) == ("warning", "17 min late")
    assert re.fullmatch(r"polled \d+ s ago", lines["Workflow pollers"].more)
    text, wide = card.content.decode(), page.content.decode()
    for expected in (' ago, limit 90 s. "', "· limit 1 min", "A change appears here within 1.2 s in 95 % of cases."):
        assert expected in text, expected
    assert [item.to_do in wide for item in lines.values()] == [True] * len(lines)


def test_age_of_the_rows_is_unknown_without_a_worker(tenant: Any, settings: Any, temporal_worker: None) -> None:
    make_run(tenant, status="SUCCEEDED", ended_at=ago(MINUTE), projected_at=ago(MINUTE) + timedelta(seconds=1.2))
    settings.TEMPORAL_TASK_QUEUE = f"nobody-polls-{tenant.slug}"
    caches["process"].clear()
    items = {item.name: item for item in dashboard(member_of(tenant)).context_data["health"]}
    age = items["Age of what you see"]
    assert (items["Workflow pollers"].value, age.state, age.value) == ("0", "warning", "unknown")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "Everything works."),
        ({"polled": (125, 1)}, r"Temporal workers do not poll since \d\d:\d\d."),
        ({"polled": None}, "Temporal does not respond."),
        ({"workers": 0}, "No Celery worker runs."),
        ({"workers": None}, "Redis does not respond."),
        ({"polled": None, "workers": None}, "Temporal does not respond. Redis does not respond."),
    ],
)
def test_one_sentence_says_whether_the_system_works(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], sentence: str
) -> None:
    now = servers(**state)
    monkeypatch.setattr(system_health, "_read_servers", lambda: now)
    client = member_of(tenant, role=Role.VIEWER)
    for page in (dashboard(client), client.get(reverse("admin:health"))):
        shown = page.content.decode().partition('<p class="overall')[2].partition("</p>")[0].partition(">")[2]
        assert re.fullmatch(sentence, " ".join(strip_tags(shown).split())), shown


def test_sentence_names_what_to_look_at(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_health, "_read_servers", servers)
    add_overdue(tenant)
    text = strip_tags(dashboard(member_of(tenant)).content.decode())
    assert "The portal works. Look at: Overdue timers." in " ".join(text.split())


def test_stopped_workers_are_named_with_their_last_poll(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server forgets a worker some minutes after its last poll. This process remembers the time."""
    gone = TaskQueueState(pollers=0, polled_at=None, backlog=0, backlog_age_seconds=0.0)
    polled_at = ago(17 * MINUTE)
    monkeypatch.setattr(system_health, "celery_state", lambda: servers().celery)
    for queue in (replace(gone, pollers=1, polled_at=polled_at), gone):
        monkeypatch.setattr(system_health, "describe_task_queues", lambda *, seconds, queue=queue: (queue, queue))
        caches["process"].delete("dashboard-servers")
        found = member_of(tenant).get(reverse("admin:health")).context_data["overall"]
        assert found["broken"] == [("Temporal workers do not poll", polled_at)]


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


def test_health_shows_the_last_sweep_and_how_to_start_beat(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    celery_state_reads(f"health-{tenant.slug}", monkeypatch)
    worker_record("celery@host")
    client = member_of(tenant, role=Role.VIEWER)

    def line() -> Any:
        caches["process"].clear()
        return next(item for item in dashboard(client).context_data["health"] if item.name == "Last sweep")

    assert (line().state, line().value) == ("warning", "none")
    assert line().to_do.startswith("Start Celery beat: celery -A portal beat.")
    task_success.send(sender=sweep_events, result={})
    assert line().state == "good"
    monkeypatch.setattr(system_health, "OLD_SWEEP_SECONDS", -1)
    assert line().state == "warning"


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
    tenant: Any,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    sent_ago: int | None,
    state: str,
    value: str,
    more: str,
) -> None:
    queue = celery_state_reads(f"health-{tenant.slug}", monkeypatch)
    for number in range(workers):
        worker_record(f"celery@host-{number}")
    if sent_ago is not None:
        entry = json.dumps({"headers": {"sentAt": time.time() - sent_ago}, "body": ""})
        with redis_client() as client:
            client.lpush(queue, entry)
    page = dashboard(member_of(tenant, role=Role.VIEWER))
    item = next(item for item in page.context_data["health"] if item.name == "Celery workers")
    assert (item.state, item.value, item.more.startswith(more)) == (state, value, True), item
    assert ("Start a worker: celery -A portal worker" in page.content.decode()) == (not workers)


def add_calls(tenant: Any, action: str, *statuses: str, minutes: int = 5) -> None:
    for number, status in enumerate(statuses):
        ended = {} if status == "STARTED" else {"ended_at": ago(minutes * MINUTE)}
        ActionInvocation.objects.create(
            tenant=tenant, action_id=action, action_version=1, idempotency_key=f"{action}-{minutes}-{number}",
            status=status, **ended,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("failed", "state"), [(4, "good"), (5, "warning")], ids=["a few failed calls", "the system of the target fails"]
)
def test_failed_calls_name_the_action_of_which_most_calls_failed(tenant: Any, failed: int, state: str) -> None:
    def line() -> tuple[str, str, str]:
        caches["process"].clear()
        page = member_of(tenant, role=Role.VIEWER).get(reverse("admin:health"))
        (item,) = [item for item in page.context_data["health"] if item.name == "Failed calls"]
        return item.value, item.more, item.state

    add_calls(tenant, "bank.old", "FAILED", "FAILED", minutes=61)
    assert line() == ("–", "no call ended", "good")
    add_calls(tenant, "mail.send", *["SUCCEEDED"] * 30, "STARTED")
    assert line() == ("0", "of 30 calls", "good")
    add_calls(tenant, "mail.send", "FAILED", minutes=6)
    add_calls(tenant, "bank.capture", "SUCCEEDED", "STARTED", *["FAILED"] * failed)
    assert line() == (f"{failed} of {failed + 1}", "bank.capture@1", state)
    card = dashboard(member_of(tenant, role=Role.VIEWER)).content.decode()
    assert ("Calls of bank.capture@1. Open an incident of the action" in card) == (state == "warning")


def test_failed_calls_read_the_newest_calls_only(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_calls(tenant, "bank.capture", "FAILED")
    copies(ActionInvocation.objects.get(tenant=tenant), 5_000, idempotency_key="'key-' || n")
    monkeypatch.setattr("workflows.selectors.dashboard.MOST_CALLS", 40)
    read = rows_read(tenant, partial(dashboard_numbers, tenant_id=tenant.id), "workflow_action_invocations")
    assert read <= 40

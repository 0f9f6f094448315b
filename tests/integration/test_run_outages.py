"""An open run that cannot move because a part of the system does not work says so (docs/reference/screens.md#run-page).

Each page reads the state of the servers that the system health keeps.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone

from portal.pages import outages, system_health
from tests.support.events import open_wait
from tests.support.factories import make_run
from tests.support.members import member_of
from tests.support.servers_state import servers
from workflows.models import Run
from workflows.temporal import gateway
from workflows.temporal.task_queues import TaskQueueState

pytestmark = pytest.mark.usefixtures("no_dispatcher")

NO_POLL = "No Temporal worker polls the task queue"
START = "Start a Temporal worker for the task queue"
NO_CELERY = "No Celery worker is running."
NOTHING = TaskQueueState(pollers=0, polled_at=None, backlog=0, backlog_age_seconds=0.0)


def shown(run: Run) -> str:
    response = member_of(run.tenant, role="viewer").get(reverse("admin:workflows_run_change", args=[run.id]))
    page = response.content.decode()
    answer = page[page.index('class="why') : page.index('class="tabs"')]
    return " ".join(re.sub(r"<[^>]*>", " ", answer).split())


def waiting(tenant: Any, kind: str) -> Run:
    run = make_run(tenant)
    open_wait(tenant, run=run, kind=kind, deadline_at=timezone.now() + timedelta(hours=1))
    return run


@pytest.mark.parametrize(
    ("found", "expected", "absent"),
    [
        ({}, [], [NO_POLL, NO_CELERY, "cannot move"]),
        ({"polled": None}, ["Temporal does not respond: refused.", "Start the Temporal server"], [NO_POLL]),
        ({"queues": (NOTHING, NOTHING)}, [NO_POLL, "for workflow tasks", START, "System health"], ["since"]),
        ({"polled": (3, 120)}, [NO_POLL, "for activities", "Quiet since"], []),
        ({"polled": (3, 60)}, [], [NO_POLL]),
        ({"workers": 0}, [], ["cannot move"]),  # a timer needs no Celery worker
    ],
)
def test_open_run_shows_the_outage_that_stops_it(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], expected: list[str], absent: list[str]
) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers(**found))
    page = shown(waiting(tenant, "time"))
    assert [text for text in expected if text not in page] == [], page
    assert [text for text in absent if text in page] == [], page


@pytest.mark.parametrize("kind", ["event", "retry"])
@pytest.mark.parametrize("workers", [0, None])
def test_outage_of_celery_is_shown_where_the_run_waits_for_an_event(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, kind: str, workers: int | None
) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers(workers=workers))
    page = shown(waiting(tenant, kind))
    assert ("Events and starts are not delivered." in page) == (kind == "event")


def test_oldest_task_says_since_when_no_worker_polls(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    late = TaskQueueState(pollers=0, polled_at=None, backlog=3, backlog_age_seconds=240.0)
    monkeypatch.setattr(outages, "servers", lambda: servers(queues=(late, late)))
    before = timezone.now()
    (outage,) = outages.outages()
    assert outage.since is not None
    assert before <= outage.since + timedelta(seconds=240) <= timezone.now()
    run = make_run(tenant, status="RUNNING")
    assert "There is nothing to do." not in shown(run)


def test_closed_run_does_not_ask_for_the_servers(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> Any:
        raise AssertionError("the page of a closed run read the state of the servers")

    monkeypatch.setattr(outages, "servers", read)
    assert "The run succeeded" in shown(make_run(tenant, status="SUCCEEDED", ended_at=timezone.now()))


def test_pages_share_one_request_to_temporal_while_it_does_not_respond(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[float] = []

    def unreachable(*, seconds: float) -> Any:
        requests.append(seconds)
        raise gateway.TemporalUnreachable("connection refused")

    caches["process"].clear()
    monkeypatch.setattr(system_health, "describe_task_queues", unreachable)
    monkeypatch.setattr(system_health, "SERVERS_SECONDS", 600)
    run = waiting(tenant, "time")
    pages = [shown(run), shown(run)]
    caches["process"].clear()
    assert all("Temporal does not respond: connection refused." in page for page in pages)
    assert requests == [system_health.TEMPORAL_SECONDS]


def test_task_queue_without_a_worker_is_found_in_temporal(
    tenant: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_health, "TEMPORAL_SECONDS", 30.0)
    settings.TEMPORAL_TASK_QUEUE = f"nobody-polls-{tenant.slug}"
    caches["process"].clear()
    page = shown(waiting(tenant, "time"))
    caches["process"].clear()
    assert f"{NO_POLL} {settings.TEMPORAL_TASK_QUEUE} for workflow tasks." in page

"""Rows of the card "System health": the servers and queues of the portal, each with its numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.core.cache import caches
from django.utils import timezone

from portal.celery_workers import CeleryState, celery_state
from portal.pages.attention import count_text, overdue_address
from workflows.selectors.dashboard import Backlog, Problem
from workflows.templatetags.pointsman import duration
from workflows.temporal import gateway
from workflows.temporal.task_queues import TaskQueueState, describe_task_queues

SERVERS_SECONDS = 5
"""Time for which the state of Temporal and Redis is kept, for all tenants. Units: seconds."""
TEMPORAL_SECONDS = 2.0
# A worker polls again after at most 60 s.
QUIET_POLL_SECONDS = 90
OLD_TASK_SECONDS, OLD_EVENT_SECONDS, OLD_DELIVERY_SECONDS, LONG_LAG_SECONDS = 10, 30, 60, 10
LONG_QUEUE = 1_000
LAG = "Delay from Temporal to these pages. 95 of 100 runs that ended this hour were shown faster."
GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Servers:
    """State of Temporal and Redis. The problems are empty texts if the servers respond."""

    queues: tuple[TaskQueueState, TaskQueueState] | None
    temporal_problem: str
    celery: CeleryState | None
    broker_problem: str


@dataclass(frozen=True)
class Item:
    """One line: a number with its unit, a text after it, and what follows from a bad state.

    `note` explains a number whose name does not say what it counts.
    """

    name: str
    state: str
    value: str
    more: str = ""
    url: str = ""
    effect: str = ""
    note: str = ""


def servers() -> Servers:
    """Return the state of Temporal and Redis, at most `SERVERS_SECONDS` old.

    Cost: two calls to Temporal and one to Redis, if the kept state is too old. A failure is kept too, so that not every
    page waits for a dead server.
    """
    found: Servers | None = caches["process"].get("dashboard-servers")
    if found is None:
        found = _read_servers()
        caches["process"].set("dashboard-servers", found, SERVERS_SECONDS)
    return found


def _read_servers() -> Servers:
    queues, temporal_problem, celery, broker_problem = None, "", None, ""
    try:
        queues = describe_task_queues(seconds=TEMPORAL_SECONDS)
    except (gateway.TemporalError, OSError) as error:
        temporal_problem = str(error)[:200] or "no response"
    try:
        celery = celery_state()
    except (redis.RedisError, OSError) as error:
        broker_problem = str(error)[:200] or "no response"
    return Servers(queues, temporal_problem, celery, broker_problem)


def health_items(found: Servers, backlog: Backlog, *, overdue: Problem, lag_seconds: float | None) -> list[Item]:
    return [
        *_temporal(found),
        *_broker(found),
        _aged("Events not routed", backlog.unrouted, backlog.unrouted_since, OLD_EVENT_SECONDS),
        _aged("Deliveries in progress", backlog.deliveries, backlog.deliveries_since, OLD_DELIVERY_SECONDS),
        _lag(lag_seconds),
        _overdue(overdue),
    ]


def _temporal(found: Servers) -> Iterator[Item]:
    if found.queues is None:
        yield Item(
            "Temporal", BAD, "does not respond", found.temporal_problem,
            effect="Runs do not progress until Temporal responds. New events are stored and delivered then.",
        )  # fmt: skip
        return
    workflow_tasks, activities = found.queues
    yield _pollers("Workflow pollers", workflow_tasks)
    action_pollers = _pollers("Action pollers", activities)
    # A worker polls both queues. The effect is named once.
    yield action_pollers if workflow_tasks.pollers else replace(action_pollers, effect="")
    waiting = workflow_tasks.backlog + activities.backlog
    age = max(workflow_tasks.backlog_age_seconds, activities.backlog_age_seconds)
    state = WARNING if waiting and age > OLD_TASK_SECONDS else GOOD
    yield Item("Task queue backlog", state, f"{waiting:,}", f"oldest {duration(age)}" if waiting else "")


def _pollers(name: str, queue: TaskQueueState) -> Item:
    if not queue.pollers:
        effect = f"Runs do not progress. Start a Temporal worker for the task queue {settings.TEMPORAL_TASK_QUEUE}."
        return Item(name, BAD, "0", "no worker polls", effect=effect)
    age = _age(queue.polled_at)
    state = WARNING if age > QUIET_POLL_SECONDS else GOOD
    return Item(name, state, str(queue.pollers), f"last poll {duration(age)} ago")


def _broker(found: Servers) -> Iterator[Item]:
    state = found.celery
    if state is None:
        yield Item(
            "Redis", BAD, "does not respond", found.broker_problem,
            effect="New events are stored. They are routed when Redis responds.",
        )  # fmt: skip
        return
    waiting = f"{state.messages:,} waiting" if state.messages else "none waiting"
    if state.oldest_seconds is not None:
        waiting = f"{waiting}, oldest {duration(state.oldest_seconds)}"
    if not state.workers:
        effect = (
            "Events are stored but not delivered, and bulk jobs do not start. Start a worker: celery -A portal worker."
        )
        yield Item("Celery workers", BAD, "0", waiting, effect=effect)
        return
    is_late = state.messages > LONG_QUEUE or (state.oldest_seconds or 0.0) > OLD_TASK_SECONDS
    yield Item("Celery workers", WARNING if is_late else GOOD, f"{state.workers:,}", waiting)


def _aged(name: str, count: int, since: datetime | None, old_after: float) -> Item:
    age = _age(since) if count else 0.0
    return Item(
        name, WARNING if age > old_after else GOOD, count_text(count), f"oldest {duration(age)}" if count else ""
    )


def _lag(seconds: float | None) -> Item:
    if seconds is None:
        return Item("Projection lag", GOOD, "–", "no run ended this hour", note=LAG)
    state = WARNING if seconds > LONG_LAG_SECONDS else GOOD
    return Item("Projection lag", state, duration(seconds), note=LAG)


def _overdue(overdue: Problem) -> Item:
    if not overdue.count or overdue.first is None:
        return Item("Overdue timers", GOOD, "0")
    late = f"{duration(_age(overdue.first['at']))} late"
    return Item("Overdue timers", WARNING, count_text(overdue.count), late, url=overdue_address())


def _age(at: datetime | Any) -> float:
    return 0.0 if at is None else max(0.0, (timezone.now() - at).total_seconds())

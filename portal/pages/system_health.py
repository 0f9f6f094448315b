"""Rows of the card and the page "System health": the servers and queues of the portal, each with numbers and limits."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.core.cache import caches
from django.utils import timezone

from portal.celery_workers import CeleryState, celery_state
from portal.pages.attention import count_text, overdue_address, unchecked_address, unchecked_schedules_address
from workflows.selectors.attention import CHECKED_WITHIN
from workflows.selectors.dashboard import MOST_CALLS, Backlog, Calls, Problem
from workflows.shares import percent
from workflows.templatetags.pointsman import duration
from workflows.temporal import gateway
from workflows.temporal.task_queues import TaskQueueState, describe_task_queues

SERVERS_SECONDS = 5
"""Time for which the state of Temporal and Redis is kept, for all tenants. Units: seconds."""
TEMPORAL_SECONDS = 2.0
# A worker polls again after at most 60 s.
QUIET_POLL_SECONDS = 90
SLOW_RESPONSE_SECONDS = 1.0
OLD_TASK_SECONDS, OLD_EVENT_SECONDS, OLD_DELIVERY_SECONDS, LONG_LAG_SECONDS = 10, 30, 60, 10
LONG_QUEUE = 1_000
OLD_SWEEP_SECONDS = max(30.0, 4 * settings.SWEEP_INTERVAL_SECONDS)
# Fewer failed calls of an action say little about the system that it calls.
FAILED_CALLS_PERCENT, FEW_FAILED_CALLS = 20, 5
# Characters on a line of the card, without separators.
MOST_ON_CARD = 36
GOOD, WARNING, BAD = "good", "warning", "bad"
NO_POLL = "Temporal workers do not poll"
START_TEMPORAL = "Start the Temporal server, or correct TEMPORAL_ADDRESS."
START_REDIS = "Start Redis, or correct REDIS_URL."
START_WORKER = f"Start a Temporal worker for the task queue {settings.TEMPORAL_TASK_QUEUE}."
MORE_WORKERS = "Read the logs of the Temporal workers. If they are busy, start another Temporal worker."
START_CELERY = "Start a worker: celery -A portal worker."
MORE_CELERY = "Read the logs of the Celery workers. If they are busy, start another one: celery -A portal worker."
START_BEAT = (
    "Start Celery beat: celery -A portal beat. Until then, deliveries are not tried again, buffer times do not end, "
    "and runs are not compared with Temporal."
)
CHECK_CELERY = "Check the Celery workers and Redis. The next sweep then routes the events."


@dataclass(frozen=True)
class Servers:
    """State of Temporal and Redis. The problems are empty texts if the servers respond.

    `polled_at`: the last poll of a Temporal worker that this process has seen. The server forgets a worker after some
    minutes. Units: `temporal_seconds` and `redis_seconds` are the times of the responses.
    """

    queues: tuple[TaskQueueState, TaskQueueState] | None
    temporal_problem: str
    celery: CeleryState | None
    broker_problem: str
    polled_at: datetime | None = None
    temporal_seconds: float = 0.0
    redis_seconds: float = 0.0


@dataclass(frozen=True)
class Item:
    """One line: a number with its unit, a text after it, the limit, and what to do if the state is not good.

    `note` explains a number whose name does not say what it counts. `effect` says what a failure of this part stops.
    `normal` says the normal state in words, if the limit alone does not. `headline` says in a few words what does not
    work, and `since` from when on.
    """

    name: str
    state: str
    value: str
    more: str = ""
    limit: str = ""
    to_do: str = ""
    url: str = ""
    effect: str = ""
    note: str = ""
    normal: str = ""
    headline: str = ""
    since: datetime | None = None

    @property
    def card_more(self) -> str:
        """Return `more` if it fits on the line of the card. A line that is not good has its limit there too."""
        shown = (self.name, self.more) if self.state == GOOD else (self.name, self.value, self.more, self.limit)
        return self.more if sum(map(len, shown)) < MOST_ON_CARD else ""


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
    began = time.perf_counter()
    try:
        queues = describe_task_queues(seconds=TEMPORAL_SECONDS)
    except (gateway.TemporalError, OSError) as error:
        temporal_problem = str(error)[:200] or "no response"
    between = time.perf_counter()
    try:
        celery = celery_state()
    except (redis.RedisError, OSError) as error:
        broker_problem = str(error)[:200] or "no response"
    times = (between - began, time.perf_counter() - between)
    return Servers(queues, temporal_problem, celery, broker_problem, _last_poll(queues), *times)


def _last_poll(queues: tuple[TaskQueueState, TaskQueueState] | None) -> datetime | None:
    polls = [queue.polled_at for queue in queues or () if queue.polled_at is not None]
    if polls:
        caches["process"].set("last-poll", max(polls), None)
    last: datetime | None = caches["process"].get("last-poll")
    return last


def health_items(found: Servers, backlog: Backlog, *, overdue: Problem, lag_seconds: float | None) -> list[Item]:
    return [
        *_responses(found, backlog),
        *_temporal(found),
        *_broker(found),
        _backlog("Events not routed", backlog.unrouted, backlog.unrouted_since, OLD_EVENT_SECONDS, CHECK_CELERY),
        _backlog(
            "Deliveries in progress", backlog.deliveries, backlog.deliveries_since, OLD_DELIVERY_SECONDS, MORE_WORKERS
        ),
        _freshness(lag_seconds, found.queues),
        _checked(backlog),
        _schedules(backlog),
        _overdue(overdue),
        _calls(backlog.calls),
    ]


def _responses(found: Servers, backlog: Backlog) -> Iterator[Item]:
    """Return the line of the three servers if they respond. A server that does not respond has a line of its own."""
    if found.queues is None or found.celery is None:
        return
    times = (backlog.read_seconds, found.temporal_seconds, found.redis_seconds)
    database, temporal, broker = (f"{1000 * seconds:,.0f}" for seconds in times)
    yield Item(
        "Database, Temporal, Redis",
        GOOD if max(times) <= SLOW_RESPONSE_SECONDS else WARNING,
        "respond",
        f"in {database}, {temporal}, {broker} ms",
        f"{SLOW_RESPONSE_SECONDS:.0f} s",
        "Look at the load of the slow server and at the network to it.",
        headline="A server responds slowly",
    )


def _temporal(found: Servers) -> Iterator[Item]:
    if found.queues is None:
        yield Item(
            "Temporal", BAD, "does not respond", found.temporal_problem, f"a response within {TEMPORAL_SECONDS:.0f} s",
            to_do=START_TEMPORAL, headline="Temporal does not respond",
            effect="Runs do not progress until Temporal responds. New events are stored and delivered then.",
        )  # fmt: skip
        return
    workflow_tasks, activities = found.queues
    yield _pollers("Workflow pollers", workflow_tasks, found.polled_at)
    action_pollers = _pollers("Action pollers", activities, found.polled_at)
    # A worker polls both queues. The effect is named once.
    yield action_pollers if workflow_tasks.pollers else replace(action_pollers, effect="")
    waiting = workflow_tasks.backlog + activities.backlog
    age = max(workflow_tasks.backlog_age_seconds, activities.backlog_age_seconds)
    yield _aged("Task queue backlog", f"{waiting:,}", age if waiting else None, OLD_TASK_SECONDS, MORE_WORKERS)


def _pollers(name: str, queue: TaskQueueState, last_poll: datetime | None) -> Item:
    limit = f"{QUIET_POLL_SECONDS} s"
    normal = f"1 or more, polled within {limit}"
    if not queue.pollers:
        effect = "Runs do not progress."
        return Item(
            name, BAD, "0", "no worker polls", limit, START_WORKER, effect=effect, normal=normal,
            headline=NO_POLL, since=last_poll,
        )  # fmt: skip
    age = _age(queue.polled_at)
    state, polled = WARNING if age > QUIET_POLL_SECONDS else GOOD, f"polled {duration(int(age))} ago"
    return Item(
        name, state, str(queue.pollers), polled, limit, START_WORKER, normal=normal, headline=NO_POLL,
        since=queue.polled_at,
    )  # fmt: skip


def _broker(found: Servers) -> Iterator[Item]:
    state = found.celery
    if state is None:
        yield Item(
            "Redis", BAD, "does not respond", found.broker_problem, "a response within 2 s",
            to_do=START_REDIS, headline="Redis does not respond",
            effect="New events are stored. They are routed when Redis responds.",
        )  # fmt: skip
        return
    waiting = f"{state.messages:,} waiting" if state.messages else "none waiting"
    if state.oldest_seconds is not None:
        waiting = f"{waiting}, oldest {duration(state.oldest_seconds)}"
    limit = f"{OLD_TASK_SECONDS} s"
    normal = f"1 or more, no message older than {limit}"
    if not state.workers:
        effect = "Events are stored but not delivered, and bulk jobs do not start."
        yield Item(
            "Celery workers", BAD, "0", waiting, limit, START_CELERY, effect=effect, normal=normal,
            headline="No Celery worker runs",
        )  # fmt: skip
        return
    is_late = state.messages > LONG_QUEUE or (state.oldest_seconds or 0.0) > OLD_TASK_SECONDS
    level = WARNING if is_late else GOOD
    yield Item("Celery workers", level, f"{state.workers:,}", waiting, limit, MORE_CELERY, normal=normal)
    yield _sweep(state.swept_seconds)


def _sweep(seconds: float | None) -> Item:
    """Return the line of the sweep, which Celery beat starts. Without it, nothing is tried again and nothing ends."""
    state = GOOD if seconds is not None and seconds <= OLD_SWEEP_SECONDS else WARNING
    value, limit = "none" if seconds is None else f"{duration(int(seconds))} ago", f"{OLD_SWEEP_SECONDS:.0f} s"
    return Item("Last sweep", state, value, limit=limit, to_do=START_BEAT, normal=f"at most {limit} ago")


def _aged(name: str, value: str, age: float | None, old_after: float, to_do: str) -> Item:
    """Return the line of waiting work. `age` is the age of the oldest piece in seconds, None if nothing waits."""
    state = WARNING if (age or 0.0) > old_after else GOOD
    oldest = "none waiting" if age is None else f"oldest {duration(age)}"
    limit = f"{old_after:.0f} s"
    return Item(name, state, value, oldest, limit, to_do, normal=f"none older than {limit}")


def _backlog(name: str, count: int, since: datetime | None, old_after: float, to_do: str) -> Item:
    return _aged(name, count_text(count), _age(since) if count else None, old_after, to_do)


def _freshness(seconds: float | None, queues: tuple[TaskQueueState, ...] | None) -> Item:
    name, limit = "Age of what you see", f"{LONG_LAG_SECONDS} s"
    if queues is not None and not any(queue.pollers for queue in queues):
        return Item(name, WARNING, "unknown", "no worker polls", limit, START_WORKER)
    to_do = "Read the logs of the Temporal workers and the database. The workers write the rows of these pages."
    if seconds is None:
        return Item(name, GOOD, "–", "no run ended this hour", limit, to_do)
    state = WARNING if seconds > LONG_LAG_SECONDS else GOOD
    note = f"A change appears here within {duration(seconds)} in 95 % of cases."
    return Item(name, state, duration(seconds), "", limit, to_do, note=note)


def _checked(backlog: Backlog) -> Item:
    name, limit = "Oldest check of an open run", f"{CHECKED_WITHIN.total_seconds() / 60:.0f} min"
    to_do = (
        "Check that a Celery worker and Celery beat run. To compare now: Compare all with Temporal on this page, or"
        " Verify on the page of a run."
    )
    if not backlog.open_runs:
        return Item(name, GOOD, "–", "no run is open", limit, to_do)
    compared, runs = count_text(backlog.open_runs - backlog.uncompared), count_text(backlog.open_runs)
    return Item(
        name,
        WARNING if backlog.unchecked else GOOD,
        duration(_age(backlog.oldest_check_at)),
        f"{compared} of {runs} compared with Temporal",
        limit,
        to_do,
        unchecked_address() if backlog.unchecked else "",
        note="Changes appear here without a check. The check finds a change that was lost: the portal compares the run"
        " with Temporal, or the run writes its state.",
    )


def _schedules(backlog: Backlog) -> Item:
    name, limit = "Oldest check of a schedule", f"{CHECKED_WITHIN.total_seconds() / 60:.0f} min"
    to_do = "Check that a Celery worker and Celery beat run. A schedule that Temporal lost starts no runs."
    if not backlog.schedules:
        return Item(name, GOOD, "–", "no schedule exists", limit, to_do)
    since = backlog.schedules_since
    return Item(
        name,
        WARNING if backlog.schedules_unchecked else GOOD,
        "never" if since is None else duration(_age(since)),
        f"{count_text(backlog.schedules)} schedule{'' if backlog.schedules == 1 else 's'}",
        limit,
        to_do,
        unchecked_schedules_address() if backlog.schedules_unchecked else "",
    )


def _overdue(overdue: Problem) -> Item:
    to_do = "Open the list. Read the logs of the Temporal workers."
    if not overdue.count or overdue.first is None:
        return Item("Overdue timers", GOOD, "0", "", "1 min", to_do)
    late = f"{duration(_age(overdue.first['at']))} late"
    return Item("Overdue timers", WARNING, count_text(overdue.count), late, "1 min", to_do, url=overdue_address())


def _calls(calls: Calls | None) -> Item:
    """Return the line of the systems that actions call. It names the action of which most calls failed."""
    name, limit = "Failed calls", f"{FAILED_CALLS_PERCENT} %"
    to_do = "Open an incident of the action and read its error. Then check the system that the action calls."
    note = (
        "Calls of the action of which most calls failed, in the last hour. A call with several attempts counts once."
        f" The newest {MOST_CALLS:,} calls are read."
    )
    normal = f"at most {limit} of the calls of an action"
    if calls is None:
        return Item(name, GOOD, "–", "no call ended", limit, to_do, note=note, normal=normal)
    if not calls.failed:
        total = f"{calls.total:,}{'+' if calls.total >= MOST_CALLS else ''}"
        return Item(name, GOOD, "0", f"of {total} calls", limit, to_do, note=note, normal=normal)
    is_bad = percent(calls.failed, calls.calls) > FAILED_CALLS_PERCENT and calls.failed >= FEW_FAILED_CALLS
    value, action = f"{calls.failed:,} of {calls.calls:,}", f"{calls.action}@{calls.version}"
    state, to_do = WARNING if is_bad else GOOD, f"Calls of {action}. {to_do}"
    return Item(name, state, value, action, limit, to_do, note=note, normal=normal)


def _age(at: datetime | Any) -> float:
    return 0.0 if at is None else max(0.0, (timezone.now() - at).total_seconds())


def health_context(items: list[Item]) -> dict[str, Any]:
    """Return what the card and the page need: the lines, a sentence, and the numbers of errors and of warnings."""
    return {
        "overall": overall(items),
        "health": items,
        "errors": sum(1 for item in items if item.state == BAD),
        "warnings": sum(1 for item in items if item.state == WARNING),
    }


def overall(items: list[Item]) -> dict[str, Any]:
    """Return the sentence for the whole system: what does not work and since when, and what to look at.

    Shapes: `{tone, broken, others}`. `broken` has `(headline, since)`, each headline once. `others` are names of lines.
    """
    errors = [item for item in items if item.state == BAD]
    warnings = [item for item in items if item.state == WARNING]
    broken = {item.headline: item.since for item in [*errors, *warnings] if item.headline}
    others = [item.name for item in [*errors, *warnings] if not item.headline]
    return {
        "tone": "red" if errors else "amber" if warnings else "green",
        "broken": list(broken.items()),
        "others": ", ".join(others),
    }

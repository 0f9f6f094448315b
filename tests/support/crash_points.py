"""Crash points of the portal: before and after each commit, signal, message and acknowledgement.

A point is armed in a process of its own (`crash_supervisor.py`). Arming wraps the function of the portal at this point.
The portal's code contains no crash points.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# The portal is imported inside functions, because this module is imported before `django.setup()`.

KILLED = 70  # exit code of a process that a crash point has killed

Hit = Callable[[], None]
Arm = Callable[[Hit], None]
When = Callable[..., bool]


@dataclass(frozen=True)
class Point:
    """Crash point of a program.

    `needs` is the event that leads to the point: an entry point, or a purpose of events (see `crash_load.py`).
    `after` is another point. A kill at that point leaves work behind that leads to this point.
    """

    role: str
    name: str
    arm: Arm
    needs: str = "any"
    after: str = ""

    @property
    def title(self) -> str:
        return f"{self.role}: {self.name}"

    def kill_at(self, visit: int) -> None:
        """Kill this process at this visit of the point. The first visit is 1."""
        counter = iter(range(1, visit))
        self.arm(lambda: None if next(counter, None) else os._exit(KILLED))


def always(result: Any, *_: Any, **__: Any) -> bool:
    return True


def is_truthy(result: Any, *_: Any, **__: Any) -> bool:
    return bool(result)


def before(owner: Any, name: str, when: When = always) -> Arm:
    """Return a function that arms the point before each call of `owner.name`.

    `when` gets None and the arguments of the call. If it returns False, this call does not count as a visit.
    """

    def arm(hit: Hit) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if when(None, *args, **kwargs):
                hit()
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)

    return arm


def after(owner: Any, name: str, when: When = always) -> Arm:
    """Return a function that arms the point after each call of `owner.name`.

    `when` gets the result and the arguments of the call. If it returns False, this call does not count as a visit.
    """

    def arm(hit: Hit) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if when(result, *args, **kwargs):
                hit()
            return result

        setattr(owner, name, wrapped)

    return arm


def at_commit(owner: Any, name: str, *, is_done: bool, when: When = is_truthy) -> Arm:
    """Return a function that arms the point at the first commit of the thread after the function.

    With `is_done`, the point is after PostgreSQL has confirmed the commit. Otherwise it is before the COMMIT is sent.
    """

    def arm(hit: Hit) -> None:
        from django.db.backends.base.base import BaseDatabaseWrapper

        thread = threading.local()
        commit, rollback = BaseDatabaseWrapper._commit, BaseDatabaseWrapper._rollback

        def mark() -> None:
            thread.is_near = True

        def committing(self: Any) -> None:
            is_near, thread.is_near = getattr(thread, "is_near", False), False
            if is_near and not is_done:
                hit()
            commit(self)
            if is_near and is_done:
                hit()

        def rolling_back(self: Any) -> None:
            thread.is_near = False
            rollback(self)

        after(owner, name, when)(mark)
        BaseDatabaseWrapper._commit = committing
        BaseDatabaseWrapper._rollback = rolling_back

    return arm


def inside(owner: Any, name: str, inner: Arm) -> Arm:
    """Return a function that arms `inner`, but only while the thread executes `owner.name`."""

    def arm(hit: Hit) -> None:
        thread = threading.local()
        function = getattr(owner, name)

        @functools.wraps(function)
        def around(*args: Any, **kwargs: Any) -> Any:
            thread.depth = getattr(thread, "depth", 0) + 1
            try:
                return function(*args, **kwargs)
            finally:
                thread.depth -= 1

        setattr(owner, name, around)
        inner(lambda: hit() if getattr(thread, "depth", 0) else None)

    return arm


def points() -> list[Point]:
    """Return all crash points. Call `django.setup()` first."""
    return [*_web(), *_celery(), *_consumer()]


def _web() -> Iterator[Point]:
    from socketserver import TCPServer

    from django.core.handlers.wsgi import WSGIHandler

    from ingress.intake import receive
    from portal.celery import app

    def point(name: str, arm: Arm) -> Point:
        return Point("web", name, arm, needs="rest")

    yield point("before the event is stored", before(receive, "_insert_events"))
    yield point("event stored, before the queue notification", before(receive, "notify_dispatcher_on_commit"))
    yield point("queue notification sent, before the response", after(receive, "notify_dispatcher_on_commit"))
    yield point("notification key set, before its message", before(app, "send_task"))
    yield point("notification message sent", after(app, "send_task"))
    yield point("response made, before it is sent", after(WSGIHandler, "__call__"))
    yield point("response sent", before(TCPServer, "shutdown_request"))


def _celery() -> Iterator[Point]:
    from kombu.message import Message

    from ingress import outbox, tasks
    from ingress.dispatch import delivery, routing, work
    from ingress.intake import receive
    from workflows import event_outcomes
    from workflows.services.runs import launch
    from workflows.temporal import gateway

    def point(name: str, arm: Arm, needs: str = "any") -> Point:
        return Point("celery", name, arm, needs)

    def acknowledging(task: str) -> When:
        return lambda _, message, **__: bool(message.headers["task"] == f"ingress.{task}")

    # -- The entry point
    yield point("entry point: before the event is stored", before(tasks, "events_receive"), "task")
    yield point(
        "entry point: stored, before the queue notification",
        inside(tasks, "events_receive", before(receive, "notify_dispatcher_on_commit")),
        "task",
    )
    yield point("entry point: stored, before the task ends", after(tasks, "events_receive"), "task")
    yield point(
        "entry point: before the acknowledgement", before(Message, "ack", acknowledging("consume_event")), "task"
    )
    yield point("entry point: acknowledged", after(Message, "ack", acknowledging("consume_event")), "task")
    # -- The queue notification
    yield point("notification: before it is received", before(tasks, "notification_received"))
    yield point("notification: received, before the search", after(tasks, "notification_received"))
    yield point(
        "notification: all done, before the acknowledgement", before(Message, "ack", acknowledging("work_events"))
    )
    yield point("notification: acknowledged", after(Message, "ack", acknowledging("work_events")))
    # -- The outbox
    yield point("outbox: rows locked, before their events", before(outbox, "events_receive"), "outbox")
    yield point(
        "outbox: events stored, rows deleted, before the commit",
        at_commit(outbox, "events_receive", is_done=False),
        "outbox",
    )
    yield point("outbox: committed", at_commit(outbox, "events_receive", is_done=True), "outbox")
    # -- Routing
    yield point("routing: claimed, before the search for waits", before(routing, "plan_event_routes"))
    yield point("routing: searched, before the deliveries", before(routing, "_create_deliveries"))
    yield point("routing: deliveries made, before the outcome", after(routing, "_create_deliveries"))
    yield point("routing: before the commit", at_commit(routing, "plan_event_routes", is_done=False))
    yield point("routing: committed", at_commit(routing, "plan_event_routes", is_done=True))
    yield point("routing: done, before the delivery attempts", after(work, "events_route_due", is_truthy))
    # -- Deliveries
    yield point("delivery: claimed, before the commit", at_commit(delivery, "_claim", is_done=False), "wait")
    yield point("delivery: claim committed", at_commit(delivery, "_claim", is_done=True), "wait")
    yield point("delivery: before the signal", before(gateway, "signal_event"), "wait")
    yield point("delivery: signal sent", after(gateway, "signal_event"), "wait")
    yield point(
        "delivery: attempts made, before they are recorded", before(delivery, "_record_attempts", _has_some), "wait"
    )
    yield point("delivery: before the commit", at_commit(delivery, "deliveries_changing", is_done=False), "wait")
    yield point("delivery: committed", at_commit(delivery, "deliveries_changing", is_done=True), "wait")
    # -- Starts
    yield point(
        "start: run row inserted, before the commit", at_commit(launch, "record_launch", is_done=False), "trigger"
    )
    yield point("start: run row committed", at_commit(launch, "record_launch", is_done=True), "trigger")
    yield point("start: before the start request", before(gateway, "start_run"), "trigger")
    yield point("start: run started in Temporal", after(gateway, "start_run"), "trigger")
    yield point(
        "start: run id recorded, before the commit",
        at_commit(launch, "record_first_run_id", is_done=False, when=always),
        "trigger",
    )
    yield point("start: run id committed", after(launch, "record_first_run_id"), "trigger")
    # -- The sweep
    yield point("sweep: before its work", before(tasks, "events_end_buffer_times"))
    yield point(
        "sweep: buffer times ended, before the commit",
        inside(
            tasks, "events_end_buffer_times", at_commit(event_outcomes, "update_rows", is_done=False, when=_has_rows)
        ),
    )
    yield point(
        "sweep: buffer times ended, committed",
        inside(
            tasks, "events_end_buffer_times", at_commit(event_outcomes, "update_rows", is_done=True, when=_has_rows)
        ),
    )
    yield point("sweep: before the launches", before(tasks, "sweep_unstarted_runs"))
    yield point("sweep: before the tenants", before(tasks, "_dispatch_all_tenants"))
    yield point("sweep: after a tenant", inside(tasks, "_dispatch_all_tenants", after(tasks, "events_work")))
    yield point("sweep: before the acknowledgement", before(Message, "ack", acknowledging("sweep_events")))


def _has_some(_: Any, made: Any) -> bool:
    return bool(made)


def _has_rows(_: Any, rows: Any, names: Any) -> bool:
    return bool(rows)


def _consumer() -> Iterator[Point]:
    from ingress.intake import receive
    from ingress.stream import consumer
    from ingress.stream.group import StreamGroup
    from portal.celery import app

    def point(name: str, arm: Arm, needs: str = "stream", after: str = "") -> Point:
        return Point("consumer", name, arm, needs, after)

    def has_ids(_: Any, group: Any, ids: Any) -> bool:
        return bool(ids)

    def has_entries(page: Any, *_: Any, **__: Any) -> bool:
        return page is not None and bool(page.entries)

    read = point("entries read", after(StreamGroup, "read_new", is_truthy))
    yield read
    yield point("pending entries claimed", after(StreamGroup, "claim_pending", has_entries), after=read.name)
    yield point("before the events are stored", before(receive, "_insert_events"))
    yield point("events stored, before the queue notification", before(receive, "notify_dispatcher_on_commit"))
    yield point("events stored", after(consumer, "stream_events_receive"))
    yield point("before the acknowledgement", before(StreamGroup, "acknowledge", has_ids))
    yield point("acknowledged", after(StreamGroup, "acknowledge", has_ids))
    yield point("notification key set, before its message", before(app, "send_task"))
    yield point("notification message sent", after(app, "send_task"))
    yield point("before the dead letter", before(StreamGroup, "write_dead_letter"), "bad entry")
    yield point(
        "dead letter, before the acknowledgement",
        inside(StreamGroup, "write_dead_letter", before(StreamGroup, "acknowledge", has_ids)),
        "bad entry",
    )
    yield point("dead letter, acknowledged", after(StreamGroup, "write_dead_letter"), "bad entry")

"""The points at which a program of the portal can be killed: before and after each commit, signal, message and acknowledgement.

A point is armed in a process of its own (`crash_stage.py`), by wrapping a function of the portal that stands there. The
portal itself knows of no points.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ingress.intake import receive
from ingress.stream import consumer
from workflows import event_outcomes
from workflows.services.runs import launch

KILLED = 70  # the exit code of a process that a point has killed

Hit = Callable[[], None]
Arm = Callable[[Hit], None]
When = Callable[..., bool]


@dataclass(frozen=True)
class Point:
    """`needs` names what leads there: a door, or what an event is for (`crash_load.py`).

    `after` names the point whose kill leaves behind what leads here.
    """

    role: str
    name: str
    arm: Arm
    needs: str = "any"
    after: str = ""

    @property
    def title(self) -> str:
        return f"{self.role}: {self.name}"

    def kill_at(self, number: int) -> None:
        """Kill this process when it comes here for the so-many-th time."""
        counter = iter(range(1, number))
        self.arm(lambda: None if next(counter, None) else os._exit(KILLED))


def always(result: Any, *_: Any, **__: Any) -> bool:
    return True


def is_something(result: Any, *_: Any, **__: Any) -> bool:
    return bool(result)


def before(owner: Any, name: str, when: When = always) -> Arm:
    """`when` gets None and the call's arguments."""

    def arm(hit: Hit) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def dying(*args: Any, **kwargs: Any) -> Any:
            if when(None, *args, **kwargs):
                hit()
            return function(*args, **kwargs)

        setattr(owner, name, dying)

    return arm


def after(owner: Any, name: str, when: When = always) -> Arm:
    """`when` gets the result and the call's arguments."""

    def arm(hit: Hit) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def dying(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if when(result, *args, **kwargs):
                hit()
            return result

        setattr(owner, name, dying)

    return arm


def at_commit(owner: Any, name: str, *, is_done: bool, when: When = is_something) -> Arm:
    """At the first commit of this thread after the function: before PostgreSQL hears of it, or when it has answered."""

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
    """`inner`, but only while this thread is inside the function."""

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
    """Django must have been set up."""
    return [*_web(), *_celery(), *_consumer()]


def _web() -> Iterator[Point]:
    from socketserver import TCPServer

    from django.core.handlers.wsgi import WSGIHandler

    from portal.celery import app

    def point(name: str, arm: Arm) -> Point:
        return Point("web", name, arm, needs="rest")

    yield point("before the event is stored", before(receive, "_insert_events"))
    yield point("event stored, before the bell", before(receive, "notify_dispatcher_on_commit"))
    yield point("bell rung, before the answer", after(receive, "notify_dispatcher_on_commit"))
    yield point("bell's key made, before its message", before(app, "send_task"))
    yield point("bell's message sent", after(app, "send_task"))
    yield point("answer made, before it is sent", after(WSGIHandler, "__call__"))
    yield point("answer sent", before(TCPServer, "shutdown_request"))


def _celery() -> Iterator[Point]:
    from kombu.message import Message

    from ingress import outbox, tasks
    from ingress.dispatch import delivery, routing, work
    from workflows.temporal import gateway

    def point(name: str, arm: Arm, needs: str = "any") -> Point:
        return Point("celery", name, arm, needs)

    def acknowledging(task: str) -> When:
        return lambda _, message, **__: bool(message.headers["task"] == f"ingress.{task}")

    # -- The door
    yield point("door: before the event is stored", before(tasks, "events_receive"), "task")
    yield point(
        "door: stored, before the bell",
        inside(tasks, "events_receive", before(receive, "notify_dispatcher_on_commit")),
        "task",
    )
    yield point("door: stored, before the task ends", after(tasks, "events_receive"), "task")
    yield point("door: before the acknowledgement", before(Message, "ack", acknowledging("consume_event")), "task")
    yield point("door: acknowledged", after(Message, "ack", acknowledging("consume_event")), "task")
    # -- The bell
    yield point("bell: before it is answered", before(tasks, "notification_received"))
    yield point("bell: answered, before the look", after(tasks, "notification_received"))
    yield point("bell: all done, before the acknowledgement", before(Message, "ack", acknowledging("work_events")))
    yield point("bell: acknowledged", after(Message, "ack", acknowledging("work_events")))
    # -- The outbox
    yield point("outbox: rows locked, before their events", before(outbox, "events_receive"), "outbox")
    yield point(
        "outbox: events and rows, before the commit", at_commit(outbox, "events_receive", is_done=False), "outbox"
    )
    yield point("outbox: committed", at_commit(outbox, "events_receive", is_done=True), "outbox")
    # -- Routing
    yield point("routing: claimed, before the look", before(routing, "plan_event_routes"))
    yield point("routing: looked, before the deliveries", before(routing, "_create_deliveries"))
    yield point("routing: deliveries made, before the outcome", after(routing, "_create_deliveries"))
    yield point("routing: before the commit", at_commit(routing, "plan_event_routes", is_done=False))
    yield point("routing: committed", at_commit(routing, "plan_event_routes", is_done=True))
    yield point("routing: done, before the deliveries' turn", after(work, "events_route_due", is_something))
    # -- Deliveries
    yield point("delivery: claimed, before the commit", at_commit(delivery, "_claim", is_done=False), "wait")
    yield point("delivery: claim committed", at_commit(delivery, "_claim", is_done=True), "wait")
    yield point("delivery: before the signal", before(gateway, "signal_event"), "wait")
    yield point("delivery: signal sent", after(gateway, "signal_event"), "wait")
    yield point("delivery: attempts made, before they are written", before(delivery, "_record_attempts", _has_some), "wait")
    yield point("delivery: before the commit", at_commit(delivery, "deliveries_changing", is_done=False), "wait")
    yield point("delivery: committed", at_commit(delivery, "deliveries_changing", is_done=True), "wait")
    # -- Starts
    yield point("start: run row made, before the commit", at_commit(launch, "record_launch", is_done=False), "trigger")
    yield point("start: run row committed", at_commit(launch, "record_launch", is_done=True), "trigger")
    yield point("start: before Temporal is asked", before(gateway, "start_run"), "trigger")
    yield point("start: Temporal has it", after(gateway, "start_run"), "trigger")
    yield point(
        "start: run id made, before the commit",
        at_commit(launch, "record_first_run_id", is_done=False, when=always),
        "trigger",
    )
    yield point("start: run id written", after(launch, "record_first_run_id"), "trigger")
    # -- The sweep
    yield point("sweep: before it", before(tasks, "_end_buffer_times"))
    yield point(
        "sweep: buffers run out, before the commit",
        inside(tasks, "_end_buffer_times", at_commit(event_outcomes, "update_rows", is_done=False, when=_has_rows)),
    )
    yield point(
        "sweep: buffers run out, committed",
        inside(tasks, "_end_buffer_times", at_commit(event_outcomes, "update_rows", is_done=True, when=_has_rows)),
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
    from ingress.stream.group import StreamGroup
    from portal.celery import app

    def point(name: str, arm: Arm, needs: str = "stream", after: str = "") -> Point:
        return Point("consumer", name, arm, needs, after)

    def has_ids(_: Any, group: Any, ids: Any) -> bool:
        return bool(ids)

    def has_entries(page: Any, *_: Any, **__: Any) -> bool:
        return page is not None and bool(page.entries)

    read = point("entries read", after(StreamGroup, "read_new", is_something))
    yield read
    yield point("left entries taken over", after(StreamGroup, "claim_pending", has_entries), after=read.name)
    yield point("before the events are stored", before(receive, "_insert_events"))
    yield point("events stored, before the bell", before(receive, "notify_dispatcher_on_commit"))
    yield point("events stored", after(consumer, "stream_events_receive"))
    yield point("before the acknowledgement", before(StreamGroup, "acknowledge", has_ids))
    yield point("acknowledged", after(StreamGroup, "acknowledge", has_ids))
    yield point("bell's key made, before its message", before(app, "send_task"))
    yield point("bell's message sent", after(app, "send_task"))
    yield point("before the dead letter", before(StreamGroup, "write_dead_letter"), "bad entry")
    yield point(
        "dead letter, before the acknowledgement",
        inside(StreamGroup, "write_dead_letter", before(StreamGroup, "acknowledge", has_ids)),
        "bad entry",
    )
    yield point("dead letter, acknowledged", after(StreamGroup, "write_dead_letter"), "bad entry")

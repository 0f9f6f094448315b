"""Acceptance time decides, and a burst of events costs in proportion (docs/reference/engine.md#event-waits)."""

import uuid
from collections import Counter
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ingress.tasks import sweep_events, work_events
from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from tests.support.workers import running_temporal_worker
from workflows.models import Definition, Event, EventDelivery, EventType, Run, RunWait
from workflows.models.statements import database_now

REPLIED = "TICKET_CUSTOMER_REPLIED"
TRIGGER = {"type": "event", "eventName": "TICKET_CREATED"}


@pytest.fixture
def own_worker(settings: Any) -> AbstractContextManager[None]:
    """Return a Temporal worker for runs that this test starts. Until the test enters it, no worker has them."""
    settings.TEMPORAL_TASK_QUEUE = f"tests-{uuid.uuid4()}"
    return running_temporal_worker()


def short_buffer(tenant: Any, name: str = REPLIED, seconds: float = 0.2) -> None:
    EventType.objects.create(tenant=tenant, name=name, buffer_seconds=seconds, correlation_paths=["ticketId"])


def buffer_time_is_over(event: Event) -> None:
    def is_over() -> bool:
        event.refresh_from_db()
        return event.buffered_until is not None and event.buffered_until < timezone.now()

    eventually(is_over, what="the end of the buffer time")


def outcome_after_sweep(event: Event) -> str:
    sweep_events()
    event.refresh_from_db()
    return event.outcome


def test_delay_of_the_worker_does_not_use_up_the_buffer_time(
    driver: TenantDriver, own_worker: AbstractContextManager[None]
) -> None:
    short_buffer(driver.tenant)
    publish(driver.tenant, wait_for_reply(), trigger=TRIGGER)
    driver.send("TICKET_CREATED", {"ticketId": "T-1"})
    reply = driver.send(REPLIED, {"ticketId": "T-1"})
    driver.wait_for_run("STARTING")
    buffer_time_is_over(reply)
    assert outcome_after_sweep(reply) == "buffered"  # the run of an earlier start can still take it
    with own_worker:
        driver.wait_for_run("SUCCEEDED")
    reply.refresh_from_db()
    assert reply.outcome == "delivered"


def test_held_start_does_not_use_up_the_buffer_time(driver: TenantDriver) -> None:
    short_buffer(driver.tenant)
    publish(driver.tenant, wait_for_reply(), trigger=TRIGGER)
    Definition.objects.filter(tenant=driver.tenant).update(concurrency_limit=1)
    driver.send("TICKET_CREATED", {"ticketId": "T-1"})
    first = driver.wait_for_run("WAITING")
    driver.send("TICKET_CREATED", {"ticketId": "T-2"})
    early = driver.send(REPLIED, {"ticketId": "T-2"})
    buffer_time_is_over(early)
    assert outcome_after_sweep(early) == "buffered"
    driver.send(REPLIED, {"ticketId": "T-1"})
    driver.wait_for_run("SUCCEEDED", id=first.id)
    driver.wait_for_run("SUCCEEDED", correlation_key="T-2")
    early.refresh_from_db()
    assert early.outcome == "delivered"


def test_event_without_a_start_is_unmatched_after_its_buffer_time(driver: TenantDriver) -> None:
    short_buffer(driver.tenant)
    event = driver.send(REPLIED, {"ticketId": "T-9"})
    buffer_time_is_over(event)
    assert outcome_after_sweep(event) == "unmatched"


def test_unmatched_event_that_a_wait_takes_later_becomes_delivered(
    driver: TenantDriver, own_worker: AbstractContextManager[None]
) -> None:
    short_buffer(driver.tenant)
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    reply = driver.send(REPLIED, {"ticketId": "T-1"})
    eventually(lambda: Event.objects.get(id=reply.id).routed_at, what="routing")
    Event.objects.filter(id=reply.id).update(outcome="unmatched")  # as an older version decided it
    with own_worker:
        driver.wait_for_run("SUCCEEDED", id=run.id)
    reply.refresh_from_db()
    assert reply.outcome == "delivered"


def test_event_accepted_before_the_deadline_wins_although_its_signal_is_late(
    driver: TenantDriver, no_dispatcher: None
) -> None:
    publish(driver.tenant, wait_for_reply(timeoutMs=4_000))
    run = driver.start({"ticketId": "T-1"})
    wait = eventually(lambda: RunWait.objects.filter(run=run, status="WAITING").first())
    reply = driver.send(REPLIED, {"ticketId": "T-1"})
    assert reply.received_at < wait.deadline_at
    # The search at the deadline finds the event, but nothing signals it: the dispatcher is away.
    eventually(lambda: EventDelivery.objects.filter(event=reply, status="pending").exists(), what="a found event")
    eventually(lambda: database_now() > wait.deadline_at + timedelta(seconds=1.5), what="the deadline has passed")
    assert Run.objects.get(id=run.id).status == "WAITING"
    work_events(str(driver.tenant.id))
    driver.wait_for_run("SUCCEEDED", id=run.id)


def test_event_accepted_after_the_deadline_is_late(
    driver: TenantDriver, own_worker: AbstractContextManager[None]
) -> None:
    publish(driver.tenant, wait_for_reply(timeoutMs=8_000))
    run = driver.start({"ticketId": "T-1"})
    with own_worker:
        wait = eventually(lambda: RunWait.objects.filter(run=run, status="WAITING").first())
    # The worker is away over the deadline and over the event. Its first task sees the signal and the timer.
    eventually(lambda: database_now() > wait.deadline_at + timedelta(seconds=1.2), what="the deadline has passed")
    reply = driver.send(REPLIED, {"ticketId": "T-1"})
    eventually(lambda: EventDelivery.objects.filter(event=reply, status="sent").exists(), what="the signal")
    with running_temporal_worker():
        failed = driver.wait_for_run("FAILED", id=run.id)
    assert failed.error_code == "EVENT_WAIT_TIMEOUT"
    eventually(lambda: EventDelivery.objects.filter(event=reply, status="late").exists(), what="the verdict late")


def statuses_of(run: Run) -> Counter[str]:
    return Counter(EventDelivery.objects.filter(run=run).values_list("status", flat=True))


@pytest.mark.parametrize("count", [10, 40])
def test_burst_of_early_events_costs_one_delivery_each(
    driver: TenantDriver, own_worker: AbstractContextManager[None], count: int
) -> None:
    keep = {"vars.got": expr("append(coalesce(vars.got, []), vars.event.n)")}
    loop = {"id": "each", "type": "control.forEach", "items": expr(f"[1..{count}]"), "itemVar": "round"}
    publish(driver.tenant, {**loop, "body": [wait_for_reply(assign=keep)]})
    run = driver.start({"ticketId": "T-1"})
    for number in range(count):
        driver.send(REPLIED, {"ticketId": "T-1", "n": number})
    with own_worker:
        driver.wait_for_run("SUCCEEDED", id=run.id)
    eventually(lambda: statuses_of(run) == {"matched": count}, what="a verdict on each event")
    assert driver.history_types(run).count("WORKFLOW_EXECUTION_SIGNALED") == count


def test_filtered_burst_is_tried_to_its_end(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(filters=[{"path": "n", "op": "=", "value": 29}]))
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    for number in range(30):
        driver.send(REPLIED, {"ticketId": "T-1", "n": number})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    # A wrong order of the events would leave late ones.
    eventually(lambda: statuses_of(run) == {"filtered": 29, "matched": 1}, what="a verdict on each event")

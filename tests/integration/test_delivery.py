"""Deliveries are independent, and the sweep finds the work that a crash leaves behind.

Source: docs/reference/events.md#routing, docs/reference/events.md#crashes-and-outages
"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ingress import tasks
from ingress.dispatch import buffers
from ingress.dispatch.delivery import due_deliveries
from ingress.dispatch.routing import event_route
from ingress.tasks import sweep_events, work_events
from tests.support.deliveries import attempt_delivery
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, publish
from workflows.models import Event, EventDelivery, Run

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture(autouse=True)
def enough_sweep_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the sweep enough time: it first works for tenants of other tests that have waited longer."""
    monkeypatch.setattr(tasks, "SWEEP_BUDGET_SECONDS", 60)


def aged(event: Event, **back: float) -> Event:
    Event.objects.filter(id=event.id).update(received_at=timezone.now() - timedelta(**back))
    return event


def delivery_of(event: Event) -> EventDelivery:
    return EventDelivery.objects.get(event=event)


def test_refused_signal_is_retried_and_then_dead(tenant: Any, settings: Any) -> None:
    """Temporal refuses a signal to a namespace that does not exist."""
    settings.TEMPORAL_NAMESPACE = "nowhere"
    settings.DELIVERY_MAX_ATTEMPTS = 3
    open_wait(tenant)
    event = receive(tenant)
    (delivery_id,) = event_route(event.id)
    for attempt in range(1, 4):
        EventDelivery.objects.filter(id=delivery_id).update(next_attempt_at=timezone.now())
        assert attempt_delivery(delivery_id) == ("dead" if attempt == 3 else "pending")
    found = delivery_of(event)
    event.refresh_from_db()
    assert (found.status, found.attempts, len(found.attempt_log), event.outcome) == ("dead", 3, 3, "dead")
    assert "nowhere" in found.reason


def test_delivery_that_is_not_due_or_claimed_is_not_attempted(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant)
    (delivery_id,) = event_route(event.id)
    later, held = timezone.now() + timedelta(minutes=1), timezone.now() + timedelta(seconds=30)
    for changes in ({"next_attempt_at": later}, {"next_attempt_at": timezone.now(), "claimed_until": held}):
        EventDelivery.objects.filter(id=delivery_id).update(**changes)
        assert attempt_delivery(delivery_id) == "pending"
        assert delivery_of(event).attempts == 0
        assert not due_deliveries(id=delivery_id).exists()


def test_claim_of_a_dead_worker_expires(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant)
    (delivery_id,) = event_route(event.id)
    EventDelivery.objects.filter(id=delivery_id).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert due_deliveries(id=delivery_id).exists()


def test_sweep_routes_events_without_notification(tenant: Any) -> None:
    open_wait(tenant, run=make_run(tenant))
    event = aged(receive(tenant), minutes=1)
    assert sweep_events()["routed"] >= 1
    event.refresh_from_db()
    assert event.routed_at is not None
    assert delivery_of(event).status == "late"  # Temporal does not know the run of this test


def test_sweep_attempts_deliveries_that_were_left(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant)
    event_route(event.id)
    assert sweep_events()["delivered"] >= 1
    assert delivery_of(event).status == "late"


def test_sweep_writes_the_outcome_after_the_buffer_time(tenant: Any) -> None:
    event = receive(tenant)
    event_route(event.id)
    event.refresh_from_db()
    assert event.outcome == "buffered"
    Event.objects.filter(id=event.id).update(buffered_until=timezone.now() - timedelta(seconds=1))
    sweep_events()
    event.refresh_from_db()
    assert event.outcome == "unmatched"


def test_event_that_is_too_old_for_an_open_wait_is_unmatched(tenant: Any) -> None:
    """A wait that is open for days must not keep such an event buffered."""
    event = receive(tenant)
    event_route(event.id)
    old = timezone.now() - timedelta(hours=2)
    Event.objects.filter(id=event.id).update(received_at=old, routed_at=old, buffered_until=old)
    open_wait(tenant)
    sweep_events()
    event.refresh_from_db()
    assert (event.outcome, EventDelivery.objects.filter(event=event).count()) == ("unmatched", 0)


def test_sweep_handles_more_expired_buffers_than_one_batch(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "BATCH", 2)
    for _ in range(5):
        event_route(receive(tenant).id)
    Event.objects.filter(tenant=tenant).update(buffered_until=timezone.now() - timedelta(seconds=1))
    sweep_events()
    assert set(Event.objects.filter(tenant=tenant).values_list("outcome", flat=True)) == {"unmatched"}


def test_repeated_notification_repeats_nothing(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant)
    for _ in range(3):
        work_events(str(tenant.id))
    assert (delivery_of(event).attempts, EventDelivery.objects.filter(event=event).count()) == (1, 1)


def test_failing_target_does_not_stop_others(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.dispatch import delivery

    waits = [open_wait(tenant), open_wait(tenant)]
    event = receive(tenant)
    real = delivery.event_deliver_to_wait

    def failing(row: EventDelivery) -> tuple[str, str]:
        if row.wait_id == waits[0].id:
            raise RuntimeError("a bug")
        return real(row)

    monkeypatch.setattr(delivery, "event_deliver_to_wait", failing)
    work_events(str(tenant.id))
    found = {row.wait_id: row for row in EventDelivery.objects.filter(event=event)}
    assert (found[waits[0].id].status, found[waits[1].id].status) == ("pending", "late")
    assert "RuntimeError: a bug" in found[waits[0].id].reason


def test_failing_event_does_not_stop_the_sweep(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.dispatch import routing

    bad, good = aged(receive(tenant), minutes=2), aged(receive(tenant), minutes=1)
    real = routing.plan_event_routes

    def failing(events: list[Event]) -> Any:
        if bad in events:
            raise RuntimeError("a bad row")
        return real(events)

    monkeypatch.setattr(routing, "plan_event_routes", failing)
    monkeypatch.setattr(tasks, "events_end_buffer_times", lambda stop_at: 1 / 0)
    sweep_events()
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.routed_at is not None, bad.routed_at, bad.routing_attempts) == (True, None, 1)
    assert "a bad row" in bad.outcome_reason
    assert bad.route_at > timezone.now()  # retried later by itself


def test_trigger_whose_payload_does_not_match_its_schema_is_skipped_with_a_pointer(tenant: Any) -> None:
    from workflows.models import PayloadSchema

    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Paid.v1", schema=schema)
    state = {"id": "s", "type": "state.set", "config": {"state": "X"}}
    publish(tenant, state, trigger={"type": "event", "eventName": "REPLIED"}, payloadSchemaRef="payload.Paid.v1")
    event = receive(tenant, payload={"amount": "much"})
    work_events(str(tenant.id))
    found = delivery_of(event)
    assert (found.status, Run.objects.filter(tenant=tenant).count()) == ("skipped", 0)
    assert "/amount: must be number, but is string" in found.reason

"""The decision on an event has the same sentence in the list, in the box and the trace of its page, and in the API."""

import time
from collections.abc import Callable
from html import escape
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch import routing
from ingress.dispatch.delivery import events_deliver_due
from ingress.dispatch.routing import event_route, events_route_due
from tests.support.api import Api
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_token, publish
from tests.support.members import member_of
from tests.support.step_rows import record_steps
from tests.support.triggers import STATE, TRIGGER
from workflows.errors import PortalError
from workflows.event_outcomes import deliveries_changing
from workflows.models import Definition, Event, EventDelivery, EventType, PayloadSchema
from workflows.statuses import OutcomeCode

pytestmark = pytest.mark.usefixtures("no_dispatcher")

UNUSED = "No run used this event."


def routed(tenant: Any, **value: Any) -> Event:
    event = receive(tenant, **value)
    event_route(event.id)
    return event


def decided(*statuses: str, **fields: Any) -> Callable[[Any], Event]:
    """Return a builder of an event with a delivery of each status. The buffer time has passed."""

    def build(tenant: Any) -> Event:
        waits = [open_wait(tenant, step_id=f"step-{status}") for status in statuses]
        event = routed(tenant)
        Event.objects.filter(id=event.id).update(buffered_until=timezone.now())
        with deliveries_changing(Event.objects.filter(id=event.id)):
            for wait, status in zip(waits, statuses, strict=True):
                EventDelivery.objects.filter(wait=wait).update(status=status, **fields)
        return event

    return build


def started(tenant: Any) -> Event:
    event = decided("late")(tenant)
    run = make_run(tenant, event=event, correlation_key="T-1")
    with deliveries_changing(Event.objects.filter(id=event.id)):
        EventDelivery.objects.create(
            tenant=tenant, event=event, kind="trigger", definition=run.definition, run=run, status="started"
        )
    return event


def held(tenant: Any) -> Event:
    publish(tenant, STATE, trigger=TRIGGER)
    Definition.objects.filter(tenant=tenant).update(is_paused=True, paused_reason="a holiday")
    event = routed(tenant)
    events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    return event


def wait_closed(tenant: Any) -> Event:
    open_wait(tenant, status="RESOLVED", resolved_at=timezone.now())
    return routed(tenant)


def routing_failed(tenant: Any) -> Event:
    event = receive(tenant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing, "plan_event_routes", lambda events: 1 / 0)
        events_route_due(tenant_id=tenant.id)
    return event


def invalid_key(tenant: Any) -> Event:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["id"])
    return routed(tenant, event_type="PAID", payload={"id": []}, workflow_correlation_key=None)


def rejected(tenant: Any) -> Event:
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Paid.v1", schema={"required": ["amount"]})
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Paid.v1")
    with pytest.raises(PortalError):
        receive(tenant, event_type="PAID")
    return Event.objects.get(tenant=tenant)


def conflicting(tenant: Any) -> Event:
    receive(tenant, event_id="e-1")
    with pytest.raises(PortalError):
        receive(tenant, event_id="e-1", payload={"other": 1})
    return Event.objects.get(tenant=tenant, occupies_id=False)


DECISIONS: dict[OutcomeCode, tuple[Callable[[Any], Event], str]] = {
    OutcomeCode.NOT_ROUTED: (receive, "The event is stored and not routed yet."),
    OutcomeCode.ROUTING_FAILED: (
        routing_failed,
        "The routing of this event failed and is tried again: ZeroDivisionError: division by zero.",
    ),
    OutcomeCode.DELIVERING: (decided("pending"), "The event is being delivered."),
    OutcomeCode.HELD: (held, "The event is on hold, because the definition flow is paused: a holiday."),
    OutcomeCode.MATCHED: (decided("matched"), "A run took the event."),
    OutcomeCode.STARTED: (started, "The event started a run."),
    OutcomeCode.PARTLY_DEAD: (
        decided("matched", "dead"),
        "A run used the event. All attempts to deliver it to another target failed.",
    ),
    OutcomeCode.FILTERED: (decided("filtered"), f"{UNUSED} A run waited for it, but the wait did not accept it."),
    OutcomeCode.RUN_UNKNOWN: (
        decided("late", reason="Temporal does not know the run: workflow not found"),
        f"{UNUSED} Temporal does not know the run that waited for it.",
    ),
    OutcomeCode.WAIT_CLOSED: (
        decided("late"),
        f"{UNUSED} The wait with this key had closed before the event was delivered.",
    ),
    OutcomeCode.NOT_STARTED: (decided("skipped"), f"{UNUSED} The definition did not start."),
    OutcomeCode.NO_WAIT: (decided(), f"{UNUSED} No wait had this event type and key."),
    OutcomeCode.NO_KEY: (invalid_key, f"{UNUSED} The event has no correlation key."),
    OutcomeCode.DEAD: (decided("dead"), f"{UNUSED} All attempts to deliver it failed."),
    OutcomeCode.DISCARDED: (decided("discarded"), f"{UNUSED} An operator discarded it."),
    OutcomeCode.PAYLOAD_REJECTED: (
        rejected,
        "The event was rejected, because the payload does not match payload.Paid.v1, the schema of PAID in the event"
        " catalogue.",
    ),
    OutcomeCode.ID_CONFLICT: (
        conflicting,
        "The event was refused. Its id belongs to an event with another body.",
    ),
}


def test_every_code_is_in_the_table() -> None:
    assert set(DECISIONS) == set(OutcomeCode)


@pytest.mark.parametrize("code", OutcomeCode, ids=str)
def test_every_screen_and_the_api_show_the_same_sentence(tenant: Any, code: OutcomeCode) -> None:
    build, sentence = DECISIONS[code]
    event = build(tenant)
    if code == OutcomeCode.NO_WAIT:  # the stored sentence follows from the end of the buffer time
        with deliveries_changing(Event.objects.filter(id=event.id)):
            pass
    client, api = member_of(tenant), Api(make_token(tenant))
    listed = client.get(reverse("admin:workflows_event_changelist")).content.decode()
    page = client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert f"<bdi>{escape(sentence)}</bdi>" in listed
    assert f'<h2 id="why">{escape(sentence)}</h2>' in page
    assert page.count(f">{escape(sentence)}<") == 1
    assert (
        page.partition('<ol class="trace">')[2].partition("<h3>")[2].startswith(f"Decision: {code.label.lower()}</h3>")
    )
    shown = api.get(f"/events/{event.id}").json()
    assert (shown["outcome_code"], shown["outcome_reason"]) == (code, sentence)
    trace = api.get(f"/events/{event.id}/trace").json()
    assert (trace["outcome"]["code"], trace["outcome"]["reason"]) == (code, sentence)
    assert trace["summary"].startswith(sentence)


def test_a_wait_that_had_closed_explains_the_event_also_after_its_buffer_time(tenant: Any) -> None:
    event = Event.objects.get(id=wait_closed(tenant).id)
    closed = "The wait with this key had closed before the event was delivered."
    assert event.outcome_reason == f"No run has used this event yet. {closed}"
    Event.objects.filter(id=event.id).update(buffered_until=timezone.now())
    with deliveries_changing(Event.objects.filter(id=event.id)):
        pass
    event.refresh_from_db()
    assert event.outcome_reason == f"{UNUSED} {closed}"
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "It closed" in page
    assert "UTC." not in page.partition("data-live")[2].partition("<script")[0]


@pytest.mark.parametrize("status", ["matched", "filtered", "late", "dead"])
def test_list_and_box_name_the_run_and_the_step(tenant: Any, status: str) -> None:
    event = decided(status)(tenant)
    delivery = EventDelivery.objects.get(event=event)
    run, wait = delivery.run, delivery.wait
    assert run is not None
    assert wait is not None
    client, link = member_of(tenant), reverse("admin:workflows_run_change", args=[run.id])
    Definition.objects.filter(id=run.definition_id).update(name="Ticket escalation")
    pages = (reverse("admin:workflows_event_changelist"), reverse("admin:workflows_event_change", args=[event.id]))
    deliveries = f"{reverse('admin:workflows_eventdelivery_changelist')}?status=all"
    for name in (f"step-{status}", "Customer replies"):  # the step is not recorded yet, then it is
        for address in (*pages, deliveries):
            page = client.get(address).content.decode()
            assert "Ticket escalation" in page, address
            assert f"at “<bdi>{name}</bdi>”" in page, address
            assert link in page or address == deliveries
        record_steps(run, (wait.step_path, "STARTED", {"name": "Customer replies"}))


def test_near_misses_are_shown_only_if_no_run_uses_the_event(tenant: Any) -> None:
    event = routed(tenant, workflow_correlation_key="TCK-4417")
    open_wait(tenant, key="TCK-4471")
    Event.objects.filter(id=event.id).update(routed_at=None)
    event_route(event.id)
    client, address = member_of(tenant), reverse("admin:workflows_event_change", args=[event.id])
    assert "(near miss" in client.get(address).content.decode()
    Event.objects.filter(id=event.id).update(outcome="delivered", outcome_code=OutcomeCode.MATCHED)
    assert "(near miss" not in client.get(address).content.decode()

"""One event through all layers on real servers."""

from typing import Any

from ingress.services import event_receive
from tests.factories import eventually, expr, publish, wait_for_reply
from workflows.models import Event, EventDelivery, Run, RunStep, RunWait
from workflows.statuses import EventSource

TRIGGER = {"type": "event", "eventName": "TICKET_CREATED"}


def send(tenant: Any, event_type: str, payload: dict[str, Any], **more: Any) -> Event:
    value = {"event_type": event_type, "payload": payload, **more}
    return event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event


def run_with(tenant: Any, **fields: Any) -> Run | None:
    return Run.objects.filter(tenant=tenant, **fields).first()


def test_an_event_starts_a_run_and_another_resumes_it(portal: Any) -> None:
    publish(
        portal,
        {"id": "state", "type": "state.set", "config": {"state": "WAITING_FOR_CUSTOMER"}},
        wait_for_reply(assign={"vars.reply": expr("vars.event.text")}),
        {"id": "done", "type": "transform.assign", "config": {"assign": {"vars.answer": expr("'got ' & vars.reply")}}},
        trigger=TRIGGER,
    )
    created = send(portal, "TICKET_CREATED", {"ticketId": "T-1"})
    run = eventually(lambda: run_with(portal, status="WAITING"))
    assert (run.correlation_key, run.state, run.event_id) == ("T-1", "WAITING_FOR_CUSTOMER", created.id)
    wait = RunWait.objects.get(run=run)
    assert (wait.event_name, wait.correlation_key, wait.status) == ("TICKET_CUSTOMER_REPLIED", "T-1", "WAITING")

    reply = send(portal, "TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "text": "hello"})
    eventually(lambda: run_with(portal, status="SUCCEEDED"))
    wait.refresh_from_db()
    assert (wait.status, wait.event_id) == ("RESOLVED", reply.id)
    assert [(s.step_id, s.status) for s in RunStep.objects.filter(run=run).order_by("projection_seq")] == [
        ("state", "SUCCEEDED"), ("reply", "SUCCEEDED"), ("done", "SUCCEEDED"),
    ]  # fmt: skip
    delivery = EventDelivery.objects.get(event=reply)
    assert (delivery.status, delivery.run_id) == ("matched", run.id)
    reply.refresh_from_db()
    assert reply.outcome == "delivered"

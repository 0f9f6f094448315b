"""Events through all layers on real servers, with their verdicts."""

import base64
import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.services.definitions.pause import definition_pause, definition_resume
from workflows.statuses import HeldChoice

TRIGGER = {"type": "event", "eventName": "TICKET_CREATED"}
REPLIED = "TICKET_CUSTOMER_REPLIED"


def verdict_is(event: Any, status: str) -> EventDelivery:
    return eventually(
        lambda: EventDelivery.objects.filter(event=event, status=status).first(), what=f"verdict {status}"
    )


def test_one_event_starts_a_run_and_another_resumes_it(driver: TenantDriver) -> None:
    publish(
        driver.tenant,
        {"id": "state", "type": "state.set", "config": {"state": "WAITING_FOR_CUSTOMER"}},
        wait_for_reply(assign={"vars.reply": expr("vars.event.text")}),
        {"id": "done", "type": "transform.assign", "config": {"assign": {"vars.answer": expr("'got ' & vars.reply")}}},
        trigger=TRIGGER,
    )
    created = driver.send("TICKET_CREATED", {"ticketId": "T-1"})
    run = driver.wait_for_run("WAITING")
    assert (run.correlation_key, run.state, run.event_id) == ("T-1", "WAITING_FOR_CUSTOMER", created.id)
    wait = RunWait.objects.get(run=run)
    assert (wait.event_name, wait.correlation_key, wait.status) == (REPLIED, "T-1", "WAITING")

    reply = driver.send(REPLIED, {"ticketId": "T-1", "text": "hello"})
    driver.wait_for_run("SUCCEEDED")
    wait.refresh_from_db()
    assert (wait.status, wait.event_id) == ("RESOLVED", reply.id)
    assert driver.steps(run) == [("state", 1, "SUCCEEDED"), ("reply", 1, "SUCCEEDED"), ("done", 1, "SUCCEEDED")]
    delivery = EventDelivery.objects.get(event=reply)
    assert (delivery.status, delivery.run_id, delivery.correlation_key) == ("matched", run.id, "T-1")
    reply.refresh_from_db()
    assert reply.outcome == "delivered"
    # The dispatcher records a start after it. By then, the run may already wait, or have ended.
    eventually(lambda: Event.objects.filter(id=created.id, outcome="delivered").exists(), what="the start is recorded")


def test_signal_has_the_documented_fields_in_order(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING")
    event = driver.send(REPLIED, {"zz": 1, "ticketId": "T-1", "a": 2})
    driver.wait_for_run("SUCCEEDED")
    (signal,) = [e for e in driver.history(run) if e["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED"]
    (encoded,) = signal["workflowExecutionSignaledEventAttributes"]["input"]["payloads"]
    sent = json.loads(base64.b64decode(encoded["data"]))
    assert list(sent) == ["eventId", "eventName", "correlationKey", "waitId", "payload", "receivedAt"]
    assert (sent["eventId"], sent["waitId"]) == (event.event_id, str(RunWait.objects.get(run=run).id))
    assert list(sent["payload"]) == ["zz", "ticketId", "a"]


def test_both_candidate_waits_are_signalled_and_the_workflows_decide(driver: TenantDriver) -> None:
    filtered = {"filters": [{"path": "channel", "op": "=", "value": "mail"}]}
    publish(driver.tenant, wait_for_reply(), key="any")
    publish(driver.tenant, wait_for_reply(**filtered), key="mail-only")
    runs = [driver.start({"ticketId": "T-1"}, key=key) for key in ("any", "mail-only")]
    for run in runs:
        driver.wait_for_run("WAITING", id=run.id)
    event = driver.send(REPLIED, {"ticketId": "T-1", "channel": "phone"})
    driver.wait_for_run("SUCCEEDED", id=runs[0].id)
    verdict_is(event, "filtered")
    assert {d.run_id: d.status for d in EventDelivery.objects.filter(event=event)} == {
        runs[0].id: "matched", runs[1].id: "filtered",
    }  # fmt: skip
    for run in runs:
        assert "WORKFLOW_EXECUTION_SIGNALED" in driver.history_types(run)
    assert Run.objects.get(id=runs[1].id).status == "WAITING"
    delivery = EventDelivery.objects.get(event=event, run=runs[1])
    assert delivery.mismatch == {"code": "FILTER_MISMATCH", "path": "channel", "op": "=", "value": "mail"}
    assert "channel" in delivery.reason
    assert "phone" not in delivery.reason


def test_event_that_arrives_before_the_wait_is_found(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply("before", eventName="TICKET_CREATED"), wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    event = driver.send(REPLIED, {"ticketId": "T-1"})
    eventually(
        lambda: type(event).objects.filter(id=event.id, outcome="buffered").exists(), what="the event is buffered"
    )
    driver.send("TICKET_CREATED", {"ticketId": "T-1"})  # now the run comes to the wait for the buffered event
    driver.wait_for_run("SUCCEEDED", id=run.id)
    assert verdict_is(event, "matched").run_id == run.id


def test_repeated_event_changes_nothing(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply("one"), wait_for_reply("two"), trigger=TRIGGER)
    for _ in range(2):
        driver.send("TICKET_CREATED", {"ticketId": "T-1"}, event_id="created")
    run = driver.wait_for_run("WAITING")
    for _ in range(2):
        event = driver.send(REPLIED, {"ticketId": "T-1"}, event_id="reply")
    verdict_is(event, "matched")
    eventually(lambda: RunWait.objects.filter(run=run).count() == 2, what="the second wait is open")
    assert Run.objects.filter(tenant=driver.tenant).count() == 1
    assert EventDelivery.objects.filter(event=event).count() == 1
    assert RunWait.objects.filter(run=run, status="WAITING").count() == 1


def test_signal_to_a_closed_run_is_late(driver: TenantDriver) -> None:
    from tests.support.deliveries import attempt_delivery
    from workflows.services.wait_lookback import new_wait_delivery

    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING")
    wait = RunWait.objects.get(run=run)
    driver.send(REPLIED, {"ticketId": "T-1"})
    driver.wait_for_run("SUCCEEDED")
    driver.history_types_until(run, "WORKFLOW_EXECUTION_COMPLETED")  # until then, the workflow takes a signal
    late = driver.send(REPLIED, {"ticketId": "T-1"})
    eventually(
        lambda: type(late).objects.filter(id=late.id, routed_at__isnull=False).exists(), what="the event is routed"
    )
    delivery = new_wait_delivery(late, wait, at=timezone.now())
    delivery.save()
    # The dispatcher may still work for the tenant, and attempt the delivery at the same time.
    eventually(lambda: attempt_delivery(delivery.id) == "late", what="the late delivery")
    delivery.refresh_from_db()
    assert "ended" in delivery.reason


def test_start_of_a_paused_definition_is_held_until_the_resume(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(), trigger=TRIGGER)
    definition_pause(actor=driver.actor, key="flow", reason="maintenance")
    event = driver.send("TICKET_CREATED", {"ticketId": "T-1"})
    held = EventDelivery.objects.filter(event=event, held_since__isnull=False)
    assert "maintenance" in eventually(held.first, what="the start is held").reason
    assert not Run.objects.filter(tenant=driver.tenant).exists()
    definition_resume(actor=driver.actor, key="flow", reason="done", held=HeldChoice.START)
    assert driver.wait_for_run("WAITING").event_id == event.id


def test_trigger_maps_the_payload(driver: TenantDriver) -> None:
    mapping = {
        "ticket.id": expr("event.payload.ticketId"),
        "ticket.key": expr("event.correlationKey"),
        "name": expr("event.name"),
        "fixed": [1],
    }
    publish(driver.tenant, wait_for_reply(key="payload.ticket.id"), trigger={**TRIGGER, "payloadMapping": mapping})
    driver.send("TICKET_CREATED", {"ticketId": "T-9"})
    run = driver.wait_for_run("WAITING")
    assert run.input == {"ticket": {"id": "T-9", "key": "T-9"}, "name": "TICKET_CREATED", "fixed": [1]}


def test_failed_payload_mapping_is_skipped_with_its_path(driver: TenantDriver) -> None:
    mapping = {"ticket.id": expr("event.payload.missing")}
    publish(driver.tenant, wait_for_reply(), trigger={**TRIGGER, "payloadMapping": mapping})
    event = driver.send("TICKET_CREATED", {"ticketId": "T-9"})
    assert "payloadMapping.ticket.id" in verdict_is(event, "skipped").reason


def test_start_over_the_concurrency_limit_is_held(driver: TenantDriver) -> None:
    version = publish(driver.tenant, wait_for_reply(), trigger=TRIGGER)
    version.definition.concurrency_limit = 1
    version.definition.save()
    driver.send("TICKET_CREATED", {"ticketId": "T-1"})
    driver.wait_for_run("WAITING")
    second = driver.send("TICKET_CREATED", {"ticketId": "T-2"})
    held = EventDelivery.objects.filter(event=second, status="pending", held_since__isnull=False)
    assert "1 of 1 slots are used by open runs" in eventually(held.first).reason
    held.update(next_attempt_at=timezone.now() + timedelta(hours=1))
    driver.send(REPLIED, {"ticketId": "T-1"})
    driver.wait_for_run("SUCCEEDED")
    driver.wait_for_run("WAITING", correlation_key="T-2")  # the end of the first run made it due

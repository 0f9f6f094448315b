"""The use case of one delivery: signal a wait's workflow, or start a run for a trigger (docs/reference/events.md#routing)."""

import uuid
from typing import Any

from workflows.concurrency import slot_use_locked
from workflows.engine.clock import iso_time, ms_of_datetime
from workflows.engine.errors import RunError
from workflows.engine.mapping import expand_dotted, resolve
from workflows.models import Definition, DefinitionVersion, Event, EventDelivery, Run
from workflows.services.payload_check import payload_problem
from workflows.services.runs.launch import run_launch
from workflows.statuses import DeliveryStatus, TriggerType
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal

# A run that an event starts has an id made of the two, so that a redelivery starts nothing twice.
RUN_OF_EVENT = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a10")


class TriggerHeld(Exception):
    """The definition runs as often as it may at once; the delivery waits for its turn."""


def event_deliver_to_wait(delivery: EventDelivery) -> tuple[str, str]:
    """The delivery's next status with its reason: `sent`, or `late` when the run has ended.

    Errors: TemporalError when Temporal did not take the signal; the caller tries again.
    """
    event, wait, run = delivery.event, delivery.wait, delivery.run
    if wait is None or run is None:
        raise ValueError("a delivery of kind wait has no wait")
    signal = EventSignal(
        eventId=event.event_id,
        eventName=event.event_type,
        correlationKey=delivery.correlation_key,
        waitId=str(wait.id),
        payload=event.payload,
        receivedAt=iso_time(ms_of_datetime(event.received_at)),
    )
    try:
        gateway.signal_event(signal, workflow_id=run.temporal_workflow_id, request_id=str(delivery.id))
    except gateway.TemporalNotFound as error:
        return DeliveryStatus.LATE, f"the run has ended: {error}"
    return DeliveryStatus.SENT, ""


def event_start_run(delivery: EventDelivery) -> tuple[str, str]:
    """The delivery's next status with its reason: `started`, or `skipped`.

    Errors: TriggerHeld over the definition's concurrency limit; TemporalError when Temporal did not take the start.
    """
    definition, version, event = delivery.definition, delivery.definition_version, delivery.event
    if definition is None or version is None:
        raise ValueError("a delivery of kind trigger has no definition")
    run_id = run_id_of(event.id, definition.id)
    is_launched = Run.objects.filter(tenant_id=delivery.tenant_id, id=run_id).exists()
    if not is_launched and definition.is_paused:
        return DeliveryStatus.SKIPPED, f"{definition.key} is paused: {definition.paused_reason or 'no reason given'}"
    payload, problem = trigger_input(version, event)
    if problem:
        return DeliveryStatus.SKIPPED, problem
    run_launch(
        version=version,
        run_id=run_id,
        payload=payload,
        trigger_type=TriggerType.EVENT,
        trigger_metadata={"eventName": event.event_type, "eventId": event.event_id},
        event=event,
        requested_by=f"event {event.event_id}",
        admit=None if is_launched else lambda: _require_slot(definition, delivery),
    )
    return DeliveryStatus.STARTED, ""


def _require_slot(definition: Definition, delivery: EventDelivery) -> None:
    """Take a concurrency slot for the run that the current transaction inserts.

    Errors: TriggerHeld if no slot is free, or if starts that are held longer have a right to every free slot.
    """
    use = slot_use_locked(definition_id=definition.id, delivery=delivery)
    if use is not None and not use.has_slot:
        raise TriggerHeld(f"{definition.key} is at its concurrency limit: {use.reason}")


def run_id_of(event_pk: uuid.UUID, definition_pk: uuid.UUID) -> uuid.UUID:
    return uuid.uuid5(RUN_OF_EVENT, f"{event_pk}/{definition_pk}")


def trigger_input(version: DefinitionVersion, event: Event) -> tuple[dict[str, Any], str]:
    """The payload that a run of this version gets from this event, and what is wrong with it ("" when nothing is)."""
    document = version.document()
    try:
        payload = trigger_payload(document.get("trigger") or {}, event)
    except RunError as error:
        return {}, f"the payload mapping failed: {error.message}"
    ref = document["payloadSchemaRef"]
    problem = payload_problem(payload, tenant_id=version.tenant_id, ref=ref)
    return payload, f"the payload does not fit {ref}: {problem}" if problem else ""


def trigger_payload(trigger: dict[str, Any], event: Event) -> dict[str, Any]:
    """What the run gets: the mapped payload, or the event's own when the trigger maps nothing.

    Errors: RunError when an expression fails.
    """
    mapping = trigger.get("payloadMapping")
    if mapping is None:
        return dict(event.payload)
    seen = {
        "event": {
            "name": event.event_type,
            "correlationKey": event.correlation_key or None,
            "payload": event.payload,
            "payloadSchemaRef": event.payload_schema_ref or None,
        }
    }
    now_ms = ms_of_datetime(event.received_at)
    return expand_dotted(resolve(mapping, seen, now_ms=now_ms, where="payloadMapping"))

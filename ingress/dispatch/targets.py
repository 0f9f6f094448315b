"""Delivery to a target. The portal signals the run of a wait, or starts a run for a trigger.

Source: docs/reference/events.md#routing
"""

import re
import uuid
from typing import Any

from workflows.concurrency import slot_use_locked
from workflows.engine.clock import iso_time, ms_of_datetime
from workflows.engine.errors import RunError
from workflows.engine.filters import MISSING, value_at
from workflows.engine.mapping import expand_dotted, resolve
from workflows.errors import Conflict, PortalError
from workflows.event_decisions import (
    INPUT_INVALID,
    MAPPING_FAILED,
    RUN_ENDED,
    RUN_ENDED_OR_UNKNOWN,
    RUN_UNKNOWN,
    archived_text,
    limit_text,
    missing_field_text,
    paused_text,
)
from workflows.json_numbers import as_doubles
from workflows.ledger import command_finish, command_refuse
from workflows.models import Command, Definition, DefinitionVersion, Event, EventDelivery, Run
from workflows.services.completion_events import completion_open, refusal_reason
from workflows.services.payload_check import payload_problem
from workflows.services.runs.keys import key_of_start
from workflows.services.runs.launch import run_launch
from workflows.services.runs.reconcile import run_reconcile_unknown
from workflows.services.schedules.starts import scheduled_start
from workflows.statuses import CommandState, DeliveryStatus, EventSource, TriggerType, WaitKind
from workflows.temporal import gateway
from workflows.temporal.contracts import EventSignal, TaskEventSignal
from workflows.tenant_starts import StartHeld, require_start_allowed

# The id of a run is derived from its event and its definition. A redelivery then cannot start a second run.
RUN_OF_EVENT = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a10")

# An expression that only reads one field of the event's payload.
PAYLOAD_FIELD = re.compile(r"event\.payload\.(?P<field>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
# Units: characters. A delivery stores the first characters of its reason only.
MAX_SHOWN_SOURCE = 120

QUEUED = "the start is queued until the open run with the same concurrency key has ended"


class TriggerHeld(Exception):
    """The start is refused, and the delivery is held and retried.

    Either the definition is paused or has no free slot, or the tenant accepts no start (`of_tenant`). `is_paused`: the
    hold ends by an action of a person.
    """

    def __init__(self, why: str, *, is_paused: bool = False, of_tenant: bool = False) -> None:
        super().__init__(why)
        self.is_paused = is_paused
        self.of_tenant = of_tenant


def event_deliver_to_wait(delivery: EventDelivery) -> tuple[str, str]:
    """Signal the event to the run of the wait. Return the next status of the delivery and a reason.

    The status is normally `sent`. It is `late` if the run has ended, or if Temporal does not know it. Such a run is
    compared at once. The status is `filtered` if the sender may not complete the human task.

    Errors: TemporalError if Temporal did not accept the signal; the caller retries.
    """
    event, wait, run = delivery.event, delivery.wait, delivery.run
    if wait is None or run is None:
        raise ValueError("the delivery is of kind wait, but its wait or run does not exist")
    completion: Command | None = None
    if wait.kind == WaitKind.HUMAN:
        try:
            completion = completion_open(delivery)
        except PortalError as error:
            return DeliveryStatus.FILTERED, refusal_reason(error)
    fields = {
        "eventId": event.event_id,
        "eventName": event.event_type,
        "correlationKey": delivery.correlation_key,
        "waitId": str(wait.id),
        "payload": event.payload,
        "receivedAt": iso_time(ms_of_datetime(event.received_at)),
    }
    signal = TaskEventSignal(**fields, commandId=str(completion.id)) if completion else EventSignal(**fields)
    try:
        gateway.signal_event(signal, workflow_id=run.temporal_workflow_id, request_id=str(delivery.id))
    except gateway.TemporalNotFound as error:
        found = run_reconcile_unknown(run)
        why = RUN_ENDED_OR_UNKNOWN if found is None else RUN_UNKNOWN if found.is_unknown else RUN_ENDED
        if completion is not None:
            command_refuse(completion, Conflict(why, code="TASK_NOT_OPEN"))
        return DeliveryStatus.LATE, f"{why}: {error}"
    if completion is not None:
        command_finish(completion, CommandState.ACCEPTED)
    return DeliveryStatus.SENT, ""


def event_start_run(delivery: EventDelivery) -> tuple[str, str]:
    """Start a run. Return the next status of the delivery, `started` or `skipped`, and a reason.

    If another run with the same concurrency key is open, the start is `skipped`, or the new run is queued.

    Idempotency: a repeat starts no second run.
    Errors: TriggerHeld if the definition is paused or has no free slot; TemporalError if Temporal did not accept the
    start. The caller retries in both cases.
    """
    definition, version, event = delivery.definition, delivery.definition_version, delivery.event
    if definition is None or version is None:
        raise ValueError("the delivery is of kind trigger, but its definition does not exist")
    run_id = run_id_of(event.id, definition.id)
    is_launched = Run.objects.filter(tenant_id=delivery.tenant_id, id=run_id).exists()
    if not is_launched and definition.archived_at is not None:
        return DeliveryStatus.SKIPPED, archived_text(definition.key)
    if not is_launched:
        _require_not_paused(definition)
    payload, problem = trigger_input(version, event)
    if problem:
        return DeliveryStatus.SKIPPED, problem
    scheduled = scheduled_start(delivery) if event.source == EventSource.SCHEDULE else None
    if scheduled is not None and scheduled.held and not is_launched:
        raise TriggerHeld(scheduled.held)
    try:
        run = run_launch(
            version=version,
            run_id=run_id,
            payload=payload,
            trigger_type=scheduled.trigger_type if scheduled else TriggerType.EVENT,
            trigger_metadata=scheduled.metadata if scheduled else _event_metadata(event),
            event=event,
            requested_by=scheduled.requested_by if scheduled else f"event {event.event_id}",
            admit=None if is_launched else lambda: _admit(definition, delivery),
        )
    except PortalError as error:
        return DeliveryStatus.SKIPPED, f"{error.message} ({error.code})"
    return DeliveryStatus.STARTED, QUEUED if run.queued_until is not None else ""


def _event_metadata(event: Event) -> dict[str, Any]:
    return {"eventName": event.event_type, "eventId": event.event_id}


def _require_not_paused(definition: Definition) -> None:
    if definition.is_paused:
        raise TriggerHeld(paused_text(definition.key, definition.paused_reason), is_paused=True)


def _admit(definition: Definition, delivery: EventDelivery) -> None:
    """Hold the start if the tenant accepts none, or if the definition was paused since the claim of the delivery.

    Then take a concurrency slot.
    """
    try:
        require_start_allowed(delivery.tenant_id, delivery=delivery)
    except StartHeld as error:
        raise TriggerHeld(error.message, is_paused=error.is_long, of_tenant=True) from error
    _require_not_paused(Definition._base_manager.only("key", "is_paused", "paused_reason").get(id=definition.id))
    _require_slot(definition, delivery)


def _require_slot(definition: Definition, delivery: EventDelivery) -> None:
    """Take a concurrency slot for the run that the current transaction inserts.

    Errors: TriggerHeld if no slot is free, or if all free slots belong to starts that have been held longer.
    """
    use = slot_use_locked(definition_id=definition.id, delivery=delivery)
    if use is not None and not use.has_slot:
        raise TriggerHeld(limit_text(definition.key, use.reason))


def run_id_of(event_pk: uuid.UUID, definition_pk: uuid.UUID) -> uuid.UUID:
    """Return the id of the run that an event starts for a definition."""
    return uuid.uuid5(RUN_OF_EVENT, f"{event_pk}/{definition_pk}")


def concurrency_key_of(event: Event, definition: Definition) -> str:
    """Return the concurrency key of the run that the event starts. Later starts with this key queue behind the event.

    The key is empty if the definition has no concurrency key, or if the key cannot be computed. In the second case, the
    attempt of the delivery reports the error.
    """
    if not definition.concurrency or definition.published_version is None:
        return ""
    payload, problem = trigger_input(definition.published_version, event)
    try:
        return "" if problem else key_of_start(definition, payload)
    except PortalError:
        return ""


def trigger_input(version: DefinitionVersion, event: Event) -> tuple[dict[str, Any], str]:
    """Make the input of a run of this version from the event. Return the input and its problem.

    The problem is "" if the input is valid.
    """
    document = version.document()
    try:
        payload = trigger_payload(document.get("trigger") or {}, event)
    except RunError as error:
        return {}, f"{MAPPING_FAILED}: {_mapping_problem(error, event)}"
    ref = document["payloadSchemaRef"]
    problem = payload_problem(payload, tenant_id=version.tenant_id, ref=ref)
    return payload, f"{INPUT_INVALID} {ref}: {problem}" if problem else ""


def _mapping_problem(error: RunError, event: Event) -> str:
    """Return the message of the error. It names the expression, and the field if only the payload lacks a field."""
    details = error.details or {}
    source, path = details.get("source", ""), details.get("path", "")
    read = PAYLOAD_FIELD.fullmatch(source)
    if read and value_at(event.payload, read["field"]) is MISSING:
        return missing_field_text(path, source, read["field"])
    return f"{error.message} (`{source}`)" if 0 < len(source) <= MAX_SHOWN_SOURCE else error.message


def trigger_payload(trigger: dict[str, Any], event: Event) -> dict[str, Any]:
    """Return the payload of the run. This is the result of the trigger's mapping.

    A trigger without a mapping uses the event's payload. The event of a schedule already has the schedule's payload.

    Errors: RunError if an expression fails; the author must act.
    """
    mapping = trigger.get("payloadMapping")
    if mapping is None or event.source == EventSource.SCHEDULE:
        return dict(event.payload)
    seen = {
        "event": {
            "name": event.event_type,
            "correlationKey": event.correlation_key or None,
            "payload": as_doubles(event.payload),
            "payloadSchemaRef": event.payload_schema_ref or None,
        }
    }
    now_ms = ms_of_datetime(event.received_at)
    return expand_dotted(resolve(mapping, seen, now_ms=now_ms, where="payloadMapping"))

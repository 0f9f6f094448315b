""" "What if" check of an event. It runs the same code as the intake and the dispatcher, but writes nothing.

A read-only transaction guarantees that nothing is written. Routing sees the unredacted payload. The result is redacted,
because the caller may not be allowed to see all values.

Source: docs/reference/events.md#what-if
"""

import uuid
from typing import Any

from ingress.dispatch.routing import EventPlan, plan_event_routes
from ingress.explain.forecast import forecast_as_json, tasks_of, trigger_forecast, wait_forecast
from ingress.explain.remarks import event_remarks
from ingress.explain.trace import current_waits, near_misses_as_json, schema_as_json
from ingress.explain.what_if_summary import what_if_summary
from ingress.intake.envelope import read_event_envelope
from ingress.intake.receive import IntakeRules, Receipt, event_row, first_events, result_of
from workflows.actors import Actor
from workflows.errors import InputInvalid, PortalError
from workflows.event_outcomes import HELD, decision_of
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, Event, RunWait
from workflows.models.read_only import reading_only
from workflows.redaction import rules_of
from workflows.selectors.delivery_targets import waiting_step
from workflows.statuses import DeliveryStatus, EventOutcome, EventSource

SHOWN_WAITS = 200


def event_what_if(*, actor: Actor, value: Any) -> dict[str, Any]:
    """Return what would happen to an event if the actor sent it to the REST entry point.

    Shapes: `summary`; `answer {status, code, message, details}` (the response of the REST entry point); `outcome
    {status, reason}` (the expected outcome, or None); `first` (the stored event with the same id); `correlation`,
    `schema`, `near_misses`, `buffer_seconds`; `waits` and `triggers` (each item has a `forecast`);
    `remarks` (see `event_remarks`).
    """
    with reading_only():
        result = _result(actor, value)
        remarks = event_remarks(actor, result, value.get("payload") if isinstance(value, dict) else None)
    return {"summary": what_if_summary(result), **result, "remarks": remarks}


def _result(actor: Actor, value: Any) -> dict[str, Any]:
    tenant_id = actor.tenant_id
    result: dict[str, Any] = {
        "answer": {"status": 202, "code": None, "message": "The event would be stored and routed.", "details": {}},
        "event_type": None,
        "outcome": None,
        "first": None,
        "correlation": None,
        "schema": None,
        "waits": [],
        "wait_count": 0,
        "triggers": [],
        "near_misses": [],
        "buffer_seconds": None,
    }
    try:
        envelope = read_event_envelope(value)
    except InputInvalid as error:
        return {**result, "answer": _answer(error)}
    rules = IntakeRules(tenant_id, {envelope.event_type})
    event = event_row(envelope, rules=rules, source=EventSource.REST, sender=actor)
    redaction = EventRedaction(event, rules_of(tenant_id))
    result |= {
        "event_type": event.event_type,
        "correlation": {
            "status": event.correlation_status,
            "reason": event.correlation_reason,
            "keys": redaction.keys(event.correlation_keys),
            "tried": [redaction.place(entry) for entry in event.correlation_trace],
        },
        "schema": schema_as_json(event.decision_trace.get("schema"), sees_payloads=True),
    }
    first = first_events(tenant_id, {event.event_id}).get(event.event_id) if event.occupies_id else None
    receipt = result_of(event, first, rules)
    if isinstance(receipt, PortalError):
        is_rejected = event.outcome == EventOutcome.REJECTED
        rejected = {"status": event.outcome, "code": event.outcome_code, "reason": event.outcome_reason}
        outcome = rejected if is_rejected else None
        return {**result, "answer": _answer(receipt), "outcome": outcome, "first": _first(first)}
    if receipt.is_duplicate:
        return {**result, "answer": _repeat(receipt), "first": _first(first)}
    return {**result, **_routes(tenant_id, redaction)}


def _answer(error: PortalError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message, "details": error.details}


def _repeat(receipt: Receipt) -> dict[str, Any]:
    message = f"It repeats the event that was received at {receipt.event.received_at:%Y-%m-%d %H:%M:%S} UTC."
    return {"status": 200, "code": None, "message": message, "details": {}}


def _first(event: Event | None) -> dict[str, Any] | None:
    return {"id": event.id, "received_at": event.received_at, "outcome": event.shown_outcome} if event else None


# -- Targets ---------------------------------------------------------------------------------------------------------


def _routes(tenant_id: uuid.UUID, redaction: EventRedaction) -> dict[str, Any]:
    event = redaction.event
    (plan,) = plan_event_routes([event])
    waits = _waits(tenant_id, plan, redaction)
    triggers = _triggers(tenant_id, plan, redaction)
    forecasts = [target["forecast"] for target in (*waits, *triggers)]
    held = [forecast["why"] for forecast in forecasts if forecast["status"] == DeliveryStatus.PENDING]
    decision = decision_of(
        [HELD if forecast["status"] == DeliveryStatus.PENDING else forecast["status"] for forecast in forecasts],
        is_routed=True,
        correlation_status=event.correlation_status,
        is_buffered=plan.buffer is not None,
        held_why=next(iter(held), ""),
        had_closed_wait=plan.had_closed_wait,
    )
    waits_now = current_waits(tenant_id, plan.near_misses)
    return {
        "outcome": {"status": decision.outcome, "code": decision.code, "reason": decision.reason},
        "waits": waits[:SHOWN_WAITS],
        "wait_count": len(waits),
        "triggers": triggers,
        "near_misses": near_misses_as_json(plan.near_misses, waits_now, redaction),
        "buffer_seconds": plan.buffer.total_seconds() if plan.buffer else None,
    }


def _waits(tenant_id: uuid.UUID, plan: EventPlan, redaction: EventRedaction) -> list[dict[str, Any]]:
    ids = [wait.id for wait in plan.waits]
    rows = RunWait.objects.select_related("run__definition").defer("run__definition__draft_text")
    rows = rows.filter(tenant_id=tenant_id, id__in=ids).annotate(step_name=waiting_step("step_path"))
    waits = list(rows.order_by("id"))
    tasks = tasks_of(waits)
    return [
        {
            "wait_id": wait.id,
            "run_id": wait.run_id,
            "definition": wait.run.definition_key,
            "definition_name": wait.run.definition.name,
            "kind": wait.kind,
            "step_id": wait.step_id,
            "step_name": wait.step_name,
            "step_path": wait.step_path,
            "event_name": wait.event_name,
            "key": redaction.key(wait.correlation_key),
            "forecast": forecast_as_json(wait_forecast(wait, plan.event, task=tasks.get(wait.id)), redaction),
        }
        for wait in waits
    ]


def _triggers(tenant_id: uuid.UUID, plan: EventPlan, redaction: EventRedaction) -> list[dict[str, Any]]:
    ids = [definition.id for definition in plan.triggers]
    rows = Definition.objects.select_related("published_version").filter(tenant_id=tenant_id, id__in=ids)
    triggers = []
    for definition in rows.order_by("key"):
        version = definition.published_version
        if version is not None:
            forecast = trigger_forecast(definition, version, plan.event)
            triggers.append(
                {
                    "definition": definition.key,
                    "definition_name": definition.name,
                    "version": version.version,
                    "forecast": forecast_as_json(forecast, redaction),
                    "limit": forecast.limit,
                    "input": None if forecast.input is None else redaction.made(forecast.input),
                }
            )
    return triggers

"""What an event would do now, by the code that would do it, and without writing (docs/reference/events.md#what-if).

The database itself guarantees the last: everything is asked in a transaction that it holds to be read-only. The payload is
asked as it is, and told as the tenant's rules let it be seen: who asks may not know all of it.
"""

import uuid
from typing import Any

from ingress.dispatch.plan import EventPlan, plan_event_routes
from ingress.explain.forecast import forecast_told, form_schemas, trigger_forecast, wait_forecast
from ingress.explain.read_only import reading_only
from ingress.explain.trace import schema_told, wait_told, waits_seen
from ingress.explain.what_if_summary import what_if_summary
from ingress.intake.envelope import read_envelope
from ingress.intake.receive import Catalogue, Receipt, result_of
from ingress.intake.store import first_events
from workflows.errors import InputInvalid, PortalError
from workflows.event_outcomes import outcome_of
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, Event, RunWait
from workflows.redaction import rules_of
from workflows.statuses import EventOutcome, EventSource

SHOWN_WAITS = 200


def event_what_if(*, tenant_id: uuid.UUID, value: Any) -> dict[str, Any]:
    """Shapes: `summary`, `answer {status, code, message, details}` of the door, `outcome {status, reason}` that is to be
    expected or None, `first` event of a used id, `correlation`, `schema`, `waits` and `triggers` with their `forecast`,
    `near_misses`, `buffer_seconds`.
    """
    with reading_only():
        told = _told(tenant_id, value)
    return {"summary": what_if_summary(told), **told}


def _told(tenant_id: uuid.UUID, value: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "answer": {"status": 202, "code": None, "message": "it would be stored and routed", "details": {}},
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
        envelope = read_envelope(value)
    except InputInvalid as error:
        return {**told, "answer": _answer(error)}
    catalogue = Catalogue(tenant_id, {envelope.event_type})
    event = catalogue.event_row(envelope, source=EventSource.REST, sender="")
    redaction = EventRedaction(event, rules_of(tenant_id))
    told |= {
        "event_type": event.event_type,
        "correlation": {
            "status": event.correlation_status,
            "reason": event.correlation_reason,
            "keys": redaction.keys(event.correlation_keys),
            "tried": [redaction.place(entry) for entry in event.correlation_trace],
        },
        "schema": schema_told(event.decision_trace.get("schema"), sees_payloads=True),
    }
    first = first_events(tenant_id, {event.event_id}).get(event.event_id) if event.occupies_id else None
    result = result_of(event, first)
    if isinstance(result, PortalError):
        is_rejected = event.outcome == EventOutcome.REJECTED
        outcome = {"status": event.outcome, "reason": event.outcome_reason} if is_rejected else None
        return {**told, "answer": _answer(result), "outcome": outcome, "first": _first(first)}
    if result.is_duplicate:
        return {**told, "answer": _repeat(result), "first": _first(first)}
    return {**told, **_routes(tenant_id, redaction)}


def _answer(error: PortalError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message, "details": error.details}


def _repeat(receipt: Receipt) -> dict[str, Any]:
    message = f"it repeats the event that came at {receipt.event.received_at:%Y-%m-%d %H:%M:%S} UTC"
    return {"status": 200, "code": None, "message": message, "details": {}}


def _first(event: Event | None) -> dict[str, Any] | None:
    return {"id": event.id, "received_at": event.received_at, "outcome": event.outcome} if event else None


# -- Where it would go ------------------------------------------------------------------------------------------------


def _routes(tenant_id: uuid.UUID, redaction: EventRedaction) -> dict[str, Any]:
    event = redaction.event
    (plan,) = plan_event_routes([event])
    waits = _waits(tenant_id, plan, redaction)
    triggers = _triggers(tenant_id, plan, redaction)
    status, reason = outcome_of(
        [told["forecast"]["status"] for told in (*waits, *triggers)],
        is_routed=True,
        correlation_status=event.correlation_status,
        is_buffered=plan.buffer is not None,
    )
    seen = waits_seen(tenant_id, plan.near_misses)
    return {
        "outcome": {"status": status, "reason": reason},
        "waits": waits[:SHOWN_WAITS],
        "wait_count": len(waits),
        "triggers": triggers,
        "near_misses": [wait_told(redaction.wait(entry), seen) for entry in plan.near_misses],
        "buffer_seconds": plan.buffer.total_seconds() if plan.buffer else None,
    }


def _waits(tenant_id: uuid.UUID, plan: EventPlan, redaction: EventRedaction) -> list[dict[str, Any]]:
    ids = [wait.id for wait in plan.waits]
    waits = list(RunWait.objects.select_related("run").filter(tenant_id=tenant_id, id__in=ids).order_by("id"))
    forms = form_schemas(waits)
    return [
        {
            "wait_id": wait.id,
            "run_id": wait.run_id,
            "definition": wait.run.definition_key,
            "kind": wait.kind,
            "step_id": wait.step_id,
            "step_path": wait.step_path,
            "event_name": wait.event_name,
            "key": redaction.key(wait.correlation_key),
            "forecast": forecast_told(wait_forecast(wait, plan.event, form_schema=forms.get(wait.id)), redaction),
        }
        for wait in waits
    ]


def _triggers(tenant_id: uuid.UUID, plan: EventPlan, redaction: EventRedaction) -> list[dict[str, Any]]:
    ids = [definition.id for definition in plan.triggers]
    rows = Definition.objects.select_related("published_version").filter(tenant_id=tenant_id, id__in=ids)
    told = []
    for definition in rows.order_by("key"):
        version = definition.published_version
        if version is not None:
            forecast = trigger_forecast(definition, version, plan.event)
            told.append(
                {
                    "definition": definition.key,
                    "version": version.version,
                    "forecast": forecast_told(forecast, redaction),
                    "limit": forecast.limit,
                    "input": None if forecast.input is None else redaction.made(forecast.input),
                }
            )
    return told

"""The decision trace of an event (PRODUCT 5.6): everything that an operator needs to answer "why did nothing happen?".

It joins what the event's row recorded when it was correlated and routed with what its deliveries and targets are now.
Reads only. Texts that may hold values of a payload are left out for those who may not see payloads.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from ingress.explain_summary import summary_of
from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.statuses import DeliveryStatus

SHOWN_ROWS = 500


def event_explained(*, tenant_id: uuid.UUID, event: Event, sees_payloads: bool) -> dict[str, Any]:
    """Shapes: `summary`, `outcome {status, reason}`, `correlation {status, reason, keys, tried}`, `schema`, `routing
    {routed_at, next_at, attempts, waits, triggers, near_misses}`, `buffer {seconds, until, seconds_left, is_open}`,
    `deliveries`, `conflict_of`, `conflicts`, `started_runs`, `resolved_waits`.
    Cost: six statements.
    """
    now = timezone.now()
    trace = event.decision_trace
    seen = waits_seen(tenant_id, [*trace.get("waits", ()), *trace.get("nearMisses", ())])
    explained: dict[str, Any] = {
        "id": event.id,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "received_at": event.received_at,
        "outcome": {"status": event.outcome, "reason": event.outcome_reason},
        "correlation": {
            "status": event.correlation_status,
            "reason": event.correlation_reason,
            "keys": event.correlation_keys,
            "tried": [place_tried(entry, sees_payloads) for entry in event.correlation_trace],
        },
        "schema": schema_told(trace.get("schema"), sees_payloads),
        "routing": {
            "routed_at": event.routed_at,
            "next_at": None if event.routed_at else event.route_at,
            "attempts": event.routing_attempts,
            "waits": [wait_told(entry, seen) for entry in trace.get("waits", ())],
            "triggers": trace.get("triggers", []),
            "near_misses": [wait_told(entry, seen) for entry in trace.get("nearMisses", ())],
        },
        "buffer": _buffer_told(event, now),
        "deliveries": [_delivery_told(row, now, sees_payloads) for row in _deliveries(tenant_id, event)],
        "conflict_of": _event_told(event.conflict_of) if event.conflict_of else None,
        "conflicts": [_event_told(row) for row in _conflicts(tenant_id, event)],
        "started_runs": [
            _run_told(run) for run in Run.objects.filter(tenant_id=tenant_id, event=event).order_by("id")[:SHOWN_ROWS]
        ],
        "resolved_waits": [_resolved_told(wait) for wait in _resolved(tenant_id, event)],
    }
    return {"summary": summary_of(explained, now=now), **explained}


# -- What was recorded ------------------------------------------------------------------------------------------------


def place_tried(entry: dict[str, Any], sees_payloads: bool) -> dict[str, Any]:
    """A place where a key was looked for. Why a value is no key may name the value."""
    return entry if sees_payloads else {**entry, "note": entry["note"].partition(":")[0]}


def schema_told(seen: dict[str, Any] | None, sees_payloads: bool) -> dict[str, Any] | None:
    """The check against the catalogue's schema. What does not fit is told with its value; where it stands is not."""
    if seen is None:
        return None
    problems = seen.get("problems") or []
    if not sees_payloads:
        problems = [{"pointer": problem["pointer"]} for problem in problems]
    return {"ref": seen["ref"], "sent": seen["sent"], "conflict": seen.get("conflict"), "problems": problems}


def waits_seen(tenant_id: uuid.UUID, entries: Iterable[dict[str, Any]]) -> dict[str, RunWait]:
    """The waits that entries of a plan name, by their id, as they are now."""
    ids = {entry["waitId"] for entry in entries}
    waits = RunWait.objects.select_related("run").filter(tenant_id=tenant_id, id__in=ids) if ids else ()
    return {str(wait.id): wait for wait in waits}


def wait_told(entry: dict[str, Any], seen: dict[str, RunWait]) -> dict[str, Any]:
    """As routing saw it, and beside that what it is now."""
    told = {
        "wait_id": entry["waitId"],
        "run_id": entry["runId"],
        "step_path": entry["stepPath"],
        "event_name": entry["eventName"],
        "key": entry["key"],
        "why": entry["why"],
    }
    if "taken" in entry:
        told["taken"] = entry["taken"]
    wait = seen.get(entry["waitId"])  # retention may have removed the run
    return {
        **told,
        "definition": wait.run.definition_key if wait else None,
        "wait_status": wait.status if wait else None,
        "run_status": wait.run.status if wait else None,
    }


def _buffer_told(event: Event, now: datetime) -> dict[str, Any]:
    until = event.buffered_until
    left = max(0.0, (until - now).total_seconds()) if until else 0.0
    return {
        "seconds": event.decision_trace.get("bufferSeconds"),
        "until": until,
        "seconds_left": round(left, 1),
        "is_open": left > 0,
    }


# -- What came of it --------------------------------------------------------------------------------------------------


def _deliveries(tenant_id: uuid.UUID, event: Event) -> Iterable[EventDelivery]:
    rows = EventDelivery.objects.filter(tenant_id=tenant_id, event=event)
    return rows.select_related("run", "wait", "definition", "definition_version").order_by("created_at", "id")[
        :SHOWN_ROWS
    ]


def _delivery_told(delivery: EventDelivery, now: datetime, sees_payloads: bool) -> dict[str, Any]:
    is_pending = delivery.status == DeliveryStatus.PENDING
    attempts = delivery.attempt_log
    if not sees_payloads:
        attempts = [{name: value for name, value in entry.items() if name != "reason"} for entry in attempts]
    return {
        "id": delivery.id,
        "kind": delivery.kind,
        "target": _target_told(delivery),
        "key": delivery.correlation_key,
        "status": delivery.status,
        "reason": delivery.reason if sees_payloads else None,
        "attempts": delivery.attempts,
        "failures": delivery.failures,
        "attempt_log": attempts,
        "is_under_way": bool(is_pending and delivery.claimed_until and delivery.claimed_until > now),
        "next_attempt_at": delivery.next_attempt_at if is_pending else None,
        "held_since": delivery.held_since if is_pending else None,
        "created_at": delivery.created_at,
        "sent_at": delivery.sent_at,
        "decided_at": delivery.decided_at,
    }


def _target_told(delivery: EventDelivery) -> dict[str, Any]:
    run, wait, definition, version = (
        delivery.run,
        delivery.wait,
        delivery.definition,
        delivery.definition_version,
    )
    return {
        "wait_id": delivery.wait_id,
        "step_id": wait.step_id if wait else None,
        "step_path": wait.step_path if wait else None,
        "wait_status": wait.status if wait else None,
        "run_id": delivery.run_id,
        "run_status": run.status if run else None,
        "definition": definition.key if definition else run.definition_key if run else None,
        "version": version.version if version else run.version if run else None,
    }


def _event_told(event: Event) -> dict[str, Any]:
    return {"id": event.id, "received_at": event.received_at, "source": event.source, "sender": event.sender}


def _conflicts(tenant_id: uuid.UUID, event: Event) -> Iterable[Event]:
    return Event.objects.filter(tenant_id=tenant_id, conflict_of=event).order_by("received_at")[:SHOWN_ROWS]


def _run_told(run: Run) -> dict[str, Any]:
    return {"run_id": run.id, "definition": run.definition_key, "version": run.version, "run_status": run.status}


def _resolved(tenant_id: uuid.UUID, event: Event) -> Iterable[RunWait]:
    waits = RunWait.objects.select_related("run").filter(tenant_id=tenant_id, event=event)
    return waits.order_by("resolved_at", "id")[:SHOWN_ROWS]


def _resolved_told(wait: RunWait) -> dict[str, Any]:
    told = {"wait_id": wait.id, "step_id": wait.step_id, "step_path": wait.step_path, "resolved_at": wait.resolved_at}
    return {**told, **_run_told(wait.run)}

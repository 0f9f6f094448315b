"""The decision trace of an event (docs/reference/events.md#decision-trace): everything that an operator needs to answer "why did nothing happen?".

It joins what the event's row recorded when it was correlated and routed with what its deliveries and targets are now.
Reads only. Texts that may hold values of a payload are left out for those who may not see payloads; what the tenant's rules
hide of a payload is told to nobody. An event may have thousands of targets: some are told, and the rest is counted.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from ingress.explain.summary import summary_of
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.redaction import rules_of
from workflows.statuses import DeliveryStatus

SHOWN_ROWS = 50


def event_explained(*, tenant_id: uuid.UUID, event: Event, sees_payloads: bool) -> dict[str, Any]:
    """Shapes: `summary`, `outcome {status, reason}`, `correlation {status, reason, keys, tried}`, `schema`, `routing
    {routed_at, next_at, attempts, waits, triggers, near_misses}`, `buffer {seconds, until, seconds_left, is_open}`,
    `deliveries`, `delivery_counts` by status, `conflict_of`, `conflicts`, `started_runs`, `resolved_waits`, and `more`: how
    many of each list are not told.
    Cost: eight statements, and one more for each list of rows that is cut.
    """
    now = timezone.now()
    redaction = EventRedaction(event, rules_of(tenant_id))
    trace = decision_trace_told(event.decision_trace, sees_payloads)
    waits = trace.get("waits", [])
    seen = waits_seen(tenant_id, [*waits, *trace.get("nearMisses", ())])
    counts = delivery_counts(tenant_id, event)
    deliveries = list(deliveries_shown(tenant_id, event).select_related(*_TARGETS))
    conflicts, more_conflicts = _first(Event.objects.filter(tenant_id=tenant_id, conflict_of=event), "received_at")
    runs, more_runs = _first(Run.objects.filter(tenant_id=tenant_id, event=event))
    resolved = RunWait.objects.select_related("run").filter(tenant_id=tenant_id, event=event)
    resolved_waits, more_resolved = _first(resolved, "resolved_at")
    explained: dict[str, Any] = {
        "id": event.id,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "received_at": event.received_at,
        "outcome": {"status": event.outcome, "reason": redaction.reason(event.outcome_reason)},
        "correlation": {
            "status": event.correlation_status,
            "reason": event.correlation_reason,
            "keys": redaction.keys(event.correlation_keys),
            "tried": [place_tried(redaction.place(entry), sees_payloads) for entry in event.correlation_trace],
        },
        "schema": trace.get("schema"),
        "routing": {
            "routed_at": event.routed_at,
            "next_at": None if event.routed_at else event.route_at,
            "attempts": event.routing_attempts,
            "waits": [wait_told(redaction.wait(entry), seen) for entry in waits],
            "triggers": trace.get("triggers", []),
            "near_misses": [wait_told(redaction.wait(entry), seen) for entry in trace.get("nearMisses", ())],
        },
        "buffer": _buffer_told(event, now),
        "deliveries": [_delivery_told(row, now, sees_payloads, redaction) for row in deliveries],
        "delivery_counts": counts,
        "conflict_of": _event_told(event.conflict_of) if event.conflict_of else None,
        "conflicts": [_event_told(row) for row in conflicts],
        "started_runs": [_run_told(run) for run in runs],
        "resolved_waits": [_resolved_told(wait) for wait in resolved_waits],
        "more": {
            "waits": trace.get("moreWaits", 0),
            "triggers": trace.get("moreTriggers", 0),
            "deliveries": max(0, sum(counts.values()) - len(deliveries)),
            "conflicts": more_conflicts,
            "started_runs": more_runs,
            "resolved_waits": more_resolved,
        },
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


def decision_trace_told(trace: dict[str, Any], sees_payloads: bool) -> dict[str, Any]:
    """The trace as it is stored, with as much of each list as is told; what was stored before that may be long."""
    told = dict(trace)
    for name, count in (("waits", "moreWaits"), ("triggers", "moreTriggers")):
        more = len(trace.get(name, ())) - SHOWN_ROWS
        if more > 0:
            told[name], told[count] = trace[name][:SHOWN_ROWS], trace.get(count, 0) + more
    if "schema" in trace:
        told["schema"] = schema_told(trace["schema"], sees_payloads)
    return told


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


_TARGETS = ("run", "wait", "definition", "definition_version")


def deliveries_shown(tenant_id: uuid.UUID, event: Event) -> QuerySet[EventDelivery]:
    """At most SHOWN_ROWS of the event's deliveries, oldest first; of each status some, so that none hides behind many."""
    rows = EventDelivery.objects.filter(tenant_id=tenant_id, event=event)
    place = Window(RowNumber(), partition_by=F("status"), order_by=("created_at", "id"))
    chosen = rows.annotate(place=place).order_by("place", "created_at", "id").values("id")[:SHOWN_ROWS]
    return EventDelivery.objects.filter(id__in=chosen).order_by("created_at", "id")


def delivery_counts(tenant_id: uuid.UUID, event: Event) -> dict[str, int]:
    """The event's deliveries by status."""
    rows = EventDelivery.objects.filter(tenant_id=tenant_id, event=event).order_by()
    return dict(rows.values_list("status").annotate(Count("id")))


def _first(rows: QuerySet[Any], *order: str) -> tuple[list[Any], int]:
    """The first SHOWN_ROWS, and how many more there are."""
    found = list(rows.order_by(*order, "id")[: SHOWN_ROWS + 1])
    return found[:SHOWN_ROWS], rows.count() - SHOWN_ROWS if len(found) > SHOWN_ROWS else 0


def _delivery_told(
    delivery: EventDelivery, now: datetime, sees_payloads: bool, redaction: EventRedaction
) -> dict[str, Any]:
    is_pending = delivery.status == DeliveryStatus.PENDING
    attempts = redaction.attempts(delivery.attempt_log)
    if not sees_payloads:
        attempts = [{name: value for name, value in entry.items() if name != "reason"} for entry in attempts]
    return {
        "id": delivery.id,
        "kind": delivery.kind,
        "target": _target_told(delivery),
        "key": redaction.key(delivery.correlation_key),
        "status": delivery.status,
        "reason": redaction.reason(delivery.reason) if sees_payloads else None,
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


def _run_told(run: Run) -> dict[str, Any]:
    return {"run_id": run.id, "definition": run.definition_key, "version": run.version, "run_status": run.status}


def _resolved_told(wait: RunWait) -> dict[str, Any]:
    told = {"wait_id": wait.id, "step_id": wait.step_id, "step_path": wait.step_path, "resolved_at": wait.resolved_at}
    return {**told, **_run_told(wait.run)}

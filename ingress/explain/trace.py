"""Decision trace of an event. It shows an operator why something happened or did not happen. This module only reads.

- The trace combines the stored records of correlation and routing with the present state of deliveries and targets.
- Texts that may contain payload values are left out for readers who may not see payloads.
- Values that the tenant's rules hide are redacted for every reader.
- An event may have thousands of targets. The trace returns some of the targets and the number of the others.

Source: docs/reference/events.md#decision-trace
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ingress.explain.alike import near_misses_ordered
from ingress.explain.alike_types import alike_type, catalogue_paths
from ingress.explain.related import event_related
from ingress.explain.summary import summary_of
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventDelivery, RunWait
from workflows.redaction import Rules
from workflows.selectors.delivery_targets import definition_name, step_name, waiting_step
from workflows.statuses import DeliveryStatus, OutcomeCode

SHOWN_ROWS = 50


def event_explained(*, tenant_id: uuid.UUID, event: Event, sees_payloads: bool, rules: Rules) -> dict[str, Any]:
    """Return the decision trace of an event. `rules` are the redaction rules of the tenant.

    Shapes: `summary`, `outcome {status, code, reason}`, `correlation {status, reason, keys, tried}`, `schema`, `routing
    {routed_at, next_at, attempts, waits, triggers, near_misses}`, `buffer {seconds, until, seconds_left, is_open,
    can_be_taken_by}`, `deliveries`, `delivery_counts` by status, `conflict_of`, `conflicts`, `started_runs`,
    `resolved_waits`, `alike_type`, `more`. For each list, `more` has the number of omitted items. `alike_type` is the
    event type of the catalogue that was probably meant, if no run waited for the event, or an empty text.
    Cost: at most five statements.
    """
    now = timezone.now()
    redaction = EventRedaction(event, rules)
    trace = decision_trace_shown(event.decision_trace, sees_payloads)
    waits = trace.get("waits", [])
    waits_now = current_waits(tenant_id, [*waits, *trace.get("nearMisses", ())])
    related = event_related(tenant_id, event, limit=SHOWN_ROWS)
    counts = related.delivery_counts
    deliveries = list(deliveries_shown(tenant_id, event).select_related(*_TARGETS).annotate(step_name=waiting_step()))
    explained: dict[str, Any] = {
        "id": event.id,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "received_at": event.received_at,
        "outcome": {
            "status": event.shown_outcome,
            "code": event.outcome_code,
            "reason": redaction.reason(event.shown_reason),
        },
        "correlation": {
            "status": event.correlation_status,
            "reason": event.correlation_reason,
            "keys": redaction.keys(event.correlation_keys),
            "tried": [redaction.place(entry) for entry in event.correlation_trace],
        },
        "schema": trace.get("schema"),
        "routing": {
            "routed_at": event.routed_at,
            "next_at": None if event.routed_at else event.route_at,
            "attempts": event.routing_attempts,
            "waits": [wait_as_json(redaction.wait(entry), waits_now) for entry in waits],
            "triggers": trace.get("triggers", []),
            "near_misses": near_misses_as_json(trace.get("nearMisses", ()), waits_now, redaction),
        },
        "buffer": _buffer_as_json(event, now),
        "deliveries": [_delivery_as_json(row, now, sees_payloads, redaction) for row in deliveries],
        "delivery_counts": counts,
        "conflict_of": _event_as_json(event.conflict_of) if event.conflict_of else None,
        "conflicts": related.conflicts,
        "started_runs": [_run_redacted(run, redaction) for run in related.started_runs],
        "resolved_waits": [_run_redacted(wait, redaction) for wait in related.resolved_waits],
        "alike_type": _alike_type(event),
        "more": {
            "waits": trace.get("moreWaits", 0),
            "triggers": trace.get("moreTriggers", 0),
            "deliveries": max(0, sum(counts.values()) - len(deliveries)),
            **related.more,
        },
    }
    return {"summary": summary_of(explained, now=now), **explained}


def _alike_type(event: Event) -> str:
    if event.outcome_code not in (OutcomeCode.NO_KEY, OutcomeCode.NO_WAIT):
        return ""
    return alike_type(event.event_type, catalogue_paths(event.tenant_id))


# -- Records of correlation and routing --------------------------------------------------------------------------------


def schema_as_json(check: dict[str, Any] | None, sees_payloads: bool) -> dict[str, Any] | None:
    """Return the schema check.

    Only a reader who may see payloads gets its messages, because messages contain payload values.
    """
    if check is None:
        return None
    problems = check.get("problems") or []
    if not sees_payloads:
        problems = [{"pointer": problem["pointer"]} for problem in problems]
    return {
        "ref": check["ref"],
        "sent": check["sent"],
        "code": check.get("code"),
        "conflict": check.get("conflict"),
        "problems": problems,
    }


def decision_trace_shown(trace: dict[str, Any], sees_payloads: bool) -> dict[str, Any]:
    """Return the stored decision trace with at most SHOWN_ROWS items per list."""
    shown = dict(trace)
    for name, count in (("waits", "moreWaits"), ("triggers", "moreTriggers")):
        more = len(trace.get(name, ())) - SHOWN_ROWS
        if more > 0:
            shown[name], shown[count] = trace[name][:SHOWN_ROWS], trace.get(count, 0) + more
    if "schema" in trace:
        shown["schema"] = schema_as_json(trace["schema"], sees_payloads)
    return shown


def current_waits(tenant_id: uuid.UUID, entries: Iterable[dict[str, Any]]) -> dict[str, RunWait]:
    """Return the present rows of the waits that a stored plan names, by id."""
    ids = {entry["waitId"] for entry in entries}
    rows = RunWait.objects.select_related("run__definition").defer("run__definition__draft_text")
    waits = rows.filter(tenant_id=tenant_id, id__in=ids).annotate(step_name=waiting_step("step_path")) if ids else ()
    return {str(wait.id): wait for wait in waits}


def wait_as_json(entry: dict[str, Any], waits_now: dict[str, RunWait]) -> dict[str, Any]:
    """Return a wait as routing found it. Add the wait's present status and the status of its run."""
    wait_then = {
        "wait_id": entry["waitId"],
        "run_id": entry["runId"],
        "step_path": entry["stepPath"],
        "event_name": entry["eventName"],
        "key": entry["key"],
        "why": entry["why"],
    }
    if "taken" in entry:
        wait_then["taken"] = entry["taken"]
    if "closedAt" in entry:
        wait_then["closed_at"] = parse_datetime(entry["closedAt"] or "")
    wait = waits_now.get(entry["waitId"])  # None if retention has deleted the run
    return {
        **wait_then,
        "step_id": wait.step_id if wait else None,
        "step_name": getattr(wait, "step_name", None),
        "definition": wait.run.definition_key if wait else None,
        "definition_name": wait.run.definition.name if wait else None,
        "wait_status": wait.status if wait else None,
        "run_status": wait.run.status if wait else None,
        "run_differs": wait is not None and wait.run.drift_found_at is not None,
    }


def near_misses_as_json(
    entries: Iterable[dict[str, Any]], waits_now: dict[str, RunWait], redaction: EventRedaction
) -> list[dict[str, Any]]:
    """Return near misses as routing found them, the most alike key first."""
    shown = [wait_as_json(redaction.wait(entry), waits_now) for entry in entries]
    return near_misses_ordered(shown, redaction.keys(redaction.event.correlation_keys))


def _buffer_as_json(event: Event, now: datetime) -> dict[str, Any]:
    until = event.buffered_until
    left = max(0.0, (until - now).total_seconds()) if until else 0.0
    return {
        "seconds": event.decision_trace.get("bufferSeconds"),
        "until": until,
        "seconds_left": round(left, 1),
        "is_open": left > 0,
        "can_be_taken_by": event.can_be_taken_by if event.is_buffered and not left else None,
    }


# -- Present state ----------------------------------------------------------------------------------------------------


_TARGETS = ("run__definition", "wait", "definition", "definition_version")


def deliveries_shown(tenant_id: uuid.UUID, event: Event) -> QuerySet[EventDelivery]:
    """Return up to SHOWN_ROWS deliveries of the event, oldest first. They include at least one of each status."""
    rows = EventDelivery.objects.filter(tenant_id=tenant_id, event=event)
    place = Window(RowNumber(), partition_by=F("status"), order_by=("created_at", "id"))
    chosen = rows.annotate(place=place).order_by("place", "created_at", "id").values("id")[:SHOWN_ROWS]
    return EventDelivery.objects.filter(id__in=chosen).order_by("created_at", "id")


def delivery_counts(tenant_id: uuid.UUID, event: Event) -> dict[str, int]:
    """Return the number of deliveries of the event by status."""
    rows = EventDelivery.objects.filter(tenant_id=tenant_id, event=event).order_by()
    return dict(rows.values_list("status").annotate(Count("id")))


def _delivery_as_json(
    delivery: EventDelivery, now: datetime, sees_payloads: bool, redaction: EventRedaction
) -> dict[str, Any]:
    is_pending = delivery.status == DeliveryStatus.PENDING
    attempts = redaction.attempts(delivery.attempt_log)
    if not sees_payloads:
        attempts = [{name: value for name, value in entry.items() if name != "reason"} for entry in attempts]
    return {
        "id": delivery.id,
        "kind": delivery.kind,
        "target": _target_as_json(delivery),
        "key": redaction.key(delivery.correlation_key),
        "status": delivery.status,
        "reason": redaction.delivery_reason(delivery) if sees_payloads else None,
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


def _target_as_json(delivery: EventDelivery) -> dict[str, Any]:
    run, wait, definition, version = (
        delivery.run,
        delivery.wait,
        delivery.definition,
        delivery.definition_version,
    )
    return {
        "wait_id": delivery.wait_id,
        "step_id": wait.step_id if wait else None,
        "step_name": step_name(delivery),
        "step_path": wait.step_path if wait else None,
        "wait_status": wait.status if wait else None,
        "run_id": delivery.run_id,
        "run_status": run.status if run else None,
        "definition_id": delivery.definition_id,
        "is_paused": definition.is_paused if definition else False,
        "definition": definition.key if definition else run.definition_key if run else None,
        "definition_name": definition_name(delivery),
        "version": version.version if version else run.version if run else None,
    }


def _event_as_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, "received_at": event.received_at, "source": event.source, "sender": event.sender}


def _run_redacted(facts: dict[str, Any], redaction: EventRedaction) -> dict[str, Any]:
    return {**facts, "key": redaction.key(facts["key"])}

"""Routing of stored events. It plans the targets and creates one delivery per candidate wait and per trigger.

- Routing searches for waits in a new statement after the commit of the event. A wait that opens searches for events
  after its own commit. If the event is committed first, the search of the wait finds it. If the wait is committed
  first, routing finds it.
- A worker claims an event by locking its row. So two workers never route the same event. The locks of a killed worker
  are released.
- "What if" checks use the same plans and write nothing.
- A plan does not evaluate the filters of a wait. Every candidate is signalled, and the workflow decides.

Source: docs/reference/events.md#routing, docs/reference/events.md#decision-trace
"""

import logging
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ingress.dispatch.near_misses import event_near_misses
from ingress.dispatch.targets import concurrency_key_of
from workflows.backoff import backoff_seconds
from workflows.event_decisions import decision_sentence, paused_text
from workflows.event_outcomes import IN_PROGRESS, OUTCOME_FIELDS, set_outcome
from workflows.models import Definition, Event, EventDelivery, RunWait
from workflows.models.statements import update_rows
from workflows.services.wait_lookback import (
    buffer_times,
    new_wait_delivery,
    wait_look_for_events,
    waits_with_earlier_events,
)
from workflows.statuses import DeliveryKind, DeliveryStatus, Engine, OutcomeCode, WaitKind, WaitStatus

logger = logging.getLogger(__name__)

BATCH = 100
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 2, 300
# Maximum number of waits, and of triggers, that the decision trace stores. Deliveries are created for all of them.
KEPT_TARGETS = 50
_ROUTED_FIELDS = ["routed_at", "buffered_until", "decision_trace", "routing_attempts", *OUTCOME_FIELDS]


# -- Plans: reads only ------------------------------------------------------------------------------------------------


@dataclass
class EventPlan:
    """Targets of one event.

    `buffer` is the time for which a later wait can find the event. It is None for an event without a key. `own_waits`
    are waits of the run that this event started. They are not candidates.
    """

    event: Event
    buffer: timedelta | None = None
    waits: list[RunWait] = field(default_factory=list)
    own_waits: list[RunWait] = field(default_factory=list)
    triggers: list[Definition] = field(default_factory=list)
    near_misses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def had_closed_wait(self) -> bool:
        """Return True if a near miss has the name and a key of the event, and had closed."""
        return any("closedAt" in near for near in self.near_misses)

    def as_trace(self) -> dict[str, Any]:
        """Return the plan as part of the decision trace.

        Shapes: `waits [{waitId, runId, stepPath, eventName, key, taken, why}]`, `nearMisses` with the same fields
        except `taken`, and with `closedAt` for a wait that had closed, `triggers [{definition, version, taken, why}]`,
        `bufferSeconds`, `moreWaits` and `moreTriggers`. The last two are the numbers of waits and triggers that the
        trace does not store.
        """
        own = self.own_waits[:KEPT_TARGETS]
        taken = self.waits[: KEPT_TARGETS - len(own)]
        waits = [{**_wait_in_trace(wait), "taken": True, "why": "open, with this event name and key"} for wait in taken]
        waits += [{**_wait_in_trace(wait), "taken": False, "why": "this event started its run"} for wait in own]
        triggers = [_trigger_in_trace(definition) for definition in self.triggers[:KEPT_TARGETS]]
        return {
            "waits": waits,
            "moreWaits": len(self.waits) + len(self.own_waits) - len(waits),
            "nearMisses": self.near_misses,
            "triggers": triggers,
            "moreTriggers": len(self.triggers) - len(triggers),
            "bufferSeconds": self.buffer.total_seconds() if self.buffer else None,
        }


def plan_event_routes(events: Sequence[Event]) -> list[EventPlan]:
    """Return one plan per event. All events must belong to one tenant.

    Cost: three statements for any number of events. If events have no target: one more statement, and one more for each
    type of these events.
    """
    if not events:
        return []
    tenant_id = events[0].tenant_id
    types = {event.event_type for event in events}
    buffers = buffer_times(tenant_id=tenant_id, event_types=types)
    waits = open_waits(tenant_id, types, {key for event in events for key in event.correlation_keys})
    triggers = _triggers(tenant_id, types)
    plans = [_plan(event, buffers, waits, triggers) for event in events]
    without_target = [plan for plan in plans if not plan.waits and not plan.triggers]
    near = event_near_misses([plan.event for plan in without_target], _waits_of(tenant_id))
    for plan in without_target:
        plan.near_misses = [{**_wait_in_trace(wait), **_closed(wait), "why": why} for wait, why in near[plan.event.id]]
    return plans


def _plan(
    event: Event, buffers: dict[str, timedelta], waits: Iterable[RunWait], triggers: Iterable[Definition]
) -> EventPlan:
    plan = EventPlan(event, buffer=buffers[event.event_type] if event.correlation_keys else None)
    for wait in waits:
        if wait.event_name == event.event_type and wait.correlation_key in event.correlation_keys:
            is_own = wait.run.event_id == event.id
            (plan.own_waits if is_own else plan.waits).append(wait)
    plan.triggers = [
        definition
        for definition in triggers
        if definition.published_version and definition.published_version.trigger_event_name == event.event_type
    ]
    return plan


def open_waits(tenant_id: uuid.UUID, types: set[str], keys: set[str]) -> list[RunWait]:
    """Return the open waits with one of these event names and one of these keys."""
    if not keys:
        return []
    return list(
        _waits_of(tenant_id)
        .filter(status=WaitStatus.WAITING, event_name__in=types, correlation_key__in=keys)
        .order_by("id")
    )


def _waits_of(tenant_id: uuid.UUID) -> QuerySet[RunWait]:
    return (
        RunWait.objects.select_related("run")
        .only(
            "id",
            "tenant_id",
            "step_path",
            "event_name",
            "correlation_key",
            "status",
            "opened_at",
            "resolved_at",
            "run__id",
            "run__event_id",
            "run__definition_key",
        )
        .filter(tenant_id=tenant_id, kind__in=[WaitKind.EVENT, WaitKind.HUMAN], run__engine=Engine.TEMPORAL)
    )


def _triggers(tenant_id: uuid.UUID, types: set[str]) -> list[Definition]:
    return list(
        Definition.objects.select_related("published_version")
        .defer("draft_text", "published_version__canonical_text")
        .filter(
            tenant_id=tenant_id,
            archived_at__isnull=True,
            published_version__tenant_id=tenant_id,
            published_version__trigger_event_name__in=types,
        )
        .order_by("key")
    )


def _wait_in_trace(wait: RunWait) -> dict[str, Any]:
    return {
        "waitId": str(wait.id),
        "runId": str(wait.run_id),
        "stepPath": wait.step_path,
        "eventName": wait.event_name,
        "key": wait.correlation_key,
    }


def _closed(wait: RunWait) -> dict[str, Any]:
    """Return the time at which a near miss had closed. An open wait has none."""
    if wait.status == WaitStatus.WAITING:
        return {}
    return {"closedAt": wait.resolved_at.isoformat() if wait.resolved_at else None}


def _trigger_in_trace(definition: Definition) -> dict[str, Any]:
    version = definition.published_version.version if definition.published_version else None
    why = "its trigger is this event type"  # the delivery says if the run started
    if definition.is_paused:
        why = f"{paused_text(definition.key, definition.paused_reason)}; an author must resume it"
    return {
        "definition": definition.key,
        "definitionName": definition.name,
        "version": version,
        "taken": True,
        "why": why,
    }


# -- Routing ----------------------------------------------------------------------------------------------------------


def events_route_due(*, tenant_id: uuid.UUID) -> int:
    """Route the due events of a tenant, oldest first. Return the number of events that were tried.

    If the routing of one event fails, the other events are still routed. The failed event is routed again later.
    """
    due = Event.objects.filter(tenant_id=tenant_id, routed_at__isnull=True, route_at__lte=timezone.now()).order_by(
        "route_at", "id"
    )
    try:
        return _route_events(due[:BATCH])
    except Exception:
        logger.exception("a batch of events of tenant %s was not routed; each event is tried by itself", tenant_id)
    ids = list(due.values_list("id", flat=True)[:BATCH])
    for event_id in ids:
        try:
            event_route(event_id)
        except Exception as error:
            logger.exception("event %s was not routed", event_id)
            _route_later(event_id, error)
    return len(ids)


def event_route(event_id: uuid.UUID) -> list[uuid.UUID]:
    """Route one event. Return the ids of its pending deliveries, oldest first.

    Idempotency: if the event was routed before, no new delivery is created.
    """
    _route_events(Event.objects.filter(id=event_id, routed_at__isnull=True))
    pending = EventDelivery.objects.filter(event_id=event_id, status=DeliveryStatus.PENDING)
    return list(pending.order_by("created_at", "id").values_list("id", flat=True))


def _route_events(unrouted: QuerySet[Event]) -> int:
    with transaction.atomic():
        # `no_key` is for a wait that opens at this moment. The wait can then insert its delivery and need not wait for
        # this lock.
        claimed = list(unrouted.select_for_update(skip_locked=True, no_key=True))
        if not claimed:
            return 0
        plans = plan_event_routes(claimed)
        statuses = _create_deliveries(plans)
        now = timezone.now()
        for plan in plans:
            event = plan.event
            event.routed_at = now
            # The buffer time starts at routing. The time before routing must not count, because the broker or worker
            # may have been down.
            event.buffered_until = now + plan.buffer if plan.buffer else None
            event.decision_trace = {**event.decision_trace, **plan.as_trace()}
            event.routing_attempts += 1
            set_outcome(event, statuses[event.id], had_closed_wait=plan.had_closed_wait)
        update_rows(claimed, _ROUTED_FIELDS)
    return len(claimed)


def _create_deliveries(plans: Sequence[EventPlan]) -> dict[uuid.UUID, list[str]]:
    """Create the missing deliveries. Return the statuses of all deliveries, grouped by event.

    If a wait found the event by its lookback, its delivery exists already.
    """
    statuses: dict[uuid.UUID, list[str]] = {plan.event.id: [] for plan in plans}
    existing = set()
    rows = EventDelivery.objects.filter(event_id__in=statuses)
    for event_id, wait_id, definition_id, status in rows.values_list("event_id", "wait_id", "definition_id", "status"):
        existing.add((event_id, wait_id or definition_id))
        statuses[event_id].append(status)
    new = _new_wait_deliveries(plans, existing)
    new += [
        _new_trigger_delivery(plan.event, definition)
        for plan in plans
        for definition in plan.triggers
        if (plan.event.id, definition.id) not in existing
    ]
    EventDelivery.objects.bulk_create(new)
    for delivery in new:
        statuses[delivery.event_id].append(delivery.status)
    return statuses


def _new_wait_deliveries(
    plans: Sequence[EventPlan], existing: Collection[tuple[uuid.UUID, uuid.UUID | None]]
) -> list[EventDelivery]:
    """Return a delivery of the oldest event to each wait that can take an event now.

    If an event of another batch is older, the wait gets that one: it searches after the commit. The older event has no
    delivery yet, for example because the verdict that lets the wait take it was committed a moment ago. Its own routing
    or the search after that verdict finds it too, even if this process is killed before its search.
    """
    busy = _busy_waits(plans)
    firsts: dict[uuid.UUID, tuple[Event, RunWait]] = {}
    for plan in sorted(plans, key=lambda plan: (plan.event.received_at, plan.event.id)):
        for wait in plan.waits:
            if (plan.event.id, wait.id) not in existing and wait.id not in busy:
                firsts.setdefault(wait.id, (plan.event, wait))
    overtaken = waits_with_earlier_events({wait_id: event for wait_id, (event, _) in firsts.items()})
    for wait_id in sorted(overtaken):
        _, wait = firsts[wait_id]
        search = partial(wait_look_for_events, tenant_id=str(wait.tenant_id), wait_id=str(wait_id))
        transaction.on_commit(search)
    now = timezone.now()
    return [
        new_wait_delivery(event, wait, at=now) for wait_id, (event, wait) in firsts.items() if wait_id not in overtaken
    ]


def _busy_waits(plans: Sequence[EventPlan]) -> set[uuid.UUID]:
    """Return the waits to which an event is already on its way.

    After the verdict on this event, the wait searches for the next event.

    So an event is sent only to a wait that can take the event now. A burst of N events costs N deliveries.
    """
    waits = [wait for plan in plans for wait in plan.waits]
    if not waits:
        return set()
    under_way = EventDelivery.objects.filter(
        tenant_id=waits[0].tenant_id, wait_id__in={wait.id for wait in waits}, status__in=IN_PROGRESS
    )
    return set(under_way.values_list("wait_id", flat=True))


def _new_trigger_delivery(event: Event, definition: Definition) -> EventDelivery:
    return EventDelivery(
        tenant_id=event.tenant_id,
        event=event,
        kind=DeliveryKind.TRIGGER,
        definition=definition,
        definition_version=definition.published_version,
        correlation_key=event.correlation_key,
        concurrency_key=concurrency_key_of(event, definition),
    )


def _route_later(event_id: uuid.UUID, error: Exception) -> None:
    with transaction.atomic():
        event = Event.objects.select_for_update(no_key=True).filter(id=event_id, routed_at__isnull=True).first()
        if event is None:
            return
        event.routing_attempts += 1
        pause = backoff_seconds(
            event.routing_attempts, first=FIRST_BACKOFF_SECONDS, longest=MAX_BACKOFF_SECONDS, with_jitter=True
        )
        event.route_at = timezone.now() + timedelta(seconds=pause)
        event.outcome_code = OutcomeCode.ROUTING_FAILED
        detail = f"{type(error).__name__}: {error}"
        event.outcome_reason = decision_sentence(OutcomeCode.ROUTING_FAILED, outcome=event.outcome, detail=detail)
        update_rows([event], ["routing_attempts", "route_at", "outcome_code", "outcome_reason"])

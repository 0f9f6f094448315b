"""What an event is for: the waits and triggers that it meets, and what it missed by little (docs/reference/events.md#routing, docs/reference/events.md#decision-trace). Reads only.

Routing makes deliveries of a plan; "what if" shows one. A plan never asks a wait's filters: every candidate is signalled,
and the workflow decides.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from workflows.models import Definition, Event, RunWait
from workflows.services.wait_lookback import buffer_times
from workflows.statuses import Engine, WaitKind, WaitStatus

NEAR_MISSES = 5
# Of an event's waits, and of its triggers: what its trace keeps. Its deliveries are all there.
KEPT_TARGETS = 50
# Of an event's name, and of its key: enough to find the five that tell most.
LOOKED_AT = 20


@dataclass
class EventPlan:
    event: Event
    # How long a wait that opens later finds it; none without a key.
    buffer: timedelta | None = None
    waits: list[RunWait] = field(default_factory=list)
    # Waits of the run that this very event started: no candidates.
    own_waits: list[RunWait] = field(default_factory=list)
    triggers: list[Definition] = field(default_factory=list)
    near_misses: list[dict[str, Any]] = field(default_factory=list)

    def as_trace(self) -> dict[str, Any]:
        """Shapes: `waits [{waitId, runId, stepPath, eventName, key, taken, why}]`, `nearMisses` the same without `taken`,
        `triggers [{definition, version, taken, why}]`, `bufferSeconds`; `moreWaits` and `moreTriggers` count what the trace
        does not keep."""
        own = self.own_waits[:KEPT_TARGETS]
        taken = self.waits[: KEPT_TARGETS - len(own)]
        waits = [{**_seen(wait), "taken": True, "why": "open, with this name and key"} for wait in taken]
        waits += [{**_seen(wait), "taken": False, "why": "its run was started by this event"} for wait in own]
        triggers = [_trigger_seen(definition) for definition in self.triggers[:KEPT_TARGETS]]
        return {
            "waits": waits,
            "moreWaits": len(self.waits) + len(self.own_waits) - len(waits),
            "nearMisses": self.near_misses,
            "triggers": triggers,
            "moreTriggers": len(self.triggers) - len(triggers),
            "bufferSeconds": self.buffer.total_seconds() if self.buffer else None,
        }


def plan_event_routes(events: Sequence[Event]) -> list[EventPlan]:
    """One plan for each of these events of one tenant.

    Cost: three statements, however many events; for those that meet nothing one more, and one for each of their types.
    """
    if not events:
        return []
    tenant_id = events[0].tenant_id
    types = {event.event_type for event in events}
    buffers = buffer_times(tenant_id=tenant_id, event_types=types)
    waits = open_waits(tenant_id, types, {key for event in events for key in event.correlation_keys})
    triggers = _triggers(tenant_id, types)
    plans = [_plan(event, buffers, waits, triggers) for event in events]
    _find_near_misses(tenant_id, [plan for plan in plans if not plan.waits and not plan.triggers])
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


# -- What was missed by little ----------------------------------------------------------------------------------------


def _find_near_misses(tenant_id: uuid.UUID, plans: list[EventPlan]) -> None:
    """For events that meet nothing: the same name under another key, the same key under another name, or a wait that has
    closed. Most often it is a wrong field or a wrong name."""
    if not plans:
        return
    types = sorted({plan.event.event_type for plan in plans})
    keys = {key for plan in plans for key in plan.event.correlation_keys}
    of_name = [wait for name in types for wait in _newest_open(tenant_id, name)]
    of_key = list(_waits_of(tenant_id).filter(correlation_key__in=keys).order_by("-opened_at")[: 5 * LOOKED_AT])
    for plan in plans:
        found = [near for wait in (*of_key, *of_name) if (near := _near(wait, plan.event)) is not None]
        plan.near_misses = found[:NEAR_MISSES]


def _newest_open(tenant_id: uuid.UUID, name: str) -> Iterable[RunWait]:
    return _waits_of(tenant_id).filter(event_name=name, status=WaitStatus.WAITING).order_by("-opened_at")[:LOOKED_AT]


def _near(wait: RunWait, event: Event) -> dict[str, Any] | None:
    same_name, same_key = wait.event_name == event.event_type, wait.correlation_key in event.correlation_keys
    is_open = wait.status == WaitStatus.WAITING
    if same_name and same_key and not is_open:
        return {**_seen(wait), "why": f"it has closed: {wait.get_status_display().lower()} {_at(wait.resolved_at)}"}
    if same_name and not same_key and is_open:
        has_none = "and this event has none" if not event.correlation_keys else "which is another key"
        return {**_seen(wait), "why": f"it waits for this event under {wait.correlation_key!r}, {has_none}"}
    if same_key and not same_name and is_open:
        return {**_seen(wait), "why": f"it has this key, and waits for {wait.event_name}"}
    return None


def _at(moment: datetime | None) -> str:
    return f"at {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _seen(wait: RunWait) -> dict[str, Any]:
    return {
        "waitId": str(wait.id),
        "runId": str(wait.run_id),
        "stepPath": wait.step_path,
        "eventName": wait.event_name,
        "key": wait.correlation_key,
    }


def _trigger_seen(definition: Definition) -> dict[str, Any]:
    version = definition.published_version.version if definition.published_version else None
    why = "its published version is started by this event"
    if definition.is_paused:
        why = f"it is paused: {definition.paused_reason or 'no reason given'}"
    return {"definition": definition.key, "version": version, "taken": not definition.is_paused, "why": why}

"""Starts whose runs do not run yet, and the events that these runs can take.

A wait of such a run looks back to the acceptance of the start, minus the buffer time. So it finds events that were
accepted in the meantime, also if the start is on hold for days.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from ingress.dispatch.expected_waits import ExpectedWait, children_of, waits_of
from ingress.dispatch.targets import trigger_payload
from workflows.engine.errors import RunError
from workflows.models import DefinitionVersion, Event, EventDelivery, Run
from workflows.selectors.called_definitions import Call, called_versions
from workflows.statuses import DeliveryKind, DeliveryStatus, Engine, RunStatus

# Maximum number of starts of one version that are compared with the events. A later start counts as one that can take
# each event with the name of one of its waits.
COMPARED_STARTS = 50
# Maximum number of levels of called definitions that are read.
MOST_LEVELS = 10


@dataclass(frozen=True)
class Start:
    """Accepted start whose run does not run yet, with the waits that the run can open."""

    accepted_at: datetime
    waits: Sequence[ExpectedWait]
    run_input: Any
    facts: dict[str, Any]

    def can_take(self, event: Event) -> bool:
        """Return True if a wait of the run can find the event: it was routed at most a buffer time before the start."""
        in_time = event.buffered_until is not None and self.accepted_at <= event.buffered_until
        return in_time and any(
            wait.takes(event.event_type, event.correlation_keys, self.run_input) for wait in self.waits
        )


def starts_that_take(tenant_id: uuid.UUID, events: Sequence[Event]) -> dict[uuid.UUID, dict[str, Any]]:
    """Return for each event the oldest start of the tenant whose run can take it. Other events are not in the result.

    Shapes: a start is `{kind: "start", definition, isHeld, deliveryId, eventId, runId}`. Ids that it has not are None.
    Cost: two statements without unfinished starts. Otherwise one for the versions, one for each level of called
    definitions, and one for each version with a wait for one of the events.
    """
    pending = EventDelivery.objects.filter(
        tenant_id=tenant_id, kind=DeliveryKind.TRIGGER, status=DeliveryStatus.PENDING
    )
    starting = Run.objects.filter(
        tenant_id=tenant_id, engine=Engine.TEMPORAL, status=RunStatus.STARTING, parent_run__isnull=True
    )
    of_delivery = list(pending.values_list("definition_version", "definition__published_version").distinct())
    of_run = list(starting.values_list("definition_version", flat=True).distinct())
    ids = {version for pair in of_delivery for version in pair} | {*of_run}
    documents = _Documents(tenant_id, {version for version in ids if version is not None})
    names = {event.event_type for event in events}
    starts: list[Start] = []
    for version, published in of_delivery:
        waits = documents.waits(version, names)
        if published not in (version, None):  # a resume can give a start on hold the published version
            waits += _with_any_key(documents.waits(published, names))
        if waits:
            starts += _pending_starts(pending.filter(definition_version=version), documents.trigger(version), waits)
    for version in of_run:
        if waits := documents.waits(version, names):
            starts += _starting_runs(starting.filter(definition_version=version), waits)
    starts.sort(key=lambda start: start.accepted_at)
    found = ((event.id, next((start for start in starts if start.can_take(event)), None)) for event in events)
    return {event_id: start.facts for event_id, start in found if start is not None}


def _pending_starts(
    deliveries: QuerySet[EventDelivery], trigger: dict[str, Any], waits: Sequence[ExpectedWait]
) -> list[Start]:
    rows = deliveries.select_related("event", "definition").order_by("event__received_at")
    starts = []
    for number, row in enumerate(rows[: COMPARED_STARTS + 1]):
        facts = {
            "kind": "start",
            "definition": row.definition.key if row.definition else "",
            "isHeld": row.held_since is not None,
            "deliveryId": str(row.id),
            "eventId": str(row.event_id),
            "runId": None,
        }
        run_input, is_compared = {}, number < COMPARED_STARTS
        try:
            run_input = trigger_payload(trigger, row.event)
        except RunError:  # the start fails in the same way, unless a resume gives it another version
            is_compared = False
        starts.append(Start(row.event.received_at, waits if is_compared else _with_any_key(waits), run_input, facts))
    return starts


def _starting_runs(runs: QuerySet[Run], waits: Sequence[ExpectedWait]) -> list[Start]:
    accepted = runs.annotate(accepted_at=Coalesce(F("event__received_at"), F("created_at"))).order_by("accepted_at")
    starts = []
    rows = accepted.values_list("id", "definition_key", "event_id", "input", "accepted_at")
    for number, (run_id, key, event_id, run_input, at) in enumerate(rows[: COMPARED_STARTS + 1]):
        facts = {
            "kind": "start",
            "definition": key,
            "isHeld": False,
            "deliveryId": None,
            "eventId": str(event_id) if event_id else None,
            "runId": str(run_id),
        }
        starts.append(Start(at, waits if number < COMPARED_STARTS else _with_any_key(waits), run_input, facts))
    return starts


def _with_any_key(waits: Iterable[ExpectedWait]) -> list[ExpectedWait]:
    return [ExpectedWait(wait.event_name, None) for wait in waits]


# -- Documents --------------------------------------------------------------------------------------------------------


class _Documents:
    """Documents of definition versions, and of the definitions that they call.

    Cost: one statement for the versions, and one for each level of called definitions.
    """

    def __init__(self, tenant_id: uuid.UUID, ids: Collection[uuid.UUID]) -> None:
        versions = DefinitionVersion.objects.filter(tenant_id=tenant_id)
        self._own = {row.id: row.document() for row in versions.filter(id__in=ids)} if ids else {}
        self._called: dict[Call, dict[str, Any]] = {}
        callable_versions = versions.filter(definition__deleted_at=None)
        wanted = {call for document in self._own.values() for call in children_of(document)}
        for _ in range(MOST_LEVELS):
            rows = called_versions(callable_versions, wanted)
            found = {call: row.document() for call, row in rows.items()}
            self._called |= found
            wanted = {call for document in found.values() for call in children_of(document)} - self._called.keys()

    def trigger(self, version: uuid.UUID) -> dict[str, Any]:
        return self._own[version].get("trigger") or {}

    def waits(self, version: uuid.UUID, names: Collection[str]) -> list[ExpectedWait]:
        """Return the waits for these events that a run of the version, or one of its children, can open."""
        found = waits_of(self._own[version], is_child=False)
        for document in self._all_called(self._own[version]):
            found += waits_of(document, is_child=True)
        return [wait for wait in found if wait.event_name in names]

    def _all_called(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        seen: set[Call] = set()
        calls = children_of(document)
        while calls:
            seen |= calls
            calls = {call for name in calls for call in children_of(self._called.get(name, {}))} - seen
        return [self._called[call] for call in seen if call in self._called]

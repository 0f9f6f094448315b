"""Outcome of an event, computed from its deliveries and written to the event's row.

The rule: code that inserts deliveries or changes their status locks the rows of their events first.

- `deliveries_changing` locks the events in the order of their ids, and writes their outcomes at the end.
- Routing uses `SKIP LOCKED`, so it waits for no lock.

If two processes change deliveries of the same event, each sees the changes of the other, and they cannot deadlock. A
claim of a delivery changes no status and therefore locks no event.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from workflows.models import Event, EventDelivery
from workflows.models.statements import update_rows
from workflows.statuses import CorrelationStatus, DeliveryStatus, EventOutcome

REACHED = frozenset({DeliveryStatus.MATCHED, DeliveryStatus.STARTED})
IN_PROGRESS = frozenset({DeliveryStatus.PENDING, DeliveryStatus.SENT})
# A pending start that is held counts with this word instead of its status.
HELD = "held"
HELD_UNTIL = "until the definition is resumed or has a free slot"


def outcome_of(
    statuses: Iterable[str], *, is_routed: bool, correlation_status: str, is_buffered: bool, held_why: str = ""
) -> tuple[EventOutcome, str]:
    """Return the outcome that follows from these delivery statuses, and its reason.

    The first rule that fits decides. `statuses` has `HELD` for a start that is held, and `held_why` says why it is.
    """
    found = set(statuses)
    if not is_routed:
        return EventOutcome.RECEIVED, "stored, not routed yet"
    if found & REACHED:
        if DeliveryStatus.DEAD in found:
            return EventOutcome.PARTLY_DELIVERED, "one target was reached; another delivery is a dead letter"
        return EventOutcome.DELIVERED, ""
    if found & IN_PROGRESS:
        return EventOutcome.ROUTING, "a delivery is in progress"
    if HELD in found:
        return EventOutcome.HELD, f"{held_why or 'the definition cannot start now'}, {HELD_UNTIL}"
    if DeliveryStatus.DEAD in found:
        return EventOutcome.DEAD, "every attempt of a delivery failed; see the dead-letter inbox"
    if found == {DeliveryStatus.DISCARDED}:
        return EventOutcome.DISCARDED, "discarded by an operator"
    if correlation_status == CorrelationStatus.MISSING and not found:
        return EventOutcome.UNCORRELATED, "no correlation key was found, and the event starts no definition"
    if is_buffered:
        return EventOutcome.BUFFERED, "nothing has taken the event yet; an open wait, or one that opens, still can"
    if found:
        return EventOutcome.UNMATCHED, "no delivery reached its target: " + ", ".join(sorted(found))
    return EventOutcome.UNMATCHED, "no wait matched, and the event starts no definition"


@contextmanager
def deliveries_changing(events: QuerySet[Event]) -> Iterator[list[Event]]:
    """Lock these events while the block inserts or changes their deliveries. Then write their outcomes.

    Cost: three statements in addition to those of the block, for any number of events.
    """
    with transaction.atomic():
        # FOR NO KEY UPDATE, because a run that the event starts takes a key lock on the event's row and must not wait
        # here. The large columns are not read.
        locked = list(events.defer("payload", "decision_trace").select_for_update(no_key=True).order_by("id"))
        yield locked
        write_outcomes(locked)


def write_outcomes(locked: list[Event]) -> None:
    """Write the current outcomes of events that the transaction has locked."""
    statuses: dict[uuid.UUID, list[str]] = {}
    held_why: dict[uuid.UUID, str] = {}
    deliveries = EventDelivery.objects.filter(event_id__in=[event.id for event in locked])
    for event_id, status, held_since, why in deliveries.values_list("event_id", "status", "held_since", "reason"):
        is_held = status == DeliveryStatus.PENDING and held_since is not None
        statuses.setdefault(event_id, []).append(HELD if is_held else status)
        if is_held:
            held_why[event_id] = why
    changed = [
        event
        for event in locked
        if event.occupies_id and set_outcome(event, statuses.get(event.id, ()), held_why=held_why.get(event.id, ""))
    ]
    update_rows(changed, ["outcome", "outcome_reason"])


def set_outcome(event: Event, statuses: Iterable[str], *, held_why: str = "") -> bool:
    """Set the outcome that follows from these delivery statuses, but do not save it.

    Return True if the outcome changed.
    """
    outcome, reason = outcome_of(
        statuses,
        is_routed=event.routed_at is not None,
        correlation_status=event.correlation_status,
        is_buffered=event.buffered_until is not None and timezone.now() < event.buffered_until,
        held_why=held_why,
    )
    reason = reason[:500]
    if (event.outcome, event.outcome_reason) == (outcome, reason):
        return False
    event.outcome, event.outcome_reason = outcome, reason
    return True

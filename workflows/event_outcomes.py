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
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.event_decisions import RUN_UNKNOWN, decision_sentence
from workflows.models import Event, EventDelivery
from workflows.models.statements import update_rows
from workflows.statuses import CorrelationStatus, DeliveryStatus, EventOutcome, OutcomeCode

OUTCOME_FIELDS = ["outcome", "outcome_code", "outcome_reason"]
REACHED = frozenset({DeliveryStatus.MATCHED, DeliveryStatus.STARTED})
IN_PROGRESS = frozenset({DeliveryStatus.PENDING, DeliveryStatus.SENT})
# A pending start that is held counts with this word instead of its status, and so does a late delivery to a run that
# Temporal does not know. Its wait had not closed.
HELD, LOST = "held", "lost"
# The decision on an event whose deliveries all ended without an effect. The first status that exists decides.
_WITHOUT_EFFECT: dict[str, OutcomeCode] = {
    DeliveryStatus.FILTERED: OutcomeCode.FILTERED,
    LOST: OutcomeCode.RUN_UNKNOWN,
    DeliveryStatus.LATE: OutcomeCode.WAIT_CLOSED,
    DeliveryStatus.SKIPPED: OutcomeCode.NOT_STARTED,
    DeliveryStatus.DISCARDED: OutcomeCode.DISCARDED,
}


def has_outcome(*outcomes: str) -> Q:
    """Return the condition that events are shown with one of these outcomes (see `Event.shown_outcome`)."""
    stored = {EventOutcome.BUFFERED if outcome == EventOutcome.BUFFER_OVER else outcome for outcome in outcomes}
    condition = Q(outcome__in=stored)
    is_over = Q(outcome=EventOutcome.BUFFERED, buffered_until__lte=timezone.now())
    if EventOutcome.BUFFERED in outcomes and EventOutcome.BUFFER_OVER not in outcomes:
        return condition & ~is_over
    if EventOutcome.BUFFER_OVER in outcomes and EventOutcome.BUFFERED not in outcomes:
        return condition & (is_over | ~Q(outcome=EventOutcome.BUFFERED))
    return condition


class Decision(NamedTuple):
    outcome: EventOutcome
    code: OutcomeCode
    reason: str


def decision_of(
    statuses: Iterable[str],
    *,
    is_routed: bool,
    correlation_status: str,
    is_buffered: bool,
    held_why: str = "",
    had_closed_wait: bool = False,
) -> Decision:
    """Return the outcome that follows from these delivery statuses, with its code and its sentence.

    The first rule that fits decides. `statuses` has `HELD` and `LOST` for such deliveries. `held_why` says why a start
    is held. `had_closed_wait`: routing found a wait with the name and a key of the event, which had closed.
    """
    found = set(statuses)
    if not is_routed:
        return _decision(EventOutcome.RECEIVED, OutcomeCode.NOT_ROUTED)
    if found & REACHED:
        if DeliveryStatus.DEAD in found:
            return _decision(EventOutcome.PARTLY_DELIVERED, OutcomeCode.PARTLY_DEAD)
        matched = DeliveryStatus.MATCHED in found
        return _decision(EventOutcome.DELIVERED, OutcomeCode.MATCHED if matched else OutcomeCode.STARTED)
    if found & IN_PROGRESS:
        return _decision(EventOutcome.ROUTING, OutcomeCode.DELIVERING)
    if HELD in found:
        return _decision(EventOutcome.HELD, OutcomeCode.HELD, held_why or "the definition cannot start now")
    if DeliveryStatus.DEAD in found:
        return _decision(EventOutcome.DEAD, OutcomeCode.DEAD)
    if found == {DeliveryStatus.DISCARDED}:
        return _decision(EventOutcome.DISCARDED, OutcomeCode.DISCARDED)
    if correlation_status == CorrelationStatus.MISSING and not found:
        return _decision(EventOutcome.UNCORRELATED, OutcomeCode.NO_KEY)
    outcome = EventOutcome.BUFFERED if is_buffered else EventOutcome.UNMATCHED
    code = next((code for status, code in _WITHOUT_EFFECT.items() if status in found), None)
    return _decision(outcome, code or (OutcomeCode.WAIT_CLOSED if had_closed_wait else OutcomeCode.NO_WAIT))


def _decision(outcome: EventOutcome, code: OutcomeCode, detail: str = "") -> Decision:
    return Decision(outcome, code, decision_sentence(code, outcome=outcome, detail=detail))


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
        counted = _counted_as(status, held_since, why)
        statuses.setdefault(event_id, []).append(counted)
        if counted == HELD:
            held_why[event_id] = why
    changed = [
        event
        for event in locked
        if event.occupies_id and set_outcome(event, statuses.get(event.id, ()), held_why=held_why.get(event.id, ""))
    ]
    update_rows(changed, OUTCOME_FIELDS)


def _counted_as(status: str, held_since: datetime | None, reason: str) -> str:
    if status == DeliveryStatus.PENDING and held_since is not None:
        return HELD
    return LOST if status == DeliveryStatus.LATE and reason.startswith(RUN_UNKNOWN) else status


def set_outcome(
    event: Event, statuses: Iterable[str], *, held_why: str = "", had_closed_wait: bool | None = None
) -> bool:
    """Set the outcome that follows from these delivery statuses, but do not save it.

    Only routing knows if a wait had closed. Later decisions keep what routing found.
    Return True if the outcome changed.
    """
    was_closed = event.outcome_code == OutcomeCode.WAIT_CLOSED if had_closed_wait is None else had_closed_wait
    decision = decision_of(
        statuses,
        is_routed=event.routed_at is not None,
        correlation_status=event.correlation_status,
        is_buffered=event.is_buffered,
        held_why=held_why,
        had_closed_wait=was_closed,
    )
    if (event.outcome, event.outcome_code, event.outcome_reason) == decision:
        return False
    event.outcome, event.outcome_code, event.outcome_reason = decision
    return True

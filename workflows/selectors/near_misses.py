"""Near misses of an open wait: events that almost reached the wait, the most alike key first.

Source: docs/reference/events.md#near-misses
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, F, JSONField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.lookups import IsNull

from workflows.event_decisions import problem_text
from workflows.event_outcomes import IN_PROGRESS
from workflows.event_redaction import EventRedaction
from workflows.key_likeness import SAME, UNLIKE, Likeness, Parts, key_likeness, key_variants
from workflows.models import Event, EventDelivery, EventKey, Run, RunWait
from workflows.redaction import HIDDEN, Rules
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus, EventOutcome, OutcomeCode

NEAR_MISSES = 5
# Events before the opening of the wait count too, because the sender can be faster than the run.
NEAR_MISS_SPAN = timedelta(minutes=10)
READ_EVENTS = 50
# An event of another type is less alike than any key that is alike.
OTHER_TYPE = UNLIKE - 1
# Without a key, or with a hidden one, an event is not compared. An event for another open run comes after all others.
NO_KEY, OTHER_RUN = 1_000, 2_000
# Deliveries that can still end the wait, and those that a person can redeliver, are shown before older refusals.
_UNDECIDED_FIRST = Case(
    When(status__in=IN_PROGRESS, then=Value(0)), When(status=DeliveryStatus.DEAD, then=Value(1)), default=Value(2)
)
_FIELDS = (
    "id", "tenant_id", "event_id", "event_type", "correlation_key", "correlation_keys", "correlation_trace",
    "outcome", "outcome_code", "received_at", "routed_at",
)  # fmt: skip


@dataclass(frozen=True)
class NearMiss:
    """An event that almost reached a wait.

    `key` is the event's key in parts, with a mark for the characters that differ. It is empty if the event has no key.
    `why` is a sentence. `status` is the status of the delivery to the wait, or an empty text without a delivery.
    """

    event_id: uuid.UUID
    event_type: str
    received_at: datetime
    key: Parts
    why: str
    status: str = ""


@dataclass(frozen=True)
class WaitNearMisses:
    """Events that almost reached a wait, and the numbers of the other events of its type.

    Only the newest events of the type are counted. `cut_at` is their number if there can be older ones, else 0. `used`
    are events that a run has, `of_other_runs` have the key of a wait of another run, and `unlike` have any other key.
    """

    rows: list[NearMiss]
    used: int
    of_other_runs: int
    unlike: int
    cut_at: int

    @property
    def others_text(self) -> str:
        """Return the numbers of the other events as a list, or an empty text if there are none."""
        parts = (
            (self.used, "used by a run"),
            (self.of_other_runs, "with the key of another run"),
            (self.unlike, "with another key"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count)


def wait_deliveries(wait: RunWait) -> list[EventDelivery]:
    """Return up to NEAR_MISSES deliveries to an open wait, with their events. Those in progress come first, then dead.

    Cost: one statement, and none for a wait that no event can end.
    """
    if not wait.event_name:
        return []
    rows = wait.deliveries.select_related("event").exclude(status=DeliveryStatus.MATCHED)
    return list(rows.filter(tenant_id=wait.tenant_id).order_by(_UNDECIDED_FIRST, "-created_at")[:NEAR_MISSES])


def wait_near_misses(
    wait: RunWait, deliveries: Sequence[EventDelivery], *, rules: Rules, sees_payloads: bool
) -> WaitNearMisses | None:
    """Return up to NEAR_MISSES events that almost reached the wait, or None if the wait is not for an event.

    `deliveries` are those of `wait_deliveries`.

    Events with the key of the wait come first: their filter did not match, they were rejected, or their type is almost
    the type of the wait. Then events of the same type with alike keys follow, the most alike key first, then events of
    other types with the key of the wait, and then events without a key whose type is the type of the wait, or almost.
    Events whose key is exactly that of another open run come last. A key that the rules hide is not compared, because
    the result would describe the hidden value. It counts as no key, or not at all if the event has another type.

    Cost: one statement. No payload is read for events with other keys.
    """
    if not wait.event_name:
        return None
    delivered = {delivery.event_id for delivery in deliveries}
    events = list(_candidates(wait))
    free = [event for event in events if event.id not in delivered and not (event.is_used or event.is_of_other_run)]
    compared = {event.id: _compared(event, wait, rules, sees_payloads) for event in free}
    alike = [pair for pair in compared.values() if pair[0] != UNLIKE]
    alike.sort(key=lambda pair: (pair[0], -pair[1].received_at.timestamp()))
    found = [_refused(delivery, rules, sees_payloads) for delivery in deliveries]
    # The events that were read by their keys can be older. The count of one span of time has one meaning.
    of_type = sorted((event for event in events if event.event_type == wait.event_name), key=lambda e: e.received_at)
    newest = [event for event in of_type[-READ_EVENTS:] if event.id not in delivered]
    return WaitNearMisses(
        rows=[*found, *(near for _, near in alike)][:NEAR_MISSES],
        used=sum(event.is_used for event in newest),
        of_other_runs=sum(event.is_of_other_run and not event.is_used for event in newest),
        unlike=sum(event.id in compared and compared[event.id][0] == UNLIKE for event in newest),
        cut_at=READ_EVENTS if len(of_type) >= READ_EVENTS else 0,
    )


def _refused(delivery: EventDelivery, rules: Rules, sees_payloads: bool) -> NearMiss:
    event, redaction = delivery.event, EventRedaction(delivery.event, rules)
    why = redaction.delivery_reason(delivery) if sees_payloads else ""
    return NearMiss(
        event_id=event.id,
        event_type=event.event_type,
        received_at=event.received_at,
        key=((redaction.key(delivery.correlation_key), False),),
        why=f"Same key, but {why}" if why else "Same key",
        status=delivery.status,
    )


def _candidates(wait: RunWait) -> QuerySet[Any]:
    """Return the newest events of this type, and events whose key is that of the wait or a variant of it.

    The newest unmatched events of all types are read too: without a key, only the type shows what the sender meant.
    Each event has `is_used`, `is_of_other_run` (another run waits, or waited, for its key) and `is_of_open_run`.
    `rejected_by` is the schema check of a rejected event.
    """
    since = wait.opened_at - NEAR_MISS_SPAN
    events = Event.objects.filter(tenant_id=wait.tenant_id, event_type=wait.event_name, received_at__gte=since)
    newest = events.order_by("-received_at").values("id")[:READ_EVENTS]
    alike = events.filter(
        keys__tenant_id=wait.tenant_id,
        keys__event_type=wait.event_name,
        keys__key__in=key_variants(wait.correlation_key),
        keys__received_at__gte=since,
    ).values("id")[:READ_EVENTS]
    of_key = EventKey.objects.filter(tenant_id=wait.tenant_id, key=wait.correlation_key, received_at__gte=since)
    of_other_types = of_key.exclude(event_type=wait.event_name).values("event_id")[:READ_EVENTS]
    unmatched = Event.objects.filter(
        tenant_id=wait.tenant_id, outcome=EventOutcome.UNMATCHED, received_at__gte=since
    ).order_by("-received_at")
    reached = EventDelivery.objects.filter(
        tenant_id=wait.tenant_id, event=OuterRef("pk"), status__in=[DeliveryStatus.MATCHED, DeliveryStatus.STARTED]
    )
    # An event with the key of another run was meant for that run.
    of_others = RunWait.objects.filter(
        tenant_id=wait.tenant_id, event_name=OuterRef("event_type"), correlation_key=OuterRef("correlation_key")
    ).exclude(run=wait.run_id)
    # The exclusion of the empty key is the condition of the index.
    open_runs = Run.objects.filter(
        tenant_id=wait.tenant_id, correlation_key=OuterRef("correlation_key"), status__in=OPEN_RUN_STATUSES
    ).exclude(correlation_key="")
    ids = newest.union(alike, of_other_types, unmatched.values("id")[:READ_EVENTS])
    has_outcome = Q(outcome__in=[EventOutcome.DELIVERED, EventOutcome.PARTLY_DELIVERED])
    return (
        Event.objects.only(*_FIELDS)
        .filter(tenant_id=wait.tenant_id, id__in=ids)
        .annotate(
            is_used=Case(When(has_outcome, then=True), default=_has_row(reached)),
            is_of_other_run=Case(When(correlation_key=wait.correlation_key, then=False), default=_has_row(of_others)),
            rejected_by=Case(
                When(outcome=EventOutcome.REJECTED, then=F("decision_trace__schema")), output_field=JSONField()
            ),
            is_of_open_run=_has_row(open_runs.exclude(id=wait.run_id)),
        )
    )


def _has_row(rows: QuerySet[Any]) -> IsNull:
    """Return True for an event if the query has a row. PostgreSQL could read the whole table to answer `Exists`."""
    return IsNull(Subquery(rows.values("id")[:1]), False)


def _compared(event: Any, wait: RunWait, rules: Rules, sees_payloads: bool) -> tuple[int, NearMiss]:
    event.__dict__["values_omitted"] = {"payload"}  # the rules then hide a key by its path, without the payload
    redaction = EventRedaction(event, rules)
    rejected = _rejected(event, sees_payloads)
    shown = [redaction.key(key) for key in event.correlation_keys]
    likeness = _most_alike([key for key in shown if key != HIDDEN], wait.correlation_key)
    key: Parts = ((HIDDEN, False),) if shown else ()
    if likeness is not None:
        key = likeness.parts
    if event.event_type != wait.event_name:
        rank, why = _other_type(event, wait, likeness)
    elif likeness is None:
        rank, why = NO_KEY, f"{'The key is hidden' if shown else 'The event has no key'}{rejected}"
    elif likeness.rank == SAME:
        rank, why = SAME, _same_key(event, wait, rejected)
    elif likeness.is_alike and event.is_of_open_run:
        rank, why = OTHER_RUN, f"{likeness.why}, but another open run has exactly this key{rejected}"
    else:
        rank, why = likeness.rank, f"{likeness.why}{rejected}"
    return rank, NearMiss(event.id, event.event_type, event.received_at, key, why)


def _other_type(event: Event, wait: RunWait, likeness: Likeness | None) -> tuple[int, str]:
    """Return the rank and the reason of an event of another type: it has the key of the wait, or it has no key."""
    of_type = key_likeness(event.event_type, wait.event_name)
    text = f"the type is {event.event_type}"
    if likeness is not None and likeness.rank == SAME:
        text = f"Same key, but {text}"
        return (SAME, f"{text}. {of_type.why}") if of_type.is_alike else (OTHER_TYPE, text)
    if event.correlation_keys or not of_type.is_alike:
        return UNLIKE, ""
    return NO_KEY, f"The event has no key, and {text}. {of_type.why}"


def _rejected(event: Any, sees_payloads: bool) -> str:
    """Return the end of a reason for an event that was rejected, else an empty text."""
    if event.outcome != EventOutcome.REJECTED:
        return ""
    if event.outcome_code == OutcomeCode.ID_CONFLICT:
        return ", and the event was rejected because its id belongs to another event"
    check = event.rejected_by or {}
    first = next(iter(check.get("problems") or ()), None)
    if first is None:
        why = check.get("conflict", "")
    else:
        why = problem_text(first if sees_payloads else {"pointer": first["pointer"]})
    return ", and the event was rejected because of its payload" + (f" ({why})" if why else "")


def _same_key(event: Event, wait: RunWait, rejected: str) -> str:
    """Return the reason why an event with the key of the wait has no delivery to it."""
    if rejected:
        return f"Same key{rejected.replace(', and', ', but', 1)}"
    if event.routed_at is None:
        return "Same key, but the event is not routed yet"
    if event.received_at < wait.opened_at:
        return "Same key, but the buffer time of the event had ended before the wait opened"
    return "Same key, but the event went to another target"


def _most_alike(keys: list[str], wanted: str) -> Likeness | None:
    return min((key_likeness(key, wanted) for key in keys), key=lambda found: found.rank, default=None)

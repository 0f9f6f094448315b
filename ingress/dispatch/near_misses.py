"""Near misses: waits that almost took an event without a target. Most near misses show a wrong key field or event name.

Source: docs/reference/events.md#decision-trace
"""

import uuid
from collections.abc import Iterable, Sequence

from django.db.models import QuerySet

from workflows.key_likeness import key_variants, uncommon_length
from workflows.models import Event, RunWait
from workflows.statuses import WaitStatus

# More than an operator reads first, because some of the waits can close after the event was routed.
NEAR_MISSES = 10
# Maximum number of waits that are read per event name. Five times as many are read for all keys. This is enough to find
# the best near misses.
READ_WAITS = 20

NearMiss = tuple[RunWait, str]


def event_near_misses(events: Sequence[Event], waits: QuerySet[RunWait]) -> dict[uuid.UUID, list[NearMiss]]:
    """Return up to NEAR_MISSES waits per event, each with the reason why it is a near miss.

    A near miss is one of three kinds of wait: it has the name of the event and another key; it has the key of the event
    and another name; or it has the name and the key but is closed. Waits with the key of the event come first. Then
    waits follow whose keys have the longest beginning and end in common with it.

    Shapes: `waits` are all event and human waits of the tenant. The keys of the result are the primary keys of the
    events.
    Cost: one statement, and one more per event type.
    """
    if not events:
        return {}
    keys = {key for event in events for key in event.correlation_keys}
    alike = {variant for event in events for key in event.correlation_keys[:1] for variant in key_variants(key)}
    by_key = list(waits.filter(correlation_key__in=keys | alike).order_by("-opened_at")[: 5 * READ_WAITS])
    by_name = [wait for name in sorted({event.event_type for event in events}) for wait in _newest_open(waits, name)]
    found: dict[uuid.UUID, list[NearMiss]] = {}
    for event in events:
        every = {wait.id: wait for wait in (*by_key, *by_name)}.values()
        near = [(wait, why) for wait in every if (why := _difference(wait, event)) is not None]
        near.sort(key=lambda pair: _order(pair[0], event))
        found[event.id] = near[:NEAR_MISSES]
    return found


def _order(wait: RunWait, event: Event) -> tuple[int, int]:
    """Return a sort key that is cheap, because routing compares many waits. The page of the event sorts the result."""
    key, wanted = event.correlation_key, wait.correlation_key
    if wanted in event.correlation_keys:
        return 0, 0
    return 1, uncommon_length(key, wanted)


def _newest_open(waits: QuerySet[RunWait], name: str) -> Iterable[RunWait]:
    return waits.filter(event_name=name, status=WaitStatus.WAITING).order_by("-opened_at")[:READ_WAITS]


def _difference(wait: RunWait, event: Event) -> str | None:
    """Return the reason why the wait is a near miss, or None.

    The reason contains no key, because redaction can hide keys.
    """
    same_name, same_key = wait.event_name == event.event_type, wait.correlation_key in event.correlation_keys
    is_open = wait.status == WaitStatus.WAITING
    if same_name and same_key and not is_open:
        return f"the wait had closed: {wait.get_status_display().lower()}"
    if same_name and not same_key and is_open:
        return "the wait has another key" if event.correlation_keys else "the wait has a key, but this event has none"
    if same_key and not same_name and is_open:
        return f"the wait has this key, but waits for {wait.event_name}"
    return None

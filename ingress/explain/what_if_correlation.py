"""Effect that other correlation paths would have on stored events. This module only reads.

Source: docs/reference/events.md#what-if
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Q

from ingress.dispatch.routing import open_waits
from ingress.intake.correlation import Correlation, correlate_event
from ingress.intake.correlation_config import Paths, parse_correlation_paths
from workflows.errors import InputInvalid
from workflows.event_redaction import EventRedaction
from workflows.models import Event, RunWait
from workflows.models.read_only import reading_only
from workflows.redaction import HIDDEN, Rules, rules_of

MAX_EVENTS = 5_000
SHOWN_CHANGES = 200
# Maximum number of events in memory at the same time. It is small because payloads are large.
_SLICE = 100
_FIELDS = (
    "id", "tenant_id", "event_id", "event_type", "payload", "workflow_correlation_key", "correlation_keys",
    "correlation_trace", "received_at",
)  # fmt: skip


@dataclass
class _Comparison:
    """Differences found so far. `waits` are open waits that events would reach only with their new keys."""

    rules: Rules
    counts: Counter[str] = field(default_factory=Counter)
    changes: list[dict[str, Any]] = field(default_factory=list)
    waits: set[uuid.UUID] = field(default_factory=set)


def correlation_what_if(*, tenant_id: uuid.UUID, paths: Any, last: Any = 1000) -> dict[str, Any]:
    """Compare the keys of the tenant's last events with the keys that these paths would have given.

    The check uses `paths` instead of the tenant's whole event catalogue. For types that are not in `paths`, the
    environment's paths apply. A path can lead to any value of a payload. If the tenant's rules hide this value, its key
    is shown as `[redacted]`.

    Shapes: `looked_at`, `counts {same, changed, gained, lost}`, `open_waits`, `changes [{id, event_id, event_type,
    received_at, change, before, after, open_waits}]` newest first, `has_more_changes`.
    Errors: InputInvalid CORRELATION_PATHS_INVALID, or VALIDATION_ERROR for `last`.
    Cost: one statement per slice of events, and one more per slice in which an event would get a new key.
    """
    parsed = _parse(paths)
    if isinstance(last, bool) or not isinstance(last, int) or not 1 <= last <= MAX_EVENTS:
        raise InputInvalid(f"`last` must be a whole number from 1 to {MAX_EVENTS}.", details={"maximum": MAX_EVENTS})
    looked_at = 0
    with reading_only():
        comparison = _Comparison(rules_of(tenant_id))
        for events in _slices(tenant_id, last):
            looked_at += len(events)
            _compare(tenant_id, events, parsed, comparison)
    return {
        "looked_at": looked_at,
        "counts": {name: comparison.counts[name] for name in ("same", "changed", "gained", "lost")},
        "open_waits": len(comparison.waits),
        "changes": comparison.changes[:SHOWN_CHANGES],
        "has_more_changes": len(comparison.changes) > SHOWN_CHANGES,
    }


def _parse(paths: Any) -> Paths:
    try:
        return parse_correlation_paths(json.dumps(paths))
    except ValueError as error:
        raise InputInvalid(f"The correlation paths are invalid: {error}", code="CORRELATION_PATHS_INVALID") from error


def _slices(tenant_id: uuid.UUID, last: int) -> Iterator[list[Event]]:
    """Yield the last events, newest first.

    `iterator` would read all payloads at once, because the portal turns server-side cursors off.
    """
    rows = Event.objects.filter(tenant_id=tenant_id, occupies_id=True).order_by("-received_at", "-id").only(*_FIELDS)
    left, older = last, Q()
    while left > 0:
        size = min(_SLICE, left)
        events = list(rows.filter(older)[:size])
        if events:
            yield events
        if len(events) < size:
            return
        left -= size
        end = events[-1]
        older = Q(received_at__lt=end.received_at) | Q(received_at=end.received_at, id__lt=end.id)
        older &= Q(received_at__lte=end.received_at)  # redundant, but lets PostgreSQL use the index


def _compare(tenant_id: uuid.UUID, events: Sequence[Event], paths: Paths, comparison: _Comparison) -> None:
    changed: list[tuple[Event, Correlation]] = []
    for event in events:
        correlation = correlate_event(
            event_type=event.event_type,
            payload=event.payload,
            envelope_key=event.workflow_correlation_key or None,
            tenant_paths=paths,
            environment_paths=settings.EVENT_CORRELATION_PATHS,
        )
        if correlation.keys == event.correlation_keys:
            comparison.counts["same"] += 1
        else:
            changed.append((event, correlation))
    reached = _waits_reached(tenant_id, changed)
    for event, correlation in changed:
        before, after = event.correlation_keys, correlation.keys
        change = "gained" if not before else "lost" if not after else "changed"
        comparison.counts[change] += 1
        comparison.waits |= reached[event.id]
        if len(comparison.changes) <= SHOWN_CHANGES:
            redaction = EventRedaction(event, comparison.rules)
            hidden = redaction.hidden_keys(correlation.trace)
            comparison.changes.append(
                {
                    "id": event.id,
                    "event_id": event.event_id,
                    "event_type": event.event_type,
                    "received_at": event.received_at,
                    "change": change,
                    "before": [HIDDEN if key in hidden else redaction.key(key) for key in before],
                    "after": [HIDDEN if key in hidden else redaction.key(key) for key in after],
                    "open_waits": len(reached[event.id]),
                }
            )


def _waits_reached(
    tenant_id: uuid.UUID, changed: Sequence[tuple[Event, Correlation]]
) -> dict[uuid.UUID, set[uuid.UUID]]:
    """For each event, return the open waits that routing would find only with the event's new keys."""
    new = {event.id: set(correlation.keys) - set(event.correlation_keys) for event, correlation in changed}
    gaining = [event for event, _ in changed if new[event.id]]
    waits = open_waits(tenant_id, {event.event_type for event in gaining}, set().union(*new.values()))
    places: dict[tuple[str, str], list[RunWait]] = {}
    for wait in waits:
        places.setdefault((wait.event_name, wait.correlation_key), []).append(wait)
    return {
        event.id: {
            wait.id
            for key in new[event.id]
            for wait in places.get((event.event_type, key), ())
            if wait.run.event_id != event.id  # an event is no candidate for the run that it started
        }
        for event, _ in changed
    }

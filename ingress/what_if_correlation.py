"""What another correlation configuration would have changed over events that came in already (PRODUCT 5.8). Reads only."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from ingress.correlation import correlate_event
from ingress.correlation_config import Paths, parse_correlation_paths
from ingress.read_only import reading_only
from ingress.routing_plan import plan_event_routes
from workflows.errors import InputInvalid
from workflows.models import Event

MAX_EVENTS = 5_000
SHOWN_CHANGES = 200
_SLICE = 200
_READ = (
    "id", "tenant_id", "event_id", "event_type", "payload", "workflow_correlation_key", "correlation_keys", "received_at",
)  # fmt: skip


@dataclass
class _Seen:
    """`waits` are the open waits that keys would meet which their events do not have now."""

    counts: Counter[str] = field(default_factory=Counter)
    changes: list[dict[str, Any]] = field(default_factory=list)
    waits: set[uuid.UUID] = field(default_factory=set)


def correlation_what_if(*, tenant_id: uuid.UUID, paths: Any, last: Any = 1000) -> dict[str, Any]:
    """The tenant's last events with the keys that they have, and those that these paths would have given.

    `paths` stand for the whole of the tenant's catalogue; what it leaves out is as the environment says.
    Shapes: `looked_at`, `counts {same, changed, gained, lost}`, `open_waits`, `changes [{id, event_id, event_type,
    received_at, change, before, after, open_waits}]` newest first, `has_more_changes`.
    Errors: InputInvalid CORRELATION_PATHS_INVALID, or for `last`.
    """
    read = _read_paths(paths)
    if isinstance(last, bool) or not isinstance(last, int) or not 1 <= last <= MAX_EVENTS:
        raise InputInvalid(f"`last` must be a whole number from 1 to {MAX_EVENTS}", details={"maximum": MAX_EVENTS})
    seen = _Seen()
    looked_at = 0
    with reading_only():
        events = Event.objects.filter(tenant_id=tenant_id, occupies_id=True).order_by("-received_at", "-id")
        for slice_ in _slices(events.only(*_READ)[:last].iterator(chunk_size=_SLICE)):
            looked_at += len(slice_)
            _look(slice_, read, seen)
    return {
        "looked_at": looked_at,
        "counts": {name: seen.counts[name] for name in ("same", "changed", "gained", "lost")},
        "open_waits": len(seen.waits),
        "changes": seen.changes[:SHOWN_CHANGES],
        "has_more_changes": len(seen.changes) > SHOWN_CHANGES,
    }


def _read_paths(paths: Any) -> Paths:
    try:
        return parse_correlation_paths(json.dumps(paths))
    except ValueError as error:
        raise InputInvalid(f"the correlation paths are wrong: {error}", code="CORRELATION_PATHS_INVALID") from error


def _slices(events: Iterable[Event]) -> Iterable[list[Event]]:
    held: list[Event] = []
    for event in events:
        held.append(event)
        if len(held) == _SLICE:
            yield held
            held = []
    if held:
        yield held


def _look(events: list[Event], paths: Paths, seen: _Seen) -> None:
    changed: list[tuple[Event, list[str], list[str]]] = []
    for event in events:
        correlation = correlate_event(
            event_type=event.event_type,
            payload=event.payload,
            envelope_key=event.workflow_correlation_key or None,
            tenant_paths=paths,
            environment_paths=settings.EVENT_CORRELATION_PATHS,
        )
        before = list(event.correlation_keys)
        if correlation.keys == before:
            seen.counts["same"] += 1
        else:
            changed.append((event, before, correlation.keys))
    met = _waits_met(changed)
    for event, before, after in changed:
        change = "gained" if not before else "lost" if not after else "changed"
        seen.counts[change] += 1
        seen.waits |= met[event.id]
        if len(seen.changes) <= SHOWN_CHANGES:
            seen.changes.append(
                {
                    "id": event.id,
                    "event_id": event.event_id,
                    "event_type": event.event_type,
                    "received_at": event.received_at,
                    "change": change,
                    "before": before,
                    "after": after,
                    "open_waits": len(met[event.id]),
                }
            )


def _waits_met(changed: list[tuple[Event, list[str], list[str]]]) -> dict[uuid.UUID, set[uuid.UUID]]:
    """For each event the open waits that routing would find under keys which it does not have now."""
    for event, before, after in changed:
        event.correlation_keys = [key for key in after if key not in before]
    plans = plan_event_routes([event for event, _, _ in changed])
    return {plan.event.id: {wait.id for wait in plan.waits} for plan in plans}

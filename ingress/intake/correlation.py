"""Correlation keys of an event, with a trace of the search for them. Pure.

The search order:

1. the envelope's key
2. `payload.workflowCorrelationKey`
3. `payload.correlationKey`
4. the configured paths of the event type, then the configured paths of `*`; every value that is found is a key

The event id is never a key.

Source: docs/reference/events.md#correlation
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingress.intake.correlation_config import ANY_EVENT
from workflows.engine.filters import MISSING, value_at
from workflows.engine.keys import MAX_KEY_BYTES, correlation_key
from workflows.statuses import CorrelationStatus

EXPLICIT_FIELDS = ("workflowCorrelationKey", "correlationKey")


@dataclass(frozen=True)
class Correlation:
    """Result of the search for keys.

    Shapes: `trace` has one object for each place that was searched: `{source, path, found, key?, note}`.
    """

    status: CorrelationStatus
    reason: str
    keys: list[str]
    trace: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.keys[0] if self.keys else ""


def correlate_event(
    *,
    event_type: str,
    payload: Any,
    envelope_key: Any = None,
    tenant_paths: Mapping[str, Sequence[str]],
    environment_paths: Mapping[str, Sequence[str]],
) -> Correlation:
    """Find the keys of an event.

    A tenant's entry for an event type (or for `*`) replaces the environment's entry for the same name.
    """
    trace: list[dict[str, Any]] = []
    for source, path, value in _explicit_places(payload, envelope_key):
        key = _key_at(trace, source, path, value)
        if key is not None:
            return Correlation(CorrelationStatus.EXPLICIT, "", [key], trace)
    keys: list[str] = []
    paths = [
        (f"{source} for {name}", path)
        for name in (event_type, ANY_EVENT)
        for source, path in _configured(name, tenant_paths, environment_paths)
    ]
    for source, path in paths:
        key = _key_at(trace, source, f"payload.{_inside(path)}", value_at(payload, _inside(path)))
        if key is not None and key not in keys:
            keys.append(key)
    if keys:
        return Correlation(CorrelationStatus.DERIVED, "", keys, trace)
    if not paths:
        reason = f"no key was sent, and no correlation path is configured for {event_type} or {ANY_EVENT}"
    else:
        reason = "no key was sent, and no configured path leads to one: " + ", ".join(path for _, path in paths)
    return Correlation(CorrelationStatus.MISSING, reason[:500], [], trace)


def _explicit_places(payload: Any, envelope_key: Any) -> list[tuple[str, str, Any]]:
    places = [("envelope", "workflow_correlation_key", MISSING if envelope_key is None else envelope_key)]
    places += [("payload", f"payload.{name}", value_at(payload, name)) for name in EXPLICIT_FIELDS]
    return places


def _configured(
    name: str, tenant_paths: Mapping[str, Sequence[str]], environment_paths: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    if name in tenant_paths:
        return [("event catalogue", path) for path in tenant_paths[name]]
    return [("environment", path) for path in environment_paths.get(name, ())]


def _inside(path: str) -> str:
    return path.removeprefix("payload.")


def _key_at(trace: list[dict[str, Any]], source: str, path: str, value: Any) -> str | None:
    key = None if value is MISSING else correlation_key(value)
    entry: dict[str, Any] = {"source": source, "path": path, "found": key is not None}
    if key is not None:
        entry["key"] = key
        entry["note"] = "used as a key"
    elif value is MISSING:
        entry["note"] = "no value"
    else:
        entry["note"] = f"not a key: {_why_no_key(value)}"
    trace.append(entry)
    return key


def _why_no_key(value: Any) -> str:
    """Return the reason why a value is no key. It omits the value, because every reader of the event sees the trace."""
    if value is None:
        return "the value is null"
    if isinstance(value, dict | list):
        return f"the value is {'an object' if isinstance(value, dict) else 'an array'}"
    if isinstance(value, str):
        return f"the text is empty or longer than {MAX_KEY_BYTES} bytes"
    return "the number has too many digits for a key"

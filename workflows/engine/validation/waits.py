"""Check that an event can have a correlation key, so that it can reach a wait."""

from collections.abc import Iterator
from typing import Any

from workflows.engine.sizes import list_index
from workflows.engine.validation.known import Known, KnownEvent
from workflows.engine.validation.problems import Finding, Place
from workflows.engine.validation.scopes import Scopes, event_type
from workflows.engine.validation.tree import StepNode, all_steps
from workflows.engine.validation.types import Type

# Fields of a payload in which a sender can give a key itself.
_EXPLICIT = ("workflowCorrelationKey", "correlationKey")


def wait_findings(steps: list[StepNode], scopes: Scopes, known: Known) -> Iterator[Finding]:
    """Yield a warning for each wait on an event for which no correlation path leads to a key."""
    for node in all_steps(steps):
        for name, place in _event_names(node):
            event = known.event_of(name)
            reason = None if event is None else _reason(name, event, scopes, known)
            if reason is not None:
                message = (
                    f"{reason}; only an event whose sender gives the key itself reaches this wait; add a correlation "
                    f"path for {name} to the event catalogue"
                )
                yield Finding("WAIT_UNKEYED", place, message)


def _event_names(node: StepNode) -> Iterator[tuple[str, Place]]:
    complete_on = node.config.get("completeOn") if node.type == "human.task" else None
    places: list[tuple[Any, Place]] = [(node.config.get("eventName"), (*node.config_place, "eventName"))]
    if isinstance(complete_on, dict):
        places = [(complete_on.get("eventName"), (*node.config_place, "completeOn", "eventName"))]
    elif node.type != "event.wait":
        return
    yield from ((name, place) for name, place in places if isinstance(name, str))


def _reason(name: str, event: KnownEvent, scopes: Scopes, known: Known) -> str | None:
    if not event.paths:
        return f"no correlation path is configured for the event {name!r}"
    payload = event_type(name, known, scopes.types)
    paths = [path.removeprefix("payload.") for path in event.paths]
    if any(_can_exist(payload, path, scopes) for path in (*paths, *_EXPLICIT)):
        return None
    return f"the payload schema of the event {name!r} has none of its correlation paths {', '.join(event.paths)}"


def _can_exist(payload: Type, path: str, scopes: Scopes) -> bool:
    found: Type | None = payload
    for name in path.split("."):
        if found is None or found.names is None:
            return found is not None
        if list_index(name) is not None and "array" in found.names:
            return True
        found = scopes.types.property(found, name)
    return found is not None and not found.excludes(frozenset({"string", "number", "boolean"}))

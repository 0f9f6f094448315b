"""Names that a definition document refers to, with their places. The document need not be valid."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workflows.bundles.steps import steps_of
from workflows.engine.secret_places import secret_references


class Referred(StrEnum):
    """Kinds of names that a definition can refer to."""

    ACTION = "action"
    EVENT_TYPE = "event_type"
    SCHEMA = "schema"
    SECRET = "secret"  # noqa: S105  a kind, not a value


@dataclass(frozen=True)
class Reference:
    """Reference to a name. Only a reference to an action has a version.

    `path` is the path of the step, or the field of the envelope.
    """

    kind: Referred
    name: str
    path: str
    version: int | None = None


def definition_references(document: Any) -> list[Reference]:
    """Return the references of a definition document, in the document's order."""
    if not isinstance(document, dict):
        return []
    found = list(_envelope(document))
    for path, step in steps_of(document):
        config = step.get("config")
        if isinstance(config, dict):
            found += _step(step.get("type"), config, path)
    return [reference for reference in found if isinstance(reference.name, str)]


def _envelope(document: dict[str, Any]) -> Iterator[Reference]:
    yield Reference(Referred.SCHEMA, document.get("payloadSchemaRef", ""), "payloadSchemaRef")
    trigger = document.get("trigger")
    if isinstance(trigger, dict):
        yield Reference(Referred.EVENT_TYPE, trigger.get("eventName", ""), "trigger")
        yield Reference(Referred.SCHEMA, trigger.get("sourcePayloadSchemaRef", ""), "trigger")


def _step(kind: Any, config: dict[str, Any], path: str) -> Iterator[Reference]:
    if kind == "action.call":
        version = config.get("version")
        yield Reference(
            Referred.ACTION, config.get("actionId", ""), path, version if isinstance(version, int) else None
        )
        for _segments, name in secret_references(config.get("inputMapping")):
            yield Reference(Referred.SECRET, name, path)
    elif kind == "event.wait":
        yield Reference(Referred.EVENT_TYPE, config.get("eventName", ""), path)
    elif kind == "human.task" and isinstance(config.get("completeOn"), dict):
        yield Reference(Referred.EVENT_TYPE, config["completeOn"].get("eventName", ""), path)

"""Everything that the definitions of a workflow need from the tenant. Pure functions.

Source: docs/reference/language.md#bundles
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from workflows.bundles.steps import steps_of
from workflows.engine.secret_places import secret_references


@dataclass
class Dependencies:
    """Names that definitions refer to. `children` does not contain versions."""

    actions: set[tuple[str, int]] = field(default_factory=set)
    step_types: set[str] = field(default_factory=set)
    schema_refs: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    event_names: set[str] = field(default_factory=set)
    children: set[tuple[str, int]] = field(default_factory=set)

    def as_bundle(self) -> dict[str, Any]:
        """Return the `dependencies` of a workflow in a bundle."""
        return {
            "actions": [{"actionId": name, "version": version} for name, version in sorted(self.actions)],
            "nodeTypes": sorted(self.step_types),
            "schemaRefs": sorted(self.schema_refs),
        }


def dependencies_of(documents: Iterable[dict[str, Any]]) -> Dependencies:
    """Return the dependencies of unchecked definitions. A value with an invalid shape is ignored."""
    found = Dependencies()
    for document in documents:
        trigger = _object(document.get("trigger"))
        _add(found.schema_refs, document.get("payloadSchemaRef"), trigger.get("sourcePayloadSchemaRef"))
        _add(found.event_names, trigger.get("eventName"))
        for _, step in steps_of(document):
            _add_step(found, step)
    return found


def _add_step(found: Dependencies, step: dict[str, Any]) -> None:
    kind, config = step.get("type"), _object(step.get("config"))
    _add(found.step_types, kind)
    if kind == "action.call":
        if isinstance(config.get("actionId"), str) and _is_whole(config.get("version")):
            found.actions.add((config["actionId"], config["version"]))
        found.secrets |= {name for _, name in secret_references(config.get("inputMapping"))}
    elif kind == "control.callWorkflow":
        if isinstance(step.get("workflowId"), str) and _is_whole(step.get("workflowVersion")):
            found.children.add((step["workflowId"], step["workflowVersion"]))
    elif kind == "event.wait":
        _add(found.event_names, config.get("eventName"))
    elif kind == "human.task":
        _add(found.event_names, _object(config.get("completeOn")).get("eventName"))


def _add(names: set[str], *values: Any) -> None:
    names |= {value for value in values if isinstance(value, str) and value}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

"""Types of the values that expressions read: the payload, and variables that steps write.

The type of a variable is the union of all values that any step of the definition writes to it, in whatever order. So a
loop or a branch cannot make it wrong.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.expressions.contract import ExpressionError
from workflows.engine.expressions.outline import Outline, outline_of
from workflows.engine.mapping import EXPRESSION_KEY, is_expression
from workflows.engine.scope import LOOP_NAMES
from workflows.engine.validation.known import Known
from workflows.engine.validation.tree import StepNode, all_steps
from workflows.engine.validation.types import (
    ANY,
    JSON_TYPES,
    SchemaTypes,
    Type,
    property_names,
    type_of_name,
    type_of_value,
    union,
)
from workflows.engine.validation.uses import Write, catch_writes, item_writes, step_writes

# Names in the `event` of a trigger mapping, and the key of `Scopes.roots` for the payload of this event.
EVENT_NAMES = ("name", "correlationKey", "payload", "payloadSchemaRef")
EVENT_PAYLOAD = "event.payload"
# A variable can have the value of another variable, and so on. A longer chain is not followed.
MAX_CHAIN = 50
SCOPES = ("payload", "vars", "local", "meta", "system", "error")
SYSTEM_NAMES = (
    "runId",
    "workflowId",
    "workflowVersion",
    "tenantId",
    "definitionHash",
    "semanticsVersion",
    "parentRunId",
    "rootRunId",
)
_SYSTEM = {"type": "object", "properties": {name: {} for name in SYSTEM_NAMES}, "additionalProperties": False}


@dataclass(frozen=True)
class Missing:
    """Part of a path that no value can have: the path up to it, and the names that exist there."""

    path: tuple[str, ...]
    known: list[str]


@dataclass
class Scopes:
    """Types of the names that expressions see at one kind of place.

    `roots` has the types of the scopes. `variables` has what is written to each variable. A name in `hidden` has
    another value than its variable, so nothing is known about it.
    """

    types: SchemaTypes
    roots: dict[str, Type] = field(default_factory=dict)
    variables: dict[str, list[Any]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    _found: dict[str, Type] = field(default_factory=dict)
    _depth: int = 0

    def type_of(self, value: Any) -> Type:
        """Return the type of an author's value, which may be an expression."""
        if is_expression(value):
            outline = outline_or_none(value[EXPRESSION_KEY])
            return ANY if outline is None else self.of(outline)
        return ANY if isinstance(value, dict) and EXPRESSION_KEY in value else type_of_value(value)

    def of(self, outline: Outline) -> Type:
        """Return the type of the value of an outline."""
        if outline.kind in JSON_TYPES:
            return type_of_name(outline.kind)
        if outline.kind == "arithmetic":
            return type_of_name("number")
        if outline.kind == "choice":
            return union([self.of(part) for part in outline.parts[-outline.choices :]])
        if outline.kind == "read" and outline.is_whole:
            found = self.read(outline.path)
            return ANY if isinstance(found, Missing) else found
        return ANY

    def read(self, path: tuple[str, ...]) -> Type | Missing:
        """Return the type of the value at a path from the scope."""
        if path[0] == "vars" and len(path) > 1:
            return self._below(self.variable(path[1]), path, 2)
        if EVENT_PAYLOAD in self.roots and path[0] == "event":
            return self._event(path)
        if path[0] in self.roots:
            return self._below(self.roots[path[0]], path, 1)
        if path[0] in SCOPES or path[0] in self.hidden:
            return ANY
        return self._below(self.variable(path[0]), path, 1)

    def _event(self, path: tuple[str, ...]) -> Type | Missing:
        if len(path) > 1 and path[1] not in EVENT_NAMES:
            return Missing(path[:2], list(EVENT_NAMES))
        return self._below(self.roots[EVENT_PAYLOAD], path, 2) if path[1:2] == ("payload",) else ANY

    def variable(self, name: str) -> Type:
        if name not in self._found:
            self._found[name] = ANY  # a variable whose value depends on itself, or on a long chain of others
            if self._depth < MAX_CHAIN:
                self._depth += 1
                self._found[name] = union([self._written(write) for write in self._whole(name)])
                self._depth -= 1
        return self._found[name]

    def _written(self, write: Write) -> Type:
        if write.type is not None:
            return write.type
        found = self.type_of(write.value)
        return self.types.items(found) if write.is_element else found

    def _whole(self, name: str) -> list[Write]:
        """Return the writes to a variable, or none if a write changes only a part of its value."""
        writes: list[Write] = self.variables.get(name, [])
        return writes if all(len(write.path) == 1 for write in writes) else []

    def _below(self, value: Type, path: tuple[str, ...], used: int) -> Type | Missing:
        for count, name in enumerate(path[used:], used):
            found = self.types.property(value, name)
            if found is None:
                return Missing(path[: count + 1], property_names(value))
            value = found
        return value


def run_scopes(document: dict[str, Any], steps: list[StepNode], known: Known, types: SchemaTypes) -> Scopes:
    """Return the scopes that the expressions of steps see."""
    scopes = Scopes(types, hidden={*LOOP_NAMES, "childRun"})
    scopes.roots = {"payload": payload_type(document, known, types), "system": types.whole(_SYSTEM)}
    for node in all_steps(steps):
        made = output_of(node, known), event_type(node.config.get("eventName"), known, types)
        for write in [*step_writes(node, types, *made), *catch_writes(node), *item_writes(node)]:
            if write.root == "vars":
                scopes.variables.setdefault(write.path[0], []).append(write)
            elif write.root == "local":
                scopes.hidden.add(write.path[0])
            else:
                scopes.roots[write.root] = ANY
    return scopes


def trigger_scopes(document: dict[str, Any], known: Known, types: SchemaTypes) -> Scopes:
    """Return the scopes that the mapping of a trigger sees: only `event`."""
    trigger = document.get("trigger")
    name = trigger.get("eventName") if isinstance(trigger, dict) else None
    return Scopes(types, roots={EVENT_PAYLOAD: event_type(name, known, types)})


def event_type(name: Any, known: Known, types: SchemaTypes) -> Type:
    """Return the type of the payload of an event. The intake has checked it with the schema in the event catalogue."""
    event = known.event_of(name) if isinstance(name, str) else None
    return ANY if event is None else schema_type(event.payload_schema_ref, known, types)


def payload_type(document: dict[str, Any], known: Known, types: SchemaTypes) -> Type:
    """Return the type of the payload of a run."""
    return schema_type(document.get("payloadSchemaRef"), known, types)


def schema_type(ref: Any, known: Known, types: SchemaTypes) -> Type:
    linked = known.schema_of(ref) if isinstance(ref, str) else None
    return ANY if linked is None else types.of(linked.root, linked)


def output_of(node: StepNode, known: Known) -> dict[str, Any] | None:
    """Return the JSON Schema of the output of the action that a step calls."""
    action_id, version = node.config.get("actionId"), node.config.get("version")
    if not isinstance(action_id, str) or not isinstance(version, int):
        return None
    return known.output_of(action_id, version)


def outline_or_none(source: str) -> Outline | None:
    """Return the outline of a source, or None if it does not compile. The check of the field reports why."""
    try:
        return outline_of(source)
    except ExpressionError:
        return None

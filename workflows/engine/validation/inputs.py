"""Check of the values that a step passes on: missing required fields, and values whose JSON type cannot fit."""

import difflib
from collections.abc import Iterator
from typing import Any

from workflows.engine.action_fields import InputFields
from workflows.engine.expressions.contract import constant_values
from workflows.engine.expressions.outline import Outline
from workflows.engine.mapping import EXPRESSION_KEY, is_expression
from workflows.engine.secret_places import SECRET_KEY
from workflows.engine.validation.known import Known
from workflows.engine.validation.problems import Finding, Near, Place, shown
from workflows.engine.validation.scopes import Scopes, outline_or_none, payload_type
from workflows.engine.validation.tree import StepNode, all_steps
from workflows.engine.validation.types import Type, required_names
from workflows.engine.validation.uses import Read, step_reads, step_writes

_KEY = frozenset({"string", "number", "boolean"})
_TIME = frozenset({"string", "number"})
_DURATION = frozenset({"number"})
_TEXT = frozenset({"string"})
# JSON types that a field of a step accepts from an expression, by step type and path in the step's fields.
_EXPECTED: dict[str, dict[tuple[str, ...], frozenset[str]]] = {
    "control.if": {("condition",): frozenset({"boolean"})},
    "control.forEach": {("items",): frozenset({"array"})},
    "event.wait": {("correlationKey",): _KEY, ("timeoutMs",): _DURATION, ("deadline",): _TIME},
    "time.wait": {("durationMs",): _DURATION, ("until",): _TIME},
    "human.task": {
        ("title",): _TEXT,
        ("description",): _TEXT,
        ("dueInMs",): _DURATION,
        ("deadline",): _TIME,
        ("completeOn", "correlationKey"): _KEY,
    },
    "action.call": {("idempotencyKey",): _KEY},
}
# The check of these fields checks the value of a constant expression.
_CONSTANT_CHECKED = frozenset({"timeoutMs", "deadline", "durationMs", "until", "dueInMs"})


def input_findings(steps: list[StepNode], scopes: Scopes, known: Known) -> Iterator[Finding]:
    """Yield the problems of conditions, keys, times and inputs whose types are known."""
    for node in all_steps(steps):
        for path, wanted in _EXPECTED.get(node.type, {}).items():
            value: Any = node.config
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if is_expression(value) and not (path[-1] in _CONSTANT_CHECKED and constant_values(value[EXPRESSION_KEY])):
                yield from _mismatch(value, wanted, (*node.config_place, *path), ".".join(path), scopes)
        for read in _all_reads(node, scopes):
            yield from _arithmetic(read, scopes)
        if node.type == "action.call":
            yield from _action_input(node, scopes, known)
        elif node.type == "control.callWorkflow":
            yield from _child_input(node, scopes, known)


def trigger_input_findings(document: dict[str, Any], scopes: Scopes, known: Known) -> Iterator[Finding]:
    """Yield the problems of the payload that the mapping of a trigger makes."""
    trigger = document.get("trigger")
    mapping = trigger.get("payloadMapping") if isinstance(trigger, dict) else None
    if isinstance(mapping, dict):
        wanted = payload_type(document, known, scopes.types)
        yield from _payload(mapping, wanted, ("trigger", "payloadMapping"), "the payload schema", scopes, dotted=True)


def _all_reads(node: StepNode, scopes: Scopes) -> Iterator[Read]:
    yield from step_reads(node)
    for write in step_writes(node, scopes.types):
        yield from write.reads


# -- Expressions -------------------------------------------------------------------------------------------------------


def _mismatch(value: Any, wanted: frozenset[str], place: Place, what: str, scopes: Scopes) -> Iterator[Finding]:
    found = scopes.type_of(value)
    if found.excludes(wanted):
        outline = outline_or_none(value[EXPRESSION_KEY]) if is_expression(value) else None
        message = (
            f"{what} must be {Type(wanted).described()}, but the value here is always {found.described()}; "
            "change the value"
        )
        yield Finding("TYPE_MISMATCH", place, message, offset=None if outline is None else outline.position)


def _arithmetic(read: Read, scopes: Scopes) -> Iterator[Finding]:
    outline = outline_or_none(read.source)
    for node in () if outline is None else outline.walk():
        for part in node.parts if node.kind == "arithmetic" else ():
            yield from _operand(part, read, scopes)


def _operand(part: Outline, read: Read, scopes: Scopes) -> Iterator[Finding]:
    found = scopes.of(part)
    if found.excludes(_DURATION):
        message = f"arithmetic needs numbers, but this operand is always {found.described()}; use & to join texts"
        yield Finding("TYPE_MISMATCH", read.place, message, offset=part.position)


# -- Inputs of actions, children and runs ------------------------------------------------------------------------------


def _action_input(node: StepNode, scopes: Scopes, known: Known) -> Iterator[Finding]:
    action_id, version = node.config.get("actionId"), node.config.get("version")
    if not isinstance(action_id, str) or not isinstance(version, int):
        return
    fields = known.action_fields.get((action_id, version))
    mapping = node.config.get("inputMapping")
    value = {} if mapping is None else mapping
    if fields is not None and isinstance(value, dict):
        yield from _fields(value, fields, (*node.config_place, "inputMapping"), action_id, scopes)


def _fields(value: Any, fields: InputFields, place: Place, what: str, scopes: Scopes) -> Iterator[Finding]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _fields(item, fields, (*place, index), what, scopes)
        return
    if not isinstance(value, dict) or EXPRESSION_KEY in value or SECRET_KEY in value:
        return
    for spellings in fields.required:
        if not any(name in value for name in spellings) and not _is_misspelt(value, fields, spellings):
            message = f"{what} needs the field {spellings[0]!r}, but the mapping does not have it; add the field"
            yield Finding("INPUT_MISSING", (*place, spellings[0]), message)
    for name, item in value.items():
        if name in fields.types and not (isinstance(item, dict) and SECRET_KEY in item):
            yield from _mismatch(item, fields.types[name], (*place, name), f"the field {shown(name)} of {what}", scopes)
        if name in fields.below:
            yield from _fields(item, fields.below[name], (*place, name), what, scopes)


def _is_misspelt(value: dict[str, Any], fields: InputFields, spellings: tuple[str, ...]) -> bool:
    """Return True if an unknown key is almost one of the spellings. It is then reported as unknown."""
    unknown = [name[: Near.MAX_NAME_LENGTH] for name in list(value)[:20] if name not in fields.names]
    return any(difflib.get_close_matches(name, spellings, n=1) for name in unknown)


def _child_input(node: StepNode, scopes: Scopes, known: Known) -> Iterator[Finding]:
    name, version = node.step.get("workflowId"), node.step.get("workflowVersion")
    mapping = node.step.get("inputMapping")
    if not isinstance(name, str) or not isinstance(version, int) or not isinstance(mapping, dict | None):
        return
    document = known.definition_of(name, version)
    if document is not None:
        wanted = payload_type(document, known, scopes.types)
        yield from _payload(mapping or {}, wanted, (*node.place, "inputMapping"), f"{name}@{version}", scopes)


def _payload(
    mapping: dict[str, Any], wanted: Type, place: Place, what: str, scopes: Scopes, *, dotted: bool = False
) -> Iterator[Finding]:
    """Check a mapping that makes a payload. With `dotted`, a key such as `ticket.id` makes an object."""
    if EXPRESSION_KEY in mapping or wanted.excludes(frozenset({"object"})):
        return
    given = {key.split(".")[0] if dotted else key for key in mapping}
    for name in required_names(wanted):
        if name not in given:
            message = f"{what} requires the field {name!r}, but the mapping does not have it; add the field"
            yield Finding("INPUT_MISSING", (*place, name), message)
    for key, item in mapping.items():
        names = key.split(".") if dotted else [key]
        found: Type | None = wanted
        for name in names:
            found = None if found is None else scopes.types.property(found, name)
        if found is not None and found.names is not None:
            yield from _mismatch(item, found.names, (*place, key), f"the field {shown(key)} of {what}", scopes)

"""Check of the names that expressions read: variables before any assignment, and paths that a schema excludes."""

from collections.abc import Iterator
from typing import Any

from workflows.engine.expressions.outline import Outline
from workflows.engine.scope import LOOP_NAMES
from workflows.engine.validation.problems import Finding, Near, Place
from workflows.engine.validation.scopes import SCOPES, Missing, Scopes, outline_or_none
from workflows.engine.validation.tree import StepNode, all_steps
from workflows.engine.validation.types import SchemaTypes
from workflows.engine.validation.uses import Read, Write, catch_writes, expressions_in, step_reads, step_writes


def variable_findings(steps: list[StepNode], scopes: Scopes, near: Near) -> Iterator[Finding]:
    """Yield a warning for each read of a variable that no step before it can have written."""
    yield from _Order(scopes, near).block(steps, set(), frozenset())


def trigger_read_findings(document: dict[str, Any], scopes: Scopes, near: Near) -> Iterator[Finding]:
    """Yield the same warnings for the mapping of a trigger, which sees only `event`."""
    trigger = document.get("trigger")
    mapping = trigger.get("payloadMapping") if isinstance(trigger, dict) else None
    for read in expressions_in(mapping, ("trigger", "payloadMapping")):
        for node in _reads_of(read):
            if node.path[0] == "event":
                yield from _path(read.place, node, scopes, near)
            else:
                message = f"the expression reads {node.path[0]!r}, but the mapping of a trigger sees only 'event'"
                hint = near.hint(node.path[0], ["event"]) or "did you mean 'event.payload'?"
                yield Finding("VARIABLE_UNASSIGNED", read.place, message, hint, node.position)


class _Order:
    """Walk in the order of a run. `seen` has the variables that a step so far can have written."""

    def __init__(self, scopes: Scopes, near: Near) -> None:
        self._scopes = scopes
        self._near = near
        self._types = SchemaTypes()

    def block(self, block: list[StepNode], seen: set[str], local: frozenset[str]) -> Iterator[Finding]:
        for node in block:
            for read in step_reads(node):
                yield from self._read(read, seen, local)
            extra = local | {"childRun"} if node.type == "control.callWorkflow" else local
            for write in step_writes(node, self._types):
                for read in write.reads:
                    yield from self._read(read, seen, extra)
                seen |= _name(write)
            yield from self._blocks(node, seen, local)

    def _blocks(self, node: StepNode, seen: set[str], local: frozenset[str]) -> Iterator[Finding]:
        if node.type == "control.forEach":
            # A later step of the body may have written a variable in the iteration before.
            body = node.blocks.get("body", [])
            seen |= {name for inner in all_steps(body) for write in self._writes(inner) for name in _name(write)}
            item = {str(node.step.get("itemVar"))}
            yield from self.block(body, {*seen, *item}, local | {*LOOP_NAMES} | item)
            return
        for name, inner in node.blocks.items():
            if name == "catch":
                seen |= {name for write in catch_writes(node) for name in _name(write)}
            yield from self.block(inner, seen, local)

    def _writes(self, node: StepNode) -> list[Write]:
        return [*step_writes(node, self._types), *catch_writes(node)]

    def _read(self, read: Read, seen: set[str], local: frozenset[str]) -> Iterator[Finding]:
        for node in _reads_of(read):
            name = _variable(node.path)
            is_known = name is None or name in seen or (node.path[0] != "vars" and name in local)
            # `coalesce(vars.list, [])` before the first write is the way to begin a list.
            is_known = is_known or (node.has_default and name in self._scopes.variables)
            if is_known:
                yield from _path(read.place, node, self._scopes, self._near)
                continue
            message = (
                f"the expression reads the variable {name!r}, but no step before writes it, so it has no value; "
                "write the variable first, or correct the name"
            )
            known = [*seen, *local, *(SCOPES if node.path[0] != "vars" else ())]
            hint = self._near.hint(str(name), known)
            yield Finding("VARIABLE_UNASSIGNED", read.place, message, hint, node.position)


def _reads_of(read: Read) -> list[Outline]:
    outline = outline_or_none(read.source)
    return [] if outline is None else [node for node in outline.walk() if node.kind == "read"]


def _variable(path: tuple[str, ...]) -> str | None:
    """Return the name of the variable that a path reads, or None if it reads another scope."""
    if path[0] == "vars":
        return path[1] if len(path) > 1 else None
    return None if path[0] in SCOPES else path[0]


def _name(write: Write) -> set[str]:
    return {write.path[0]} if write.root in ("vars", "local") else set()


def _path(place: Place, node: Outline, scopes: Scopes, near: Near) -> Iterator[Finding]:
    found = scopes.read(node.path)
    if isinstance(found, Missing):
        where, name = ".".join(found.path[:-1]), found.path[-1]
        message = (
            f"the expression reads {'.'.join(found.path)}, but {where} never has the field {name!r}, so "
            f"it has no value; {where} has {', '.join(sorted(found.known)) or 'no fields'}"
        )
        yield Finding("PATH_UNKNOWN", place, message, near.hint(name, found.known), node.position)

"""Walk over a definition that checks the shape of the envelope and of every step, and that step ids differ.

Source: docs/reference/language.md#definition, docs/reference/language.md#step-fields
"""

from collections.abc import Iterator
from typing import Any

from workflows.engine.definition import BLOCK_FIELDS
from workflows.engine.step_fields import ENVELOPE, EXCLUSIVE, REQUIRED_BY, STEP_FIELDS
from workflows.engine.validation.field_checks import check_fields
from workflows.engine.validation.problems import Finding, Near, Place, below, path_of, shown

MAX_DEPTH = 20


def shape_findings(document: dict[str, Any], near: Near) -> Iterator[Finding]:
    """Yield the problems of the shape of a definition."""
    yield from check_fields(document, ENVELOPE, near)
    if isinstance(document.get("steps"), list):
        yield from _Steps(near).block(document["steps"], ("steps",), depth=1)


class _Steps:
    def __init__(self, near: Near) -> None:
        self._near = near
        self._seen_ids: dict[str, Place] = {}

    def block(self, steps: list[Any], place: Place, *, depth: int) -> Iterator[Finding]:
        if depth > MAX_DEPTH:
            message = f"the steps are nested deeper than {MAX_DEPTH} levels; move a part into a child workflow"
            yield Finding("NESTED_TOO_DEEP", place, message)
            return
        for index, step in enumerate(steps):
            yield from self._step(step, (*place, index), depth=depth)

    def _step(self, step: Any, place: Place, *, depth: int) -> Iterator[Finding]:
        if not isinstance(step, dict):
            yield Finding("FIELD_INVALID", place, f"a step must be a JSON object, but is {shown(step)}")
            return
        yield from self._identity(step, place)
        step_type = step.get("type")
        if not isinstance(step_type, str) or step_type not in STEP_FIELDS:
            message = f"the step type {shown(step_type)} does not exist; use a type of the language"
            yield Finding("STEP_TYPE_UNKNOWN", (*place, "type"), message, self._near.hint(str(step_type), STEP_FIELDS))
            return
        for finding in self._fields(step, step_type):
            yield finding._replace(place=(*place, *finding.place))
        for name in BLOCK_FIELDS.get(step_type, ()):
            if isinstance(step.get(name), list):
                yield from self.block(step[name], (*place, name), depth=depth + 1)

    def _fields(self, step: dict[str, Any], step_type: str) -> Iterator[Finding]:
        yield from check_fields(step, STEP_FIELDS[step_type], self._near)
        for first, second in EXCLUSIVE.get(step_type, ()):
            if _at(step, first) is not None and _at(step, second) is not None:
                message = f"{'.'.join(first)} and {'.'.join(second)} exclude each other; keep one of the two"
                yield Finding("FIELD_INVALID", second, message)
        config = step.get("config")
        if step_type in REQUIRED_BY and isinstance(config, dict):
            yield from below("config", _required_by(config, *REQUIRED_BY[step_type]))

    def _identity(self, step: dict[str, Any], place: Place) -> Iterator[Finding]:
        step_id = step.get("id")
        if not isinstance(step_id, str) or not step_id:
            return  # reported as a missing field
        if step_id in self._seen_ids:
            first, _ = path_of(self._seen_ids[step_id])
            message = f"the id {shown(step_id)} is already the id of {first}; each step needs its own id"
            yield Finding("STEP_ID_TWICE", (*place, "id"), message)
        self._seen_ids.setdefault(step_id, place)


def _required_by(config: dict[str, Any], decider: str, needed: dict[str, str]) -> Iterator[Finding]:
    choice = config.get(decider)
    name = needed.get(choice) if isinstance(choice, str) else None
    if name is not None and config.get(name) is None:
        yield Finding("FIELD_MISSING", (name,), f"{decider} {choice!r} needs {name}; add {name}")


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value

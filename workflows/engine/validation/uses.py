"""Expressions that a step evaluates and targets that it writes, in the order in which a run does so."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workflows.engine.definition import BLOCK_FIELDS
from workflows.engine.mapping import EXPRESSION_KEY, is_expression
from workflows.engine.scope import parse_target
from workflows.engine.secret_places import SECRET_KEY
from workflows.engine.validation.problems import Place
from workflows.engine.validation.tree import StepNode
from workflows.engine.validation.types import ANY, SchemaTypes, Type, type_of_name

_ASSIGNING = {"control.callWorkflow": "outputMapping"}
# Fields whose values are never evaluated.
_NO_EXPRESSIONS = frozenset(
    {
        *("formSchema", "presentation", "designerGroupKey", "designerTileKind", "designerAppKey"),
        *(name for names in BLOCK_FIELDS.values() for name in names),
    }
)
_TEXT = {"type": "string"}
_TIME_WAIT = {
    "type": "object",
    "properties": dict.fromkeys(("mode", "dueAt", "resumedAt"), _TEXT),
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Read:
    """Expression at a place."""

    place: Place
    source: str


@dataclass(frozen=True)
class Write:
    """Value that a step writes: the scope, the path inside the scope, and the value or its type.

    `value` is the author's value at `place`; it may contain expressions. If the step itself makes the value, `type`
    describes it. If `is_element` is True, the variable gets one element of the list `value` after the other.
    """

    root: str
    path: tuple[str, ...]
    place: Place = ()
    value: Any = None
    type: Type | None = None
    is_element: bool = False

    @property
    def reads(self) -> list[Read]:
        return list(expressions_in(self.value, self.place)) if self.type is None else []


def expressions_in(value: Any, place: Place) -> Iterator[Read]:
    """Yield each expression of a value, at any depth."""
    if is_expression(value):
        yield Read(place, value[EXPRESSION_KEY])
    elif isinstance(value, dict) and SECRET_KEY not in value:
        for key, item in value.items():
            yield from expressions_in(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions_in(item, (*place, index))


def step_reads(node: StepNode) -> Iterator[Read]:
    """Yield the expressions that the step evaluates before it writes."""
    skipped = {*_NO_EXPRESSIONS, _assigning(node)}
    for name, value in node.config.items():
        if name not in skipped:
            yield from expressions_in(value, (*node.config_place, name))


def step_writes(node: StepNode, types: SchemaTypes, output: Any = None, event: Type = ANY) -> Iterator[Write]:
    """Yield the values that the step writes, in order.

    `output` is the schema of the action's output, and `event` is the type of the payload of the event.
    """
    if node.type == "event.wait":
        yield Write("vars", ("event",), type=event)
        yield Write("vars", ("eventName",), type=type_of_name("string"))
    elif node.type == "time.wait":
        yield Write("vars", ("timeWait",), type=types.whole(_TIME_WAIT))
    elif node.type == "human.task":
        yield Write("vars", ("humanTask",), type=types.whole(_task_schema(node.config.get("formSchema"))))
        yield Write("vars", ("event",), type=ANY)
        yield Write("vars", ("eventName",), type=type_of_name("string"))
    elif node.type == "action.call":
        yield from _target(node.config.get("saveAs"), types.whole(output))
    name = _assigning(node)
    mapping = node.config.get(name)
    for target, value in mapping.items() if isinstance(mapping, dict) else ():
        root_and_path = _parsed(target)
        if root_and_path is not None:
            yield Write(*root_and_path, place=(*node.config_place, name, target), value=value)


def item_writes(node: StepNode) -> Iterator[Write]:
    """Yield the item that a loop writes to its variable."""
    name = node.step.get("itemVar")
    if node.type == "control.forEach" and isinstance(name, str):
        yield Write("vars", (name,), value=node.step.get("items"), is_element=True)


def catch_writes(node: StepNode) -> Iterator[Write]:
    """Yield the value that a `control.tryCatch` writes before its `catch`."""
    yield from _target(node.step.get("captureErrorAs"), type_of_name("object"))


def _assigning(node: StepNode) -> str:
    return _ASSIGNING.get(node.type, "assign")


def _target(target: Any, found: Type) -> Iterator[Write]:
    root_and_path = _parsed(target)
    if root_and_path is not None:
        yield Write(*root_and_path, type=found)


def _parsed(target: Any) -> tuple[str, tuple[str, ...]] | None:
    try:
        read = parse_target(target) if isinstance(target, str) else None
    except ValueError:
        return None  # reported by the check of the field
    return None if read is None else (read.root, read.segments)


def _task_schema(form: Any) -> dict[str, Any]:
    """Return the schema of `vars.humanTask`. References inside a form do not resolve here, so its type is unknown."""
    response = form if isinstance(form, dict) and "$ref" not in str(form) else {}
    texts = dict.fromkeys(("taskId", "completedBy", "completedAt"), _TEXT)
    return {"type": "object", "properties": {**texts, "response": response}, "additionalProperties": False}

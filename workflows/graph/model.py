"""Steps of a definition document as a tree of nodes, with a text for everything that is not a step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workflows.engine.definition import BLOCK_FIELDS, ROOT
from workflows.engine.step_fields import STEP_FIELDS
from workflows.engine.validation.shape import MAX_DEPTH
from workflows.graph.wording import about_step, plain, start_text

# More nodes make a picture that no person reads and that no browser draws quickly.
MAX_NODES = 2_000
LOOP, TRY, NOTE, UNKNOWN = "control.forEach", "control.tryCatch", "note", "unknown"


@dataclass(frozen=True)
class Side:
    """Block inside a step. `path` is the path of the block, `name` its field: then, else, body, try or catch."""

    name: str
    path: str
    nodes: tuple["Node", ...]


@dataclass(frozen=True)
class Node:
    """Step, or a text in the place of steps.

    - `path`: step path, unique in the graph; of a text, the path of the value that it replaces
    - `kind`: step type, `unknown` for a step that is not of the language, or `note` for a text
    - `name`: name of the step, or its id
    - `about`: what the step does, in a few words
    """

    path: str
    kind: str
    name: str
    about: str = ""
    sides: tuple[Side, ...] = ()

    @property
    def is_frame(self) -> bool:
        return self.kind in (LOOP, TRY)

    @property
    def is_step(self) -> bool:
        return self.kind != NOTE

    @property
    def is_unknown(self) -> bool:
        return self.kind == UNKNOWN

    @property
    def ends_here(self) -> bool:
        """Return True if no step after this one is reached: a return, or a branch that returns on each side."""
        if self.kind == "control.return":
            return True
        return self.kind == "control.if" and all(side.nodes and side.nodes[-1].ends_here for side in self.sides)


@dataclass(frozen=True)
class Graph:
    """Nodes of a definition. `start` is what starts a run, for example the name of an event."""

    start: str
    nodes: tuple[Node, ...]

    def all_nodes(self) -> Iterator[Node]:
        """Yield every node, outer nodes before the nodes inside, in the order of the text."""
        return _all(self.nodes)


def _all(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for side in node.sides:
            yield from _all(side.nodes)


def read_graph(document: Any) -> Graph:
    """Return the graph of a document. Every JSON value is accepted, also a draft with errors.

    Cost: linear. At most `MAX_NODES` steps and `MAX_DEPTH` levels are read; a text says how many steps are left out.
    """
    if not isinstance(document, dict):
        text = "not a JSON object: no graph" if document is not None else "not JSON yet: no graph"
        return Graph("Start", (Node(ROOT, NOTE, text),))
    steps = document.get("steps")
    nodes = _Reader().block(steps, ROOT, MAX_DEPTH)
    if not nodes:
        nodes = (Node(ROOT, NOTE, "No steps yet."),)
    return Graph(start_text(document.get("trigger")), nodes)


@dataclass
class _Reader:
    left: int = MAX_NODES

    def block(self, steps: Any, path: str, levels: int) -> tuple[Node, ...]:
        if steps is None:
            return ()
        if not isinstance(steps, list):
            return (Node(path, NOTE, "This must be a list of steps."),)
        if levels == 0:
            return (Node(path, NOTE, f"{_steps(len(steps))} inside, not drawn"),) if steps else ()
        nodes: list[Node] = []
        for index, step in enumerate(steps):
            if self.left <= 0:
                nodes.append(Node(f"{path}.steps[{index}]", NOTE, f"{_steps(len(steps) - index)} not drawn"))
                break
            self.left -= 1
            nodes.append(self.step(step, f"{path}.steps[{index}]", levels))
        return tuple(nodes)

    def step(self, step: Any, path: str, levels: int) -> Node:
        if not isinstance(step, dict):
            return Node(path, UNKNOWN, "not a step", f"{plain(step)} must be an object")
        kind = step.get("type")
        name = plain(step.get("name") or step.get("id") or kind or "step without id")
        if not isinstance(kind, str) or kind not in STEP_FIELDS:
            return Node(path, UNKNOWN, name, f"unknown type {plain(kind)}" if kind else "the type is missing")
        sides = tuple(
            Side(field, f"{path}.{field}", self.block(step.get(field), f"{path}.{field}", levels - 1))
            for field in BLOCK_FIELDS.get(kind, ())
        )
        return Node(path, kind, name, about_step(step, kind), sides)


def _steps(count: int) -> str:
    return f"{count:,} step" if count == 1 else f"{count:,} steps"

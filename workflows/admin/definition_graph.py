"""Graph of a definition's document for the definition page and the draft editor, also of a draft with errors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from workflows.engine.validate import Problem
from workflows.graph.drawing import Badge, Drawing, Mark, Overlay, draw
from workflows.graph.model import Graph, Node, read_graph


@dataclass(frozen=True)
class StepRow:
    """Row of the table beside a graph. The step of the graph links to the row's `anchor`."""

    anchor: str
    node: Node
    problems: list[Problem]

    @property
    def has_error(self) -> bool:
        return any(problem.is_error for problem in self.problems)


@dataclass(frozen=True)
class DefinitionGraph:
    drawing: Drawing
    rows: list[StepRow]


def definition_graph(document: Any, problems: Iterable[Problem] = ()) -> DefinitionGraph:
    """Return the graph of a document with its problems. Every JSON value is accepted."""
    graph = read_graph(document)
    rows = _rows(graph, problems)
    return DefinitionGraph(draw(graph, Overlay({row.node.path: _mark(row) for row in rows})), rows)


def _rows(graph: Graph, problems: Iterable[Problem]) -> list[StepRow]:
    by_step: dict[str, list[Problem]] = {}
    for problem in problems:
        by_step.setdefault(problem.step, []).append(problem)
    steps = [node for node in graph.all_nodes() if node.is_step]
    return [StepRow(f"step-{number}", node, by_step.get(node.path, [])) for number, node in enumerate(steps, 1)]


def _mark(row: StepRow) -> Mark:
    errors = sum(problem.is_error for problem in row.problems)
    warnings = len(row.problems) - errors
    badges = [Badge(_counted(errors, "error"), "red")] if errors else []
    badges += [Badge(_counted(warnings, "warning"), "amber")] if warnings else []
    css = "hot" if errors else "warm" if warnings or row.node.is_unknown else ""
    return Mark(css=css, note=row.node.about, href=f"#{row.anchor}", badges=tuple(badges))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

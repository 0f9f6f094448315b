"""The tab "Graph" of the run page: the graph of the pinned definition with the state of each step.

Source: docs/reference/screens.md#graph
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from workflows.engine.definition import ROOT
from workflows.graph.drawing import Badge, Drawing, Mark, Overlay, Way, draw
from workflows.graph.model import Graph, Node, read_graph
from workflows.outline import states
from workflows.outline.rows import Outline, OutlineRow
from workflows.outline.states import RunPlace
from workflows.status_marks import STEP
from workflows.status_marks import Mark as StatusMark

CSS = {
    states.TAKEN: "taken", states.CURRENT: "current", states.RETRYING: "current", states.FAILED: "failed",
    states.CAUGHT: "caught", states.NOT_TAKEN: "off", states.NOT_REACHED: "todo",
}  # fmt: skip
LEGEND = (
    states.TAKEN, states.CURRENT, states.RETRYING, states.FAILED, states.CAUGHT, states.CANCELED, states.STOPPED,
    states.NOT_TAKEN, states.NOT_REACHED,
)  # fmt: skip
BRANCH, TRY = "control.if", "control.tryCatch"
# Notes of a branch that has chosen its side.
CHOICES = ("yes", "no")
# Longest lists beside the graph.
SHOWN_NAMES, SHOWN_BRANCHES = 30, 5


@dataclass(frozen=True)
class Names:
    """Names of steps, each with a word about it, and the number of further names that are not shown."""

    shown: list[tuple[str, str]]
    more: int


@dataclass(frozen=True)
class ChosenBranch:
    """A branch outside of loops that the run has decided."""

    title: str
    is_true: bool
    condition: str


@dataclass(frozen=True)
class RunGraph:
    """Graph of a run, and its way in words.

    `taken` has the steps outside of loops that the run reached, in order, and `branches` the first branches of them.
    `ended` is the step in which the run ended or is now.
    """

    drawing: Drawing
    legend: list[StatusMark]
    ended: OutlineRow | None
    ended_url: str
    taken: Names
    branches: list[ChosenBranch]
    not_taken: Names
    not_reached: Names


def run_graph(document: dict[str, Any], outline: Outline, place: RunPlace) -> RunGraph:
    """Return the graph of a run with the definition `document`. It shows one iteration of each loop, as the outline."""
    graph = read_graph(document)
    rows = {row.node.path: row for row in outline.rows}
    side = _chosen_sides(graph, rows)
    overlay = Overlay(
        {node.path: _mark(node, rows[node.path], place) for node in graph.all_nodes() if node.path in rows},
        _side_texts(graph, rows, side),
        _way(graph, rows, side),
    )
    ended = rows.get(place.current_path if place.is_open else place.failed_path)
    found = {row.state for row in outline.rows}
    return RunGraph(
        drawing=draw(graph, overlay),
        legend=[STEP[state] for state in LEGEND if state in found],
        ended=ended,
        ended_url=_url(ended) if ended else "",
        taken=_names(row for row in outline.rows if not row.is_dim and not row.node.loops),
        branches=_branches(graph, rows)[:SHOWN_BRANCHES],
        not_taken=_names(row for row in outline.rows if row.state == states.NOT_TAKEN),
        not_reached=_names(row for row in outline.rows if row.state == states.NOT_REACHED),
    )


def _names(rows: Iterable[OutlineRow]) -> Names:
    names = [(row.node.title, _word(row)) for row in rows]
    return Names(names[:SHOWN_NAMES], max(0, len(names) - SHOWN_NAMES))


def _word(row: OutlineRow) -> str:
    """Return the side of a branch or the number of items of a loop, if the run has reached it."""
    if row.loop is not None:
        return f"({row.loop.counts.total:,})"
    return row.note if row.note in CHOICES else ""


def _branches(graph: Graph, rows: dict[str, OutlineRow]) -> list[ChosenBranch]:
    return [
        ChosenBranch(row.node.title, row.note == "yes", node.about)
        for node in graph.all_nodes()
        if node.kind == BRANCH and (row := rows.get(node.path)) and row.note in CHOICES and not row.node.loops
    ]


def _url(row: OutlineRow) -> str:
    return f"?{urlencode({'step': row.node.path, 'iteration': row.iteration})}"


def _mark(node: Node, row: OutlineRow, place: RunPlace) -> Mark:
    mark = STEP[row.state]
    beside = None
    if row.node.path == place.failed_path and row.state == states.FAILED and not node.is_frame:
        beside = Badge("ended here", "red")
    elif place.is_open and row.node.path == place.current_path and not row.is_dim and not node.is_frame:
        beside = Badge("retrying" if row.state == states.RETRYING else "is here", mark.tone)
    foot = f"Item {row.loop.number:,} of {row.loop.counts.total:,} is shown" if row.loop else ""
    is_plain_frame = node.is_frame and row.state in (states.TAKEN, states.CAUGHT)  # its icon says what the frame is
    return Mark(
        css=CSS.get(row.state, ""), icon="" if is_plain_frame else mark.icon, tone=mark.tone, note=_note(node, row),
        words=mark.word, href=_url(row), beside=beside, foot=foot,
    )  # fmt: skip


def _note(node: Node, row: OutlineRow) -> str:
    """Return the second line of a step: its error, its branch with the condition, or its time."""
    if row.state in (states.FAILED, states.CAUGHT) and row.attempts and not node.is_frame:
        last = row.attempts[-1]
        error = last.error_code or last.error_category
        return f"{error}, {last.attempt} attempts" if last.attempt > 1 else error
    if node.kind == BRANCH and row.note in CHOICES:
        return f"{row.note}: {node.about}"
    return row.note or row.took


# -- The way of the run ------------------------------------------------------------------------------------------------


def _chosen_sides(graph: Graph, rows: dict[str, OutlineRow]) -> set[str]:
    """Return the paths of the blocks that the run entered, also of empty blocks."""
    entered = {ROOT} if any(not row.is_dim for row in rows.values()) else set()
    for node in graph.all_nodes():
        row = rows.get(node.path)
        if row is None or row.is_dim:
            continue
        chosen = {attempt.branch for attempt in row.attempts}
        for side in node.sides:
            is_reached = any(inner.path in rows and not rows[inner.path].is_dim for inner in side.nodes)
            if is_reached or side.name in chosen or (node.kind == TRY and side.name == "try"):
                entered.add(side.path)
    return entered


def _side_texts(graph: Graph, rows: dict[str, OutlineRow], entered: set[str]) -> dict[str, str]:
    """Return "taken" or "not taken" for each side of a step that has chosen its side."""
    texts = {}
    for node in graph.all_nodes():
        row = rows.get(node.path)
        if row is None or row.is_dim or node.kind not in (BRANCH, TRY):
            continue
        has_chosen = any(side.path in entered for side in node.sides)
        is_decided = row.state not in (states.CURRENT, states.RETRYING) or node.kind == BRANCH
        for side in node.sides if has_chosen else ():
            if side.path in entered:
                texts[side.path] = "taken"
            elif is_decided:
                texts[side.path] = "not taken"
    return texts


def _way(graph: Graph, rows: dict[str, OutlineRow], entered: set[str]) -> Way:
    """Return the blocks that the run entered, and the steps after which it went on."""
    left = set()

    def went_on(node: Node) -> bool:
        for side in node.sides:
            for inner in side.nodes:
                if went_on(inner):
                    left.add(inner.path)
        row = rows.get(node.path)
        if row is None or row.state not in (states.TAKEN, states.CAUGHT):
            return False
        if node.kind != BRANCH:
            return True
        return any(side.path in entered and (not side.nodes or side.nodes[-1].path in left) for side in node.sides)

    left |= {node.path for node in graph.nodes if went_on(node)}
    return Way(frozenset(entered), frozenset(left))

"""Outline of one run: the steps of its definition, joined with what happened."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

from workflows.engine.definition import Definition
from workflows.outline.axis import Segment, TimeAxis, took_text
from workflows.outline.bars import WAITS, StepRow, bar_of, busy_spans, end_of
from workflows.outline.loops import LoopCounts, LoopView
from workflows.outline.nodes import BRANCH, LOOP, TRY, Node, nodes_of
from workflows.outline.states import (
    CANCELED,
    CAUGHT,
    CURRENT,
    FAILED,
    NOT_REACHED,
    NOT_TAKEN,
    RETRYING,
    RunPlace,
    StepFacts,
    step_states,
)


@dataclass(frozen=True)
class ChildRow:
    """A child run below the step that called it. `row`: the attempt of the step. The bar and the time are its own."""

    row: StepRow
    took: str
    segments: tuple[Segment, ...]
    open_since: datetime | None = None


@dataclass(frozen=True)
class OutlineRow:
    """One step of the outline.

    `iteration`: the iteration that is shown for this step. `attempts`: its rows in this iteration, oldest first.
    `segments`: its time bar. `children`: the child runs that its attempts started. `open_since`: its start if it has
    not ended. `took` is then its time until the page was made.
    """

    node: Node
    state: str
    iteration: str = ""
    attempts: tuple[StepRow, ...] = ()
    note: str = ""
    took: str = ""
    open_since: datetime | None = None
    segments: tuple[Segment, ...] = ()
    loop: LoopView | None = None
    children: tuple[ChildRow, ...] = ()

    @property
    def is_dim(self) -> bool:
        return self.state in (NOT_TAKEN, NOT_REACHED)

    @property
    def is_side_taken(self) -> bool:
        return bool(self.node.side) and not self.is_dim


@dataclass(frozen=True)
class RunSteps:
    """Rows of the database about the steps of a run.

    `rows`: the rows outside of loops, and those of the chosen iterations. `chosen`: the iteration of each loop that has
    run. `loops`: the iterations of each of these loops. `waits_since`: the opening of the wait that is open.
    """

    place: RunPlace
    facts: Mapping[str, StepFacts]
    rows: Sequence[StepRow] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    loops: Mapping[str, LoopCounts] = field(default_factory=dict)
    waits_since: datetime | None = None


@dataclass(frozen=True)
class StepCounts:
    """Executions of the steps of a run. The numbers of `ok` to `open` add up to `ran`."""

    ran: int
    ok: int
    caught: int
    failed: int
    canceled: int
    open: int


@dataclass(frozen=True)
class Outline:
    rows: list[OutlineRow]
    axis: TimeAxis


def outline_of(
    definition: Definition, steps: RunSteps, *, start: datetime, end: datetime, failed_only: bool = False
) -> Outline:
    """Join a definition with the steps of a run. `end` is the end of the run, or now while the run is open."""
    nodes = nodes_of(definition)
    shown = {node.path: _iteration_of(node, steps.chosen) for node in nodes}
    attempts: dict[str, list[StepRow]] = {}
    for row in sorted(steps.rows, key=lambda row: row.attempt):
        if shown.get(row.path) == row.iteration:
            attempts.setdefault(row.path, []).append(row)
    states = _states(nodes, steps, shown, attempts)
    shown_rows = list(chain(*attempts.values()))
    busy = busy_spans(shown_rows, end, waits_since=steps.waits_since, working_loops=_working_loops(shown_rows))
    axis = TimeAxis(start, end, busy, is_open=steps.place.is_open)
    failed = {path for path, counts in steps.loops.items() if counts.failed} if failed_only else set()
    rows = []
    for node in nodes:
        own = tuple(attempts.get(node.path, ()))
        loop = _loop_view(node, steps, is_failed_only=node.path in failed)
        rows.append(
            OutlineRow(
                node=node,
                state=states[node.path],
                iteration=shown[node.path],
                attempts=own,
                note=_note(node, states[node.path], own, loop),
                took=took_text((end_of(own[-1], end) - own[0].started_at).total_seconds()) if own else "",
                open_since=own[0].started_at if axis.is_open and own and end_of(own[-1], end) == end else None,
                segments=tuple(_bar(own, axis, end, steps, is_caught=states[node.path] == CAUGHT)),
                loop=loop,
                children=tuple(_children(own, axis, end, is_caught=states[node.path] == CAUGHT)),
            )
        )
    return Outline([_with_inner_bar(row, rows) for row in rows], axis)


def step_counts(facts: Mapping[str, StepFacts], place: RunPlace) -> StepCounts:
    """Count the executions of a run. An error on the way to the end of a failed run is not counted as caught."""
    failures = {path: fact.failed for path, fact in facts.items()}
    failed = sum(1 for path, number in failures.items() if number and place.is_on_failed_way(path))
    return StepCounts(
        ran=sum(fact.executions for fact in facts.values()),
        ok=sum(fact.succeeded for fact in facts.values()),
        caught=sum(failures.values()) - failed,
        failed=failed,
        canceled=sum(fact.canceled for fact in facts.values()),
        open=sum(fact.started + fact.retrying for fact in facts.values()),
    )


def _iteration_of(node: Node, chosen: Mapping[str, str]) -> str:
    return chosen.get(node.loops[-1], "") if node.loops else ""


def _states(
    nodes: Iterable[Node], steps: RunSteps, shown: Mapping[str, str], attempts: Mapping[str, list[StepRow]]
) -> dict[str, str]:
    """Return the states for the shown iterations. Steps outside of loops have the facts of the whole run."""
    nodes = list(nodes)
    facts = {node.path: steps.facts[node.path] for node in nodes if not node.loops and node.path in steps.facts}
    facts |= {node.path: _facts_of(attempts[node.path]) for node in nodes if node.loops and node.path in attempts}
    states = step_states(nodes, facts, steps.place)
    failing = steps.facts.get(steps.place.failed_path, StepFacts()).focus
    for node in nodes:
        iteration, state = shown[node.path], states[node.path]
        if not node.loops:
            continue
        if state == FAILED and not f"{failing}.".startswith(f"{iteration}."):
            states[node.path] = CAUGHT
        elif state == CURRENT and node.path not in attempts:
            newest = max(steps.facts.values(), key=lambda fact: fact.last_seq, default=StepFacts()).newest
            if not f"{newest}.".startswith(f"{iteration}."):
                states[node.path] = NOT_REACHED
    return states


def _bar(
    rows: Sequence[StepRow], axis: TimeAxis, end: datetime, steps: RunSteps, *, is_caught: bool
) -> Iterator[Segment]:
    is_waiting = bool(rows) and rows[0].path == steps.place.current_path and rows[0].type == "action.call"
    return bar_of(rows, axis, end, is_caught=is_caught, waits_since=steps.waits_since if is_waiting else None)


def _children(rows: Sequence[StepRow], axis: TimeAxis, end: datetime, *, is_caught: bool) -> Iterator[ChildRow]:
    for row in rows:
        if row.child_id is not None:
            took = took_text(((row.ended_at or end) - row.started_at).total_seconds())
            bar = (segment for segment in bar_of([row], axis, end, is_caught=is_caught) if segment.kind != "y")
            is_open = axis.is_open and row.ended_at is None
            yield ChildRow(row, took, tuple(bar), row.started_at if is_open else None)


def _working_loops(rows: Sequence[StepRow]) -> set[str]:
    """Return the loops whose bars are drawn as work: no step of the shown iteration is a wait."""
    loops = {row.path for row in rows if row.type == LOOP}
    waits = [row.path for row in rows if row.type in WAITS]
    return {loop for loop in loops if not any(path.startswith(f"{loop}.") for path in waits)}


def _with_inner_bar(row: OutlineRow, rows: Sequence[OutlineRow]) -> OutlineRow:
    """Return a try with the bars of its steps, and a loop with waits as a wait. Their own times say nothing."""
    if row.node.step.type not in (TRY, LOOP) or not row.segments:
        return row
    inner = [other for other in rows if other.node.path.startswith(f"{row.node.path}.") and other.segments]
    if row.node.step.type == TRY:
        return replace(row, segments=tuple(segment for other in inner for segment in other.segments))
    has_wait = any(segment.kind == "p" for other in inner for segment in other.segments)
    return replace(row, segments=tuple(replace(segment, kind="p") for segment in row.segments)) if has_wait else row


def _facts_of(rows: Sequence[StepRow]) -> StepFacts:
    last = rows[-1]
    return StepFacts(
        executions=1,
        succeeded=int(last.status == "SUCCEEDED"),
        failed=int(last.status == "FAILED"),
        started=int(last.status == "STARTED"),
        canceled=int(last.status == "CANCELED"),
        branches=frozenset({last.branch} - {""}),
        attempts=len(rows),
    )


def _loop_view(node: Node, steps: RunSteps, *, is_failed_only: bool) -> LoopView | None:
    counts = steps.loops.get(node.path)
    if node.step.type != LOOP or counts is None or not counts.total:
        return None
    outer, _, last = steps.chosen[node.path].rpartition(".")
    return LoopView(node.path, f"{outer}." if outer else "", int(last), counts, is_failed_only)


def _note(node: Node, state: str, rows: Sequence[StepRow], loop: LoopView | None) -> str:
    if state in (NOT_TAKEN, NOT_REACHED) or (state == CANCELED and loop is None):
        return state.replace("_", " ")
    if loop is not None:
        caught = len(loop.counts.failed)
        split = f": {loop.ok} ok, {caught} {'failed' if state == FAILED else 'caught'}" if caught else " items"
        return f"{loop.counts.total}{split}"
    if node.step.type == LOOP and rows and rows[-1].status == "SUCCEEDED":
        return "0 items"
    limit = node.step.retry.max_attempts if node.step.retry else 1
    tries = rows[-1].attempt if rows else 1
    if state == RETRYING:
        return f"attempt {tries} of {limit}"
    if state == FAILED and limit > 1:
        return f"{tries} of {limit} attempts"
    if state in (CAUGHT, FAILED):
        return rows[-1].error_code or rows[-1].error_category if rows else ""
    if node.step.type == BRANCH and rows:
        return "yes" if rows[-1].branch == "then" else "no"
    return f"{tries} attempts" if tries > 1 else ""

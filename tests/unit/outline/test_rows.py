"""Outline of a run: the shown iteration of each loop, states in it, notes, bars and counts."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.outline.documents import attempt, by_id, definition_of, facts_by_path, loop, work
from workflows.outline.bars import StepRow
from workflows.outline.loops import LoopCounts, LoopView, chosen_iterations
from workflows.outline.nodes import nodes_of
from workflows.outline.rows import RunSteps, outline_of, step_counts
from workflows.outline.states import RunPlace, StepFacts

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(seconds=10)
NESTED = (loop("outer", loop("inner", work("deep")), work("tail")), work("end"))
DEEP = "root.steps[0].body.steps[0].body.steps[0]"


def row(path: str, iteration: str = "", number: int = 1, status: str = "SUCCEEDED", **fields: Any) -> StepRow:
    values = {"type": "state.set", "started_at": START, "ended_at": START + timedelta(seconds=1), **fields}
    return StepRow(path, iteration, number, status=status, **values)


def facts(focus: str = "", newest: str = "", failed: int = 0, seq: int = 1) -> StepFacts:
    return StepFacts(executions=5, succeeded=5 - failed, failed=failed, focus=focus, newest=newest, last_seq=seq)


@pytest.mark.parametrize(
    ("found", "place", "selection", "expected"),
    [
        ({"deep": facts("2.4", "2.4", seq=9)}, RunPlace(False), {}, {"outer": "2", "inner": "2.4"}),
        (
            {"deep": facts("1.3", "4.0", failed=1, seq=9)}, RunPlace(False, failed_path=DEEP), {},
            {"outer": "1", "inner": "1.3"},
        ),
        (
            {"deep": facts("1.3", "4.0", failed=1, seq=9)}, RunPlace(True, DEEP), {},
            {"outer": "4", "inner": "4.0"},
        ),
        (
            {"deep": facts("1.3", "4.0", failed=1), "tail": facts("3", "3", seq=9)}, RunPlace(False), {},
            {"outer": "1", "inner": "1.3"},
        ),
        (
            {"deep": facts("2.4", "2.4")}, RunPlace(False), {"step": DEEP, "iteration": "0.7"},
            {"outer": "0", "inner": "0.7"},
        ),
        (
            {"deep": facts("2.4", "2.4")}, RunPlace(False), {"step": "root.steps[0]", "iteration": "5"},
            {"outer": "5", "inner": "5.0"},
        ),
        ({"deep": facts("2.4", "2.4")}, RunPlace(False), {"step": "root.steps[1]", "iteration": "5"},
         {"outer": "2", "inner": "2.4"}),
        ({}, RunPlace(False), {}, {}),
    ],
)  # fmt: skip
def test_iteration_that_is_shown(
    found: dict[str, StepFacts], place: RunPlace, selection: dict[str, str], expected: dict[str, str]
) -> None:
    definition = definition_of(*NESTED)
    chosen = chosen_iterations(nodes_of(definition), facts_by_path(definition, found), place, **selection)
    assert chosen == {by_id(definition)[name].path: iteration for name, iteration in expected.items()}


def test_picker_leads_to_the_neighbours_or_to_the_failed_items() -> None:
    every = LoopView("p", "2.", 6, LoopCounts(300, (3, 6, 9)))
    assert (every.before, every.after, every.ok, every.number) == ("2.5", "2.7", 297, 7)
    failed = LoopView("p", "2.", 6, LoopCounts(300, (3, 6, 9)), is_failed_only=True)
    assert (failed.before, failed.after, failed.place_in_failed) == ("2.3", "2.9", 2)
    assert (LoopView("p", "", 0, LoopCounts(1)).before, LoopView("p", "", 0, LoopCounts(1)).after) == ("", "")
    assert [item.index for item in LoopView("p", "", 299, LoopCounts(300)).strip] == list(range(240, 300))


def test_states_are_those_of_the_shown_item() -> None:
    definition = definition_of(loop("each", work("item"), work("more")), work("end"))
    item, more = "root.steps[0].body.steps[0]", "root.steps[0].body.steps[1]"
    found = {
        "root.steps[0]": StepFacts(executions=1, failed=1),
        item: facts("4", "4", failed=2, seq=9),
        more: facts("3", "3", seq=8),
    }
    place = RunPlace(False, failed_path=item)

    def states(chosen: str, *rows: StepRow) -> list[str]:
        steps = RunSteps(place, found, rows, {"root.steps[0]": chosen}, {"root.steps[0]": LoopCounts(5, (1, 4))})
        return [shown.state for shown in outline_of(definition, steps, start=START, end=END).rows]

    assert states("4", row(item, "4", status="FAILED")) == ["failed", "failed", "not_reached", "not_reached"]
    assert states("1", row(item, "1", status="FAILED"))[:3] == ["failed", "caught", "not_reached"]
    assert states("3", row(item, "3"), row(more, "3"))[:3] == ["failed", "taken", "taken"]


def test_bar_separates_work_wait_and_retry_delay() -> None:
    retry = {"retry": {"maxAttempts": 4}}
    definition = definition_of(
        attempt("try", work("a") | retry, {"id": "w", "type": "time.wait", "config": {}}, catch=[])
    )
    a, wait = "root.steps[0].try.steps[0]", "root.steps[0].try.steps[1]"
    second = START + timedelta(seconds=4)
    steps = RunSteps(
        RunPlace(True, wait),
        {"root.steps[0]": StepFacts(1, started=1), a: StepFacts(1, succeeded=1), wait: StepFacts(1, started=1)},
        [
            row("root.steps[0]", type="control.tryCatch", status="STARTED", ended_at=None),
            row(a, number=2, started_at=second, ended_at=second + timedelta(seconds=1)),
            row(a, status="RETRY_SCHEDULED", next_attempt_at=second),
            row(wait, type="time.wait", status="STARTED", started_at=START + timedelta(seconds=5), ended_at=None),
        ],
    )
    outline = outline_of(definition, steps, start=START, end=END)
    bars = {shown.node.step.id: [segment.kind for segment in shown.segments] for shown in outline.rows}
    assert bars == {"try": ["bad", "y", "w", "p"], "a": ["bad", "y", "w"], "w": ["p"]}
    assert [shown.took for shown in outline.rows] == ["10 s", "5.0 s", "5.0 s"]
    assert [shown.note for shown in outline.rows] == ["", "2 attempts", ""]


def test_child_runs_have_a_bar_and_a_time_of_their_own() -> None:
    call = {"id": "call", "type": "control.callWorkflow", "workflowId": "x", "workflowVersion": 1}
    path, later, second = "root.steps[0]", START + timedelta(seconds=6), timedelta(seconds=1)
    calls = [
        row(path, type="control.callWorkflow", status="RETRY_SCHEDULED", child_id=uuid.uuid4(), next_attempt_at=later),
        row(path, number=2, type="control.callWorkflow", started_at=later, ended_at=None, child_id=uuid.uuid4()),
    ]
    steps = RunSteps(RunPlace(True, path), {path: StepFacts(1, started=1)}, calls)
    (shown,) = outline_of(definition_of(call), steps, start=START, end=later + 2 * second).rows
    assert [child.took for child in shown.children] == ["1.0 s", "2.0 s"]
    assert [[segment.kind for segment in child.segments] for child in shown.children] == [["bad"], ["w"]]
    first, last = (child.segments[0] for child in shown.children)
    assert first.left == 0 < first.width < last.left


def test_counts_add_up_and_the_failure_of_the_run_is_not_caught() -> None:
    found = {
        "root.steps[0]": StepFacts(executions=1, failed=1),
        "root.steps[0].body.steps[0]": StepFacts(executions=10, succeeded=6, failed=3, canceled=1),
        "root.steps[1]": StepFacts(executions=2, started=1),
    }
    counts = step_counts(found, RunPlace(False, failed_path="root.steps[0].body.steps[0]"))
    assert (counts.ran, counts.ok, counts.caught, counts.failed, counts.canceled, counts.open) == (13, 6, 2, 2, 1, 2)
    assert counts.ran == counts.ok + counts.caught + counts.failed + counts.canceled + counts.open


@pytest.mark.parametrize(("kind", "is_folded"), [("state.set", False), ("event.wait", True)])
def test_loop_whose_other_items_are_hidden_was_working_and_not_idle(kind: str, is_folded: bool) -> None:
    definition = definition_of(loop("each", work("item")), work("end"))
    path, item = "root.steps[0]", "root.steps[0].body.steps[0]"
    nine, end = START + timedelta(seconds=9), START + timedelta(seconds=9.5)
    rows = [
        row(path, type="control.forEach", ended_at=nine),
        row(item, "299", type=kind, started_at=nine - timedelta(seconds=0.1), ended_at=nine),
        row("root.steps[1]", started_at=nine, ended_at=end),
    ]
    steps = RunSteps(RunPlace(False), {}, rows, {path: "299"}, {path: LoopCounts(300)})
    outline = outline_of(definition, steps, start=START, end=END)
    assert (bool(outline.axis.cuts), outline.rows[0].segments[0].kind) == (is_folded, "p" if is_folded else "w")


@pytest.mark.parametrize(("status", "note"), [("SUCCEEDED", "0 items"), ("STARTED", "")])
def test_loop_that_ended_without_an_item_says_so(status: str, note: str) -> None:
    definition = definition_of(loop("each", work("item")))
    is_open, path = status == "STARTED", "root.steps[0]"
    counts = {path: StepFacts(executions=1, succeeded=int(not is_open), started=int(is_open))}
    steps = RunSteps(RunPlace(is_open, path), counts, [row(path, status=status)])
    assert outline_of(definition, steps, start=START, end=END).rows[0].note == note


def test_step_that_has_not_ended_is_open_since_its_start() -> None:
    definition = definition_of(work("ended"), work("open"))
    rows = [row("root.steps[0]"), row("root.steps[1]", status="STARTED", ended_at=None)]
    for is_open, since in ((True, [None, START]), (False, [None, None])):
        steps = RunSteps(RunPlace(is_open, "root.steps[1]"), {}, rows)
        assert [shown.open_since for shown in outline_of(definition, steps, start=START, end=END).rows] == since

"""State of each step of a run, from the facts of its rows (docs/reference/screens.md#run-page)."""

from typing import Any

import pytest

from tests.unit.outline.documents import attempt, branch, by_id, definition_of, facts_by_path, loop, work
from workflows.outline.nodes import catcher_of, nodes_of
from workflows.outline.states import RunPlace, StepFacts, step_states

OK = StepFacts(executions=1, succeeded=1)
STARTED = StepFacts(executions=1, started=1)
FAILED = StepFacts(executions=1, failed=1)
RETRYING = StepFacts(executions=1, attempts=2)


def chose(side: str) -> StepFacts:
    return StepFacts(executions=1, succeeded=1, branches=frozenset({side}))


SEQUENCE = (work("a"), work("b"), work("c"))
BRANCH = (branch("if", work("yes"), branch("inner", work("deep")), otherwise=[work("no")]), work("end"))
LOOP = (loop("each", work("item"), work("more")), work("end"))
TRY = (attempt("try", work("risky"), work("rest"), catch=[work("saved")]), work("end"))

CASES: list[tuple[str, tuple[Any, ...], dict[str, StepFacts], RunPlace, dict[str, str]]] = [
    ("no step ran yet", SEQUENCE, {}, RunPlace(True), {"a": "not_reached", "b": "not_reached", "c": "not_reached"}),
    (
        "the current step has no row yet",
        SEQUENCE, {"a": OK}, RunPlace(True, "root.steps[1]"), {"a": "taken", "b": "current", "c": "not_reached"},
    ),
    (
        "an open wait",
        SEQUENCE, {"a": OK, "b": STARTED}, RunPlace(True, "root.steps[1]"), {"b": "current", "c": "not_reached"},
    ),
    ("a retry is due", SEQUENCE, {"a": RETRYING}, RunPlace(True, "root.steps[0]"), {"a": "retrying"}),
    (
        "the run failed here",
        SEQUENCE, {"a": OK, "b": FAILED}, RunPlace(False, failed_path="root.steps[1]"),
        {"a": "taken", "b": "failed", "c": "not_reached"},
    ),
    ("terminated in a step", SEQUENCE, {"a": STARTED}, RunPlace(False), {"a": "stopped", "b": "not_reached"}),
    ("terminated between two attempts", SEQUENCE, {"a": RETRYING}, RunPlace(False), {"a": "stopped"}),
    ("canceled in a step", SEQUENCE, {"a": StepFacts(executions=1, canceled=1)}, RunPlace(False), {"a": "canceled"}),
    (
        "the other branch is not taken, with all its steps",
        BRANCH, {"if": chose("else"), "no": OK, "end": OK}, RunPlace(False),
        {"if": "taken", "yes": "not_taken", "inner": "not_taken", "deep": "not_taken", "no": "taken"},
    ),
    (
        "a step after the failure inside the chosen branch is not reached",
        BRANCH, {"if": chose("then"), "yes": FAILED}, RunPlace(False, failed_path="root.steps[0].then.steps[0]"),
        {"if": "taken", "yes": "failed", "inner": "not_reached", "deep": "not_reached", "no": "not_taken"},
    ),
    (
        "a loop without items",
        LOOP, {"each": OK, "end": OK}, RunPlace(False), {"each": "taken", "item": "not_taken", "more": "not_taken"},
    ),
    (
        "a loop that is open",
        LOOP, {"each": STARTED, "item": StepFacts(executions=3, succeeded=3), "more": StepFacts(3, 2, 0, 1)},
        RunPlace(True, "root.steps[0].body.steps[1]"), {"each": "current", "item": "taken", "more": "current"},
    ),
    (
        "the run failed in a loop: the loop failed too",
        LOOP, {"each": FAILED, "item": StepFacts(executions=3, succeeded=2, failed=1)},
        RunPlace(False, failed_path="root.steps[0].body.steps[0]"),
        {"each": "failed", "item": "failed", "more": "not_reached", "end": "not_reached"},
    ),
    (
        "an error that a loop or try caught is not the failure of the run",
        LOOP, {"each": OK, "item": StepFacts(executions=3, succeeded=2, failed=1), "end": FAILED},
        RunPlace(False, failed_path="root.steps[1]"), {"each": "taken", "item": "caught", "end": "failed"},
    ),
    (
        "a try without an error",
        TRY, {"try": chose("try"), "risky": OK, "rest": OK, "end": OK}, RunPlace(False),
        {"try": "taken", "saved": "not_taken"},
    ),
    (
        "a try whose error was caught",
        TRY, {"try": chose("catch"), "risky": FAILED, "saved": OK, "end": OK}, RunPlace(False),
        {"try": "taken", "risky": "caught", "rest": "not_reached", "saved": "taken"},
    ),
    (
        "a try that is open",
        TRY, {"try": STARTED, "risky": STARTED}, RunPlace(True, "root.steps[0].try.steps[0]"),
        {"try": "current", "risky": "current", "rest": "not_reached", "saved": "not_reached"},
    ),
    (
        "a failure in the catch block",
        TRY, {"try": FAILED, "risky": FAILED, "saved": FAILED},
        RunPlace(False, failed_path="root.steps[0].catch.steps[0]"),
        {"try": "failed", "risky": "caught", "saved": "failed"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "facts", "place", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_states_of_steps(
    steps: tuple[Any, ...], facts: dict[str, StepFacts], place: RunPlace, expected: dict[str, str]
) -> None:
    definition = definition_of(*steps)
    states = step_states(nodes_of(definition), facts_by_path(definition, facts), place)
    names = {node.path: name for name, node in by_id(definition).items()}
    assert {names[path]: state for path, state in states.items() if names[path] in expected} == expected


@pytest.mark.parametrize(
    ("steps", "name", "kind", "catcher", "then"),
    [
        (SEQUENCE, "b", "fails", None, None),
        ((work("a") | {"onError": {"policy": "continue"}},), "a", "next_step", None, None),
        ((work("a") | {"onError": {"policy": "continue"}}, work("b")), "a", "next_step", None, "b"),
        (TRY, "risky", "catch", "try", "saved"),
        (TRY, "saved", "fails", None, None),
        ((attempt("t", branch("if", work("in")), catch=[work("c")]),), "in", "catch", "t", "c"),
        (LOOP, "item", "fails", None, None),
        ((loop("each", work("item"), onItemError="continue"),), "item", "next_step", "each", "next of each"),
        ((loop("each", work("item"), work("more"), onItemError="continue"),), "item", "next_step", "each", "more"),
        ((loop("each", branch("if", work("item")), work("more"), onItemError="continue"),), "item", "next_step", "each",
         "more"),
        ((loop("each", loop("in", work("item"), work("no")), work("more"), onItemError="continue"),), "item",
         "next_step", "each", "more"),
        ((loop("each", work("item"), onItemError="skipItem"), work("end")), "item", "next_item", "each",
         "next of each"),
        ((attempt("t", loop("each", work("item")), catch=[work("c")]),), "item", "catch", "t", "c"),
    ],
)  # fmt: skip
def test_catcher_of_step(steps: tuple[Any, ...], name: str, kind: str, catcher: str | None, then: str | None) -> None:
    """The catcher names the step with which the run goes on, or the loop that has its next item."""
    nodes = by_id(definition_of(*steps))
    found = catcher_of({node.path: node for node in nodes.values()}, nodes[name].path)
    shown = f"next of {found.next_item_of.step.id}" if found.next_item_of else found.then and found.then.step.id
    assert (found.kind, found.node and found.node.step.id, shown) == (kind, catcher, then)


def test_nodes_are_in_document_order_with_their_place() -> None:
    nodes = nodes_of(definition_of(loop("each", branch("if", loop("deep", work("x")))), work("end")))
    assert [(node.step.id, node.depth, node.side, len(node.loops)) for node in nodes] == [
        ("each", 0, "", 0),
        ("if", 1, "body", 1),
        ("deep", 2, "then", 1),
        ("x", 3, "body", 2),
        ("end", 0, "", 0),
    ]

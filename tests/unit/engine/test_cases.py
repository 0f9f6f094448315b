"""Conformance cases of the engine, which define SEMANTICS_VERSION rule by rule (`cases/*.json`, `cases.py`)."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.support.factories import make_definition
from tests.unit.engine.cases import (
    FOLDER,
    Case,
    differences,
    in_a_new_execution,
    load_cases,
    repeat_event,
    run_case,
    through_json,
)
from workflows.engine.machine import SEMANTICS_VERSION
from workflows.engine.validate import Known, validate

CASES = load_cases()


def _id(case: Case) -> str:
    return f"{case.file}: {case.name}"


EACH_CASE = pytest.mark.parametrize("case", CASES, ids=_id)


@EACH_CASE
def test_engine_behaves_as_the_case_says(case: Case) -> None:
    found = differences(case.expect, run_case(case))
    assert not found, (
        f"The engine does not follow semantics version {SEMANTICS_VERSION} (rule: {case.name}; {case.source}; "
        f"cases/{case.file}.json). If the change is intended: increase SEMANTICS_VERSION in "
        "workflows/engine/machine.py, keep the old behaviour for runs with the old version, and add cases for the new "
        "version.\n  " + "\n  ".join(found)
    )


@EACH_CASE
def test_serialising_the_state_after_every_event_changes_nothing(case: Case) -> None:
    assert run_case(case, between=through_json) == run_case(case)


@EACH_CASE
def test_continue_as_new_after_every_event_changes_no_outcome(case: Case) -> None:
    """Only the timers, which start again, and the order of writes differ."""
    whole, in_parts = run_case(case), run_case(case, between=in_a_new_execution)
    assert replace(in_parts, commands=[]) == replace(whole, commands=[], broken=[])


@EACH_CASE
def test_repeated_event_changes_nothing(case: Case) -> None:
    assert run_case(case, between=repeat_event) == run_case(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.is_publishable], ids=_id)
def test_steps_of_the_cases_can_be_published(case: Case) -> None:
    problems = [problem for problem in validate(make_definition(*case.steps), _known(case)) if problem.is_error]
    assert not problems


def test_cases_are_many_and_their_rules_are_unique() -> None:
    assert len(CASES) >= 150
    twice = [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
    assert not twice
    assert all(case.source.startswith("docs/reference/") for case in CASES)
    assert {case.file for case in CASES} == {path.stem for path in FOLDER.glob("*.json")}


def _known(case: Case) -> Known:
    """Return the known names of a portal with every action that the case calls."""
    actions: dict[str, frozenset[int]] = {}
    for step in _steps_in(case.steps):
        config = step.get("config", {})
        if step["type"] == "action.call":
            actions[config["actionId"]] = actions.get(config["actionId"], frozenset()) | {config["version"]}
    return Known(actions=actions, schema_refs=frozenset({"payload.Any.v1"}))


def _steps_in(value: object) -> list[dict]:
    if isinstance(value, list):
        return [step for item in value for step in _steps_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if "type" in value and "id" in value else []
    blocks = ("then", "else", "body", "try", "catch")
    return own + [step for block in blocks for step in _steps_in(value.get(block, []))]

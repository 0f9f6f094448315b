"""The JSON Schema of the language and the validator agree about the shape of every document."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.support.factories import expr
from tests.unit.engine.cases import load_cases
from tests.unit.engine.validation_cases import (
    CASES,
    GOOD,
    attempt,
    call,
    child,
    choice,
    end,
    flow,
    known_of,
    loop,
    step,
)
from tests.unit.engine.validation_cases import Case as Mistake
from workflows.engine.json_schema.check import value_problems
from workflows.engine.json_schema.links import link_schema
from workflows.engine.step_fields import STEP_FIELDS
from workflows.engine.validate import validate
from workflows.engine.validation.codes import CODES
from workflows.engine.validation.language_schema import NOT_BLANK, language_schema
from workflows.engine.validation.problems import Near
from workflows.engine.validation.shape import shape_findings

LINKED = link_schema(language_schema())
# With these problems, validation ends before it has seen the whole shape.
LIMITS = {"DEFINITION_TOO_LARGE", "NESTED_TOO_DEEP", "VALUE_NOT_STORABLE"}


def schema_refuses(document: Any) -> bool:
    return bool(value_problems(LINKED, document, max_problems=1))


@pytest.mark.parametrize("case", [case for case in CASES if case.code not in LIMITS], ids=lambda case: case.name)
def test_schema_refuses_a_case_exactly_if_its_code_is_a_shape_code(case: Mistake) -> None:
    found = {problem.code for problem in validate(case.document, known_of(case))}
    assert schema_refuses(case.document) == any(CODES[code].is_shape for code in found)


def test_schema_accepts_definitions_without_a_problem_and_the_steps_of_the_engine_cases() -> None:
    documents = [document for _, document, _ in GOOD]
    documents += [flow(*case.steps) for case in load_cases() if case.is_publishable]
    assert len(documents) > 150
    for document in documents:
        assert value_problems(LINKED, document) == []


# -- Every change of a definition that has every field -----------------------------------------------------------------

RETRY = {"maxAttempts": 2, "backoffMs": 1, "backoffMultiplier": 2, "jitter": True, "maxDelayMs": 5, "retryOn": ["X"]}
POLICY = {"retry": RETRY, "onError": {"policy": "fail"}}
EVENT = {"eventName": "E", "correlationKey": expr("payload.id")}
EVERY = [
    choice(**{"else": []}),
    loop(onItemError="fail", concurrency=1, body=[end()]),
    attempt(step("state.set", "s", state="X"), captureErrorAs="vars.e"),
    child(inputMapping={"a": expr("1")}, outputMapping={"b": expr("childRun.vars.b")}, **POLICY),
    step("transform.assign", "t", assign={"vars.a": [1, {"b": expr("1")}]}),
    step("event.wait", "e", **EVENT, filters=[{"path": "a", "op": "in", "value": [1]}], timeoutMs=5, assign={"x": 1}),
    step("time.wait", "w", mode="duration", durationMs=5),
    step("time.wait", "u", mode="until", until=expr("nowIso()"), assign={"x": 1}),
    step(
        "human.task", "h", taskType="t", title=expr("'T'"), description="D", contextData={"a": 1}, formSchema={},
        assignees={"users": ["u"], "roles": []}, deadline=expr("nowIso()"), completeOn=EVENT,
        allowSystemCompletion=False, assign={"x": 1},
    ),
    {
        **call(
            step_id="c", inputMapping={"h": {"$secret": "API_TOKEN"}}, saveAs="x", idempotencyKey=expr("'k'"),
            onUnknownOutcome="fail", designerTileKind=1,
        ),
        **POLICY,
    },
]  # fmt: skip
TRIGGERS: list[dict[str, Any]] = [
    {
        "type": "event",
        "eventName": "E",
        "sourcePayloadSchemaRef": "payload.Any.v1",
        "payloadMapping": {"a.b": expr("1")},
    },
    {"type": "schedule", "runAt": "2026-01-26T09:00:00Z"},
    {"type": "recurring", "cron": "* * * * *", "timezone": "UTC"},
]
WHOLE = flow(*EVERY, description="D", presentation={"any": 1})
ODD = [
    None, True, 0, 1, 2, -1, 1.5, 2.0, "", " ", "\u00a0", "x", "Not a key", "item", "index", "until", "x" * 201, [], {},
    [None], [""], ["x", 7], {"x": 1}, expr("1"), {"$expr": 1}, {"$expr": "1", "x": 1}, {"$secret": "NAME"},
    {"$secret": "name"}, {"x": {"$secret": "NAME", "y": 1}}, {"x": [{"$expr": None}]}, [{"path": "a", "op": "exists"}],
    [{"path": "a", "op": "not_in", "value": 1}], [{"path": "", "op": "="}], [{"path": "a", "op": "=", "value": None}],
    {"type": "control.return"}, [{"id": "z", "type": "control.return"}], [{"id": "z", "type": "nothing"}], [1],
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*at, key))


def changed(document: Any, place: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the document with each odd value at the place, without the place, and with an unknown key there."""
    for odd in ODD:
        copied = copy.deepcopy(document)
        around(copied, place)[place[-1]] = odd
        yield copied
    copied = copy.deepcopy(document)
    del around(copied, place)[place[-1]]
    yield copied
    copied = copy.deepcopy(document)
    inner = around(copied, place)[place[-1]]
    if isinstance(inner, dict):
        inner["onError"] = {"policy": "continue"}
        yield copied


def around(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        document = document[key]
    return document


def documents() -> list[dict[str, Any]]:
    """Return small definitions, which together have every field. A change in one of them is checked quickly."""
    return [*(flow(each) for each in EVERY), *(flow(trigger=each) for each in TRIGGERS), {**WHOLE, "steps": []}]


@pytest.mark.parametrize("number", range(len(documents())))
def test_schema_and_validator_agree_on_every_change(number: int) -> None:
    document = documents()[number]
    assert not schema_refuses(document)
    differences = []
    for place in places(document):
        for other in changed(document, place) if place else ():
            codes = {finding.code for finding in shape_findings(other, Near())} if isinstance(other, dict) else set()
            if schema_refuses(other) != any(CODES[code].is_shape for code in codes):
                differences.append((place, json.dumps(other)[-200:], codes))
    assert differences == []


def test_definition_with_every_field_has_every_step_type() -> None:
    assert {each["type"] for each in EVERY} | {"control.return", "state.set"} == set(STEP_FIELDS)


# -- The schema itself -------------------------------------------------------------------------------------------------


def test_other_validators_can_use_the_schema() -> None:
    schema = json.loads(json.dumps(language_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    reference = jsonschema.Draft202012Validator(schema)
    for case in CASES:
        if case.code not in LIMITS:
            assert reference.is_valid(case.document) != schema_refuses(case.document), case.name


def test_pattern_of_a_text_means_what_the_validator_checks() -> None:
    characters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    assert [bool(re.search(NOT_BLANK, char)) for char in characters] == [bool(char.strip()) for char in characters]

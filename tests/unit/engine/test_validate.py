"""Problems that validation finds, with code, path and suggestion."""

from typing import Any

import pytest

from tests.support.factories import expr, make_definition, wait_for_reply
from workflows.engine.definition import canonical_text, parse_definition
from workflows.engine.validate import Known, Problem, validate

KNOWN = Known(actions={"http.request": frozenset({1})}, schema_refs=frozenset({"payload.Any.v1"}))
ASSIGN = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": 1}}}


def state_set(**config: Any) -> dict[str, Any]:
    return {"id": "a", "type": "state.set", "config": config}


def assign(target: str, value: Any) -> dict[str, Any]:
    return {"id": "a", "type": "transform.assign", "config": {"assign": {target: value}}}


def call(action: str, version: int, **fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "action.call", "config": {"actionId": action, "version": version}, **fields}


def loop(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "control.forEach", "items": expr("[1]"), "body": [], **fields}


def task_with_form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a", "type": "human.task", "config": {"taskType": "t", "title": "T", "formSchema": schema}}


def problems(*steps: dict[str, Any], **envelope: Any) -> list[Problem]:
    return validate(make_definition(*steps, **envelope), KNOWN)


def one(*steps: dict[str, Any], **envelope: Any) -> Problem:
    found = problems(*steps, **envelope)
    assert len(found) == 1, found
    return found[0]


def test_valid_definition_has_no_problem() -> None:
    call = {
        "id": "c", "type": "action.call",
        "retry": {"maxAttempts": 3, "backoffMs": 5}, "onError": {"policy": "continue"},
        "config": {
            "actionId": "http.request", "version": 1, "inputMapping": {"url": expr("payload.url")}, "saveAs": "x",
            "designerTileKind": 1,
        },
    }  # fmt: skip
    choice = {
        "id": "if",
        "type": "control.if",
        "condition": expr("true"),
        "then": [{"id": "end", "type": "control.return"}],
    }
    trigger = {"type": "event", "eventName": "E", "payloadMapping": {"a.b": expr("event.payload.x")}}
    assert problems(ASSIGN, call, choice, wait_for_reply(timeoutMs=1), trigger=trigger, presentation={"any": 1}) == []


@pytest.mark.parametrize(
    ("step", "code", "path"),
    [
        ({"id": "a", "type": "state.sett", "config": {"state": "X"}}, "STEP_TYPE_UNKNOWN", "root.steps[0].type"),
        (state_set(), "FIELD_MISSING", "root.steps[0].config.state"),
        (state_set(state="X", stat=1), "KEY_UNKNOWN", "root.steps[0].config.stat"),
        ({"type": "state.set", "config": {"state": "X"}}, "FIELD_MISSING", "root.steps[0].id"),
        (assign("vars.__proto__", 1), "TARGET_INVALID", "root.steps[0].config.assign.vars.__proto__"),
        (assign("vars.x", expr("1 +")), "EXPRESSION_SYNTAX", "root.steps[0].config.assign.vars.x"),
        (
            assign("vars.x", expr("lenght(payload)")),
            "EXPRESSION_FUNCTION_NOT_ALLOWED",
            "root.steps[0].config.assign.vars.x",
        ),
        ({"id": "a", "type": "control.if", "condition": True, "then": []}, "FIELD_INVALID", "root.steps[0].condition"),
        (loop(itemVar="index"), "FIELD_INVALID", "root.steps[0].itemVar"),
        (loop(itemVar="a-b"), "FIELD_INVALID", "root.steps[0].itemVar"),
        (loop(itemVar="i", concurrency=2), "LOOP_CONCURRENCY", "root.steps[0].concurrency"),
        (
            {"id": "a", "type": "control.tryCatch", "try": [], "catch": [], "captureErrorAs": "__proto__"},
            "TARGET_INVALID",
            "root.steps[0].captureErrorAs",
        ),
        (task_with_form({"type": "nothing"}), "FORM_INVALID", "root.steps[0].config.formSchema"),
        (task_with_form({"pattern": "(?=x)"}), "FORM_INVALID", "root.steps[0].config.formSchema"),
        (
            wait_for_reply(filters=[{"path": "a", "op": "like", "value": 1}]),
            "FIELD_INVALID",
            "root.steps[0].config.filters[0].op",
        ),
        (wait_for_reply(filters=[{"path": "a", "op": "="}]), "FIELD_MISSING", "root.steps[0].config.filters[0].value"),
        (wait_for_reply(timeoutMs=1.5), "FIELD_INVALID", "root.steps[0].config.timeoutMs"),
        ({"id": "a", "type": "time.wait", "config": {"mode": "until"}}, "FIELD_MISSING", "root.steps[0].config.until"),
        (call("http.requst", 1), "ACTION_UNKNOWN", "root.steps[0].config.actionId"),
        (call("http.request", 2), "ACTION_VERSION_UNKNOWN", "root.steps[0].config.version"),
        (call("http.request", 1, retry={"maxAttempts": 0}), "FIELD_INVALID", "root.steps[0].retry.maxAttempts"),
    ],
)
def test_problems_of_a_step(step: dict[str, Any], code: str, path: str) -> None:
    found = one(step)
    assert (found.code, found.path, found.is_error) == (code, path, True)


def test_suggestions() -> None:
    assert one({"id": "a", "type": "state.sett", "config": {}}).suggestion == "did you mean 'state.set'?"
    assert one(ASSIGN, nam="x").suggestion == "did you mean 'name'?"


def test_problem_of_a_nested_step_has_its_full_path() -> None:
    bad = {"id": "b", "type": "state.set", "config": {"state": ""}}
    found = one({"id": "if", "type": "control.if", "condition": expr("true"), "then": [], "else": [ASSIGN, bad]})
    assert found.path == "root.steps[0].else.steps[1].config.state"


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_value_that_cannot_be_stored_is_refused_with_its_path(text: str) -> None:
    found = one(assign("vars.x", ["y", text]))
    assert (found.code, found.pointer) == ("VALUE_NOT_STORABLE", "/steps/0/config/assign/vars.x/1")


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({**state_set(state="X"), "id": "x" * 201}, "FIELD_INVALID"),
        ({**state_set(state="X"), "name": "x" * 201}, "FIELD_INVALID"),
        (state_set(state="x" * 201), "FIELD_INVALID"),
        (wait_for_reply(eventName="x" * 201), "FIELD_INVALID"),
        (wait_for_reply(timeoutMs=10**18), "FIELD_INVALID"),
        (call("http.request", 1, retry={"maxAttempts": 2, "backoffMultiplier": 1e10}), "FIELD_INVALID"),
        (call("http.request", 1, retry={"maxAttempts": 2, "retryOn": [[]]}), "FIELD_INVALID"),
    ],
)
def test_limits_of_a_step(step: dict[str, Any], code: str) -> None:
    assert one(step).code == code


def test_limits_of_the_envelope() -> None:
    assert one(ASSIGN, key="flow\n").code == "KEY_INVALID"
    assert one(ASSIGN, trigger={"type": []}).code == "TRIGGER_INVALID"
    assert one(ASSIGN, trigger={"type": "event", "eventName": "x" * 201}).code == "FIELD_INVALID"


def test_duplicate_step_id_is_refused() -> None:
    assert one(ASSIGN, ASSIGN).code == "STEP_ID_TWICE"


def test_problems_of_the_envelope() -> None:
    assert one(ASSIGN, payloadSchemaRef="payload.Anny.v1").suggestion == "did you mean 'payload.Any.v1'?"
    assert one(ASSIGN, key="Not A Key").code == "KEY_INVALID"
    assert one(ASSIGN, trigger={"type": "evnt"}).code == "TRIGGER_INVALID"
    assert validate([], KNOWN)[0].code == "FIELD_INVALID"
    assert {problem.path for problem in validate({}, KNOWN)} == {"id", "version", "name", "payloadSchemaRef", "steps"}


def test_dollar_key_is_only_a_warning() -> None:
    found = one(assign("vars.x", {"$ref": 1}))
    assert (found.code, found.is_error) == ("KEY_DOLLAR", False)


def test_too_deeply_nested_steps_are_refused() -> None:
    step: dict[str, Any] = ASSIGN
    for number in range(30):
        step = {"id": f"if{number}", "type": "control.if", "condition": expr("true"), "then": [step]}
    assert one(step).code == "NESTED_TOO_DEEP"


def test_unpublished_child_is_a_warning_but_not_the_workflow_itself() -> None:
    child = {"id": "c", "type": "control.callWorkflow", "workflowId": "other", "workflowVersion": 1}
    assert [(p.code, p.is_error) for p in problems(child)] == [("WORKFLOW_UNKNOWN", False)]
    if_more = {"id": "if", "type": "control.if", "condition": expr("payload.more = true"), "then": [child]}
    child["workflowId"] = "flow"
    assert problems(if_more) == []


def test_loop_item_with_the_name_of_a_scope_is_a_warning() -> None:
    found = one(loop(itemVar="system"))
    assert (found.code, found.is_error) == ("NAME_HIDDEN", False)


def test_too_large_definition_is_refused() -> None:
    found = one(state_set(state="X"), description="x" * 300_000)
    assert found.code == "DEFINITION_TOO_LARGE"


def test_retry_on_takes_codes_and_warns_of_a_misspelt_category() -> None:
    retry = {"maxAttempts": 2, "retryOn": ["TransientError", "HTTP_409", "TransientErorr"]}
    problem = one(call("http.request", 1, retry=retry))
    assert (problem.code, problem.path, problem.is_error) == ("RETRY_ON_CODE", "root.steps[0].retry.retryOn[2]", False)
    assert problem.suggestion == "did you mean 'TransientError'?"
    for wrong in ([""], [7], ["x" * 201], "HTTP_409"):
        assert one(call("http.request", 1, retry={"maxAttempts": 2, "retryOn": wrong})).code == "FIELD_INVALID"


def test_on_error_inside_the_config_of_an_action_means_the_same_as_beside_it() -> None:
    inside = call("http.request", 1)
    inside["config"]["onError"] = {"policy": "continue"}
    assert problems(inside) == []
    text = canonical_text(make_definition(inside))
    assert parse_definition(text).blocks["root"][0].continues_on_error
    twice = one({**inside, "onError": {"policy": "fail"}})
    assert (twice.code, twice.path) == ("FIELD_INVALID", "root.steps[0].config.onError")
    assert one(state_set(state="X", onError={"policy": "continue"})).code == "KEY_UNKNOWN"

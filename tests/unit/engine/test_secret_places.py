"""Places of secrets: only literal references in the definition count, never a value that looks like a reference."""

from typing import Any

import pytest

from tests.support.factories import expr, make_definition
from tests.unit.engine.driver import Drive
from workflows.engine import commands as cmd
from workflows.engine.errors import Category, RunError
from workflows.engine.secret_places import secret_places, with_secrets
from workflows.engine.validate import Known, Problem, validate

SECRET = {"$secret": "DB_PASSWORD"}
PLACE = {"pointer": "/a", "name": "DB_PASSWORD"}


def call(mapping: Any, action: str = "http.request", **config: Any) -> dict[str, Any]:
    return {
        "id": "call",
        "type": "action.call",
        "config": {"actionId": action, "version": 1, "inputMapping": mapping, **config},
    }


def test_places_are_pointers_into_the_mapping() -> None:
    mapping = {"headers": {"a/b~c": SECRET}, "list": [1, {"x": [SECRET]}], "plain": {"$secret": "DB_PASSWORD", "x": 1}}
    assert secret_places(mapping) == [
        {"pointer": "/headers/a~1b~0c", "name": "DB_PASSWORD"},
        {"pointer": "/list/1/x/0", "name": "DB_PASSWORD"},
    ]
    assert secret_places(SECRET) == secret_places(None) == secret_places({"$expr": "x"}) == []


def test_result_of_an_expression_is_never_a_secret_reference() -> None:
    mapping = {"auth": SECRET, "body": expr("payload.body"), "items": [expr("payload.body"), {"own": SECRET}]}
    drive = Drive(call(mapping), payload={"body": SECRET}).start()
    command = drive.last(cmd.RunAction)
    assert command.input == {"auth": SECRET, "body": SECRET, "items": [SECRET, {"own": SECRET}]}
    assert [place["pointer"] for place in command.secrets] == ["/auth", "/items/1/own"]


def test_each_attempt_carries_its_places_also_after_continue_as_new() -> None:
    drive = Drive({**call({"auth": SECRET}), "retry": {"maxAttempts": 3, "backoffMs": 1}}).start()
    failure = {"category": "TransientError", "message": "", "nodePath": "root.steps[0]", "at": ""}
    drive.action(error=failure).checkpoint().fire()
    actions = [command for command in drive.commands if isinstance(command, cmd.RunAction)]
    assert [command.secrets for command in actions] == [[{"pointer": "/auth", "name": "DB_PASSWORD"}]] * 2


def test_secret_values_are_written_into_a_copy() -> None:
    value = {"a": SECRET, "b": [{"c": SECRET}], "d": SECRET}
    places = [PLACE, {"pointer": "/b/0/c", "name": "DB_PASSWORD"}]
    assert with_secrets(value, places, {"DB_PASSWORD": "x"}) == {"a": "x", "b": [{"c": "x"}], "d": SECRET}
    assert value == {"a": SECRET, "b": [{"c": SECRET}], "d": SECRET}


@pytest.mark.parametrize("value", [{"a": "x"}, {"a": {"$secret": "OTHER"}}, {}, [], "x", {"a": {**SECRET, "b": 1}}])
def test_place_without_the_expected_reference_is_corruption(value: Any) -> None:
    with pytest.raises(RunError) as caught:
        with_secrets(value, [PLACE], {"DB_PASSWORD": "x"})
    assert caught.value.category == Category.CORRUPTION


KNOWN = Known(
    actions={"http.request": frozenset({1}), "store.set": frozenset({1}), "transform.pick": frozenset({1})},
    schema_refs=frozenset({"payload.Any.v1"}),
    workflows={"child": frozenset({1})},
    secrets=frozenset({"DB_PASSWORD"}),
    without_secrets=frozenset({("store.set", 1)}),
)
IN_CONFIG = "root.steps[0].config"


def problems(step: dict[str, Any], **envelope: Any) -> list[Problem]:
    return validate(make_definition(step, **envelope), KNOWN)


def test_known_secret_in_an_input_is_valid() -> None:
    assert problems(call({"headers": {"Authorization": SECRET}, "list": [[SECRET]]})) == []


@pytest.mark.parametrize(
    ("step", "code", "path"),
    [
        (call({"h": {"$secret": "DB_PASWORD"}}), "SECRET_UNKNOWN", f"{IN_CONFIG}.inputMapping.h"),
        (call({"h": [{"x": {"$secret": "db"}}]}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h[0].x"),
        (call({"h": {"$secret": "A" * 201}}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h"),
        (call({"h": {"$secret": "DB\n"}}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h"),
        (call({"h": {"$secret": 5}}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h"),
        (call({"h": {"$secret": expr("x")}}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h"),
        (call({"h": {**SECRET, "x": 1}}), "SECRET_NAME_INVALID", f"{IN_CONFIG}.inputMapping.h"),
        (call(SECRET), "FIELD_INVALID", f"{IN_CONFIG}.inputMapping"),
        (call({"value": SECRET}, action="store.set"), "SECRET_NOT_ALLOWED", f"{IN_CONFIG}.inputMapping.value"),
        (call({"value": SECRET}, action="transform.pick"), "SECRET_NOT_ALLOWED", f"{IN_CONFIG}.inputMapping.value"),
        (call({}, idempotencyKey=SECRET), "FIELD_INVALID", f"{IN_CONFIG}.idempotencyKey"),
        (
            {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": [SECRET]}}},
            "SECRET_MISPLACED",
            f"{IN_CONFIG}.assign.vars.x[0]",
        ),
        (
            {"id": "a", "type": "human.task", "config": {"taskType": "t", "title": "T", "contextData": {"x": SECRET}}},
            "SECRET_MISPLACED",
            f"{IN_CONFIG}.contextData.x",
        ),
        (
            {
                "id": "a", "type": "human.task",
                "config": {"taskType": "t", "title": "T", "formSchema": {"default": SECRET}},
            },
            "SECRET_MISPLACED",
            f"{IN_CONFIG}.formSchema.default",
        ),
        (
            {
                "id": "a", "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 1,
                "inputMapping": {"x": SECRET},
            },
            "SECRET_MISPLACED",
            "root.steps[0].inputMapping.x",
        ),
    ],
)  # fmt: skip
def test_problems_of_secrets(step: dict[str, Any], code: str, path: str) -> None:
    (found,) = problems(step)
    assert (found.code, found.path, found.is_error) == (code, path, code != "SECRET_UNKNOWN")


def test_secret_in_a_trigger_is_misplaced_and_a_typing_error_gets_a_suggestion() -> None:
    trigger = {"type": "event", "eventName": "E", "payloadMapping": {"a": SECRET}}
    assert problems(call({}), trigger=trigger)[0].code == "SECRET_MISPLACED"
    assert problems(call({"h": {"$secret": "DB_PASWORD"}}))[0].suggestion == "did you mean 'DB_PASSWORD'?"


def test_invalid_action_version_is_the_only_problem() -> None:
    assert {problem.code for problem in problems(call({"h": SECRET}, version=[1]))} == {"FIELD_INVALID"}


def test_too_long_places_are_refused() -> None:
    mapping: Any = {f"k{number}": SECRET for number in range(20)}
    for _ in range(40):
        mapping = {"x" * 50: mapping}
    assert [problem.code for problem in problems(call(mapping))] == ["SECRET_PLACES_TOO_LONG"]

"""Unknown outcomes of actions in the engine: the human task, its three responses, its deadline, and old semantics."""

from typing import Any

import pytest

from tests.unit.engine.driver import START_MS, Drive
from workflows.engine import commands as cmd
from workflows.engine.events import ActionDone, EventSignalled
from workflows.engine.json_schema.forms import form_problem, form_schema_problem
from workflows.engine.unknown_outcomes import decision_form

OUTPUT = {
    "type": "object",
    "properties": {"sent": {"$ref": "#/$defs/Count"}},
    "required": ["sent"],
    "$defs": {"Count": {"type": "integer"}},
}
UNKNOWN = {
    "executions": 1,
    "startedAt": "2026-01-01T00:00:00+00:00",
    "invocationId": "0192f0c4-0000-7000-8000-0000000000aa",
    "idempotencyKey": "order-7",
    "decisionMs": 604_800_000,
    "outputSchema": OUTPUT,
}
ERROR = {
    "category": "ActionError",
    "message": "an earlier execution was lost",
    "nodePath": "root.steps[0]",
    "at": "2026-01-01T00:00:00.000Z",
    "code": "ACTION_OUTCOME_UNKNOWN",
}
RETRY = {"maxAttempts": 3, "backoffMs": 10}
HAPPENED = {"outcome": "happened", "output": {"sent": 1}, "reason": "the log of the mail server shows it"}


def started(semantics: int = 2, *, payload: dict[str, Any] | None = None, **config: Any) -> Drive:
    drive = Drive(
        {
            "id": "mail",
            "type": "action.call",
            "retry": RETRY,
            "config": {
                "actionId": "crm.update",
                "version": 1,
                "saveAs": "vars.out",
                "inputMapping": {"to": {"$expr": "payload.to"}},
                **config,
            },
        },
        {"id": "after", "type": "state.set", "config": {"state": "DONE"}},
        payload=payload or {"to": "a@example.org"},
    )
    drive.state.scope.system["semanticsVersion"] = semantics
    return drive.start()


def lost(drive: Drive, **changed: Any) -> Drive:
    command = drive.last(cmd.RunAction)
    drive.feed(ActionDone(drive.now_ms, command.id, error=ERROR, unknown={**UNKNOWN, **changed}))
    return drive


def asked(semantics: int = 2, **config: Any) -> Drive:
    return lost(started(semantics, **config).later(5_000))


def task_of(drive: Drive) -> dict[str, Any]:
    return [record for record in drive.records if record["kind"] == "task"][-1]


def test_unknown_outcome_opens_a_task_with_request_key_and_attempts() -> None:
    drive = asked()
    task = task_of(drive)
    assert (task["taskType"], task["roles"], task["dueAt"]) == (
        "action.decide_outcome", ["operator"], START_MS + 5_000 + 604_800_000,
    )  # fmt: skip
    assert task["title"] == "Did crm.update@1 have its effect?"
    context = task["contextData"]
    assert (context["action"], context["request"], context["idempotencyKey"], context["attempts"]) == (
        "crm.update@1", {"to": "a@example.org"}, "order-7", 1,
    )  # fmt: skip
    assert [r["status"] for r in drive.records if r["kind"] == "run"][-1] == "WAITING"
    assert drive.waits() == ["WAITING"]
    # The activity wrote the start of the attempt, and the author's policy does not repeat the attempt.
    assert (drive.steps(), drive.has(cmd.CompleteRun)) == ([], False)


def test_decision_that_the_effect_happened_is_passed_to_the_activity_and_its_output_is_saved() -> None:
    drive = asked().later(1_000).complete(HAPPENED)
    command = drive.last(cmd.RunAction)
    assert command.decision == {"outcome": "happened", "output": {"sent": 1}, "executions": 1}
    assert (command.idempotency_key, command.attempt, command.started_at_ms) == (
        drive.commands[0].idempotency_key, 1, START_MS,
    )  # fmt: skip
    assert task_of(drive)["status"] == "completed"
    drive.action(output={"sent": 1})
    assert (drive.end.status, drive.vars["out"]) == ("SUCCEEDED", {"sent": 1})
    assert "humanTask" not in drive.vars


def test_decision_that_it_did_not_happen_executes_the_action_again_with_the_same_key() -> None:
    drive = asked().complete({"outcome": "did_not_happen", "reason": "the server has no such message"})
    command = drive.last(cmd.RunAction)
    assert command.decision == {"outcome": "did_not_happen", "executions": 1}
    assert (command.input, command.idempotency_key) == ({"to": "a@example.org"}, drive.commands[0].idempotency_key)
    # The execution is lost again: the next task knows both executions.
    lost(drive, executions=2)
    assert (task_of(drive)["status"], task_of(drive)["contextData"]["attempts"]) == ("pending", 2)
    drive.complete(HAPPENED)
    assert drive.last(cmd.RunAction).decision["executions"] == 2


def test_decision_to_fail_is_a_catchable_error_and_is_not_retried() -> None:
    drive = asked().complete({"outcome": "fail", "reason": "cannot be found out"})
    assert (drive.end.status, drive.end.error["code"]) == ("FAILED", "ACTION_OUTCOME_UNKNOWN")
    assert "cannot be found out" in drive.end.error["message"]
    assert drive.steps() == [("mail", "FAILED")]


def test_step_fails_if_no_decision_comes_in_time() -> None:
    drive = asked().later(604_800_000).fire().searched(is_event_left=False)
    assert (task_of(drive)["status"], drive.waits()) == ("expired", ["TIMED_OUT"])
    assert drive.steps() == [("mail", "FAILED")]
    assert drive.end.error["code"] == "ACTION_OUTCOME_UNKNOWN"


def test_step_fails_at_once_if_its_author_wants_it_and_under_semantics_1() -> None:
    assert started(2).last(cmd.RunAction).on_unknown == "decide"
    assert started(2, onUnknownOutcome="decide").last(cmd.RunAction).on_unknown == "decide"
    assert started(2, onUnknownOutcome="fail").last(cmd.RunAction).on_unknown == ""
    assert started(1).last(cmd.RunAction).on_unknown == ""


def test_late_result_continues_the_attempt() -> None:
    drive = asked().complete({"outcome": "arrived"}, by="late result of the action")
    assert drive.last(cmd.RunAction).decision == {"outcome": "arrived", "executions": 1}


def test_event_completes_the_task_like_every_task() -> None:
    drive = asked()
    wait = drive.last(cmd.OpenWait).wait_id
    wrong = {"response": {"outcome": "happened", "reason": "x"}}
    drive.feed(EventSignalled(drive.now_ms, "e1", "HUMAN_TASK_COMPLETED", wait, wait, wrong))
    drive.feed(EventSignalled(drive.now_ms, "e2", "HUMAN_TASK_COMPLETED", wait, wait, {"response": HAPPENED}))
    drive.action(output={"sent": 1})
    assert (drive.verdicts(), drive.end.status) == ([("e1", "filtered"), ("e2", "matched")], "SUCCEEDED")


def test_run_that_waits_for_a_decision_can_be_cancelled_and_can_continue_as_new() -> None:
    drive = asked().checkpoint().complete(HAPPENED).action(output={"sent": 1})
    assert drive.end.status == "SUCCEEDED"
    drive = asked().cancel()
    assert (drive.end.status, drive.steps(), drive.waits()) == ("CANCELED", [("mail", "CANCELED")], ["CANCELED"])
    assert task_of(drive)["status"] == "canceled"


def test_large_request_is_left_out_of_the_task() -> None:
    drive = lost(started(payload={"to": "x" * 100_000}))
    assert task_of(drive)["contextData"]["request"] == {"omittedBytes": 100_009}


@pytest.mark.parametrize(
    ("response", "fits"),
    [
        (HAPPENED, True),
        ({"outcome": "did_not_happen", "reason": "r"}, True),
        ({"outcome": "fail", "reason": "r"}, True),
        ({"outcome": "happened", "reason": "r"}, False),  # without output
        ({"outcome": "happened", "output": {"sent": "no"}, "reason": "r"}, False),
        ({"outcome": "fail", "output": {"sent": 1}, "reason": "r"}, False),
        ({"outcome": "fail"}, False),
        ({"outcome": "fail", "reason": " "}, False),
        ({"outcome": "arrived", "reason": "r"}, False),  # only the system can report a late result
        ({"reason": "r"}, False),
        ("happened", False),
    ],
)
def test_form_of_the_decision(response: Any, fits: bool) -> None:
    form = decision_form(OUTPUT)
    assert form_schema_problem(form) is None
    assert (form_problem(form, response) is None) is fits

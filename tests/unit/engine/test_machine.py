"""The engine without Temporal: the effect of each step, and of each event on a waiting run."""

from typing import Any

import pytest

from tests.support.factories import expr, wait_for_reply
from tests.unit.engine.driver import START_MS, Drive
from workflows.engine import commands as cmd
from workflows.engine.events import ActionDone
from workflows.engine.expressions.contract import EXPRESSION_CONTRACT_VERSION
from workflows.engine.machine import CONTRACT_OF_SEMANTICS, SEMANTICS_VERSION, end_as_corrupt
from workflows.engine.turn import MAX_GATHERED_RECORDS


def assign(step_id: str = "set", **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def state(step_id: str, value: str) -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": value}}


def call(step_id: str = "call", **more: Any) -> dict[str, Any]:
    config = {
        "actionId": "http.request",
        "version": 1,
        "inputMapping": {"url": expr("payload.url")},
        "saveAs": "response",
    }
    return {"id": step_id, "type": "action.call", "config": {**config, **more.pop("config", {})}, **more}


FAILED = {"category": "TransientError", "message": "no response", "nodePath": "root.steps[0]", "at": "…"}


# -- Pure steps ------------------------------------------------------------------------------------------------------


def test_pure_steps_need_only_one_write() -> None:
    run = Drive(state("s", "OPEN"), assign(**{"vars.a": expr("1 + 1"), "b.c": 3, "/vars/d": [expr("vars.a")]})).start()
    assert [type(command) for command in run.commands] == [cmd.CompleteRun]
    assert (run.end.status, run.state.scope.meta, run.vars) == (
        "SUCCEEDED",
        {"state": "OPEN"},
        {"a": 2, "b": {"c": 3}, "d": [2]},
    )
    assert run.steps() == [("s", "SUCCEEDED"), ("set", "SUCCEEDED")]


def test_assign_runs_in_document_order() -> None:
    run = Drive(assign(**{"vars.z": 1, "vars.a": expr("vars.z + 1"), "vars.m": expr("vars.a + 1")})).start()
    assert run.vars == {"z": 1, "a": 2, "m": 3}


@pytest.mark.parametrize(("value", "branch"), [(3, "then"), (1, "else")])
def test_if_takes_one_branch_and_records_it(value: int, branch: str) -> None:
    choice = {
        "id": "if", "type": "control.if", "condition": expr("payload.n > 2"),
        "then": [assign("t", **{"vars.took": "then"})], "else": [assign("e", **{"vars.took": "else"})],
    }  # fmt: skip
    run = Drive(choice, assign("after", **{"vars.after": True}), payload={"n": value}).start()
    assert run.vars == {"took": branch, "after": True}
    assert next(r["branch"] for r in run.records if r["kind"] == "step" and r["id"] == "if") == branch


def test_condition_that_is_not_boolean_fails_the_run() -> None:
    run = Drive({"id": "if", "type": "control.if", "condition": expr("1"), "then": []}).start()
    assert run.end.status == "FAILED"
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"]) == ("ExpressionError", "CONDITION_NOT_BOOLEAN")
    assert run.end.error["nodePath"] == "root.steps[0]"


def test_return_ends_the_run_inside_a_branch() -> None:
    inner = {
        "id": "if",
        "type": "control.if",
        "condition": expr("true"),
        "then": [{"id": "end", "type": "control.return"}],
    }
    run = Drive(inner, assign("never", **{"vars.never": 1})).start()
    assert (run.end.status, run.vars) == ("SUCCEEDED", {})


def test_error_of_an_undefined_expression_has_its_path() -> None:
    run = Drive(assign(**{"vars.a": {"deep": [expr("payload.missing")]}})).start()
    assert run.end.error is not None
    assert run.end.error["details"]["path"] == "assign.vars.a.deep[0]"


@pytest.mark.parametrize("source", ["'a\\u0000'", "['x', {'k': '\\ud800'}]"])
def test_value_that_cannot_be_stored_fails_the_step(source: str) -> None:
    run = Drive(assign(**{"vars.a": expr(source)})).start()
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"]) == ("ExpressionError", "VALUE_NOT_STORABLE")


def test_on_error_continue_records_the_failure_and_continues() -> None:
    failing = {**assign(**{"vars.a": expr("payload.missing")}), "onError": {"policy": "continue"}}
    run = Drive(failing, assign("after", **{"vars.seen": expr("error.category")})).start()
    assert run.steps() == [("set", "FAILED"), ("after", "SUCCEEDED")]
    assert (run.end.status, run.vars) == ("SUCCEEDED", {"seen": "ExpressionError"})


def test_many_pure_steps_write_records_in_between() -> None:
    run = Drive(*[assign(f"s{i}", **{"vars.n": i}) for i in range(MAX_GATHERED_RECORDS + 10)]).start()
    assert len(run.last(cmd.WriteRecords).records) == MAX_GATHERED_RECORDS
    assert not run.has(cmd.CompleteRun)
    run.written()
    assert (run.end.status, run.vars["n"]) == ("SUCCEEDED", MAX_GATHERED_RECORDS + 9)


def test_unknown_step_type_ends_in_corruption() -> None:
    run = Drive({"id": "x", "type": "control.while", "onError": {"policy": "continue"}}).start()
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"]) == ("EngineCorruption", "STEP_TYPE_NOT_SUPPORTED")


def test_write_beyond_the_scope_limit_fails_the_step() -> None:
    run = Drive(assign(**{"vars.big": "x" * 1_100_000})).start()
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"]) == ("ValidationError", "SCOPE_TOO_LARGE")


# -- Actions ---------------------------------------------------------------------------------------------------------


def test_action_carries_the_gathered_records_and_saves_its_output() -> None:
    run = Drive(state("s", "A"), call(), payload={"url": "u"}).start()
    command = run.last(cmd.RunAction)
    assert (command.input, command.attempt, command.idempotency_key) == (
        {"url": "u"},
        1,
        f"{run.state.scope.system['runId']}/root.steps[1]",
    )
    assert [record["kind"] for record in command.records] == ["step", "run"]
    assert command.records[-1]["seq"] < command.start_seq < command.end_seq
    run.action({"status": 200})
    assert (run.end.status, run.vars) == ("SUCCEEDED", {"response": {"status": 200}})


def test_failed_action_without_a_policy_fails_the_run() -> None:
    run = Drive(call(), payload={"url": "u"}).start().action(error=FAILED)
    assert (run.end.status, run.end.error) == ("FAILED", FAILED)


def test_retry_starts_after_its_backoff_with_the_same_key() -> None:
    run = Drive(call(retry={"maxAttempts": 3, "backoffMs": 1000, "jitter": False}), payload={"url": "u"}).start()
    first = run.last(cmd.RunAction)
    run.action(error=FAILED)
    assert run.last(cmd.StartTimer).due_ms == START_MS + 1000
    run.later(1000).fire()
    second = run.last(cmd.RunAction)
    assert (second.attempt, second.idempotency_key, second.input) == (2, first.idempotency_key, first.input)
    run.action(error=FAILED)
    assert run.last(cmd.StartTimer).due_ms == START_MS + 1000 + 2000
    run.later(2000).fire().action(error=FAILED)
    assert run.end.status == "FAILED"
    assert run.state.failed_step_count == 1


def test_validation_error_is_retried_only_if_named() -> None:
    invalid = {**FAILED, "category": "ValidationError"}
    assert (
        Drive(call(retry={"maxAttempts": 3, "backoffMs": 1}), payload={"url": "u"})
        .start()
        .action(error=invalid)
        .end.status
        == "FAILED"
    )
    named = {"maxAttempts": 3, "backoffMs": 1, "retryOn": ["ValidationError"]}
    assert not Drive(call(retry=named), payload={"url": "u"}).start().action(error=invalid).has(cmd.CompleteRun)


def test_explicit_idempotency_key_is_used_unchanged() -> None:
    run = Drive(
        call(config={"idempotencyKey": expr("'ticket-' & toString(payload.n)")}), payload={"url": "u", "n": 7}
    ).start()
    assert run.last(cmd.RunAction).idempotency_key == "ticket-7"


def test_end_of_a_cancelled_action_changes_nothing() -> None:
    run = Drive(call(), payload={"url": "u"}).start()
    before = run.last(cmd.RunAction)
    run.cancel()
    assert run.last(cmd.CancelAttempt).id == before.id
    count = len(run.commands)
    run.action({"status": 200})
    assert (len(run.commands), run.end.status) == (count, "CANCELED")


# -- Event waits -----------------------------------------------------------------------------------------------------


def waiting(**config: Any) -> Drive:
    return Drive(wait_for_reply(**config), payload={"ticketId": " T-1 "}).start()


def test_wait_opens_with_its_trimmed_key_and_deadline() -> None:
    run = waiting(timeoutMs=5000)
    assert run.last(cmd.StartTimer).due_ms == START_MS + 5000
    wait = next(record for record in run.last(cmd.OpenWait).records if record["kind"] == "wait")
    assert (wait["key"], wait["eventName"], wait["deadlineAt"], wait["status"]) == (
        "T-1", "TICKET_CUSTOMER_REPLIED", START_MS + 5000, "WAITING",
    )  # fmt: skip


def test_matching_event_resumes_the_run_with_a_verdict() -> None:
    run = waiting(timeoutMs=5000, assign={"vars.text": expr("vars.event.text")}).signal(payload={"text": "hi"})
    assert (run.end.status, run.vars) == (
        "SUCCEEDED",
        {"event": {"text": "hi"}, "eventName": "TICKET_CUSTOMER_REPLIED", "text": "hi"},
    )
    assert (run.verdicts(), run.waits()) == ([("e1", "matched")], ["RESOLVED"])
    assert run.last(cmd.CancelTimer).id == run.last(cmd.StartTimer).id


def test_filter_mismatch_leaves_the_wait_open_with_a_verdict() -> None:
    run = waiting(filters=[{"path": "channel", "op": "in", "value": ["mail"]}]).signal(payload={"channel": "phone"})
    assert (run.verdicts(), run.waits(), run.has(cmd.CompleteRun)) == ([("e1", "filtered")], ["WAITING"], False)
    assert "channel" in run.last(cmd.WriteRecords).records[0]["reason"]
    run.signal("e2", payload={"channel": "mail"})
    assert run.verdicts() == [("e1", "filtered"), ("e2", "matched")]


@pytest.mark.parametrize("changed", [{"event_name": "OTHER"}, {"correlation_key": "T-2"}])
def test_event_with_another_name_or_key_never_resumes_the_run(changed: dict[str, str]) -> None:
    run = waiting().signal(**changed)
    assert (run.verdicts(), run.waits()) == ([("e1", "filtered")], ["WAITING"])


def test_signal_for_a_closed_wait_is_late() -> None:
    run = Drive(wait_for_reply("one"), wait_for_reply("two"), payload={"ticketId": "T-1"}).start()
    first = run.last(cmd.OpenWait).wait_id
    run.signal("e1").signal("e2", wait_id=first)
    assert run.verdicts()[-1] == ("e2", "late")
    assert run.waits() == ["RESOLVED", "WAITING"]


def test_event_resumes_a_run_at_most_once() -> None:
    run = (
        Drive(wait_for_reply("one"), wait_for_reply("two"), payload={"ticketId": "T-1"})
        .start()
        .signal("e1")
        .signal("e1")
    )
    assert run.verdicts() == [("e1", "matched"), ("e1", "late")]
    assert run.waits() == ["RESOLVED", "WAITING"]


def test_event_that_started_the_run_never_resolves_its_wait() -> None:
    run = Drive(wait_for_reply(), payload={"ticketId": "T-1"}, trigger_event_id="e0").start().signal("e0")
    assert (run.verdicts(), run.waits()) == ([("e0", "filtered")], ["WAITING"])


def test_timeout_is_an_error_that_on_error_can_ignore() -> None:
    run = waiting(timeoutMs=5000).later(5000).fire()
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"], run.waits()) == (
        "TimeoutError",
        "EVENT_WAIT_TIMEOUT",
        ["TIMED_OUT"],
    )
    patient = Drive({**wait_for_reply(timeoutMs=5000), "onError": {"policy": "continue"}}, payload={"ticketId": "T-1"})
    assert patient.start().later(5000).fire().end.status == "SUCCEEDED"


def test_timer_of_a_resolved_wait_is_stale() -> None:
    run = Drive(wait_for_reply("one", timeoutMs=5000), wait_for_reply("two"), payload={"ticketId": "T-1"}).start()
    run.signal("e1").later(5000).fire()
    assert run.waits() == ["RESOLVED", "WAITING"]


@pytest.mark.parametrize("key", ["null", "''", "[1]", "{}", "'  '"])
def test_invalid_key_fails_the_wait(key: str) -> None:
    run = Drive(wait_for_reply(key=key)).start()
    assert run.end.error is not None
    assert run.end.error["category"] == "ExpressionError"


def test_event_after_the_end_is_late() -> None:
    run = waiting().signal("e1").signal("e2")
    assert run.verdicts() == [("e1", "matched"), ("e2", "late")]


# -- Time waits ------------------------------------------------------------------------------------------------------


def time_wait(**config: Any) -> dict[str, Any]:
    return {"id": "sleep", "type": "time.wait", "config": config}


def test_duration_waits_for_a_timer_and_records_its_times() -> None:
    run = Drive(time_wait(mode="duration", durationMs=1500)).start()
    assert run.last(cmd.StartTimer).due_ms == START_MS + 1500
    run.later(1600).fire()
    assert run.vars["timeWait"] == {
        "mode": "duration", "dueAt": "2023-11-14T22:13:21.500Z", "resumedAt": "2023-11-14T22:13:21.600Z",
    }  # fmt: skip
    assert run.waits() == ["RESOLVED"]


@pytest.mark.parametrize("until", ["'1970-01-01T00:00:01Z'", "978307200000", "0", "nowIso()"])
def test_time_in_the_past_does_not_suspend_the_run(until: str) -> None:
    run = Drive(time_wait(mode="until", until=expr(until))).start()
    assert (run.end.status, run.has(cmd.StartTimer)) == ("SUCCEEDED", False)


@pytest.mark.parametrize(
    "until", ["'soon'", "'2030-01-01T00:00:00'", "true", "-5", "1000", "1900000000", "1900000000.5"]
)
def test_invalid_time_is_an_error(until: str) -> None:
    run = Drive(time_wait(mode="until", until=expr(until))).start()
    assert run.end.error is not None
    assert run.end.error["code"] == "TIME_INVALID"


def test_number_of_seconds_names_the_cause_and_the_old_semantics_keep_their_meaning() -> None:
    run = Drive(time_wait(mode="until", until=1_900_000_000)).start()
    assert run.end.error is not None
    assert "Multiply it by 1000" in run.end.error["message"]
    old = Drive(time_wait(mode="until", until=1_900_000_000), semantics=1).start()
    assert old.end.status == "SUCCEEDED"


# -- Cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_of_a_wait_leaves_nothing_open() -> None:
    run = waiting(timeoutMs=5000).cancel()
    assert (run.end.status, run.waits(), run.steps()) == ("CANCELED", ["CANCELED"], [("reply", "CANCELED")])
    assert run.last(cmd.CancelTimer).id == run.last(cmd.StartTimer).id


def test_on_error_and_retry_do_not_delay_a_cancel() -> None:
    step = call(retry={"maxAttempts": 9, "backoffMs": 1000}, onError={"policy": "continue"})
    run = Drive(step, assign("after", **{"vars.after": 1}), payload={"url": "u"}).start().action(error=FAILED).cancel()
    assert (run.end.status, run.waits(), run.vars) == ("CANCELED", ["CANCELED"], {})


def test_cancel_keeps_the_records_that_the_action_carried() -> None:
    run = Drive(wait_for_reply(), call(), payload={"ticketId": "T-1", "url": "u"}).start().signal("e1")
    carried = run.last(cmd.RunAction).records
    run.cancel()
    assert run.end.records[: len(carried)] == carried
    assert {record["kind"] for record in carried} == {"verdict", "wait", "step", "run"}


def test_engine_records_an_attempt_whose_activity_was_lost() -> None:
    run = Drive(call(), payload={"url": "u"}).start()
    carried = run.last(cmd.RunAction)
    run.feed(ActionDone(run.now_ms, carried.id, error=FAILED, is_projected=False))
    assert run.end.records[: len(carried.records)] == carried.records
    assert run.steps() == [("call", "FAILED")]


def test_corruption_closes_open_work_and_ignores_on_error() -> None:
    run = waiting(timeoutMs=5000)
    run.state, commands = end_as_corrupt(run.definition, run.state, now_ms=run.now_ms, message="a bug")
    run.commands += commands
    run.records += run.end.records
    assert (run.end.status, run.waits(), run.steps()) == ("FAILED", ["CANCELED"], [("reply", "CANCELED")])
    unknown = {"id": "x", "type": "control.while", "onError": {"policy": "continue"}}
    caught = {"id": "t", "type": "control.tryCatch", "try": [unknown], "catch": []}
    assert Drive(caught, assign("after", **{"vars.a": 1})).start().end.status == "FAILED"


def test_write_to_the_error_scope_does_not_change_the_record() -> None:
    failing = {**assign(**{"vars.a": expr("payload.missing")}), "onError": {"policy": "continue"}}
    run = Drive(failing, assign("after", **{"error.category": "Mine", "error.more": 1})).start()
    (record,) = [r for r in run.records if r["kind"] == "step" and r["status"] == "FAILED"]
    assert (record["error"]["category"], "more" in record["error"]) == ("ExpressionError", False)


def test_null_field_means_absent_field() -> None:
    step = {
        **call(config={"saveAs": None, "idempotencyKey": None}),
        "name": None,
        "retry": {"maxAttempts": 2, "backoffMs": None},
        "onError": None,
    }
    run = Drive(step, payload={"url": "u"}).start().action(error=FAILED).fire().action({"ok": 1})
    assert (run.end.status, run.vars) == ("SUCCEEDED", {})


def test_second_cancel_changes_nothing() -> None:
    run = waiting().cancel()
    count = len(run.commands)
    assert len(run.cancel().commands) == count


def test_semantics_version_pins_the_expression_contract() -> None:
    assert CONTRACT_OF_SEMANTICS[SEMANTICS_VERSION] == EXPRESSION_CONTRACT_VERSION, (
        "The expression contract has changed. Give the engine a new SEMANTICS_VERSION, and add its contract version to "
        "CONTRACT_OF_SEMANTICS."
    )


@pytest.mark.parametrize(("semantics", "number"), [(1, 8202522731445526000), (2, 8202522731445525542)])
def test_run_keeps_the_expression_contract_of_its_semantics(semantics: int, number: int) -> None:
    payload = {"ticketId": 8202522731445525542, "url": "u"}
    steps = (
        assign(**{"vars.copy": {"$expr": "payload.ticketId"}}),
        call(
            "text",
            config={"actionId": "transform.join", "inputMapping": {"values": [8202522731445525542]}, "saveAs": "text"},
        ),
        call("call", config={"idempotencyKey": {"$expr": "payload.ticketId"}}),
        wait_for_reply(),
    )
    run = Drive(*steps, payload=payload, semantics=semantics).start().action({"ok": True})
    assert run.vars["copy"] == number
    assert run.vars["text"]["result"] == str(number)
    assert run.last(cmd.RunAction).idempotency_key == str(number)
    assert run.state.wait is not None
    assert run.state.wait.key == str(number)


def test_sequence_numbers_always_grow() -> None:
    run = Drive(
        state("a", "A"), wait_for_reply(timeoutMs=9000), call(), payload={"ticketId": "T-1", "url": "u"}
    ).start()
    run.signal("x", correlation_key="other").signal("e1").action({"ok": True})
    numbers = [record["seq"] for record in run.records]
    assert numbers == sorted(set(numbers))

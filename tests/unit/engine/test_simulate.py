"""Simulation of runs with stubs, and a check of its trace by the rules of the language."""

from typing import Any

import pytest
from hypothesis import given

from tests.support.generated_runs import RUN_ID, START_MS, generated, limits, simulated
from tests.unit.engine.generated_definitions import Case, cases
from workflows.engine.clock import MAX_MS
from workflows.engine.definition import Definition, Step, canonical_text, parse_definition
from workflows.engine.simulate import Simulation, Stubs, simulate

FORM = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}


def expr(source: str) -> dict[str, str]:
    return {"$expr": source}


def play(
    *steps: dict[str, Any], payload: dict[str, Any] | None = None, max_turns: int = 10_000, **stubs: Any
) -> Simulation:
    document = {"id": "flow", "version": 3, "name": "Flow", "payloadSchemaRef": "payload.Any.v1", "steps": list(steps)}
    definition = parse_definition(canonical_text(document))
    return simulate(
        definition, payload or {}, stubs=Stubs(**stubs), now_ms=START_MS, run_id=RUN_ID, max_turns=max_turns
    )


def call(step_id: str = "call", **beside: Any) -> dict[str, Any]:
    config = {"actionId": "http.request", "version": 1, "inputMapping": {}, "saveAs": "response"}
    return {"id": step_id, "type": "action.call", "config": config, **beside}


def wait(step_id: str = "wait", **config: Any) -> dict[str, Any]:
    return {
        "id": step_id,
        "type": "event.wait",
        "config": {"eventName": "PAID", "correlationKey": expr("'k'"), **config},
    }


def task(step_id: str = "task", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "human.task", "config": {"taskType": "review", "title": "Review", **config}}


def assign(step_id: str = "set", **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def loop(*body: dict[str, Any], items: str = "[1, 2, 3]") -> dict[str, Any]:
    return {"id": "loop", "type": "control.forEach", "items": expr(items), "itemVar": "row", "body": list(body)}


def ends(simulation: Simulation) -> list[tuple[str, str, int, str]]:
    return [
        (entry["id"], entry["iteration"], entry["attempt"], entry["status"])
        for entry in simulation.trace
        if entry["status"] != "STARTED"
    ]


TRANSIENT = {"error": {"category": "TransientError", "message": "no response", "code": "NO_RESPONSE"}}

# -- Stubs -------------------------------------------------------------------------------------------------------------


def test_step_without_a_stub_gets_an_empty_output() -> None:
    simulation = play(call(), assign(**{"vars.seen": expr("response")}))
    assert (simulation.status, simulation.scopes["vars"]) == ("SUCCEEDED", {"response": {}, "seen": {}})
    assert simulation.command_counts == {"RunAction": 1, "CompleteRun": 1}
    assert (simulation.error, simulation.waits_for, simulation.ended_ms) == (None, None, START_MS)


def test_each_attempt_takes_the_next_outcome_and_the_last_one_repeats() -> None:
    retry = {"maxAttempts": 2, "backoffMs": 1000, "jitter": False}
    outcomes = [TRANSIENT, {"output": 1}, {"output": 2}]
    seen = assign(**{"/vars/seen/-": expr("response")})
    simulation = play(assign("list", **{"vars.seen": []}), loop(call(retry=retry), seen), outcomes={"call": outcomes})
    assert simulation.scopes["vars"]["seen"] == [1, 2, 2]
    calls = [entry[1:] for entry in ends(simulation) if entry[0] == "call"]
    assert calls == [("0", 1, "RETRY_SCHEDULED"), ("0", 2, "SUCCEEDED"), ("1", 1, "SUCCEEDED"), ("2", 1, "SUCCEEDED")]
    assert simulation.ended_ms == START_MS + 1000


def test_simulated_failure_is_an_error_of_the_step() -> None:
    simulation = play(call(), outcomes={"call": [TRANSIENT]})
    assert simulation.error == {
        "category": "TransientError", "message": "no response", "code": "NO_RESPONSE", "nodePath": "root.steps[0]",
        "at": "2023-11-14T22:13:20.000Z",
    }  # fmt: skip
    assert (simulation.status, simulation.scopes["error"]) == ("FAILED", simulation.error)
    assert simulation.trace[-1]["error"] == simulation.error


def test_simulated_failure_has_default_values() -> None:
    error = play(call(), outcomes={"call": [{"error": {}}]}).error
    assert error is not None
    assert (error["category"], error["message"]) == ("ActionError", "Simulated failure.")


def test_child_returns_its_scopes_or_its_error() -> None:
    child = {"id": "child", "type": "control.callWorkflow", "workflowId": "other", "workflowVersion": 1,
             "outputMapping": {"n": expr("childRun.vars.n")}}  # fmt: skip
    assert play(child, outcomes={"child": [{"output": {"vars": {"n": 7}}}]}).scopes["vars"] == {"n": 7}
    error = play(child, outcomes={"child": [TRANSIENT]}).error
    assert error is not None
    found = (error["category"], error["code"], error["nodePath"])
    assert found == ("ChildWorkflowError", "NO_RESPONSE", "root.steps[0]")
    assert error["details"]["error"]["category"] == "TransientError"


def test_event_is_tried_at_the_first_wait_of_its_name() -> None:
    events = [
        {"eventName": "SENT"},
        {"eventName": "PAID", "payload": {"n": 1}},
        {"eventName": "PAID", "payload": {"n": 2}},
    ]
    simulation = play(wait("one", assign={"first": expr("event.n")}), wait("two"), events=events)
    assert (simulation.status, simulation.scopes["vars"]["first"]) == ("SUCCEEDED", 1)
    assert [(v["eventId"], v["verdict"]) for v in simulation.verdicts] == [
        ("event-1", "matched"),
        ("event-2", "matched"),
    ]


def test_event_that_does_not_match_gets_a_verdict_and_the_next_is_tried() -> None:
    filters = [{"path": "n", "op": ">", "value": 1}]
    events = [{"eventName": "PAID", "correlationKey": 7}, {"eventName": "PAID", "payload": {"n": 1}},
              {"eventName": "PAID", "payload": {"n": 2}}]  # fmt: skip
    simulation = play(wait(filters=filters), events=events)
    assert [verdict["verdict"] for verdict in simulation.verdicts] == ["filtered", "filtered", "matched"]
    assert simulation.verdicts[1]["reason"] == "the filter on n does not match"
    assert simulation.verdicts[1]["mismatch"] == {"code": "FILTER_MISMATCH", "path": "n", "op": ">", "value": 1}
    assert simulation.status == "SUCCEEDED"


def test_wait_without_an_event_times_out_at_its_deadline() -> None:
    simulation = play(
        {**wait(timeoutMs=5000), "onError": {"policy": "continue"}}, assign(**{"vars.code": expr("error.code")})
    )
    assert (simulation.status, simulation.scopes["vars"]) == ("SUCCEEDED", {"code": "EVENT_WAIT_TIMEOUT"})
    assert simulation.ended_ms == START_MS + 5000


def test_wait_without_a_deadline_ends_the_simulation() -> None:
    simulation = play(loop(wait()))
    assert simulation.status == "waiting"
    assert simulation.waits_for is not None
    names = ("kind", "step_id", "iteration", "event_name", "key", "deadline_ms")
    assert [simulation.waits_for[name] for name in names] == ["event", "wait", "0", "PAID", "k", None]
    assert [(entry["id"], entry["status"]) for entry in simulation.trace] == [("loop", "STARTED"), ("wait", "STARTED")]


def test_invalid_response_is_refused_and_the_task_stays_open() -> None:
    simulation = play(task(formSchema=FORM), responses={"task": [{"ok": "yes"}, {"ok": True}]})
    assert simulation.status == "waiting"
    ((verdict),) = simulation.verdicts
    assert (verdict["eventId"], verdict["verdict"]) == ("task", "refused")
    assert "/ok" in verdict["reason"]


def test_each_execution_of_a_task_takes_the_next_response() -> None:
    seen = assign(**{"/vars/seen/-": expr("humanTask.response")})
    simulation = play(assign("list", **{"vars.seen": []}), loop(task(formSchema=FORM), seen),
                      responses={"task": [{"ok": True}, {"ok": False}]})  # fmt: skip
    assert simulation.scopes["vars"]["seen"] == [{"ok": True}, {"ok": False}, {"ok": False}]


def test_task_without_a_response_takes_an_event_or_expires() -> None:
    event = {"eventName": "HUMAN_TASK_COMPLETED", "payload": {"response": {"ok": True}}}
    simulation = play(task(dueInMs=1000), events=[event])
    assert simulation.scopes["vars"]["humanTask"]["completedBy"] == "event event-0"
    error = play(task(dueInMs=1000)).error
    assert error is not None
    assert error["code"] == "HUMAN_TASK_EXPIRED"


def test_clock_jumps_and_never_passes_its_maximum() -> None:
    sleep = {"id": "sleep", "type": "time.wait", "config": {"mode": "duration", "durationMs": MAX_MS}}
    retry = {"maxAttempts": 2, "backoffMs": 60_000}
    simulation = play(sleep, call(retry=retry), outcomes={"call": [TRANSIENT, {"output": 1}]})
    assert (simulation.status, simulation.ended_ms) == ("SUCCEEDED", MAX_MS)


# -- Arguments, limits and invalid stubs -------------------------------------------------------------------------------


def test_simulation_does_not_change_its_arguments() -> None:
    payload = {"list": [1]}
    stubs: dict[str, Any] = {
        "outcomes": {"call": [{"output": {"list": []}}], "child": [{"output": {}}]},
        "responses": {"task": [{"ok": True}]},
        "events": [{"eventName": "PAID", "payload": {"n": 1}}],
    }
    child = {"id": "child", "type": "control.callWorkflow", "workflowId": "other", "workflowVersion": 1}
    more = assign(**{"/payload/list/-": 2, "/vars/response/list/-": 3, "vars.event.more": 4})
    before = repr((payload, stubs))
    first = play(loop(call(), child, wait(), more, items="[1]"), task(), more | {"id": "m"}, payload=payload, **stubs)
    again = play(loop(call(), child, wait(), more, items="[1]"), task(), more | {"id": "m"}, payload=payload, **stubs)
    assert first == again
    assert first.status == "SUCCEEDED"
    assert repr((payload, stubs)) == before


def test_system_scope_describes_a_root_run() -> None:
    names = ("runId", "workflowId", "workflowVersion", "tenantId", "rootRunId")
    simulation = play(assign(**{f"vars.{name}": expr(f"system.{name}") for name in names}))
    assert simulation.scopes["vars"] == {
        "runId": RUN_ID, "workflowId": "flow", "workflowVersion": 3, "tenantId": "", "rootRunId": RUN_ID,
    }  # fmt: skip


def test_run_with_too_many_turns_is_stopped() -> None:
    simulation = play(loop(call(), items="[1..50]"), max_turns=10)
    assert (simulation.status, simulation.command_counts) == ("stopped", {"RunAction": 10})
    assert play(call(), max_turns=2).status == "SUCCEEDED"


def test_exception_in_the_engine_ends_in_corruption() -> None:
    simulation = play(wait(timeoutMs=5), assign(**{"vars..bad": 1}), events=[{"eventName": "PAID"}])
    assert simulation.error is not None
    assert (simulation.status, simulation.error["category"]) == ("FAILED", "EngineCorruption")


@pytest.mark.parametrize(
    ("stubs", "message"),
    [
        (
            {"outcomes": {"cal": [TRANSIENT]}},
            "'cal', but the definition has no such action.call or control.callWorkflow",
        ),
        ({"outcomes": {"task": [TRANSIENT]}}, "'task', but the definition has no such action.call"),
        ({"responses": {"call": [{}]}}, "'call', but the definition has no such human.task step"),
        ({"outcomes": {"call": [{"error": {"category": "Oops"}}]}}, "Oops"),
        ({"outcomes": {"call": [{"ouput": 1}]}}, r"'call' is \{'ouput': 1\}. It must be \{output\} or \{error\}"),
        ({"outcomes": {"child": [{"output": 7}]}}, "'child' is .* must be an object of scopes"),
    ],
)
def test_invalid_stub_is_refused(stubs: dict[str, Any], message: str) -> None:
    child = {"id": "child", "type": "control.callWorkflow", "workflowId": "other", "workflowVersion": 1}
    with pytest.raises(ValueError, match=message):
        play(child, call(), task(), **stubs)


# -- Check of the trace by the rules of the language -------------------------------------------------------------------


class Failed(Exception):
    """Error that moves outward."""


class Returned(Exception):
    """`control.return` that moves outward."""


class Suspended(Exception):
    """The trace ends in a wait."""


LENGTHS = {"[1, 2]": 2, "payload.rows": 3, "['a']": 1, "[[1], [2]]": 2, "[]": 0}


class Reading:
    """Independent interpreter that walks a definition recursively, with exceptions for errors.

    It reads from the trace only facts that need an evaluation: the end of a step, its branch, the number of items.
    Every entry that it reads must be the next entry of the trace.
    """

    def __init__(self, definition: Definition, trace: list[dict[str, Any]]) -> None:
        self._blocks = definition.blocks
        self._trace = trace
        self._at = 0

    def outcome(self) -> str:
        try:
            self._block("root", "", catcher="")
            ended = "SUCCEEDED"
        except Returned:
            ended = "SUCCEEDED"
        except Failed:
            ended = "FAILED"
        except Suspended:
            ended = "waiting"
        assert self._at == len(self._trace), self._trace[self._at :]
        return ended

    def _next(self, step: Step, iteration: str, attempt: int = 1) -> dict[str, Any]:
        entry = self._peek()
        if entry is None:
            raise Suspended
        found = (entry["path"], entry["iteration"], entry["attempt"])
        assert found == (step.path, iteration, attempt), (found, step.path, iteration)
        self._at += 1
        return entry

    def _peek(self) -> dict[str, Any] | None:
        return self._trace[self._at] if self._at < len(self._trace) else None

    def _is_own(self, step: Step, iteration: str, *statuses: str) -> bool:
        entry = self._peek()
        return (
            entry is not None
            and (entry["path"], entry["iteration"]) == (step.path, iteration)
            and entry["status"] in statuses
        )

    def _block(self, block: str, iteration: str, *, catcher: str) -> None:
        """Walk a block. `catcher` is the nearest catching construct: `try`, or the `onItemError` policy of a loop."""
        for step in self._blocks[block]:
            try:
                self._step(step, iteration, catcher)
            except Failed as failed:
                if catcher != "continue" or not self._is_catchable(failed):
                    raise

    def _step(self, step: Step, iteration: str, catcher: str) -> None:
        match step.type:
            case "control.if":
                entry = self._next(step, iteration)
                self._check_end(entry)
                self._block(f"{step.path}.{entry['branch']}", iteration, catcher=catcher)
            case "control.forEach":
                self._around(step, iteration, lambda: self._items(step, iteration))
            case "control.tryCatch":
                self._around(step, iteration, lambda: self._try(step, iteration, catcher))
            case "control.return":
                assert self._next(step, iteration)["status"] == "SUCCEEDED"
                raise Returned
            case _:
                self._attempts(step, iteration)

    def _attempts(self, step: Step, iteration: str) -> None:
        attempt, entry = 1, self._next(step, iteration)
        while entry["status"] != "FAILED":
            if entry["status"] == "RETRY_SCHEDULED":
                attempt += 1
                assert step.retry is not None
                assert attempt <= step.retry.max_attempts
            elif entry["status"] == "SUCCEEDED" and not self._fails_afterwards(step, iteration):
                break
            entry = self._next(step, iteration, attempt)
        if entry["status"] == "FAILED" and not (step.continues_on_error and self._is_catchable(Failed(entry["error"]))):
            raise Failed(entry["error"])

    def _fails_afterwards(self, step: Step, iteration: str) -> bool:
        """Return True if the output of the action could not be saved."""
        return step.type == "action.call" and self._is_own(step, iteration, "FAILED", "RETRY_SCHEDULED")

    def _around(self, step: Step, iteration: str, inside: Any) -> None:
        """Walk a step with blocks: its start, its content, and its end, which repeats an uncaught error."""
        entry = self._next(step, iteration)
        if entry["status"] != "STARTED":
            assert step.type == "control.forEach"
            assert (
                step.config["items"]["$expr"] not in LENGTHS
                or not LENGTHS[step.config["items"]["$expr"]]
                or "error" in entry
            )
            self._check_end(entry)
            return
        try:
            inside()
        except Returned:
            assert self._next(step, iteration)["status"] == "SUCCEEDED"
            raise
        except Failed as failed:
            self._check_passed_through(self._next(step, iteration), failed.args[0])
            raise
        self._check_end(self._next(step, iteration))

    def _items(self, step: Step, iteration: str) -> None:
        policy = step.config.get("onItemError", "fail")
        position = 0
        if not self._blocks[f"{step.path}.body"]:
            return  # items without steps have no entries in the trace
        while not self._is_own(step, iteration, "SUCCEEDED", "FAILED"):
            within = f"{iteration}.{position}".lstrip(".")
            try:
                self._block(f"{step.path}.body", within, catcher=policy)
            except Failed as failed:
                if policy != "skipItem" or not self._is_catchable(failed):
                    raise
            position += 1
        length = LENGTHS.get(step.config["items"]["$expr"], position)
        assert position == length or self._is_own(step, iteration, "FAILED"), "items are missing from the trace"

    def _try(self, step: Step, iteration: str, catcher: str) -> None:
        try:
            self._block(f"{step.path}.try", iteration, catcher="try")
        except Failed as failed:
            if not self._is_catchable(failed):
                raise
            # The step failed at once because the error could not be written to the target of `captureErrorAs`.
            has_failed = self._is_own(step, iteration, "FAILED")
            self._check_captured(step, has_failed)
            if not has_failed:
                self._block(f"{step.path}.catch", iteration, catcher=catcher)

    @staticmethod
    def _check_captured(step: Step, has_failed: bool) -> None:
        assert has_failed or step.config.get("captureErrorAs") != "payload.key.problem", (
            "the target leads through a text"
        )

    @staticmethod
    def _is_catchable(failed: Failed) -> bool:
        return failed.args[0]["category"] not in ("Cancellation", "EngineCorruption")

    @staticmethod
    def _check_passed_through(entry: dict[str, Any], error: dict[str, Any]) -> None:
        assert entry["status"] == "FAILED"
        assert entry["error"] == {name: item for name, item in error.items() if name != "details"}

    @staticmethod
    def _check_end(entry: dict[str, Any]) -> None:
        if entry["status"] == "FAILED":
            raise Failed(entry["error"])
        assert entry["status"] == "SUCCEEDED"


@given(cases())
@generated
def test_trace_follows_the_rules_of_the_language(case: Case) -> None:
    with limits(case):
        simulation = simulated(case)
    assert Reading(case.definition, simulation.trace).outcome() == simulation.status


def test_reading_detects_a_missing_entry() -> None:
    steps = [loop(assign(), call()), assign("after", **{"vars.n": 1})]
    definition = parse_definition(canonical_text({"id": "flow", "version": 3, "steps": steps}))
    trace = play(*steps).trace
    assert Reading(definition, trace).outcome() == "SUCCEEDED"
    for left_out, entry in enumerate(trace):
        if (entry["id"], entry["status"]) != ("call", "STARTED"):  # an action with an invalid input has no such entry
            with pytest.raises((AssertionError, Failed)):
                assert Reading(definition, trace[:left_out] + trace[left_out + 1 :]).outcome() == "SUCCEEDED"

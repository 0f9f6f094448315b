"""Properties of every run, checked with generated definitions: some hundreds, or 20,000 with POINTSMAN_NIGHTLY=1.

`Course` performs the commands of a run. In `orderly`, every result arrives at once and in order, as in a simulation. In
`chaotic`, anything may arrive at any time that the workflow allows: late and lost results, foreign and repeated events,
timers during a write, and executions that continue as new.
"""

import copy
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.generated_runs import RUN_ID, START_MS, TENANT_ID, generated, limits, simulated
from tests.unit.engine.generated_definitions import (
    EVENT_NAMES,
    EVENT_PAYLOADS,
    ITEM_VARS,
    RESPONSES,
    Case,
    cases,
)
from workflows.engine import commands as cmd
from workflows.engine import events as ev
from workflows.engine.checkpoint import dump_state, load_state
from workflows.engine.child_step import child_error
from workflows.engine.clock import iso_time
from workflows.engine.definition import canonical_text, parse_definition
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.machine import SEMANTICS_VERSION, advance, end_as_corrupt
from workflows.engine.scope import Scope
from workflows.engine.sizes import json_size
from workflows.engine.state import SAFE_TO_CONTINUE, RunState
from workflows.engine.validate import Known, validate
from workflows.temporal import contracts
from workflows.temporal.attempt_records import end_records, start_record

MAX_TURNS = 5_000
MAX_MESSAGES = 25

seeds = st.integers(0, 2**32 - 1)

# -- Courses -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corrupted:
    """Event for a run that cannot continue because of an exception."""

    now_ms: int


class Course:
    """One run: its events, its commands, and the records that were written."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.definition = case.definition
        payload = copy.deepcopy(case.payload)
        system = {
            "runId": RUN_ID, "workflowId": "flow", "workflowVersion": 1, "tenantId": TENANT_ID, "definitionHash": "",
            "semanticsVersion": SEMANTICS_VERSION, "parentRunId": None, "rootRunId": RUN_ID,
        }  # fmt: skip
        self.state = RunState(scope=Scope(payload=payload, system=system, size_bound=json_size(payload)))
        self.now_ms = START_MS
        self.events: list[ev.EngineEvent | Corrupted] = []
        self.commands: list[list[cmd.Command]] = []
        self.open_commands: dict[str, Any] = {}
        self.timers: dict[str, int] = {}
        self.stale: list[str] = []
        self.messages = 0
        self.waits: list[dict[str, Any]] = []
        self.forms: dict[str, Any] = {}
        self.records: list[dict[str, Any]] = []
        self.ending: cmd.CompleteRun | None = None
        self.used: Counter[str] = Counter()

    def feed(self, event: ev.EngineEvent | Corrupted) -> None:
        assert len(self.events) < MAX_TURNS, "the run does not end"
        self.events.append(copy.deepcopy(event))
        if isinstance(event, Corrupted):
            self.state, commands = end_as_corrupt(self.definition, self.state, now_ms=self.now_ms, message="a bug")
        else:
            self.state, commands = advance(self.definition, self.state, event)
        commands = copy.deepcopy(commands)  # a sent command must not change later
        self.commands.append(commands)
        for command in commands:
            self._take(command)
        state = self.state
        assert state.verdict_write_id in ("", *self.open_commands), "the state has an open write that has already ended"
        is_stopping = state.is_pausing and state.phase in SAFE_TO_CONTINUE
        assert not state.records or state.verdict_write_id or is_stopping, "no command will write the gathered records"

    def _take(self, command: cmd.Command) -> None:
        match command:
            case cmd.StartTimer():
                self.timers[command.id] = command.due_ms
            case cmd.CancelTimer():
                assert command.id in self.timers, "a cancelled timer was not running"
                del self.timers[command.id]
                self.stale.append(command.id)
            case cmd.CancelAttempt():
                del self.open_commands[command.id]
            case _:
                self.open_commands[command.id] = command
        if isinstance(command, cmd.OpenWait):
            self.waits += [record for record in command.records if record["kind"] == "wait"][-1:]
            self.forms |= {r["id"]: r.get("formSchema") for r in command.records if r["kind"] == "task"}
        if isinstance(command, cmd.CompleteRun):
            assert self.ending is None, "the run ends twice"
            self.ending = command

    # -- Results of commands -----------------------------------------------------------------------------------------

    def finish(self, command: Any) -> None:
        """End an open command with the outcome of its stub."""
        del self.open_commands[command.id]
        match command:
            case cmd.RunAction():
                self.feed(self._action_done(command))
            case cmd.RunChild():
                self.records += command.records
                self.feed(self._child_done(command))
            case cmd.OpenWait():
                self.records += command.records
            case cmd.SearchEvents():
                self.records += command.records
                self.feed(ev.EventsSearched(self.now_ms, command.id, is_event_left=False))
            case _:
                self.records += command.records
                self.feed(ev.RecordsWritten(self.now_ms, command.id))

    def lose(self, command: Any) -> None:
        """End an open command as lost, without writing its records."""
        del self.open_commands[command.id]
        if isinstance(command, cmd.RunChild):
            error = {"message": "lost", "code": "ACTIVITY_FAILED"}
            described = child_error(
                error, child_run_id=command.child_run_id, ended="REFUSED", now_iso=iso_time(self.now_ms)
            )
            self.feed(ev.ChildDone(self.now_ms, command.id, error=described, is_projected=False))
        else:
            described = {"category": "TransientError", "message": "lost", "nodePath": command.step_path}
            described |= {"at": iso_time(self.now_ms), "code": "ACTIVITY_FAILED"}
            self.feed(ev.ActionDone(self.now_ms, command.id, error=described, is_projected=False))

    def find_taken(self, command: cmd.RunChild) -> None:
        """End an open start of a child run whose id is already in use."""
        del self.open_commands[command.id]
        self.records += command.records
        at, child = iso_time(self.now_ms), command.child_run_id
        described = child_error(None, child_run_id=child, ended="ALREADY_STARTED", now_iso=at)
        self.feed(ev.ChildDone(self.now_ms, command.id, error=described, is_id_taken=True))

    def fire(self, timer_id: str) -> None:
        self.now_ms = max(self.now_ms, self.timers.pop(timer_id))
        self.feed(ev.TimerFired(self.now_ms, timer_id))

    def _action_done(self, command: cmd.RunAction) -> ev.ActionDone:
        fields = {name: value for name, value in vars(command).items() if name not in ("id", "retry")}
        rule = None
        if command.retry is not None:
            retry_on = command.retry.retry_on and list(command.retry.retry_on)
            rule = contracts.RetryRule(**{**vars(command.retry), "retry_on": retry_on})
        request = contracts.ActionRequest(run_id=RUN_ID, tenant_id=TENANT_ID, retry=rule, **fields)
        output, error = self.outcome(command.step_id, command.step_path)
        ends = end_records(request, now_ms=self.now_ms, output=output, error=error)
        self.records += [*command.records, start_record(request), *ends]
        return ev.ActionDone(self.now_ms, command.id, output=output, error=error)

    def _child_done(self, command: cmd.RunChild) -> ev.ChildDone:
        scopes, error = self.outcome(command.step_id, "")
        if error is None:
            return ev.ChildDone(self.now_ms, command.id, scopes=scopes)
        at = iso_time(self.now_ms)
        described = child_error(error, child_run_id=command.child_run_id, ended="FAILED", now_iso=at)
        return ev.ChildDone(self.now_ms, command.id, error=described)

    def outcome(self, step_id: str, path: str) -> tuple[Any, dict[str, Any] | None]:
        outcomes = self.case.stubs.outcomes.get(step_id, [{"output": {}}])
        outcome = copy.deepcopy(outcomes[min(self.used[step_id], len(outcomes) - 1)])
        self.used[step_id] += 1
        if "error" not in outcome:
            return outcome["output"], None
        return None, outcome["error"] | {"nodePath": path, "at": iso_time(self.now_ms)}

    # -- Executions --------------------------------------------------------------------------------------------------

    @property
    def may_continue(self) -> bool:
        return self.state.is_pausing and self.state.phase in SAFE_TO_CONTINUE and not self.open_commands

    def continue_as_new(self) -> None:
        self.state = through_text(self.state)
        self.timers.clear()  # they ended with the previous execution
        self.stale.clear()
        self.feed(ev.RunContinued(self.now_ms))

    @property
    def was_cut_off(self) -> bool:
        return any(isinstance(event, ev.CancelRequested | Corrupted) for event in self.events)

    # -- Records -----------------------------------------------------------------------------------------------------

    def rows(self, kind: str, *key: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
        """Return the records of each row in the order of their numbers. A record that was written twice counts once."""
        found: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
        for record in self.records:
            if record["kind"] == kind:
                known = found[tuple(record[name] for name in key)].setdefault(record["seq"], record)
                assert known == record, "two records have the same number"
        return {row: [numbered[seq] for seq in sorted(numbered)] for row, numbered in found.items()}

    def steps(self) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
        return self.rows("step", "path", "iteration", "attempt")

    @property
    def scopes(self) -> dict[str, Any]:
        scope = self.state.scope
        return {"payload": scope.payload, "vars": scope.vars, "meta": scope.meta, "error": scope.error}


def through_text(state: RunState) -> RunState:
    return load_state(json.loads(json.dumps(dump_state(state), allow_nan=False)))


def orderly(case: Case, *, pauses: random.Random | None = None) -> Course:
    """Perform every command at once and in order. An open wait gets the next response or event, or else time passes."""
    course = Course(case)
    events = [*enumerate(case.stubs.events)]
    responded: set[str] = set()
    course.feed(ev.RunStarted(course.now_ms))
    while True:
        if pauses is not None and course.ending is None and pauses.random() < 0.2:
            course.feed(ev.PauseRequested(course.now_ms))
        if course.open_commands:
            course.finish(next(iter(course.open_commands.values())))
        elif course.may_continue:
            course.continue_as_new()
        elif course.ending is not None or not _resume(course, events, responded):
            return course


def _resume(course: Course, events: list[tuple[int, Any]], responded: set[str]) -> bool:
    """Pass the next response, event or timer to an open run. Return False if there is none."""
    wait = course.state.wait
    if wait is not None and wait.kind == "human" and wait.id not in responded:
        responded.add(wait.id)
        responses = course.case.stubs.responses.get(wait.step_id, [])
        if responses:
            response = copy.deepcopy(responses[min(course.used[wait.step_id], len(responses) - 1)])
            course.used[wait.step_id] += 1
            if form_problem(wait.form_schema, response) is None:
                course.feed(ev.TaskCompleted(course.now_ms, wait.id, response, "simulation"))
                return True
    matching = [item for item in events if wait is not None and item[1]["eventName"] == wait.event_name]
    if wait is not None and matching:
        events.remove(matching[0])
        position, stub = matching[0]
        key, payload = str(stub.get("correlationKey", wait.key)), copy.deepcopy(stub["payload"])
        course.feed(ev.EventSignalled(course.now_ms, f"event-{position}", wait.event_name, key, wait.id, payload))
        return True
    if course.timers:
        course.fire(min(course.timers, key=lambda timer: (course.timers[timer], int(timer[1:]))))
        return True
    return False


def chaotic(case: Case, seed: int, *, cut_at: int = 0, cut: type = ev.CancelRequested) -> Course:
    """Pass possible events in random order. End the run soon after `cut_at` events, or if it would wait forever."""
    course, chance = Course(case), random.Random(seed)
    course.feed(ev.RunStarted(course.now_ms))
    while course.ending is None or course.open_commands:
        choices: list[Any] = [
            lambda command=command: course.finish(command) for command in course.open_commands.values()
        ]
        choices += [
            lambda command=command: course.lose(command)
            for command in course.open_commands.values()
            if isinstance(command, cmd.RunAction | cmd.RunChild) and chance.random() < 0.2
        ]
        choices += [
            lambda command=command: course.find_taken(command)
            for command in course.open_commands.values()
            if isinstance(command, cmd.RunChild) and chance.random() < 0.1
        ]
        if course.timers and (not course.open_commands or chance.random() < 0.2):
            choices.append(lambda: course.fire(min(course.timers, key=course.timers.__getitem__)))
        if course.stale and chance.random() < 0.2:  # the timer fired before it was cancelled
            choices.append(lambda: course.feed(ev.TimerFired(course.now_ms, course.stale.pop())))
        if course.ending is None and not course.state.is_pausing and chance.random() < 0.3:
            choices.append(lambda: course.feed(ev.PauseRequested(course.now_ms)))
        if course.may_continue:
            choices.append(course.continue_as_new)
        if course.messages < MAX_MESSAGES and (course.state.wait is not None or chance.random() < 0.2):
            choices.append(lambda: _message(course, chance))
        is_time = len(course.events) >= cut_at > 0 and course.ending is None and chance.random() < 0.5
        if not choices or is_time:
            course.feed(cut(course.now_ms))
        else:
            chance.choice(choices)()
    for command in (command for commands in course.commands for command in commands):
        if isinstance(command, cmd.RunAction | cmd.StartTimer):
            course.feed(ev.TimerFired(course.now_ms, command.id))
            course.feed(ev.ActionDone(course.now_ms, command.id, output={"stale": True}))
            assert course.commands[-1] == course.commands[-2] == [], "a stale event led to commands after the end"
    return course


def _message(course: Course, chance: random.Random) -> None:
    """Signal an event or send a response for one of the waits so far, most often a matching one for the last wait."""
    course.messages += 1
    wait = (
        course.waits[-1] if course.waits and chance.random() < 0.8 else chance.choice([*course.waits, {"id": "none"}])
    )
    open_wait = course.state.wait
    if wait.get("waitKind") == "human" and chance.random() < 0.5:
        response = copy.deepcopy(chance.choice(RESPONSES))
        is_open = open_wait is not None and open_wait.id == wait["id"]
        if not is_open or form_problem(course.forms[wait["id"]], response) is None:
            course.feed(ev.TaskCompleted(course.now_ms, wait["id"], response, "ann"))
        return
    is_fitting = "eventName" in wait and chance.random() < 0.7
    name = wait["eventName"] if is_fitting else chance.choice(EVENT_NAMES)
    key = wait["key"] if is_fitting else chance.choice(("k-1", "7", "other"))
    event_id = f"e{chance.randint(1, 12)}"
    payload = copy.deepcopy(chance.choice(EVENT_PAYLOADS))
    course.feed(ev.EventSignalled(course.now_ms, event_id, name, key, wait["id"], payload))


# -- Properties --------------------------------------------------------------------------------------------------------


def check_end(course: Course) -> None:
    """Check that nothing is open, every row has one end, the numbers grow, and loops restored their variables."""
    assert course.ending is not None
    assert (course.timers, course.open_commands) == ({}, {})
    check_steps(course)
    check_waits(course)
    check_numbers(course)
    check_messages(course)
    scope = course.state.scope
    assert (scope.loops, course.state.frames[1:], course.state.wait, course.state.attempt) == ([], [], None, None)
    left = {name: scope.vars[name] for name in ITEM_VARS if name in scope.vars}
    assert left == course.case.before
    assert course.definition == parse_definition(canonical_text(course.case.document)), "the run changed its definition"


def check_steps(course: Course) -> None:
    rows = course.steps()
    for (path, iteration, attempt), records in rows.items():
        statuses = [record["status"] for record in records]
        ends = [status for status in statuses if status != "STARTED"]
        assert "STARTED" not in statuses[1:] or records[0]["type"] == "control.callWorkflow", (path, statuses)
        # An action that succeeded in its activity can still fail afterwards, if its output cannot be saved.
        is_saving = records[0]["type"] == "action.call" and ends[:1] == ["SUCCEEDED"] and ends[-1] != "SUCCEEDED"
        assert len(ends) == (2 if is_saving else 1), (path, iteration, attempt, statuses)
        if ends[-1] == "RETRY_SCHEDULED":
            assert (path, iteration, attempt + 1) in rows or course.was_cut_off, (path, iteration)
        assert attempt == 1 or rows[path, iteration, attempt - 1][-1]["status"] == "RETRY_SCHEDULED"
        before = rows.get((path, iteration, attempt - 1), [{}])
        if "input" in records[0] and "input" in before[0] and not any(r["status"] == "SUCCEEDED" for r in before):
            assert records[0]["input"] == before[0]["input"], "the input of a retry differs"
        children = [record["childRunId"] for record in records if "childRunId" in record]
        assert records[-1].get("childRunId") == (children[-1] if children else None), (
            "the last record has not the last child run"
        )


def check_waits(course: Course) -> None:
    ends = {"completed": "RESOLVED", "expired": "TIMED_OUT", "canceled": "CANCELED"}
    waits = course.rows("wait", "id")
    for (wait_id,), records in waits.items():
        statuses = [record["status"] for record in records]
        assert statuses[0] == "WAITING", (wait_id, statuses)
        assert len(statuses) == 2, (wait_id, statuses)
        assert statuses[1] in ("RESOLVED", "TIMED_OUT", "CANCELED"), (wait_id, statuses)
    tasks = course.rows("task", "id")
    assert {key for key, records in waits.items() if records[0]["waitKind"] == "human"} == tasks.keys()
    for task, records in tasks.items():
        first, last = records
        assert (first["status"], ends[last["status"]]) == ("pending", waits[task][-1]["status"])


def check_numbers(course: Course) -> None:
    """Check the sequence numbers in the order in which the engine sent them. Restored records may occur again."""
    sent: dict[int, Any] = {}
    for command in (command for commands in course.commands for command in commands):
        numbers = [record["seq"] for record in getattr(command, "records", []) if sent.get(record["seq"]) != record]
        if isinstance(command, cmd.RunAction):
            numbers += [command.start_seq, command.end_seq]
        for number in numbers:
            assert number > max(sent, default=0), "a number is repeated or out of order"
            sent[number] = None
        sent |= {record["seq"]: record for record in getattr(command, "records", [])}
    runs = sorted((record for record in course.records if record["kind"] == "run"), key=lambda record: record["seq"])
    assert runs[-1]["status"] == course.ending.status == course.state.status
    assert runs[-1].get("error") == course.ending.error
    if not course.was_cut_off:
        last = {row[:2]: records[-1]["status"] for row, records in sorted(course.steps().items())}
        counted = Counter(last.values())
        assert (runs[-1]["stepCount"], runs[-1]["failedStepCount"]) == (len(last), counted["FAILED"])


def check_messages(course: Course) -> None:
    """Check that every signalled event has a verdict and resumed the run at most once. Check recorded responses."""
    signalled = {(event.wait_id, event.event_id) for event in course.events if isinstance(event, ev.EventSignalled)}
    verdicts = course.rows("verdict", "waitId", "eventId")
    assert signalled == verdicts.keys()
    matched = Counter(key[1] for key, records in verdicts.items() for r in records if r["verdict"] == "matched")
    assert set(matched.values()) <= {1}
    responses = [event.response for event in course.events if isinstance(event, ev.TaskCompleted)]
    payloads = [event.payload for event in course.events if isinstance(event, ev.EventSignalled)]
    responses += payloads
    responses += [payload["response"] for payload in payloads if "response" in (payload or ())]
    for records in course.rows("task", "id").values():
        assert records[-1]["status"] != "completed" or records[-1]["response"] in responses


@given(cases())
@generated
def test_generated_definitions_are_valid(case: Case) -> None:
    actions = {name: frozenset({1}) for name in ("test.do", "transform.merge", "transform.join", "transform.date_add")}
    known = Known(actions, frozenset({"payload.Any.v1"}), {"child": frozenset({1})})
    errors = {problem.code for problem in validate(case.document, known) if problem.is_error}
    assert errors <= {"TYPE_MISMATCH"}  # a few steps fail on purpose


@given(cases(), seeds)
@generated
def test_every_run_ends_and_leaves_nothing_open(case: Case, seed: int) -> None:
    with limits(case):
        course = chaotic(case, seed)
    check_end(course)


@given(cases(), seeds, st.integers(1, 40))
@generated
def test_cancel_at_any_time_ends_the_run(case: Case, seed: int, at: int) -> None:
    with limits(case):
        course = chaotic(case, seed, cut_at=at)
    check_end(course)
    assert not course.was_cut_off or course.ending.status == "CANCELED"


@given(cases(), seeds, st.integers(1, 40))
@generated
def test_corruption_at_any_time_ends_the_run(case: Case, seed: int, at: int) -> None:
    with limits(case):
        course = chaotic(case, seed, cut_at=at, cut=Corrupted)
    check_end(course)
    assert not course.was_cut_off or course.ending.error["category"] == "EngineCorruption"


@given(cases(), seeds)
@generated
def test_checkpoint_after_every_event_changes_nothing(case: Case, seed: int) -> None:
    with limits(case):
        course = chaotic(case, seed)
        straight, resumed = Course(case).state, Course(case).state
        for event, expected in zip(course.events, course.commands, strict=True):
            straight, _ = advance(course.definition, straight, copy.deepcopy(event))
            resumed, commands = advance(course.definition, through_text(resumed), copy.deepcopy(event))
            assert commands == expected
            assert dump_state(resumed) == dump_state(straight)


@given(cases(), seeds)
@generated
def test_continue_as_new_at_random_times_changes_no_outcome(case: Case, seed: int) -> None:
    with limits(case):
        straight, resumed = orderly(case), orderly(case, pauses=random.Random(seed))
    assert resumed.scopes == straight.scopes
    assert statuses(resumed) == statuses(straight)


def statuses(course: Course) -> dict[Any, str]:
    return {row: records[-1]["status"] for row, records in course.steps().items()}


@given(cases())
@generated
def test_simulation_equals_the_run(case: Case) -> None:
    with limits(case):
        course = orderly(case)
        simulation = simulated(case)
    ended = course.ending.status if course.ending else "waiting"
    assert (simulation.status, simulation.scopes) == (ended, course.scopes)
    assert simulation.error == (course.ending.error if course.ending else None)
    names = ("at", "path", "id", "iteration", "attempt", "status", "error", "branch")
    steps = {record["seq"]: record for record in course.records if record["kind"] == "step"}
    assert simulation.trace == [{n: steps[seq][n] for n in names if n in steps[seq]} for seq in sorted(steps)]
    assert simulation.ended_ms == course.now_ms
    counts = Counter(type(command).__name__ for commands in course.commands for command in commands)
    assert simulation.command_counts == counts
    if ended == "waiting":
        assert simulation.waits_for == vars(course.state.wait)
    else:
        check_end(course)

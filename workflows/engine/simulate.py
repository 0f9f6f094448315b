"""Simulation of a run with stubs for actions, child runs, people and events: `simulate(...) -> Simulation`.

The simulation uses the real engine. This module only performs the engine's commands, by these rules:

- An action or a child run ends at once with the outcome of its stub.
- An open wait takes the next response or event of the stubs.
- If there is no response or event, the clock jumps to the nearest timer.
- If there is no timer either, the run stays open and the simulation ends.

Rule: the simulation is pure, like the engine.

Source: docs/reference/administration.md#definition-life-cycle.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.engine import commands as cmd
from workflows.engine import events as ev
from workflows.engine.child_step import child_error
from workflows.engine.clock import MAX_MS, iso_time
from workflows.engine.definition import Definition
from workflows.engine.errors import Category, RunError
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.keys import correlation_key
from workflows.engine.machine import SEMANTICS_VERSION, advance, end_as_corrupt
from workflows.engine.retry import retry_delay_ms
from workflows.engine.scope import Scope
from workflows.engine.sizes import json_size, plain_copy
from workflows.engine.state import OpenWaitState, Phase, RunState

MAX_TURNS = 10_000
CALLS, TASKS = ("action.call", "control.callWorkflow"), ("human.task",)
TRACED = ("at", "path", "id", "iteration", "attempt", "status", "error", "branch")


@dataclass(frozen=True)
class Stubs:
    """Stubs for everything outside the run, as JSON.

    `outcomes` (of actions and child runs) and `responses` (to human tasks) contain one list for each step id. Each
    attempt, or each execution of a task, takes the next entry of the list. The last entry repeats. If a step has no
    list, its output is `{}`, and a task gets no response. An event is tried once, at the first open wait with its name.
    If the event has no key, it gets the key of the wait.
    Shapes: outcome `{output}` or `{error: {category?, message?, code?, details?}}`; the output of a child run is its
    scopes `{payload?, vars?, meta?}`; event `{eventName, payload?, correlationKey?}`.
    """

    outcomes: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    responses: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Simulation:
    """Result of a simulation.

    `status` is SUCCEEDED, FAILED, `waiting` (open), or `stopped` (after too many turns). `error` is the error of a
    failed run. `waits_for` has the fields of the open wait. In `verdicts`, the first event of the stubs is `event-0`.
    An event that was never tried has no verdict. If a response does not match the form, the verdict is `refused` with
    the id of the step.
    Shapes: `scopes {payload, vars, meta, error}`; `trace [{at, path, id, iteration, attempt, status, error?, branch?}]`
    in order; `verdicts [{at, eventId, verdict, reason, mismatch?}]`.
    """

    status: str
    scopes: dict[str, Any]
    error: dict[str, Any] | None
    trace: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    command_counts: dict[str, int]
    waits_for: dict[str, Any] | None
    ended_ms: int


def simulate(
    definition: Definition, payload: dict[str, Any], *, stubs: Stubs, now_ms: int, run_id: str,
    system: Mapping[str, Any] | None = None, max_turns: int = MAX_TURNS,
) -> Simulation:  # fmt: skip
    """Simulate a run of a validated definition. `system` adds entries to the system scope (tenantId, definitionHash).

    Errors: ValueError for a stub of an unknown step, or with an unknown shape; the author must act.
    """
    types = {step.id: step.type for block in definition.blocks.values() for step in block}
    for step_id, wanted in [(at, CALLS) for at in stubs.outcomes] + [(at, TASKS) for at in stubs.responses]:
        if types.get(step_id) not in wanted:
            raise ValueError(
                f"There is a stub for {step_id!r}, but the definition has no such {' or '.join(wanted)} step."
            )
    own = {"runId": run_id, "workflowId": definition.id, "workflowVersion": definition.version, "tenantId": ""}
    own |= {"definitionHash": "", "semanticsVersion": SEMANTICS_VERSION, "parentRunId": None, "rootRunId": run_id}
    scope = Scope(payload=plain_copy(payload), system={**own, **(system or {})}, size_bound=json_size(payload))
    return _Simulator(definition, RunState(scope=scope), stubs, now_ms).run(max_turns)


class _Simulator:
    def __init__(self, definition: Definition, state: RunState, stubs: Stubs, now_ms: int) -> None:
        self._definition, self._state, self._stubs, self._now_ms = definition, state, stubs, now_ms
        self._inbox: deque[ev.EngineEvent] = deque([ev.RunStarted(now_ms)])
        self._timers: dict[str, int] = {}
        self._events = dict(enumerate(stubs.events))
        self._used: Counter[str] = Counter()
        self._responded: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._records: dict[tuple[str, int | str], Mapping[str, Any]] = {}

    def run(self, max_turns: int) -> Simulation:
        for _ in range(max_turns):
            event = self._inbox.popleft() if self._inbox else self._wake()
            if event is None:
                return self._result("waiting")
            try:
                self._state, commands = advance(self._definition, self._state, event)
            except Exception as bug:  # noqa: BLE001  a run also ends as corrupt after any exception
                message, at = f"{type(bug).__name__}: {bug}", self._now_ms
                self._state, commands = end_as_corrupt(self._definition, self._state, now_ms=at, message=message)
            for command in commands:
                self._counts[type(command).__name__] += 1
                self._keep_records(*getattr(command, "records", []))
                self._perform(command)
        return self._result("stopped")

    def _perform(self, command: cmd.Command) -> None:
        match command:
            case cmd.RunAction():
                self._run_action(command)
            case cmd.RunChild(child_run_id=child):
                scopes, error = self._outcome(command.step_id, "")
                if error is not None:
                    error = child_error(error, child_run_id=child, ended="FAILED", now_iso=iso_time(self._now_ms))
                self._inbox.append(ev.ChildDone(self._now_ms, command.id, scopes=scopes, error=error))
            case cmd.StartTimer():
                self._timers[command.id] = command.due_ms
            case cmd.CancelTimer():
                self._timers.pop(command.id, None)
            case cmd.SearchEvents():
                self._inbox.append(ev.EventsSearched(self._now_ms, command.id, is_event_left=False))
            case cmd.WriteRecords() | cmd.CompleteRun():
                self._inbox.append(ev.RecordsWritten(self._now_ms, command.id))

    def _run_action(self, command: cmd.RunAction) -> None:
        """End an action with the outcome of its stub. Record the same records that the activity would write."""
        output, error = self._outcome(command.step_id, command.step_path)
        row = {"kind": "step", "at": self._now_ms, "path": command.step_path, "id": command.step_id}
        row |= {"iteration": command.iteration, "attempt": command.attempt}
        self._keep_records(row | {"seq": command.start_seq, "status": "STARTED"})
        if error is not None:
            row = row | {"error": error}
            delay = retry_delay_ms(
                command.retry,
                attempt=command.attempt,
                category=error["category"],
                code=error.get("code"),
                seed=command.retry_seed,
            )
            row["status"] = "FAILED" if delay is None else "RETRY_SCHEDULED"
        self._keep_records({"status": "SUCCEEDED"} | row | {"seq": command.end_seq})
        self._inbox.append(ev.ActionDone(self._now_ms, command.id, output=output, error=error))

    def _outcome(self, step_id: str, node_path: str) -> tuple[Any, dict[str, Any] | None]:
        outcome = self._next(self._stubs.outcomes, step_id) or {}
        if outcome.keys() - {"output", "error"} or not (node_path or isinstance(outcome.get("output", {}), dict)):
            raise ValueError(
                f"The outcome stub of {step_id!r} is {dict(outcome)}. It must be {{output}} or {{error}}. "
                "The output of a child run must be an object of scopes."
            )
        if outcome.get("error") is None:
            return plain_copy(outcome.get("output", {})), None
        stub = {"category": Category.ACTION, "message": "Simulated failure.", **plain_copy(outcome["error"])}
        error = RunError(
            Category(stub["category"]), stub["message"], code=stub.get("code"), details=stub.get("details")
        )
        return None, error.as_object(node_path=node_path, now_ms=self._now_ms)

    def _next(self, lists: Mapping[str, Sequence[Any]], step_id: str) -> Any:
        entries = lists.get(step_id) or [None]
        self._used[step_id] += 1
        return entries[min(self._used[step_id], len(entries)) - 1]

    def _wake(self) -> ev.EngineEvent | None:
        """Return a response or an event for the open wait. If the stubs have none, fire the nearest timer.

        Return None if there is no response, event or timer.
        """
        wait = self._state.wait
        event = None if wait is None else self._response(wait) or self._event(wait)
        if event is None and self._timers:
            timer_id = min(self._timers, key=self._timers.__getitem__)
            self._now_ms = max(self._now_ms, min(self._timers.pop(timer_id), MAX_MS))
            event = ev.TimerFired(self._now_ms, timer_id)
        return event

    def _response(self, wait: OpenWaitState) -> ev.EngineEvent | None:
        if wait.kind != "human" or wait.id in self._responded or not self._stubs.responses.get(wait.step_id):
            return None
        self._responded.add(wait.id)
        response = plain_copy(self._next(self._stubs.responses, wait.step_id))
        problem = form_problem(wait.form_schema, response)
        if problem is not None:
            refused = {"kind": "verdict", "seq": wait.id, "at": self._now_ms, "eventId": wait.step_id}
            self._keep_records(refused | {"verdict": "refused", "reason": problem})
        return ev.TaskCompleted(self._now_ms, wait.id, response, "simulation") if problem is None else None

    def _event(self, wait: OpenWaitState) -> ev.EngineEvent | None:
        for position, event in self._events.items():
            if (name := event["eventName"]) == wait.event_name:
                del self._events[position]
                key = correlation_key(event.get("correlationKey", wait.key)) or ""
                payload = plain_copy(event.get("payload", {}))
                return ev.EventSignalled(self._now_ms, f"event-{position}", name, key, wait.id, payload)
        return None

    def _keep_records(self, *records: Mapping[str, Any]) -> None:
        self._records |= {(record["kind"], record["seq"]): record for record in records}

    def _kept_records(self, kind: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{name: r[name] for name in names if name in r} for r in self._records.values() if r["kind"] == kind]

    def _result(self, otherwise: str) -> Simulation:
        state, scope, wait = self._state, self._state.scope, self._state.wait
        return Simulation(
            status=state.status if state.phase is Phase.ENDED else otherwise,
            scopes={"payload": scope.payload, "vars": scope.vars, "meta": scope.meta, "error": scope.error},
            error=state.error,
            trace=self._kept_records("step", TRACED),
            verdicts=self._kept_records("verdict", ("at", "eventId", "verdict", "reason", "mismatch")),
            command_counts=dict(self._counts),
            waits_for=None if wait is None else dict(vars(wait)),
            ended_ms=self._now_ms,
        )

"""A run played through at once, with stubs for all that is around it (docs/reference/administration.md#definition-life-cycle): `simulate(...) -> Simulation`.

The engine is the one that runs; only its commands are answered here, as the pump answers them. An action or a child ends
when it begins, as its stub says. An open wait takes a response or an event that the author gives; where there is none the
clock jumps to the nearest timer; where there is no timer the run waits, and the simulation ends. Pure, as the engine is.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.engine import commands as ask
from workflows.engine import events as on
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
    """What the run meets, as JSON. `outcomes` of actions and children and `responses` to human tasks are lists by step id,
    used up attempt by attempt, execution by execution; the last entry repeats. Without a list the output is `{}`, and no
    response comes. An event is tried once, at the first open wait of its name, under the wait's key if it has none.
    Shapes: outcome `{output}` or `{error: {category?, message?, code?, details?}}`; of a child, `output` is its scopes
    `{payload?, vars?, meta?}` and `error` its own; response: any; event `{eventName, payload?, correlationKey?}`."""

    outcomes: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    responses: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Simulation:
    """Shapes: `status` SUCCEEDED, FAILED, `waiting`, or `stopped` (too many turns); `scopes {payload, vars, meta, error}`;
    `error`: what the run failed with; `trace [{at, path, id, iteration, attempt, status, error?, branch?}]`, in order;
    `verdicts [{at, eventId, verdict, reason}]`: the first event given is `event-0`, one that was never tried has none, a
    response that does not fit its form is `refused` under its step's id; `waits_for`: the open wait's fields."""

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
    """How a run of a validated definition would go. `system` is laid over the system scope (tenantId, definitionHash).

    Errors: ValueError for a stub of a step that there is not, or of an unknown shape; the author must act.
    """
    types = {step.id: step.type for block in definition.blocks.values() for step in block}
    for step_id, wanted in [(at, CALLS) for at in stubs.outcomes] + [(at, TASKS) for at in stubs.responses]:
        if types.get(step_id) not in wanted:
            raise ValueError(f"the definition has no {' or '.join(wanted)} step {step_id!r}")
    own = {"runId": run_id, "workflowId": definition.id, "workflowVersion": definition.version, "tenantId": ""}
    own |= {"definitionHash": "", "semanticsVersion": SEMANTICS_VERSION, "parentRunId": None, "rootRunId": run_id}
    scope = Scope(payload=plain_copy(payload), system={**own, **(system or {})}, size_bound=json_size(payload))
    return _Simulator(definition, RunState(scope=scope), stubs, now_ms).run(max_turns)


class _Simulator:
    def __init__(self, definition: Definition, state: RunState, stubs: Stubs, now_ms: int) -> None:
        self._definition, self._state, self._stubs, self._now_ms = definition, state, stubs, now_ms
        self._inbox: deque[on.EngineEvent] = deque([on.RunStarted(now_ms)])
        self._timers: dict[str, int] = {}
        self._events = dict(enumerate(stubs.events))
        self._used: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._records: dict[tuple[str, int | str], ask.Record] = {}

    def run(self, max_turns: int) -> Simulation:
        for _ in range(max_turns):
            event = self._inbox.popleft() if self._inbox else self._wake()
            if event is None:
                return self._result("waiting")
            try:
                self._state, commands = advance(self._definition, self._state, event)
            except Exception as bug:  # noqa: BLE001  as the pump does
                said, at = f"{type(bug).__name__}: {bug}", self._now_ms
                self._state, commands = end_as_corrupt(self._definition, self._state, now_ms=at, message=said)
            for command in commands:
                self._counts[type(command).__name__] += 1
                self._note(*getattr(command, "records", []))
                self._perform(command)
        return self._result("stopped")

    def _perform(self, command: ask.Command) -> None:
        match command:
            case ask.RunAction():
                self._run_action(command)
            case ask.RunChild(child_run_id=child):
                scopes, error = self._outcome(command.step_id, "")
                if error is not None:
                    error = child_error(error, child_run_id=child, ended="FAILED", now_iso=iso_time(self._now_ms))
                self._inbox.append(on.ChildDone(self._now_ms, command.id, scopes=scopes, error=error))
            case ask.StartTimer():
                self._timers[command.id] = command.due_ms
            case ask.CancelTimer():
                self._timers.pop(command.id, None)
            case ask.WriteRecords() | ask.CompleteRun():
                self._inbox.append(on.RecordsWritten(self._now_ms, command.id))

    def _run_action(self, command: ask.RunAction) -> None:
        """The attempt's rows are those that its activity would write."""
        output, error = self._outcome(command.step_id, command.step_path)
        row = {"kind": "step", "at": self._now_ms, "path": command.step_path, "id": command.step_id}
        row |= {"iteration": command.iteration, "attempt": command.attempt}
        self._note(row | {"seq": command.start_seq, "status": "STARTED"})
        if error is not None:
            row, category, seed = row | {"error": error}, error["category"], command.retry_seed
            delay = retry_delay_ms(command.retry, attempt=command.attempt, category=category, seed=seed)
            row["status"] = "FAILED" if delay is None else "RETRY_SCHEDULED"
        self._note({"status": "SUCCEEDED"} | row | {"seq": command.end_seq})
        self._inbox.append(on.ActionDone(self._now_ms, command.id, output=output, error=error))

    def _outcome(self, step_id: str, node_path: str) -> tuple[Any, dict[str, Any] | None]:
        outcome = self._next(self._stubs.outcomes, step_id) or {}
        if outcome.keys() - {"output", "error"} or not (node_path or isinstance(outcome.get("output", {}), dict)):
            raise ValueError(f"an outcome of {step_id!r} is no {{output}}, no {{error}}, or no scopes: {dict(outcome)}")
        if outcome.get("error") is None:
            return plain_copy(outcome.get("output", {})), None
        told = {"category": Category.ACTION, "message": "an injected failure", **plain_copy(outcome["error"])}
        category, code, details = Category(told["category"]), told.get("code"), told.get("details")
        error = RunError(category, told["message"], code=code, details=details)
        return None, error.as_object(node_path=node_path, now_ms=self._now_ms)

    def _next(self, lists: Mapping[str, Sequence[Any]], step_id: str) -> Any:
        given = lists.get(step_id) or [None]
        self._used[step_id] += 1
        return given[min(self._used[step_id], len(given)) - 1]

    def _wake(self) -> on.EngineEvent | None:
        """Nothing is under way: the open wait is answered, or the nearest timer fires. None: nothing more will come."""
        wait = self._state.wait
        answer = None if wait is None else self._response(wait) or self._event(wait)
        if answer is None and self._timers:
            timer_id = min(self._timers, key=self._timers.__getitem__)
            self._now_ms = max(self._now_ms, min(self._timers.pop(timer_id), MAX_MS))
            answer = on.TimerFired(self._now_ms, timer_id)
        return answer

    def _response(self, wait: OpenWaitState) -> on.EngineEvent | None:
        if wait.kind != "human" or wait.id in self._answered or not self._stubs.responses.get(wait.step_id):
            return None
        self._answered.add(wait.id)
        response = plain_copy(self._next(self._stubs.responses, wait.step_id))
        problem = form_problem(wait.form_schema, response)
        if problem is not None:
            refused = {"kind": "verdict", "seq": wait.id, "at": self._now_ms, "eventId": wait.step_id}
            self._note(refused | {"verdict": "refused", "reason": problem})
        return on.TaskCompleted(self._now_ms, wait.id, response, "simulation") if problem is None else None

    def _event(self, wait: OpenWaitState) -> on.EngineEvent | None:
        for position, event in self._events.items():
            if (name := event["eventName"]) == wait.event_name:
                del self._events[position]
                key = correlation_key(event.get("correlationKey", wait.key)) or ""
                payload = plain_copy(event.get("payload", {}))
                return on.EventSignalled(self._now_ms, f"event-{position}", name, key, wait.id, payload)
        return None

    def _note(self, *records: ask.Record) -> None:
        self._records |= {(record["kind"], record["seq"]): record for record in records}

    def _noted(self, kind: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{name: r[name] for name in names if name in r} for r in self._records.values() if r["kind"] == kind]

    def _result(self, otherwise: str) -> Simulation:
        state, scope, wait = self._state, self._state.scope, self._state.wait
        return Simulation(
            status=state.status if state.phase is Phase.ENDED else otherwise,
            scopes={"payload": scope.payload, "vars": scope.vars, "meta": scope.meta, "error": scope.error},
            error=state.error,
            trace=self._noted("step", TRACED),
            verdicts=self._noted("verdict", ("at", "eventId", "verdict", "reason")),
            command_counts=dict(self._counts),
            waits_for=None if wait is None else dict(vars(wait)),
            ended_ms=self._now_ms,
        )

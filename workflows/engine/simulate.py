"""A run played through at once, with stubs for all that is around it (PRODUCT 6): `simulate(...) -> Simulation`.

The engine is the one that runs; only its commands are answered here, as the pump answers them. An action or a child ends
when it begins, as its stub says. An open wait takes a response or an event that the author has given; when there is none,
the clock jumps to the nearest timer; when there is no timer either, the run waits, and the simulation ends. No clock, no
randomness, no I/O: the same arguments give the same simulation.
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
from workflows.engine.forms import form_problem
from workflows.engine.machine import SEMANTICS_VERSION, advance, end_as_corrupt
from workflows.engine.records import Record
from workflows.engine.retry import retry_delay_ms
from workflows.engine.scope import Scope
from workflows.engine.sizes import json_size, plain_copy
from workflows.engine.state import OpenWaitState, Phase, RunState

# Units: events that the engine is told of.
MAX_TURNS = 10_000
_TRACED = ("at", "path", "id", "iteration", "attempt", "status", "error", "branch")


@dataclass(frozen=True)
class Outcome:
    """How one attempt ends: with `output`, or with `error {category?, message?, code?, details?}`. A child's output is its
    scopes, `{payload?, vars?, meta?}`; its error is its own, which the parent sees inside of a ChildWorkflowError.
    """

    output: Any = field(default_factory=dict)
    error: Mapping[str, Any] | None = None

    def error_at(self, path: str, now_ms: int) -> dict[str, Any] | None:
        """Errors: ValueError for a category that there is not."""
        if self.error is None:
            return None
        category = Category(self.error.get("category", Category.ACTION))
        message, code, details = (self.error.get(name) for name in ("message", "code", "details"))
        error = RunError(category, str(message or "an injected failure"), code=code, details=plain_copy(details))
        return error.as_object(node_path=path, now_ms=now_ms)


@dataclass(frozen=True)
class StubEvent:
    """An event, tried once, at the first open wait of its name; without a `key` it has the key of that wait."""

    name: str
    payload: Any = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True)
class Stubs:
    """What the run meets. The lists by step id are used up attempt by attempt, execution by execution, and their last
    entry repeats. A step without a list gets the output `{}`; a human task without one gets no response."""

    actions: Mapping[str, Sequence[Outcome]] = field(default_factory=dict)
    children: Mapping[str, Sequence[Outcome]] = field(default_factory=dict)
    responses: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    events: Sequence[StubEvent] = ()


@dataclass(frozen=True)
class Simulation:
    """Shapes: `status` SUCCEEDED, FAILED, `waiting`, or `stopped` at the limit of turns; `scopes {payload, vars, meta,
    error}`; `error` is what the run failed with; `trace [{at, path, id, iteration, attempt, status, error?, branch?}]` in
    the order of the run; `verdicts [{at, eventId, verdict, reason}]`, where `event-0` is the first event given, and a
    response that does not fit its form is `refused` under its step's id; `untried_events` are positions in `events`;
    `command_counts` by kind; `waits_for {kind, stepId, path, iteration, eventName, key, deadlineAt}` is the open wait.
    Units: epoch milliseconds.
    """

    status: str
    scopes: dict[str, Any]
    error: dict[str, Any] | None
    trace: list[Record]
    verdicts: list[Record]
    untried_events: list[int]
    command_counts: dict[str, int]
    waits_for: dict[str, Any] | None
    ended_ms: int


def simulate(
    definition: Definition, payload: dict[str, Any], *, stubs: Stubs, now_ms: int, run_id: str,
    system: Mapping[str, Any] | None = None, max_turns: int = MAX_TURNS,
) -> Simulation:  # fmt: skip
    """How a run of a validated definition would go. `system` is laid over the system scope (tenantId, definitionHash).

    Errors: ValueError for a stub of a step that there is not, or with an unknown category; the author must act.
    """
    types = {step.id: step.type for block in definition.blocks.values() for step in block}
    named = {"action.call": stubs.actions, "control.callWorkflow": stubs.children, "human.task": stubs.responses}
    for step_id, step_type in ((step_id, step_type) for step_type, lists in named.items() for step_id in lists):
        if types.get(step_id) != step_type:
            raise ValueError(f"the definition has no {step_type} step {step_id!r}")
    own = {"runId": run_id, "workflowId": definition.id, "workflowVersion": definition.version, "tenantId": ""}
    own |= {"definitionHash": "", "semanticsVersion": SEMANTICS_VERSION, "parentRunId": None, "rootRunId": run_id}
    scope = Scope(payload=plain_copy(payload), system={**own, **(system or {})}, size_bound=json_size(payload))
    return _Simulator(definition, RunState(scope=scope), stubs, now_ms).run(max_turns)


class _Simulator:
    def __init__(self, definition: Definition, state: RunState, stubs: Stubs, now_ms: int) -> None:
        self._definition, self._state, self._stubs, self._now_ms = definition, state, stubs, now_ms
        self._inbox: deque[on.EngineEvent] = deque([on.RunStarted(now_ms)])
        self._timers: dict[str, int] = {}
        self._events = list(enumerate(stubs.events))
        self._used: Counter[str] = Counter()
        self._asked: set[str] = set()  # waits of tasks for which there were responses
        self._counts: Counter[str] = Counter()
        self._steps: dict[int, Record] = {}
        self._verdicts: list[Record] = []

    def run(self, max_turns: int) -> Simulation:
        for _ in range(max_turns):
            if not self._inbox and (self._state.phase is Phase.ENDED or not self._wake()):
                return self._result("waiting")
            try:
                self._state, commands = advance(self._definition, self._state, self._inbox.popleft())
            except Exception as error:  # noqa: BLE001  as the pump does
                message = f"{type(error).__name__}: {error}"
                self._state, commands = end_as_corrupt(
                    self._definition, self._state, now_ms=self._now_ms, message=message
                )
            for command in commands:
                self._counts[type(command).__name__] += 1
                self._note(getattr(command, "records", []))
                self._perform(command)
        return self._result("stopped")

    # -- What the run meets ----------------------------------------------------------------------------------------------

    def _perform(self, command: ask.Command) -> None:
        match command:
            case ask.RunAction():
                self._run_action(command)
            case ask.RunChild():
                self._run_child(command)
            case ask.StartTimer():
                self._timers[command.id] = command.due_ms
            case ask.CancelTimer():
                self._timers.pop(command.id, None)
            case ask.WriteRecords() | ask.CompleteRun():
                self._inbox.append(on.RecordsWritten(self._now_ms, command.id))

    def _run_action(self, command: ask.RunAction) -> None:
        """The attempt's rows are those that its activity would write."""
        outcome, status = self._outcome(self._stubs.actions, command.step_id), "SUCCEEDED"
        error = outcome.error_at(command.step_path, self._now_ms)
        row: Record = {"kind": "step", "at": self._now_ms, "path": command.step_path, "id": command.step_id}
        row |= {"iteration": command.iteration, "attempt": command.attempt}
        self._note([row | {"seq": command.start_seq, "status": "STARTED"}])
        if error is not None:
            row, category, seed = row | {"error": error}, error["category"], command.retry_seed
            delay = retry_delay_ms(command.retry, attempt=command.attempt, category=category, seed=seed)
            status = "FAILED" if delay is None else "RETRY_SCHEDULED"
        self._note([row | {"seq": command.end_seq, "status": status}])
        output = plain_copy(outcome.output) if error is None else None
        self._inbox.append(on.ActionDone(self._now_ms, command.id, output=output, error=error))

    def _run_child(self, command: ask.RunChild) -> None:
        outcome, at = self._outcome(self._stubs.children, command.step_id), iso_time(self._now_ms)
        error, scopes = outcome.error_at("", self._now_ms), plain_copy(outcome.output)
        if error is not None:
            error, scopes = child_error(error, child_run_id=command.child_run_id, ended="FAILED", now_iso=at), None
        self._inbox.append(on.ChildDone(self._now_ms, command.id, scopes=scopes, error=error))

    def _outcome(self, stubs: Mapping[str, Sequence[Outcome]], step_id: str) -> Outcome:
        given = stubs.get(step_id) or [Outcome()]
        self._used[step_id] += 1
        return given[min(self._used[step_id], len(given)) - 1]

    def _wake(self) -> bool:
        """Nothing is under way: the open wait is answered, or the nearest timer fires. False: nothing more will come."""
        wait = self._state.wait
        answer = None if wait is None else self._response(wait) or self._event(wait)
        if answer is None and self._timers:
            timer_id = min(self._timers, key=self._timers.__getitem__)
            self._now_ms = max(self._now_ms, min(self._timers.pop(timer_id), MAX_MS))
            answer = on.TimerFired(self._now_ms, timer_id)
        self._inbox.extend([answer] if answer is not None else [])
        return answer is not None

    def _response(self, wait: OpenWaitState) -> on.EngineEvent | None:
        """The next response that fits the form. One that does not is refused, as the update's validator refuses it."""
        given = self._stubs.responses.get(wait.step_id, []) if wait.kind == "human" else []
        if wait.id in self._asked or not given:
            return None
        self._asked.add(wait.id)
        for response in given[min(self._used[wait.step_id], len(given) - 1) :]:
            self._used[wait.step_id] += 1
            problem = form_problem(wait.form_schema, response)
            if problem is None:
                return on.TaskCompleted(self._now_ms, wait.id, plain_copy(response), "simulation")
            refused = {"at": self._now_ms, "eventId": wait.step_id, "verdict": "refused", "reason": problem}
            self._verdicts.append(refused)
        return None

    def _event(self, wait: OpenWaitState) -> on.EngineEvent | None:
        for place, (position, event) in enumerate(self._events):
            if wait.event_name and event.name == wait.event_name:
                del self._events[place]
                key, payload = wait.key if event.key is None else event.key, plain_copy(event.payload)
                return on.EventSignalled(self._now_ms, f"event-{position}", event.name, key, wait.id, payload)
        return None

    # -- What it leaves --------------------------------------------------------------------------------------------------

    def _note(self, records: Sequence[Record]) -> None:
        for record in records:
            if record["kind"] == "step":
                self._steps[record["seq"]] = {name: record[name] for name in _TRACED if name in record}
            elif record["kind"] == "verdict":
                self._verdicts.append({name: record[name] for name in ("at", "eventId", "verdict", "reason")})

    def _result(self, otherwise: str) -> Simulation:
        state, scope = self._state, self._state.scope
        wait = state.wait or (state.attempt.wait if state.attempt else None)
        return Simulation(
            status=state.status if state.phase is Phase.ENDED else otherwise,
            scopes={"payload": scope.payload, "vars": scope.vars, "meta": scope.meta, "error": scope.error},
            error=state.error,
            trace=[self._steps[seq] for seq in sorted(self._steps)],
            verdicts=self._verdicts,
            untried_events=[position for position, _ in self._events],
            command_counts=dict(self._counts),
            waits_for=wait and {
                "kind": wait.kind, "stepId": wait.step_id, "path": wait.step_path, "iteration": wait.iteration,
                "eventName": wait.event_name or None, "key": wait.key or None, "deadlineAt": wait.deadline_ms,
            },
            ended_ms=self._now_ms,
        )  # fmt: skip

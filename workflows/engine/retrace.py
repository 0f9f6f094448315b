"""Repetition of a run with its recorded results, to find the scopes that the engine had at a step.

The engine runs again. Each action, child run, wait and task ends as the `Results` say, so nothing is performed. The
repetition stops before the target step, or where the results end: at the present position of the run, or at its end.

Rule: this module is pure, like the engine.

Source: docs/reference/screens.md#expression-lab
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from workflows.engine import commands as cmd
from workflows.engine import events as ev
from workflows.engine.definition import Definition, Step
from workflows.engine.machine import advance
from workflows.engine.sizes import plain_copy
from workflows.engine.state import OpenWaitState, Phase, RunState

MAX_TURNS = 10_000


@dataclass(frozen=True)
class Position:
    """Step in one iteration of its loops."""

    path: str
    iteration: str = ""


@dataclass(frozen=True)
class Outcome:
    """End of an attempt of an action, or of a child run: its output (of a child run: its scopes), or its error."""

    at_ms: int
    output: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class WaitEnd:
    """End of a wait. `event` or `response` is None if a timer ended the wait.

    Shapes: event `{id, name, key, payload}`; response `{value, by}`.
    """

    at_ms: int
    event: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


class Results(Protocol):
    """Recorded results of a run. Each method returns None if the run has no such result yet."""

    def action(self, at: Position, attempt: int) -> Outcome | None: ...

    def child(self, child_run_id: str) -> Outcome | None: ...

    def wait(self, wait_id: str) -> WaitEnd | None: ...


class Diverged(Exception):
    """The repetition did not take the way of the run, or it took too long. The message is a sentence."""


class _Reached(Exception):
    """The target step is next."""


@dataclass(frozen=True)
class Traced:
    """Scopes at a position. `branches` are the branches that the repetition chose, by position.

    `is_end` is True if the repetition reached the end of the run.
    """

    view: dict[str, Any]
    now_ms: int
    position: Position | None
    is_end: bool
    branches: dict[Position, str]


def scopes_of_run(
    definition: Definition, state: RunState, results: Results, *, started_ms: int, target: Position | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> Traced:  # fmt: skip
    """Return the scopes before the target step. Without a target, return the scopes where the results end.

    `state` is the first state of the run. It is changed. `is_over` is asked before each turn.
    Errors: Diverged if the run does not come to the target, or if `is_over` returns True.
    """
    return _Retrace(definition, state, results, started_ms, target).run(is_over)


class _Retrace:
    def __init__(
        self, definition: Definition, state: RunState, results: Results, started_ms: int, target: Position | None
    ) -> None:
        self._definition, self._state, self._results, self._target = definition, state, results, target
        self._now_ms = started_ms
        self._inbox: deque[ev.EngineEvent] = deque([ev.RunStarted(started_ms)])
        self._timers: dict[str, int] = {}
        self._ended_waits: set[str] = set()
        self._branches: dict[Position, str] = {}

    def run(self, is_over: Callable[[], bool]) -> Traced:
        for _ in range(MAX_TURNS):
            event = self._inbox.popleft() if self._inbox else self._end_of_wait()
            if event is None:
                return self._stopped()
            if is_over():
                raise Diverged("The run is too long to be repeated. Choose an earlier step.")
            self._now_ms = max(self._now_ms, event.now_ms)
            try:
                self._state, commands = advance(self._definition, self._state, event, self._observe)
            except _Reached:
                return self._traced(self._target, is_end=False)
            for command in commands:
                self._keep_branches(*getattr(command, "records", []))
                self._perform(command)
        raise Diverged("The run is too long to be repeated. Choose an earlier step.")

    def _observe(self, step: Step, state: RunState) -> None:
        if self._target == Position(step.path, state.scope.iteration):
            self._keep_branches(*state.records)
            raise _Reached

    def _perform(self, command: cmd.Command) -> None:
        match command:
            case cmd.RunAction():
                at = Position(command.step_path, command.iteration)
                self._done(ev.ActionDone, command.id, self._results.action(at, command.attempt), "output")
            case cmd.RunChild(child_run_id=child):
                self._done(ev.ChildDone, command.id, self._results.child(child), "scopes")
            case cmd.StartTimer():
                self._timers[command.id] = command.due_ms
            case cmd.CancelTimer():
                self._timers.pop(command.id, None)
            case cmd.SearchEvents():
                self._inbox.append(ev.EventsSearched(self._now_ms, command.id, is_event_left=False))
            case cmd.WriteRecords() | cmd.CompleteRun():
                self._inbox.append(ev.RecordsWritten(self._now_ms, command.id))

    def _done(self, kind: Callable[..., ev.EngineEvent], command_id: str, outcome: Outcome | None, name: str) -> None:
        if outcome is not None:
            value = {name: outcome.output} if outcome.error is None else {"error": outcome.error}
            self._inbox.append(kind(outcome.at_ms, command_id, **value))

    def _end_of_wait(self) -> ev.EngineEvent | None:
        """Return the event that ended the open wait, or None if the wait is open in the run too."""
        attempt = self._state.attempt
        wait = self._state.wait or (attempt.wait if attempt is not None else None)
        if wait is None:
            return None
        if wait.id in self._ended_waits:
            raise Diverged(f"The step {wait.step_id} did not take the event or the response that it took in the run.")
        end = self._results.wait(wait.id)
        if end is None:
            return None
        if wait.timer_id not in self._timers or end.event is not None or end.response is not None:
            self._ended_waits.add(wait.id)
        return self._ended(wait, end)

    def _ended(self, wait: OpenWaitState, end: WaitEnd) -> ev.EngineEvent:
        if end.event is not None:
            found = end.event
            return ev.EventSignalled(end.at_ms, found["id"], found["name"], found["key"], wait.id, found["payload"])
        if end.response is not None:
            return ev.TaskCompleted(end.at_ms, wait.id, end.response["value"], end.response["by"])
        self._timers.pop(wait.timer_id, None)
        return ev.TimerFired(end.at_ms, wait.timer_id)

    def _keep_branches(self, *records: Any) -> None:
        for record in records:
            if record["kind"] == "step" and record.get("branch"):
                self._branches[Position(record["path"], record["iteration"])] = record["branch"]

    def _stopped(self) -> Traced:
        is_end = self._state.phase is Phase.ENDED
        if self._target is not None:
            raise Diverged("The run does not come to this step with the recorded results.")
        step = None
        if self._state.frames:
            frame = self._state.frames[-1]
            block = self._definition.blocks[frame.block]
            step = block[frame.index] if frame.index < len(block) else None
        position = Position(step.path, self._state.scope.iteration) if step is not None else None
        return self._traced(position, is_end=is_end)

    def _traced(self, position: Position | None, *, is_end: bool) -> Traced:
        view = plain_copy(self._state.scope.view())
        return Traced(view, self._now_ms, position, is_end, self._branches)

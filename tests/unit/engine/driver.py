"""Driver for the engine without Temporal. A test passes events, reads commands and sets the time."""

import json
import uuid
from typing import Any

from tests.support.factories import make_definition
from workflows.engine import commands as cmd
from workflows.engine.checkpoint import dump_state, load_state
from workflows.engine.definition import canonical_text, parse_definition
from workflows.engine.events import (
    ActionDone,
    CancelRequested,
    ChildDone,
    EngineEvent,
    EventSignalled,
    EventsSearched,
    PauseRequested,
    RecordsWritten,
    RunContinued,
    RunStarted,
    TaskCompleted,
    TimerFired,
)
from workflows.engine.machine import SEMANTICS_VERSION, advance
from workflows.engine.scope import Scope
from workflows.engine.state import RunState

RUN_ID = "0192f0c4-0000-7000-8000-000000000001"
START_MS = 1_700_000_000_000


class Drive:
    def __init__(
        self,
        *steps: dict[str, Any],
        payload: dict[str, Any] | None = None,
        trigger_event_id: str = "",
        semantics: int = SEMANTICS_VERSION,
    ) -> None:
        self.definition = parse_definition(canonical_text(make_definition(*steps)))
        system: dict[str, Any] = {
            "runId": RUN_ID,
            "workflowId": "flow",
            "workflowVersion": 1,
            "tenantId": str(uuid.UUID(int=1)),
        }
        system["semanticsVersion"] = semantics
        self.state = RunState(scope=Scope(payload=payload or {}, system=system), trigger_event_id=trigger_event_id)
        self.now_ms = START_MS
        self.commands: list[cmd.Command] = []
        self.records: list[dict[str, Any]] = []

    def feed(self, event: EngineEvent) -> list[cmd.Command]:
        self.state, commands = advance(self.definition, self.state, event)
        for command in commands:
            self.records += getattr(command, "records", [])
        self.commands += commands
        return commands

    def start(self) -> "Drive":
        self.feed(RunStarted(self.now_ms))
        return self

    def later(self, milliseconds: int) -> "Drive":
        self.now_ms += milliseconds
        return self

    def last(self, kind: type) -> Any:
        found = [command for command in self.commands if isinstance(command, kind)]
        assert found, f"no {kind.__name__} among {self.commands}"
        return found[-1]

    def has(self, kind: type) -> bool:
        return any(isinstance(command, kind) for command in self.commands)

    def action(self, output: Any = None, error: dict[str, Any] | None = None) -> "Drive":
        self.feed(ActionDone(self.now_ms, self.last(cmd.RunAction).id, output=output, error=error))
        return self

    def fire(self) -> "Drive":
        """Fire the last timer. A search for events after a deadline finds none."""
        for command in self.feed_timer():
            if isinstance(command, cmd.SearchEvents):
                self.searched(is_event_left=False)
        return self

    def feed_timer(self) -> list[cmd.Command]:
        return self.feed(TimerFired(self.now_ms, self.last(cmd.StartTimer).id))

    def searched(self, *, is_event_left: bool) -> "Drive":
        command_id = self.last(cmd.SearchEvents).id
        self.feed(EventsSearched(self.now_ms, command_id, is_event_left=is_event_left))
        return self

    def written(self) -> "Drive":
        self.feed(RecordsWritten(self.now_ms, self.last(cmd.WriteRecords).id))
        return self

    def cancel(self) -> "Drive":
        self.feed(CancelRequested(self.now_ms))
        return self

    def signal(self, event_id: str = "e1", payload: Any = None, **changed: Any) -> "Drive":
        fields = {
            "event_name": "TICKET_CUSTOMER_REPLIED",
            "correlation_key": "T-1",
            "wait_id": self.last(cmd.OpenWait).wait_id,
            "payload": payload or {},
            **changed,
        }
        self.feed(EventSignalled(self.now_ms, event_id, **fields))
        return self

    def child(self, scopes: dict[str, Any] | None = None, error: dict[str, Any] | None = None) -> "Drive":
        self.feed(ChildDone(self.now_ms, self.last(cmd.RunChild).id, scopes=scopes, error=error))
        return self

    def complete(self, response: Any, by: str = "ann", task_id: str = "") -> "Drive":
        self.feed(TaskCompleted(self.now_ms, task_id or self.last(cmd.OpenWait).wait_id, response, by))
        return self

    def checkpoint(self) -> "Drive":
        """Continue as new, with the state serialised as JSON."""
        self.feed(PauseRequested(self.now_ms))
        self.state = load_state(json.loads(json.dumps(dump_state(self.state))))
        self.feed(RunContinued(self.now_ms))
        return self

    # -- Records -----------------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[str, str]]:
        """Return step ids with their last recorded status, in the order of their first record."""
        found: dict[tuple[str, int], str] = {}
        for record in self.records:
            if record["kind"] == "step":
                found[(record["id"], record["attempt"])] = record["status"]
        return [(step_id, status) for (step_id, _), status in found.items()]

    def waits(self) -> list[str]:
        found: dict[str, str] = {}
        for record in self.records:
            if record["kind"] == "wait":
                found[record["id"]] = record["status"]
        return list(found.values())

    def verdicts(self) -> list[tuple[str, str]]:
        return [(r["eventId"], r["verdict"]) for r in self.records if r["kind"] == "verdict"]

    @property
    def end(self) -> cmd.CompleteRun:
        return self.last(cmd.CompleteRun)

    @property
    def vars(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.state.scope.vars))

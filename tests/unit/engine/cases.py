"""Conformance cases: a definition, the events of its run, and the expected commands, rows and scopes.

The cases are data (`cases/*.json`). Each case fixes one rule of docs/reference/engine.md or language.md. All cases
together define the engine's SEMANTICS_VERSION. This module loads the cases, runs them with `Drive`, and returns the
result in the form of the cases.

A case has `name` (the rule), `source`, `steps`, `payload`, `triggerEventId`, `events` and `expect`. It has
`unpublishable` if validation would refuse the steps. `{"$repeat": [text, n]}` and `{"$join": [text, ...]}` make long
texts.

Events, after the start of the run:

- `{"action": {"output" | "error", "lost", "stale"}}`: end of the last action
- `{"child": {"scopes" | "error", "ended", "lost", "stale"}}`: end of the last child run
- `{"timer": true}`: the clock moves to the due time of the last timer, which fires; `"stale"` fires the timer before it
- `{"event": {"id", "payload", "name", "key", "wait": "stale"}}`: name and key of the last wait are the default
- `{"task": {"response", "by", "stale"}}`: response to the last human task
- `{"written": true}` or `{"written": "stale"}`: end of the last write of records
- `{"cancel": true}`, `{"corrupt": "message"}`, `{"later": ms}`
- `{"pause": true}` and `{"continue": true}`: the state is serialised as JSON; `{"checkpoint": true}` is both

Fields of `expect`:

- `commands`: one list for the start and one for each event; only the given fields are compared
- `final` (status, vars, meta, payload, error), or `open` (phase, vars, meta) for a run that stays open
- `rows` `[step, iteration, attempt, status, branch]`, `waits` `[kind, status]`, `tasks` `[status]`: the last status, in
  the order of the first records
- `verdicts` `[event, verdict]`
- `run`: fields of the last record of the run
- `unstarted`: child runs that will not be started

A row, wait, task or verdict may end with an object of further fields of its record. `vars` and `meta` are empty unless
given. Ids are written `<run>`, `<wait:1>` and `<child:1>`, in the order in which they were opened. `<any>` is any
value. `{"in": [500, 1000]}` is any delay in this range, in milliseconds.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.engine.driver import RUN_ID, Drive
from workflows.engine import commands as cmd
from workflows.engine import events as ev
from workflows.engine.checkpoint import dump_state, load_state
from workflows.engine.child_step import child_error
from workflows.engine.clock import iso_time
from workflows.engine.machine import end_as_corrupt
from workflows.engine.retry import retry_delay_ms
from workflows.engine.sizes import json_size
from workflows.engine.state import SAFE_TO_CONTINUE, Phase

FOLDER = Path(__file__).parent / "cases"
CASE_KEYS = {"name", "source", "steps", "payload", "triggerEventId", "unpublishable", "events", "expect"}
EXPECT_KEYS = {"commands", "final", "open", "rows", "waits", "tasks", "verdicts", "run", "unstarted"}
FINAL_KEYS = {"status", "vars", "meta", "payload", "error"}
OPEN_KEYS = {"phase", "vars", "meta"}
COMMAND_KEYS = {
    "run-action": {"step", "iteration", "attempt", "action", "version", "input", "key", "carries"},
    "run-child": {"step", "iteration", "attempt", "workflow", "version", "input", "child", "carries"},
    "open-wait": {"step", "iteration", "attempt", "kind", "name", "key", "filters", "task", "carries"},
    "start-timer": {"in"},
    "cancel-timer": set(),
    "cancel-attempt": set(),
    "write-records": {"count"},
    "complete": set(),
}
STALE_WAIT = "00000000-0000-0000-0000-00000000dead"
ANY = "<any>"


@dataclass(frozen=True)
class Case:
    file: str
    name: str
    source: str
    steps: list[dict[str, Any]]
    events: list[dict[str, Any]]
    expect: dict[str, Any]
    payload: dict[str, Any] = field(default_factory=dict)
    trigger_event_id: str = ""
    is_publishable: bool = True


def load_cases() -> list[Case]:
    return [_read(path.stem, document) for path in sorted(FOLDER.glob("*.json")) for document in _documents(path)]


def _documents(path: Path) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = json.loads(path.read_text())
    return documents


def _read(file: str, document: dict[str, Any]) -> Case:
    place = f"{file}.json: {document.get('name')}"
    _check_keys(document, CASE_KEYS, place)
    _check_expectation(document["expect"], events=len(document["events"]), place=place)
    return Case(
        file=file,
        name=document["name"],
        source=document["source"],
        steps=_expanded(document["steps"]),
        events=_expanded(document["events"]),
        expect=document["expect"],
        payload=_expanded(document.get("payload", {})),
        trigger_event_id=document.get("triggerEventId", ""),
        is_publishable=not document.get("unpublishable", False),
    )


def _check_expectation(expect: dict[str, Any], *, events: int, place: str) -> None:
    """Check the form of an expectation, because a misspelt key would let a case pass."""
    _check_keys(expect, EXPECT_KEYS, place)
    assert ("final" in expect) != ("open" in expect), f"{place}: `expect` needs either final or open"
    _check_keys(expect.get("final", {}), FINAL_KEYS, place)
    _check_keys(expect.get("open", {}), OPEN_KEYS, place)
    if "final" in expect:
        is_failed = expect["final"]["status"] == "FAILED"
        assert is_failed == ("error" in expect["final"]), (
            f"{place}: a failed run has an error, and no other run has one"
        )
    assert len(expect["commands"]) == events + 1, (
        f"{place}: needs one list of commands for the start and for each event"
    )
    for command in [command for commands in expect["commands"] for command in commands]:
        ((kind, fields),) = command.items()
        _check_keys(fields if isinstance(fields, dict) else {}, COMMAND_KEYS[kind], place)


def _check_keys(document: dict[str, Any], keys: set[str], place: str) -> None:
    assert document.keys() <= keys, f"{place}: unknown keys {sorted(document.keys() - keys)}"


def _expanded(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"$repeat"}:
        text, times = value["$repeat"]
        return text * times
    if isinstance(value, dict) and value.keys() == {"$join"}:
        return "".join(map(_expanded, value["$join"]))
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return value


# -- Runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """Result of a case. `broken` lists violations of rules that hold for every run, regardless of the expectations."""

    commands: list[list[dict[str, Any]]]
    status: str
    phase: str
    vars: dict[str, Any]
    meta: dict[str, Any]
    payload: dict[str, Any]
    error: dict[str, Any] | None
    rows: list[dict[str, Any]]
    waits: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    run: dict[str, Any]
    unstarted: list[str]
    broken: list[str]


Between = Callable[["Run"], None]


def run_case(case: Case, *, between: Between | None = None) -> Outcome:
    """Run a case. Call `between` after the start and after every event."""
    run = Run(case)
    for event in [{"start": True}, *case.events]:
        run.happen(event)
        if between is not None:
            between(run)
    return run.outcome()


def through_json(run: "Run") -> None:
    """Serialise the state as JSON and read it again."""
    run.drive.state = load_state(json.loads(json.dumps(dump_state(run.drive.state))))


def in_a_new_execution(run: "Run") -> None:
    """Continue as new if possible: in a phase in which only timers are open, after all writes have ended."""
    state = run.drive.state
    if state.is_pausing or state.phase not in SAFE_TO_CONTINUE:
        return
    run.feed(ev.PauseRequested(run.drive.now_ms))
    for command_id in list(run.open_writes):
        run.feed(ev.RecordsWritten(run.drive.now_ms, command_id))
    run.continue_as_new()


def repeat_event(run: "Run") -> None:
    """Pass the last event again and check that nothing changes.

    Signalled events are excluded, because an event gets a verdict each time it is signalled.
    """
    event = run.last_event
    if event is None or isinstance(event, ev.EventSignalled | ev.PauseRequested | ev.RunContinued):
        return
    before = json.dumps(dump_state(run.drive.state))
    assert run.drive.feed(event) == [], f"the repeated event {event} led to commands"
    assert json.dumps(dump_state(run.drive.state)) == before, f"the repeated event {event} changed the state"


class Run:
    """Run of a case, and the rows that its records produce."""

    def __init__(self, case: Case) -> None:
        self.drive = Drive(*case.steps, payload=copy.deepcopy(case.payload), trigger_event_id=case.trigger_event_id)
        self.drive.state.scope.size_bound = json_size(case.payload)
        self.open_writes: list[str] = []
        self.last_event: ev.EngineEvent | None = None
        self._rows = _Rows()
        self._commands: list[list[dict[str, Any]]] = []
        self._open_timers: set[str] = set()
        self._attempt: cmd.RunAction | cmd.RunChild | None = None
        self._wait_ids: list[str] = []
        self._child_ids: list[str] = []
        self._broken: list[str] = []

    # -- Events ------------------------------------------------------------------------------------------------------

    def happen(self, event: dict[str, Any]) -> None:
        ((kind, value),) = event.items()
        self._commands.append([])
        self.last_event = None
        handler: Callable[[Any], None] = getattr(self, f"_on_{kind}")
        handler(value)

    def feed(self, event: ev.EngineEvent) -> None:
        self.last_event = event
        if isinstance(event, ev.TimerFired):
            self._open_timers.discard(event.command_id)
        if isinstance(event, ev.RecordsWritten) and event.command_id in self.open_writes:
            self.open_writes.remove(event.command_id)
        for command in self.drive.feed(event):
            if isinstance(command, cmd.SearchEvents):  # the cases of `test_acceptance_time.py` show this command
                self._write(command.records)
                self.feed(ev.EventsSearched(self.drive.now_ms, command.id, is_event_left=False))
            else:
                self._commands[-1].append(self._perform(command))

    def continue_as_new(self) -> None:
        state = self.drive.state
        assert state.is_pausing, "an execution can only end after a request to pause"
        assert state.phase in SAFE_TO_CONTINUE, f"an execution cannot end in the phase {state.phase}"
        through_json(self)
        self._open_timers.clear()  # they ended with the previous execution
        self.feed(ev.RunContinued(self.drive.now_ms))

    def _on_start(self, _value: Any) -> None:
        self.feed(ev.RunStarted(self.drive.now_ms))

    def _on_action(self, end: dict[str, Any]) -> None:
        command = self._last(cmd.RunAction, stale=end.get("stale"))
        error = end.get("error")
        if error is not None:
            error = {"nodePath": command.step_path, "at": iso_time(self.drive.now_ms), **error}
        is_projected = not end.get("lost", False)
        self._attempt_ended(command, is_projected=is_projected, error=error)
        self.feed(
            ev.ActionDone(
                self.drive.now_ms, command.id, output=end.get("output"), error=error, is_projected=is_projected
            )
        )

    def _on_child(self, end: dict[str, Any]) -> None:
        command = self._last(cmd.RunChild, stale=end.get("stale"))
        is_projected = not end.get("lost", False)
        self._attempt_ended(command, is_projected=is_projected, error=None)
        error = None
        if "scopes" not in end:
            error = child_error(
                end.get("error"),
                child_run_id=command.child_run_id,
                ended=end.get("ended", "FAILED"),
                now_iso=iso_time(self.drive.now_ms),
            )
        self.feed(
            ev.ChildDone(
                self.drive.now_ms, command.id, scopes=end.get("scopes"), error=error, is_projected=is_projected
            )
        )

    def _on_timer(self, which: Any) -> None:
        timer = self._last(cmd.StartTimer, stale=which == "stale")
        self.drive.now_ms = max(self.drive.now_ms, timer.due_ms)
        self.feed(ev.TimerFired(self.drive.now_ms, timer.id))

    def _on_event(self, event: dict[str, Any]) -> None:
        wait_id = self._wait_ids[-1] if self._wait_ids else STALE_WAIT
        opened = self._rows.by_key.get(("wait", wait_id), {})
        if event.get("wait") == "stale":
            wait_id = self._wait_ids[-2] if len(self._wait_ids) > 1 else STALE_WAIT
        key = event.get("key", opened.get("key", ""))
        self.feed(
            ev.EventSignalled(
                self.drive.now_ms,
                event_id=event["id"],
                event_name=event.get("name", opened.get("eventName", "")),
                correlation_key=self._wait_ids[int(key[6:-1]) - 1] if key.startswith("<wait:") else key,
                wait_id=wait_id,
                payload=copy.deepcopy(event.get("payload", {})),
            )
        )

    def _on_task(self, completion: dict[str, Any]) -> None:
        task_id = self._wait_ids[-2 if completion.get("stale") else -1]
        self.feed(
            ev.TaskCompleted(
                self.drive.now_ms, task_id, copy.deepcopy(completion["response"]), completion.get("by", "user ann")
            )
        )

    def _on_written(self, which: Any) -> None:
        command = self._last(cmd.WriteRecords, stale=which == "stale")
        self.feed(ev.RecordsWritten(self.drive.now_ms, command.id))

    def _on_cancel(self, _value: Any) -> None:
        self.feed(ev.CancelRequested(self.drive.now_ms))

    def _on_corrupt(self, message: str) -> None:
        """End the run as after an exception in the engine."""
        self.drive.state, commands = end_as_corrupt(
            self.drive.definition, self.drive.state, now_ms=self.drive.now_ms, message=message
        )
        self.drive.commands += commands
        self._commands[-1] += [self._perform(command) for command in commands]

    def _on_later(self, milliseconds: int) -> None:
        self.drive.now_ms += milliseconds

    def _on_pause(self, _value: Any) -> None:
        self.feed(ev.PauseRequested(self.drive.now_ms))

    def _on_continue(self, _value: Any) -> None:
        self.continue_as_new()

    def _on_checkpoint(self, _value: Any) -> None:
        self._on_pause(True)
        self.continue_as_new()

    def _last(self, kind: type, *, stale: Any = False) -> Any:
        found = [command for command in self.drive.commands if isinstance(command, kind)]
        assert len(found) > bool(stale), f"no {'earlier ' if stale else ''}{kind.__name__} among the commands"
        return found[-2 if stale else -1]

    # -- Commands ----------------------------------------------------------------------------------------------------

    def _perform(self, command: cmd.Command) -> dict[str, Any]:
        """Perform a command as the workflow does, and return it in the form of the cases."""
        match command:
            case cmd.RunAction() | cmd.RunChild():
                self._attempt = command  # the activity of the attempt writes its records
                return self._form_of_attempt(command)
            case cmd.OpenWait():
                self._wait_ids.append(command.wait_id)
                self._write(command.records)
                return {"open-wait": self._form_of_wait(command)}
            case cmd.StartTimer():
                self._open_timers.add(command.id)
                return {"start-timer": {"in": command.due_ms - self.drive.now_ms}}
            case cmd.CancelTimer():
                is_open = command.id in self._open_timers
                self._open_timers.discard(command.id)
                return {"cancel-timer": is_open}
            case cmd.CancelAttempt():
                is_open = self._attempt is not None and self._attempt.id == command.id
                self._attempt = None
                return {"cancel-attempt": is_open}
            case cmd.WriteRecords():
                self.open_writes.append(command.id)
                self._write(command.records)
                return {"write-records": {"count": len(command.records)}}
            case cmd.CompleteRun():
                self._write(command.records)
                return {"complete": command.status}

    def _form_of_attempt(self, command: cmd.RunAction | cmd.RunChild) -> dict[str, Any]:
        carries = [record["kind"] for record in command.records]
        if isinstance(command, cmd.RunAction):
            form = {
                "step": command.step_id,
                "iteration": command.iteration,
                "attempt": command.attempt,
                "action": command.action_id,
                "version": command.action_version,
                "input": copy.deepcopy(command.input),
                "key": command.idempotency_key,
            }
            return {"run-action": form | {"carries": carries}}
        if command.child_run_id not in self._child_ids:
            self._child_ids.append(command.child_run_id)
        started = command.records[-1]
        form = {
            "step": command.step_id,
            "iteration": started["iteration"],
            "attempt": started["attempt"],
            "workflow": command.workflow,
            "version": command.version,
            "input": copy.deepcopy(command.input),
            "child": command.child_run_id,
        }
        return {"run-child": form | {"carries": carries}}

    def _form_of_wait(self, command: cmd.OpenWait) -> dict[str, Any]:
        wait = next(r for r in command.records if r["kind"] == "wait" and r["id"] == command.wait_id)
        step = [r for r in command.records if r["kind"] == "step"][-1]
        form = {
            "step": wait["stepId"],
            "iteration": wait["iteration"],
            "attempt": step["attempt"],
            "kind": wait["waitKind"],
            "carries": [record["kind"] for record in command.records],
        }
        if "eventName" in wait:
            form |= {"name": wait["eventName"], "key": wait["key"], "filters": copy.deepcopy(wait["filters"])}
        tasks = [r for r in command.records if r["kind"] == "task" and r["id"] == command.wait_id]
        return form | ({"task": copy.deepcopy(tasks[-1])} if tasks else {})

    # -- Rows --------------------------------------------------------------------------------------------------------

    def _write(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._rows.write(record)

    def _attempt_ended(
        self, command: cmd.RunAction | cmd.RunChild, *, is_projected: bool, error: dict[str, Any] | None
    ) -> None:
        """Write the records that the activity of the attempt has written by its end."""
        if self._attempt is None or self._attempt.id != command.id:
            return
        self._attempt = None
        if not is_projected:
            return
        self._write(command.records)
        if isinstance(command, cmd.RunAction):
            self._write([_start_of(command), *_end_of(command, error, now_ms=self.drive.now_ms)])

    # -- The outcome -------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        state, rows = self.drive.state, self._rows
        self._broken += rows.broken
        if state.phase is Phase.ENDED:
            self._find_open_work()
        elif self._attempt is not None:
            self._write(self._attempt.records)
            self._write([_start_of(self._attempt)] if isinstance(self._attempt, cmd.RunAction) else [])
        if state.records and not self.open_writes and not state.is_pausing:
            self._broken.append(f"no command will write these records: {state.records}")
        self._write(state.records)  # gathered while a write was open
        return Outcome(
            commands=self._named(self._commands),
            status=state.status,
            phase=str(state.phase),
            vars=self._named(state.scope.vars),
            meta=self._named(state.scope.meta),
            payload=self._named(state.scope.payload),
            error=self._named(state.error),
            rows=self._named(rows.in_order("step")),
            waits=self._named(rows.in_order("wait")),
            tasks=self._named(rows.in_order("task")),
            verdicts=self._named(rows.in_order("verdict")),
            run=self._named(rows.run),
            unstarted=self._named([child["id"] for child in rows.in_order("child")]),
            broken=self._broken,
        )

    def _find_open_work(self) -> None:
        rows, status = self._rows, self.drive.state.status
        for kind, is_open in (("step", "STARTED"), ("wait", "WAITING"), ("task", "pending")):
            self._broken += [f"is still {is_open}: {row}" for row in rows.in_order(kind) if row["status"] == is_open]
        self._broken += [f"timer is still running: {timer}" for timer in sorted(self._open_timers)]
        if self._attempt is not None:
            self._broken.append(f"attempt is still running: {self._attempt.step_id}")
        if rows.run["status"] != status:
            self._broken.append(f"the last record of the run says {rows.run['status']}, but the run is {status}")
        if sum(isinstance(command, cmd.CompleteRun) for command in self.drive.commands) != 1:
            self._broken.append("the run did not complete exactly once")

    def _named(self, value: Any) -> Any:
        text = json.dumps(value).replace(RUN_ID, "<run>")
        for kind, ids in (("wait", self._wait_ids), ("child", self._child_ids)):
            for number, found in enumerate(ids, start=1):
                text = text.replace(found, f"<{kind}:{number}>")
        return json.loads(text)


@dataclass
class _Rows:
    """Rows of the projection. A record changes its row only if its sequence number is higher than that of the row."""

    by_key: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    _first: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _seen: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def write(self, record: dict[str, Any]) -> None:
        kind, seq = record["kind"], record["seq"]
        first = self._seen.setdefault((kind, seq), copy.deepcopy(record))
        if first != record:
            self.broken.append(f"two records have the sequence number {seq}: {first} and {record}")
        record = first
        if kind == "run":
            self.run = record if seq > self.run.get("seq", 0) else self.run
            return
        names = {"step": ("path", "iteration", "attempt"), "verdict": ("seq",)}.get(kind, ("id",))
        key = (kind, *(record[name] for name in names))
        self._first[key] = min(seq, self._first.get(key, seq))
        if key not in self.by_key or seq > self.by_key[key]["seq"]:
            self.by_key[key] = record
        if kind == "verdict" and record["verdict"] != "matched" and not record["reason"]:
            self.broken.append(f"a verdict has no reason: {record}")

    def in_order(self, kind: str) -> list[dict[str, Any]]:
        keys = [key for key in self.by_key if key[0] == kind]
        return [self.by_key[key] for key in sorted(keys, key=self._first.__getitem__)]


def _start_of(command: cmd.RunAction) -> dict[str, Any]:
    return _step_record(command, command.start_seq, "STARTED")


def _end_of(command: cmd.RunAction, error: dict[str, Any] | None, *, now_ms: int) -> list[dict[str, Any]]:
    if error is None:
        return [_step_record(command, command.end_seq, "SUCCEEDED")]
    delay = retry_delay_ms(
        command.retry,
        attempt=command.attempt,
        category=error["category"],
        code=error.get("code"),
        seed=command.retry_seed,
    )
    if delay is None:
        return [_step_record(command, command.end_seq, "FAILED")]
    wait = {"kind": "wait", "seq": command.end_seq, "id": command.retry_wait_id, "waitKind": "retry"}
    return [_step_record(command, command.end_seq, "RETRY_SCHEDULED"), {**wait, "status": "WAITING", "at": now_ms}]


def _step_record(command: cmd.RunAction, seq: int, status: str) -> dict[str, Any]:
    return {
        "kind": "step",
        "seq": seq,
        "path": command.step_path,
        "iteration": command.iteration,
        "attempt": command.attempt,
        "id": command.step_id,
        "status": status,
    }


# -- Comparison ------------------------------------------------------------------------------------------------------


def differences(expect: dict[str, Any], outcome: Outcome) -> list[str]:
    """Return a sentence for each difference from the expectations. Only the fields in `expect` are compared."""
    found = [f"rule of every run: {problem}" for problem in outcome.broken]
    found += _command_differences(expect["commands"], outcome.commands)
    ended = outcome.phase == str(Phase.ENDED)
    if "final" in expect:
        final = {"vars": {}, "meta": {}, "error": None, **expect["final"]}
        if not ended:
            found.append(f"the run has not ended; it is in the phase {outcome.phase}")
        for name in ("status", "vars", "meta", "payload"):
            if name in final:
                found += _difference(name, final[name], getattr(outcome, name))
        found += _difference("error", final["error"], outcome.error, is_partial=True)
    else:
        still = {"vars": {}, "meta": {}, **expect["open"]}
        for name in ("phase", "vars", "meta"):
            found += _difference(name, still[name], getattr(outcome, name))
    for name, fields in _ROW_FIELDS.items():
        if name in expect:
            found += _row_differences(name, fields, expect[name], getattr(outcome, name))
    if "run" in expect:
        found += _difference("run", expect["run"], outcome.run, is_partial=True)
    if "unstarted" in expect:
        found += _difference("unstarted", expect["unstarted"], outcome.unstarted)
    return found


_ROW_FIELDS = {
    "rows": ("id", "iteration", "attempt", "status", "branch"),
    "waits": ("waitKind", "status"),
    "tasks": ("status",),
    "verdicts": ("eventId", "verdict"),
}


def _row_differences(
    place: str, fields: tuple[str, ...], expected: list[list[Any]], actual: list[dict[str, Any]]
) -> list[str]:
    """Compare rows by their first fields in order, and by the object of further fields if there is one."""
    shown = [[row.get(name, "") for name in fields] for row in actual]
    for number, wanted in enumerate(expected[: len(actual)]):
        more = wanted[-1] if isinstance(wanted[-1], dict) else None
        shown[number] = shown[number][: len(wanted) - (more is not None)]
        if more is not None:
            known = {name: actual[number].get(name, "<none>") for name in more}
            shown[number].append(more if _is_same(more, known, is_partial=True) else known)
    return _difference(place, expected, shown)


def _command_differences(expected: list[list[dict[str, Any]]], actual: list[list[dict[str, Any]]]) -> list[str]:
    found = []
    for number, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
        place = f"commands after event {number}" if number else "commands after the start"
        if [next(iter(command)) for command in wanted] != [next(iter(command)) for command in got]:
            found.append(f"{place}: expected {_text(wanted)}, got {_text(got)}")
            continue
        for command, other in zip(wanted, got, strict=True):
            ((kind, fields),) = command.items()
            if kind == "write-records" and fields is True:
                continue
            if kind == "start-timer" and isinstance(fields["in"], list):
                (low, high), delay = fields["in"], other[kind]["in"]
                found += (
                    [] if low <= delay <= high else [f"{place}: a timer of {delay} ms is not in {low} to {high} ms"]
                )
                continue
            found += _difference(f"{place}: {kind}", fields, other[kind], is_partial=True)
    return found


def _difference(place: str, expected: Any, actual: Any, *, is_partial: bool = False) -> list[str]:
    if _is_same(expected, actual, is_partial=is_partial):
        return []
    return [f"{place}: expected {_text(expected)}, got {_text(actual)}"]


def _is_same(expected: Any, actual: Any, *, is_partial: bool = False) -> bool:
    """Return True if two JSON values are equal. True is not 1, but 1.0 is 1.

    If `is_partial` is True, an object may have more keys than expected.
    """
    if expected == ANY:
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        has_keys = expected.keys() <= actual.keys() if is_partial else expected.keys() == actual.keys()
        return has_keys and all(_is_same(expected[key], actual[key], is_partial=is_partial) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_is_same, expected, actual))
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return bool(expected == actual)


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 2000 else f"{text[:2000]}…"

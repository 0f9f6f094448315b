"""The Temporal workflow of a run: it passes messages to the engine and performs the engine's commands.

Rules:

- Handlers only append to the inbox and await nothing, so that no handler is ever unfinished. A message that cannot be
  used is ignored or refused (`messages`).
- The main loop takes one item from the inbox, calls the engine, and performs the commands that it returns
  (`performing`).
- An exception of the engine ends the run as EngineCorruption. Otherwise the workflow task would fail for ever.
- A run whose execution has become long pauses at the next safe point. From a checkpoint, it continues in a new
  execution.
- Time, randomness and I/O come only from Temporal.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.engine import commands as ask
    from workflows.engine.checkpoint import dump_state, load_state
    from workflows.engine.definition import ROOT, Definition, definition_hash, parse_definition
    from workflows.engine.errors import Category, RunError
    from workflows.engine.event_steps import is_after_deadline
    from workflows.engine.events import (
        CancelRequested,
        EngineEvent,
        EventSignalled,
        EventsSearched,
        PauseRequested,
        RunContinued,
        RunStarted,
        TaskCompleted,
        TimerFired,
    )
    from workflows.engine.json_schema.forms import form_problem
    from workflows.engine.machine import SEMANTICS_VERSION, advance, end_as_corrupt
    from workflows.engine.scope import Scope
    from workflows.engine.sizes import json_size
    from workflows.engine.state import SAFE_TO_CONTINUE, OpenWaitState, Phase, RunState
    from workflows.temporal import contracts
    from workflows.temporal.messages import (
        MessageInvalid,
        read_event_signal,
        read_task_response,
        refused,
        require_name,
    )
    from workflows.temporal.performing import MAX_MESSAGES, Inbox, Performer, TaskFailed, fitting, now_ms

NO_DEFINITION = Definition(id="", version=0, blocks={ROOT: ()})


@workflow.defn(name=contracts.RUN_WORKFLOW)
class RunWorkflow:
    @workflow.init
    def __init__(self, run: contracts.RunInput) -> None:
        self._run = run
        if run.semantics_version > SEMANTICS_VERSION:
            # A newer version of the portal started the run. This task fails, so that a newer worker can take the run.
            raise RuntimeError(
                f"the run needs engine semantics {run.semantics_version}, but this worker has {SEMANTICS_VERSION};"
                " a newer worker must run"
            )
        self._inbox: Inbox = deque()
        self._performer = Performer(run, self._inbox)
        self._messages = 0
        self._is_corrupt = False
        self._is_pausing = False
        self._state = _first_state(run) if run.checkpoint is None else load_state(run.checkpoint)

    @workflow.run
    async def run(self, run: contracts.RunInput) -> contracts.RunResult:
        ending = await self._run_engine(run)
        if ending.status == "CANCELED":
            raise asyncio.CancelledError
        if ending.error is not None:
            raise ApplicationError(
                str(ending.error["message"]), ending.error, type=str(ending.error["category"]), non_retryable=True
            )
        scope = self._state.scope
        return contracts.RunResult(
            status=ending.status, payload=scope.payload, vars=scope.vars, meta=scope.meta, system=scope.system
        )

    # -- Messages ----------------------------------------------------------------------------------------------------

    @workflow.signal(dynamic=True)
    def event_signalled(self, name: str, values: Sequence[RawValue]) -> None:
        """Queue an event. Ignore a signal that is not an event: a failed workflow task would block the run."""
        self._messages += 1
        try:
            require_name(name, contracts.SIGNAL_EVENT)
            self._inbox.append(read_event_signal(values, now_ms=now_ms()))
        except MessageInvalid as error:
            workflow.logger.warning("a signal was ignored: %s", error)
            self._pause_if_long()

    @workflow.update(dynamic=True)
    def task_completed(self, name: str, values: Sequence[RawValue]) -> None:
        """Resume the run with a person's response. The validator below has already accepted the response."""
        response = read_task_response(values)
        self._messages += 1
        self._inbox.append(
            TaskCompleted(
                now_ms(),
                response.taskId,
                response.response,
                response.completedBy,
                response.commandId,
                response.acceptedAtMs,
            )
        )

    @task_completed.validator
    def _task_completed_validator(self, name: str, values: Sequence[RawValue]) -> None:
        try:
            require_name(name, contracts.UPDATE_COMPLETE_TASK)
            response = read_task_response(values)
        except MessageInvalid as error:
            raise refused("UPDATE_INVALID", f"the update cannot be used: {error}") from error
        wait = self._state.wait
        if wait is None or wait.kind != "human" or wait.id != response.taskId:
            raise refused("TASK_NOT_OPEN", "the task is no longer open")
        if response.acceptedAtMs and is_after_deadline(wait, response.acceptedAtMs):
            raise refused("TASK_NOT_OPEN", "the due time of the task has passed")
        if any(_may_close(event, wait) for event in self._inbox):
            raise refused("TASK_BEING_DECIDED", "another response or event is closing the task; load the task again")
        attempt = self._state.attempt
        if response.isLateResult and attempt is not None and attempt.unknown is not None:
            return
        problem = form_problem(wait.form_schema, response.response)
        if problem is not None:
            raise refused("TASK_RESPONSE_INVALID", problem)

    @workflow.query(name=contracts.QUERY_CURRENT_STEP)
    def current_step(self) -> str:
        frames = self._state.frames
        return f"{frames[-1].block}.steps[{frames[-1].index}]" if frames else ""

    @workflow.query(name=contracts.QUERY_CURRENT_WAIT)
    def current_wait(self) -> dict[str, Any] | None:
        attempt = self._state.attempt
        wait = self._state.wait or (attempt.wait if attempt else None)
        return None if wait is None else dict(vars(wait))

    @workflow.query(name=contracts.QUERY_SUMMARY)
    def summary(self) -> dict[str, Any]:
        state = self._state
        return {
            "phase": str(state.phase),
            "status": state.status,
            "state": state.scope.meta.get("state"),
            "step": self.current_step(),
            "iteration": state.scope.iteration,
            "attempt": state.attempt_number,
            "steps": state.step_count,
            "failedSteps": state.failed_step_count,
            "events": state.event_count,
            "seq": state.seq,
            "scopeBytes": state.scope.exact_size(),
            "error": state.error,
        }

    # -- The loop ----------------------------------------------------------------------------------------------------

    async def _run_engine(self, run: contracts.RunInput) -> ask.CompleteRun:
        """Run the engine until the run has ended, all records are written, and the inbox is empty."""
        definition = _read_definition(run)
        self._inbox.appendleft(
            RunStarted(now_ms(), run.accepted_at_ms) if run.checkpoint is None else RunContinued(now_ms())
        )
        ending: ask.CompleteRun | None = None
        while True:
            event = await self._next_event(ended=ending is not None)
            if event is None and ending is not None:
                return ending
            for command in self._advance(definition, event):
                if isinstance(command, ask.CompleteRun):
                    ending = command
                    self._performer.cancel_rest()
                self._performer.perform(command)
            if ending is None:
                self._pause_if_long()

    async def _next_event(self, *, ended: bool) -> EngineEvent | TaskFailed | None:
        """Return the next item of the inbox. Return None if the run has ended and no command is open.

        A signal that arrives during the last write still gets its verdict. While a signal is unread, the server accepts
        neither the end of a workflow nor its continuation in a new execution.
        """
        while not self._inbox:
            if ended and self._performer.is_idle:
                return None
            if self._may_continue_as_new():
                self._continue_as_new()
            try:
                await workflow.wait_condition(
                    lambda: bool(self._inbox) or (ended and self._performer.is_idle) or self._may_continue_as_new()
                )
            except asyncio.CancelledError:
                self._inbox.append(CancelRequested(now_ms()))
        return self._inbox.popleft()

    def _pause_if_long(self) -> None:
        is_long = self._messages >= MAX_MESSAGES or workflow.info().is_continue_as_new_suggested()
        if is_long and not self._is_pausing:
            self._is_pausing = True
            self._inbox.append(PauseRequested(now_ms()))

    def _may_continue_as_new(self) -> bool:
        is_safe = self._state.is_pausing and self._state.phase in SAFE_TO_CONTINUE
        return is_safe and not self._inbox and self._performer.has_only_timers

    def _continue_as_new(self) -> None:
        run = replace(self._run, payload={}, checkpoint=dump_state(self._state))
        try:
            fitting(run)
        except ValueError as error:
            # The size limits of the single parts (`engine.sizes`) should prevent this error.
            self._inbox.append(TaskFailed(f"the run cannot continue in a new execution: {error}"))
            return
        workflow.continue_as_new(run)

    def _advance(self, definition: Definition | None, event: EngineEvent | TaskFailed | None) -> list[ask.Command]:
        if definition is None and isinstance(event, RunStarted | RunContinued):
            return self._corrupt(None, "the pinned definition cannot be read, or does not match its hash")
        if isinstance(event, TaskFailed):
            return self._corrupt(definition, event.message)
        if event is None:
            return []
        try:
            self._state, commands = advance(definition or NO_DEFINITION, self._state, event)
            return commands
        except Exception as error:  # noqa: BLE001  otherwise the workflow task would fail for ever
            return self._corrupt(definition, f"{type(error).__name__}: {error}")

    def _corrupt(self, definition: Definition | None, message: str) -> list[ask.Command]:
        """End the run as EngineCorruption, once. If the end cannot be written to the rows, only Temporal has it."""
        if self._is_corrupt:
            return []
        self._is_corrupt = True
        workflow.logger.error("engine corruption: %s", message)
        try:
            self._state, commands = end_as_corrupt(
                definition or NO_DEFINITION, self._state, now_ms=now_ms(), message=message
            )
            return commands
        except Exception:  # noqa: BLE001  the run must end in Temporal even if its state cannot be closed
            workflow.logger.exception("the run's open steps and waits cannot be recorded")
            self._state.phase = Phase.ENDED
            error = RunError(Category.CORRUPTION, message).as_object(node_path="", now_ms=now_ms())
            return [ask.CompleteRun(id="corrupt", status="FAILED", error=error, records=[])]


def _first_state(run: contracts.RunInput) -> RunState:
    system = {
        "runId": run.run_id,
        "workflowId": run.definition_key,
        "workflowVersion": run.version,
        "tenantId": run.tenant_id,
        "definitionHash": run.definition_hash,
        "semanticsVersion": run.semantics_version,
        "parentRunId": run.parent_run_id or None,
        "rootRunId": run.root_run_id or run.run_id,
    }
    scope = Scope(payload=run.payload, system=system, size_bound=json_size(run.payload))
    return RunState(scope=scope, trigger_event_id=run.trigger_event_id)


def _read_definition(run: contracts.RunInput) -> Definition | None:
    if definition_hash(run.definition_text) != run.definition_hash:
        return None
    try:
        return parse_definition(run.definition_text)
    except (KeyError, TypeError, ValueError):
        return None


def _may_close(event: EngineEvent | TaskFailed, wait: OpenWaitState) -> bool:
    """Return True if this unread item of the inbox may close the wait before the engine reads the response."""
    match event:
        case EventSignalled():
            return event.wait_id == wait.id
        case TaskCompleted():
            return event.task_id == wait.id
        case TimerFired():
            return event.command_id == wait.timer_id
        case EventsSearched():
            return event.command_id == wait.look_id
    return isinstance(event, CancelRequested | TaskFailed)

"""The Temporal workflow: a pump around the engine.

Rules it keeps. Handlers only append to the inbox. The main loop takes one thing from the inbox, asks the engine, and
performs the commands as tasks of their own, whose ends come back through the inbox: so a cancel interrupts nothing but the
loop's waiting, and becomes one more thing in the inbox. Any exception out of the engine ends the run as EngineCorruption
instead of wedging the task. No clock, no randomness and no I/O but through Temporal.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from workflows.engine import commands as ask
    from workflows.engine.definition import ROOT, Definition, definition_hash, parse_definition
    from workflows.engine.errors import Category, RunError
    from workflows.engine.events import (
        ActionDone,
        CancelRequested,
        EngineEvent,
        EventSignalled,
        RecordsWritten,
        RunStarted,
        TimerFired,
    )
    from workflows.engine.machine import SEMANTICS_VERSION, advance, end_as_corrupt
    from workflows.engine.scope import Scope, json_size
    from workflows.engine.state import RunState
    from workflows.temporal import contracts

# Infrastructure faults (database down, worker lost) are retried for ever and use up nothing of the author's attempts.
INFRASTRUCTURE_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
)
WRITE_TIMEOUT = timedelta(seconds=30)
# Above every action's own timeout, which is kept inside the activity.
ACTION_TIMEOUT = timedelta(minutes=15)
HEARTBEAT_TIMEOUT = timedelta(seconds=12)


NO_DEFINITION = Definition(id="", version=0, blocks={ROOT: ()})


@dataclass(frozen=True)
class TaskFailed:
    """A command could not be performed: a bug of ours, or a value that cannot be encoded."""

    message: str


@workflow.defn(name=contracts.RUN_WORKFLOW)
class RunWorkflow:
    @workflow.init
    def __init__(self, run: contracts.RunInput) -> None:
        self._run = run
        if run.semantics_version > SEMANTICS_VERSION:
            # A newer portal started it: fail this task, so that a newer worker takes the run over.
            raise RuntimeError(
                f"the run needs engine semantics {run.semantics_version}; this worker has {SEMANTICS_VERSION}"
            )
        self._inbox: deque[EngineEvent | TaskFailed] = deque()
        self._is_corrupt = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._state = RunState(
            scope=Scope(
                payload=run.payload,
                system={
                    "runId": run.run_id,
                    "workflowId": run.definition_key,
                    "workflowVersion": run.version,
                    "tenantId": run.tenant_id,
                    "definitionHash": run.definition_hash,
                    "semanticsVersion": run.semantics_version,
                    "parentRunId": run.parent_run_id or None,
                    "rootRunId": run.root_run_id or run.run_id,
                },
                size_bound=json_size(run.payload),
            ),
            trigger_event_id=run.trigger_event_id,
        )

    @workflow.run
    async def run(self, run: contracts.RunInput) -> contracts.RunResult:
        ending = await self._pump(run)
        if ending.status == "CANCELED":
            raise asyncio.CancelledError
        if ending.error is not None:
            raise ApplicationError(
                str(ending.error["message"]), ending.error, type=str(ending.error["category"]), non_retryable=True
            )
        scope = self._state.scope
        return contracts.RunResult(status=ending.status, payload=scope.payload, vars=scope.vars, meta=scope.meta)

    @workflow.signal(name=contracts.SIGNAL_EVENT)
    def event_signalled(self, signal: contracts.EventSignal) -> None:
        self._inbox.append(
            EventSignalled(
                now_ms=_now_ms(),
                event_id=signal.eventId,
                event_name=signal.eventName,
                correlation_key=signal.correlationKey,
                wait_id=signal.waitId,
                payload=signal.payload,
            )
        )

    @workflow.query(name=contracts.QUERY_CURRENT_STEP)
    def current_step(self) -> str:
        frames = self._state.frames
        return f"{frames[-1].block}.steps[{frames[-1].index}]" if frames else ""

    @workflow.query(name=contracts.QUERY_CURRENT_WAIT)
    def current_wait(self) -> dict[str, Any] | None:
        wait = self._state.wait
        return None if wait is None else dict(vars(wait))

    @workflow.query(name=contracts.QUERY_SUMMARY)
    def summary(self) -> dict[str, Any]:
        state = self._state
        return {
            "phase": str(state.phase),
            "status": state.status,
            "state": state.scope.meta.get("state"),
            "step": self.current_step(),
            "steps": state.step_count,
            "failedSteps": state.failed_step_count,
            "events": state.event_count,
            "error": state.error,
        }

    # -- The loop ----------------------------------------------------------------------------------------------------

    async def _pump(self, run: contracts.RunInput) -> ask.CompleteRun:
        """Feed the engine until it completes the run, all records are written, and the inbox is empty."""
        definition = _read_definition(run)
        self._inbox.appendleft(RunStarted(now_ms=_now_ms()))
        ending: ask.CompleteRun | None = None
        while True:
            event = await self._next_event(ended=ending is not None)
            if event is None and ending is not None:
                return ending
            for command in self._advance(definition, event):
                if isinstance(command, ask.CompleteRun):
                    ending = command
                self._perform(command)

    async def _next_event(self, *, ended: bool) -> EngineEvent | TaskFailed | None:
        """The next thing in the inbox; None when the run has ended and nothing is under way any more.

        A signal that arrives during the last write still gets its verdict: the server does not take the end of a run
        while a signal is unread.
        """
        while not self._inbox:
            if ended and not self._tasks:
                return None
            try:
                await workflow.wait_condition(lambda: bool(self._inbox) or (ended and not self._tasks))
            except asyncio.CancelledError:
                self._inbox.append(CancelRequested(now_ms=_now_ms()))
        return self._inbox.popleft()

    def _advance(self, definition: Definition | None, event: EngineEvent | TaskFailed | None) -> list[ask.Command]:
        if definition is None and isinstance(event, RunStarted):
            return self._corrupt(None, "the pinned definition cannot be read, or is not the one that its hash names")
        if isinstance(event, TaskFailed):
            return self._corrupt(definition, event.message)
        if event is None:
            return []
        try:
            self._state, commands = advance(definition or NO_DEFINITION, self._state, event)
            return commands
        except Exception as error:  # noqa: BLE001  an exception here would fail the workflow task for ever
            return self._corrupt(definition, f"{type(error).__name__}: {error}")

    def _corrupt(self, definition: Definition | None, message: str) -> list[ask.Command]:
        """End the run as EngineCorruption, once; what cannot even be recorded then only stands in Temporal."""
        if self._is_corrupt:
            return []
        self._is_corrupt = True
        workflow.logger.error("engine corruption: %s", message)
        try:
            self._state, commands = end_as_corrupt(
                definition or NO_DEFINITION, self._state, now_ms=_now_ms(), message=message
            )
            return commands
        except Exception:  # noqa: BLE001  a state that cannot even be closed still ends in Temporal
            workflow.logger.exception("the run's open steps and waits cannot be recorded")
            error = RunError(Category.CORRUPTION, message).as_object(node_path="", now_ms=_now_ms())
            return [ask.CompleteRun(id="corrupt", status="FAILED", error=error, records=[])]

    # -- Commands ----------------------------------------------------------------------------------------------------

    def _perform(self, command: ask.Command) -> None:
        match command:
            case ask.CancelTimer(id=task_id) | ask.CancelAction(id=task_id):
                if task_id in self._tasks:
                    self._tasks[task_id].cancel()
            case ask.RunAction():
                self._spawn(command.id, self._run_action(command))
            case ask.StartTimer():
                self._spawn(command.id, self._sleep_until(command))
            case ask.OpenWait():
                self._spawn(command.id, self._open_wait(command))
            case ask.WriteRecords() | ask.CompleteRun():
                self._spawn(command.id, self._write_records(command))

    def _spawn(self, task_id: str, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except asyncio.CancelledError:
                return  # the engine asked for it
            except Exception as error:  # noqa: BLE001  e.g. a value that cannot be encoded; it must end the run, not hang it
                cause = error.cause if isinstance(error, ActivityError) and error.cause else error
                self._inbox.append(TaskFailed(f"{type(cause).__name__}: {cause}"))

        def forget(_task: asyncio.Task[None]) -> None:
            # Not in a `finally` above: a task that is cancelled before it began never enters its coroutine.
            work.close()
            self._tasks.pop(task_id, None)

        task = asyncio.create_task(run())
        task.add_done_callback(forget)
        self._tasks[task_id] = task

    async def _run_action(self, command: ask.RunAction) -> None:
        try:
            reply: contracts.ActionReply = await workflow.execute_activity(
                contracts.ACTIVITY_RUN_ACTION,
                self._action_request(command),
                result_type=contracts.ActionReply,
                start_to_close_timeout=ACTION_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=INFRASTRUCTURE_RETRY,
                summary=f"{command.step_id} · {command.action_id}"[:200],
            )
            done = ActionDone(_now_ms(), command.id, output=reply.output, error=reply.error)
        except ActivityError as failure:
            if isinstance(failure.cause, CancelledError):
                return
            error = RunError(Category.TRANSIENT, str(failure.cause or failure), code="ACTIVITY_FAILED")
            described = error.as_object(node_path=command.step_path, now_ms=_now_ms())
            done = ActionDone(_now_ms(), command.id, error=described, is_projected=False)
        self._inbox.append(done)

    async def _sleep_until(self, command: ask.StartTimer) -> None:
        await workflow.sleep(max(0.0, (command.due_ms - _now_ms()) / 1000), summary=command.summary[:200])
        self._inbox.append(TimerFired(now_ms=_now_ms(), command_id=command.id))

    async def _open_wait(self, command: ask.OpenWait) -> None:
        await self._write(contracts.ACTIVITY_OPEN_WAIT, command.records, command.summary, wait_id=command.wait_id)

    async def _write_records(self, command: ask.WriteRecords | ask.CompleteRun) -> None:
        summary = "last records" if isinstance(command, ask.CompleteRun) else "records"
        await self._write(contracts.ACTIVITY_WRITE_RECORDS, command.records, summary)
        self._inbox.append(RecordsWritten(now_ms=_now_ms(), command_id=command.id))

    async def _write(self, activity: str, records: list[dict[str, Any]], summary: str, wait_id: str = "") -> None:
        run = self._run
        await workflow.execute_activity(
            activity,
            contracts.RecordsRequest(run_id=run.run_id, tenant_id=run.tenant_id, records=records, wait_id=wait_id),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=INFRASTRUCTURE_RETRY,
            summary=summary[:200],
        )

    def _action_request(self, command: ask.RunAction) -> contracts.ActionRequest:
        fields = {name: value for name, value in vars(command).items() if name not in ("id", "retry")}
        retry = command.retry
        rule = None
        if retry is not None:
            retry_on = None if retry.retry_on is None else list(retry.retry_on)
            rule = contracts.RetryRule(**{**vars(retry), "retry_on": retry_on})
        return contracts.ActionRequest(run_id=self._run.run_id, tenant_id=self._run.tenant_id, retry=rule, **fields)


def _read_definition(run: contracts.RunInput) -> Definition | None:
    if definition_hash(run.definition_text) != run.definition_hash:
        return None
    try:
        return parse_definition(run.definition_text)
    except (KeyError, TypeError, ValueError):
        return None


def _now_ms() -> int:
    return int(workflow.now().timestamp() * 1000)

"""Performance of the engine's commands as Temporal activities, timers and child workflows.

Rules:

- Each command is its own asyncio task. The end of the task is put into the inbox as an event. So a cancel stops only
  the commands that the engine cancels.
- The size of a payload is checked before the payload is sent. The server terminates a run with a payload over 2 MB, and
  the workflow cannot catch this.
- If a command cannot be performed, TaskFailed is put into the inbox.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

with workflow.unsafe.imports_passed_through():
    from workflows.engine import commands as ask
    from workflows.engine.child_step import child_error
    from workflows.engine.clock import iso_time, ms_of_datetime
    from workflows.engine.errors import Category, RunError
    from workflows.engine.events import (
        ActionDone,
        ChildDone,
        EngineEvent,
        EventsSearched,
        RecordsWritten,
        TimerFired,
    )
    from workflows.engine.records import Record, records_to_json
    from workflows.engine.sizes import MAX_PAYLOAD_BYTES, json_size
    from workflows.temporal import contracts

# Infrastructure failures (database down, worker lost) are retried without limit. These retries use up no attempt of the
# author.
INFRASTRUCTURE_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
)
# An activity that writes records sends no heartbeats. If its worker is killed, Temporal notices this only after this
# time.
WRITE_TIMEOUT = timedelta(seconds=12)
# Longer than the time limit of every action. The activity itself enforces the limit of the action.
ACTION_TIMEOUT = timedelta(minutes=15)
HEARTBEAT_TIMEOUT = timedelta(seconds=12)
# Limit of signals and updates for one execution. After this number, the run continues in a new execution. The server
# allows 10,000 signals and 2,000 updates for each execution. A replay depends on this number, so a change needs a new
# semantics version.
MAX_MESSAGES = 1_500
# Temporal limits the length of a timer. A longer wait is a sequence of timers.
MAX_TIMER_SECONDS = 5 * 365 * 24 * 3600.0


@dataclass(frozen=True)
class TaskFailed:
    """A command could not be performed: a bug of the portal, or a value that cannot be encoded."""

    message: str


Inbox = deque[EngineEvent | TaskFailed]


class Performer:
    """Performs the commands of one execution, and knows which commands are still open."""

    def __init__(self, run: contracts.RunInput, inbox: Inbox) -> None:
        self._run = run
        self._inbox = inbox
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: set[str] = set()
        self._writes: set[str] = set()
        self._canceled: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Return True if no command is open."""
        return not self._tasks

    @property
    def has_only_timers(self) -> bool:
        return self._tasks.keys() <= self._timers

    def cancel_rest(self) -> None:
        """Cancel all open commands except writes of records. Call it when the run has ended."""
        for task_id, task in list(self._tasks.items()):
            if task_id not in self._writes and task_id not in self._canceled:
                self._canceled.add(task_id)
                task.cancel()

    def perform(self, command: ask.Command) -> None:
        match command:
            case ask.CancelTimer(id=task_id) | ask.CancelAttempt(id=task_id):
                if task_id in self._tasks:
                    self._canceled.add(task_id)
                    self._tasks[task_id].cancel()
            case ask.RunAction():
                self._spawn(command.id, self._run_action(command))
            case ask.RunChild():
                self._spawn(command.id, self._run_child(command))
            case ask.StartTimer():
                self._timers.add(command.id)
                self._spawn(command.id, self._sleep_until(command))
            case ask.OpenWait():
                self._writes.add(command.id)
                self._spawn(command.id, self._open_wait(command))
            case ask.SearchEvents():
                self._writes.add(command.id)
                self._spawn(command.id, self._search_events(command))
            case ask.WriteRecords() | ask.CompleteRun():
                self._writes.add(command.id)
                self._spawn(command.id, self._write_records(command))

    def _spawn(self, task_id: str, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except asyncio.CancelledError:
                return  # the engine canceled the command
            except Exception as error:  # noqa: BLE001  the run must not hang, for example at a value without encoding
                cause = error.cause if isinstance(error, ActivityError) and error.cause else error
                self._inbox.append(TaskFailed(f"{type(cause).__name__}: {cause}"))

        def forget(_task: asyncio.Task[None]) -> None:
            # A `finally` in `run` is not enough. If a task is canceled before it begins, its coroutine never runs.
            work.close()
            self._tasks.pop(task_id, None)
            for ids in (self._timers, self._writes, self._canceled):
                ids.discard(task_id)

        task = asyncio.create_task(run())
        task.add_done_callback(forget)
        self._tasks[task_id] = task

    # -- Actions -----------------------------------------------------------------------------------------------------

    async def _run_action(self, command: ask.RunAction) -> None:
        try:
            reply: contracts.ActionReply = await workflow.execute_activity(
                contracts.ACTIVITY_RUN_ACTION,
                fitting(self._action_request(command)),
                result_type=contracts.ActionReply,
                start_to_close_timeout=ACTION_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=INFRASTRUCTURE_RETRY,
                summary=f"{command.step_id} · {command.action_id}"[:200],
            )
            done = ActionDone(now_ms(), command.id, output=reply.output, error=reply.error, unknown=reply.unknown)
        except ActivityError as failure:
            if isinstance(failure.cause, CancelledError):
                return
            error = RunError(Category.TRANSIENT, str(failure.cause or failure), code="ACTIVITY_FAILED")
            described = error.as_object(node_path=command.step_path, now_ms=now_ms())
            done = ActionDone(now_ms(), command.id, error=described, is_projected=False)
        self._inbox.append(done)

    def _action_request(self, command: ask.RunAction) -> contracts.ActionRequest:
        fields = {name: value for name, value in vars(command).items() if name not in ("id", "retry")}
        retry = command.retry
        rule = None
        if retry is not None:
            retry_on = None if retry.retry_on is None else list(retry.retry_on)
            rule = contracts.RetryRule(**{**vars(retry), "retry_on": retry_on})
        return contracts.ActionRequest(
            run_id=self._run.run_id,
            tenant_id=self._run.tenant_id,
            retry=rule,
            first_execution_id=first_execution_id(),
            **fields,
        )

    # -- Children ----------------------------------------------------------------------------------------------------

    async def _run_child(self, command: ask.RunChild) -> None:
        launch = await self._launch_child(command)
        if launch is None:
            return
        if launch.run is None:
            self._child_ended(command, launch.error, "REFUSED")
            return
        try:
            result: contracts.RunResult = await workflow.execute_child_workflow(
                contracts.RUN_WORKFLOW,
                fitting(launch.run),
                id=launch.workflow_id,
                result_type=contracts.RunResult,
                memo={contracts.MEMO_ORIGIN: launch.origin} if launch.origin else None,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # If the parent is terminated, Temporal cancels its children instead of terminating them. So the
                # children can record their end.
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                static_summary=f"{command.step_id} · {command.workflow}"[:200],
            )
        except WorkflowAlreadyStartedError:
            self._child_ended(command, None, "ALREADY_STARTED", is_id_taken=True)
            return
        except ChildWorkflowError as failure:
            self._child_ended(command, *_child_failure(failure))
            return
        scopes = {"payload": result.payload, "vars": result.vars, "meta": result.meta, "system": result.system}
        self._inbox.append(ChildDone(now_ms(), command.id, scopes=scopes))

    async def _launch_child(self, command: ask.RunChild) -> contracts.ChildLaunch | None:
        run = self._run
        request = contracts.ChildRequest(
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            root_run_id=run.root_run_id or run.run_id,
            child_run_id=command.child_run_id,
            step_path=command.step_path,
            workflow=command.workflow,
            version=command.version,
            input=command.input,
            depth=run.depth + 1,
            ready_ms=command.ready_ms,
            records=records_to_json(command.records),
            first_execution_id=first_execution_id(),
        )
        try:
            launch: contracts.ChildLaunch = await workflow.execute_activity(
                contracts.ACTIVITY_LAUNCH_CHILD,
                fitting(request),
                result_type=contracts.ChildLaunch,
                start_to_close_timeout=WRITE_TIMEOUT,
                retry_policy=INFRASTRUCTURE_RETRY,
                summary=f"{command.step_id} · launch {command.workflow}"[:200],
            )
        except ActivityError as failure:
            if not isinstance(failure.cause, CancelledError):
                error = {"message": str(failure.cause or failure), "code": "ACTIVITY_FAILED"}
                self._child_ended(command, error, "REFUSED", is_projected=False)
            return None
        return launch

    def _child_ended(
        self,
        command: ask.RunChild,
        error: dict[str, Any] | None,
        ended: str,
        *,
        is_projected: bool = True,
        is_id_taken: bool = False,
    ) -> None:
        described = child_error(error, child_run_id=command.child_run_id, ended=ended, now_iso=iso_time(now_ms()))
        self._inbox.append(
            ChildDone(now_ms(), command.id, error=described, is_projected=is_projected, is_id_taken=is_id_taken)
        )

    # -- Timers and records ------------------------------------------------------------------------------------------

    async def _sleep_until(self, command: ask.StartTimer) -> None:
        while True:
            seconds = max(0.0, (command.due_ms - now_ms()) / 1000)
            await workflow.sleep(min(seconds, MAX_TIMER_SECONDS), summary=command.summary[:200])
            if seconds <= MAX_TIMER_SECONDS:
                break
        self._inbox.append(TimerFired(now_ms=now_ms(), command_id=command.id))

    async def _open_wait(self, command: ask.OpenWait) -> None:
        await self._write(contracts.ACTIVITY_OPEN_WAIT, command.records, command.summary, wait_id=command.wait_id)

    async def _write_records(self, command: ask.WriteRecords | ask.CompleteRun) -> None:
        summary = "last records" if isinstance(command, ask.CompleteRun) else "records"
        await self._write(contracts.ACTIVITY_WRITE_RECORDS, command.records, summary)
        self._inbox.append(RecordsWritten(now_ms=now_ms(), command_id=command.id))

    async def _search_events(self, command: ask.SearchEvents) -> None:
        is_event_left = await self._write(
            contracts.ACTIVITY_SEARCH_EVENTS,
            command.records,
            command.summary,
            wait_id=command.wait_id,
            until_ms=command.until_ms,
        )
        self._inbox.append(EventsSearched(now_ms(), command.id, is_event_left=bool(is_event_left)))

    async def _write(
        self, activity: str, records: list[Record], summary: str, *, wait_id: str = "", until_ms: int = 0
    ) -> Any:
        run = self._run
        request = contracts.RecordsRequest(
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            records=records_to_json(records),
            wait_id=wait_id,
            first_execution_id=first_execution_id(),
            until_ms=until_ms,
        )
        return await workflow.execute_activity(
            activity,
            fitting(request),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=INFRASTRUCTURE_RETRY,
            summary=summary[:200],
        )


def fitting(payload: Any) -> Any:
    """Return the payload unchanged.

    Errors: ValueError if the payload is so large that the server would terminate the run.
    """
    size = json_size(payload)
    if size > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a {type(payload).__name__} of {size} bytes cannot be sent; {MAX_PAYLOAD_BYTES} are allowed")
    return payload


def _child_failure(failure: ChildWorkflowError) -> tuple[dict[str, Any] | None, str]:
    """Return the child's own error, if the child has one, and the status with which the child ended."""
    cause = failure.cause
    if isinstance(cause, ApplicationError):
        own = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {"message": cause.message}
        return own, "FAILED"
    if isinstance(cause, CancelledError):
        return None, "CANCELED"
    if isinstance(cause, TerminatedError):
        return None, "TERMINATED"
    if isinstance(cause, TemporalTimeoutError):
        return None, "TIMED_OUT"
    return {"message": str(cause or failure)}, "FAILED"


def first_execution_id() -> str:
    return workflow.info().first_execution_run_id


def now_ms() -> int:
    return ms_of_datetime(workflow.now())

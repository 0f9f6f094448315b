"""Wire names and payload types between client, workflow and activities. They only grow: histories hold them for years.

A new field gets a default; a field is never renamed, retyped or given another meaning.
"""

from dataclasses import dataclass, field
from typing import Any

RUN_WORKFLOW = "pointsman-run"

ACTIVITY_RUN_ACTION = "run-action"
ACTIVITY_LAUNCH_CHILD = "launch-child"
ACTIVITY_OPEN_WAIT = "open-wait"
ACTIVITY_WRITE_RECORDS = "write-records"

SIGNAL_EVENT = "event"
UPDATE_COMPLETE_TASK = "complete-task"
# The type of the failure that the update's validator answers with.
UPDATE_REFUSED = "TaskUpdateRefused"

QUERY_SUMMARY = "summary"
QUERY_CURRENT_STEP = "current-step"
QUERY_CURRENT_WAIT = "current-wait"

# What the run's row knows of its beginning, beside the input, so that the row can be made again from Temporal alone.
MEMO_ORIGIN = "origin"


@dataclass
class RunInput:
    """What starts a run. The definition travels as its canonical text, because key order is meaning in it."""

    run_id: str
    tenant_id: str
    definition_key: str
    version: int
    definition_text: str
    definition_hash: str
    semantics_version: int
    payload: dict[str, Any]
    trigger_event_id: str = ""
    parent_run_id: str = ""
    root_run_id: str = ""
    # How many parents are above it.
    depth: int = 0
    # Of the execution before, when this one goes on from it (`engine.checkpoint`).
    checkpoint: dict[str, Any] | None = None


@dataclass
class RunResult:
    """What the workflow returns: the scopes at the end."""

    status: str
    payload: dict[str, Any]
    vars: dict[str, Any]
    meta: dict[str, Any]
    system: dict[str, Any] = field(default_factory=dict)


@dataclass
class RetryRule:
    max_attempts: int
    backoff_ms: int
    backoff_multiplier: float
    jitter: bool
    max_delay_ms: int | None = None
    retry_on: list[str] | None = None


@dataclass
class ActionRequest:
    """One attempt of one action step; the activity also projects its start and its end."""

    run_id: str
    tenant_id: str
    step_id: str
    step_name: str
    step_path: str
    iteration: str
    attempt: int
    action_id: str
    action_version: int
    input: Any
    idempotency_key: str
    retry_seed: str
    retry_wait_id: str
    started_at_ms: int
    start_seq: int
    end_seq: int
    retry: RetryRule | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    first_execution_id: str = ""
    # `[{pointer, name}]`: where the definition itself refers to a secret. What looks the same elsewhere in the input is data.
    secrets: list[dict[str, str]] = field(default_factory=list)


@dataclass
class ActionReply:
    """An author's failure is a value: `error` is `{category, message, nodePath, at, code?, details?}`."""

    output: Any = None
    error: dict[str, Any] | None = None
    # The time that the attempt's row has for its end, in epoch milliseconds.
    ended_at_ms: int = 0


@dataclass
class RecordsRequest:
    """Projection records to write; for `open-wait` with the wait that has just been opened."""

    run_id: str
    tenant_id: str
    records: list[dict[str, Any]]
    wait_id: str = ""
    # Temporal's id of the first execution of the run.
    first_execution_id: str = ""


@dataclass
class ChildRequest:
    """Insert the row of a child run, and write the records that go with it."""

    run_id: str
    tenant_id: str
    root_run_id: str
    child_run_id: str
    step_path: str
    workflow: str
    version: int
    input: Any
    depth: int
    records: list[dict[str, Any]]
    first_execution_id: str = ""


@dataclass
class ChildLaunch:
    """The child as Temporal shall start it, or why it cannot be: `{category, message, code}`."""

    run: RunInput | None = None
    workflow_id: str = ""
    error: dict[str, Any] | None = None
    # For the child's memo.
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass
class TaskResponse:
    """A person's response to a human task, as the update carries it."""

    taskId: str
    response: Any
    completedBy: str
    commandId: str = ""


@dataclass
class EventSignal:
    """Shapes: as docs/reference/events.md#correlation has them on the wire."""

    eventId: str
    eventName: str
    correlationKey: str
    waitId: str
    payload: Any
    receivedAt: str

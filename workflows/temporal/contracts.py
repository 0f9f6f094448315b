"""Wire names and payload types between client, workflow and activities.

Rule: histories contain these names and types for years, so only additions are allowed. A new field gets a default. A
field is never renamed or retyped, and never gets another meaning.

Shapes: a projection record is a plain JSON object here. `workflows.engine.records` defines its shape.
"""

from dataclasses import dataclass, field
from typing import Any

RUN_WORKFLOW = "pointsman-run"
SCHEDULE_WORKFLOW = "pointsman-schedule"

ACTIVITY_RUN_ACTION = "run-action"
ACTIVITY_LAUNCH_CHILD = "launch-child"
ACTIVITY_OPEN_WAIT = "open-wait"
ACTIVITY_WRITE_RECORDS = "write-records"
ACTIVITY_SEARCH_EVENTS = "search-events"
ACTIVITY_FIRE_SCHEDULE = "fire-schedule"

SIGNAL_EVENT = "event"
UPDATE_COMPLETE_TASK = "complete-task"
# The type of the failure that is raised when the update's validator rejects a response.
UPDATE_REFUSED = "TaskUpdateRefused"

QUERY_SUMMARY = "summary"
QUERY_CURRENT_STEP = "current-step"
QUERY_CURRENT_WAIT = "current-wait"

# Memo with facts that were fixed when the run began and that its input does not contain. From the memo and the input,
# the row can be rebuilt from Temporal alone.
MEMO_ORIGIN = "origin"


@dataclass
class RunInput:
    """Input of a run. The definition is its canonical text, because the order of its keys has a meaning."""

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
    # Number of ancestors: the parent, the parent of the parent, and so on.
    depth: int = 0
    # State at the end of the previous execution (`engine.checkpoint`). None in the first execution of a run.
    checkpoint: dict[str, Any] | None = None
    # Time at which the portal accepted the start, in epoch milliseconds. 0 if it is unknown; the engine then uses the
    # time at which the workflow started.
    accepted_at_ms: int = 0


@dataclass
class RunResult:
    """Result of the workflow: the scopes at its end."""

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
    """One attempt of one action step. The activity also writes the records of the start and the end of the attempt."""

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
    # `[{pointer, name}]`: the places where the definition refers to a secret. An object of the same shape at any other
    # place of the input is data.
    secrets: list[dict[str, str]] = field(default_factory=list)
    # `decide` if the workflow asks the operator about an unknown outcome. Empty if the attempt fails after an unknown
    # outcome.
    on_unknown: str = ""
    # Decision about the unknown outcome of an earlier execution of this attempt: `{outcome, output?, executions}`.
    decision: dict[str, Any] | None = None


@dataclass
class ActionReply:
    """Outcome of an attempt.

    `error` is a failure of the action: `{category, message, nodePath, at, code?, details?}`. `unknown` is set if the
    outcome is unknown and the workflow asks the operator. The attempt has no end yet in this case.
    """

    output: Any = None
    error: dict[str, Any] | None = None
    # Time at which the attempt ended, as in its row, in epoch milliseconds.
    ended_at_ms: int = 0
    # Facts of the unknown outcome: `{executions, startedAt, invocationId, idempotencyKey, decisionMs, outputSchema}`.
    unknown: dict[str, Any] | None = None


@dataclass
class RecordsRequest:
    """Projection records to write.

    `wait_id`: for `open-wait`, the wait that the records open; for `search-events`, the wait whose deadline has passed.
    """

    run_id: str
    tenant_id: str
    records: list[dict[str, Any]]
    wait_id: str = ""
    # Temporal's run id of the first execution of the run.
    first_execution_id: str = ""
    # Only for `search-events`, in epoch milliseconds. Events that the portal accepted after this time do not count.
    until_ms: int = 0


@dataclass
class ChildRequest:
    """Request to insert the row of a child run, and to write the parent's records."""

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
    # The parent's logical time when it calls the child, in epoch milliseconds. For the child, this is the time at which
    # its start was accepted.
    ready_ms: int = 0


@dataclass
class ChildLaunch:
    """Result of the launch: the child's input and workflow id, or the error `{category, message, code}`."""

    run: RunInput | None = None
    workflow_id: str = ""
    error: dict[str, Any] | None = None
    # The memo of the child's workflow.
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass
class TaskResponse:
    """A person's response to a human task."""

    taskId: str
    response: Any
    completedBy: str
    commandId: str = ""
    # True if the response is the action's own late result (`workflows.services.late_results`). The form does not apply
    # to it.
    isLateResult: bool = False
    # Time at which the portal accepted the response, in epoch milliseconds.
    acceptedAtMs: int = 0


@dataclass
class EventSignal:
    """An event for a wait, in the form in which the signal carries it."""

    eventId: str
    eventName: str
    correlationKey: str
    waitId: str
    payload: Any
    receivedAt: str


@dataclass
class TaskEventSignal(EventSignal):
    """An event for the wait of a human task. Its command is the ledger row that completes the task."""

    # Empty in the signals for other waits, which do not have this field.
    commandId: str = ""


@dataclass
class ScheduleTarget:
    """Input of the workflow that a Temporal Schedule starts at each of its times."""

    tenant_id: str
    schedule_id: str


@dataclass
class ScheduleFire:
    """Request to record one occurrence of a schedule. The occurrence starts a run.

    `scheduled_at_ms` is the time of the schedule, in epoch milliseconds. The real time can be later.
    """

    tenant_id: str
    schedule_id: str
    scheduled_at_ms: int

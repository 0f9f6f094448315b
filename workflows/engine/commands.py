"""Commands of the engine. The workflow performs them; the engine never does.

Projection records (see `records.py`) describe what happened. They travel with the next command that writes.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.definition import RetryPolicy
from workflows.engine.records import Record


@dataclass(frozen=True)
class RunAction:
    id: str
    step_id: str
    step_name: str
    step_path: str
    iteration: str
    attempt: int
    action_id: str
    action_version: int
    input: Any
    idempotency_key: str
    retry: RetryPolicy | None
    retry_seed: str
    retry_wait_id: str
    started_at_ms: int
    start_seq: int
    end_seq: int
    records: list[Record]
    # The places of secrets in the input, as `[{pointer, name}]`. The engine never sees the values of secrets.
    secrets: list[dict[str, str]] = field(default_factory=list)
    # `decide` if a human task decides about an unknown outcome; empty if the attempt then fails.
    on_unknown: str = ""
    # Decision about the attempt's earlier, unknown outcome: `{outcome, output?, executions}`.
    decision: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunChild:
    """Command to insert the row of a child run, write the records and start the child. ChildDone reports its end."""

    id: str
    step_id: str
    step_path: str
    child_run_id: str
    workflow: str
    version: int
    input: Any
    records: list[Record]
    # Logical time of the parent at the call; 0 under semantics 1.
    ready_ms: int = 0


@dataclass(frozen=True)
class OpenWait:
    """Command to write the gathered records, the last of which is the wait, and to search for earlier events."""

    id: str
    wait_id: str
    summary: str
    records: list[Record]


@dataclass(frozen=True)
class SearchEvents:
    """Command to write the gathered records and to search for events of a wait whose deadline has passed.

    EventsSearched reports the result.
    """

    id: str
    wait_id: str
    until_ms: int
    summary: str
    records: list[Record]


@dataclass(frozen=True)
class StartTimer:
    id: str
    due_ms: int
    summary: str


@dataclass(frozen=True)
class CancelTimer:
    id: str


@dataclass(frozen=True)
class CancelAttempt:
    """Command to cancel the activity or the child of an attempt. The run does not wait for its end."""

    id: str


@dataclass(frozen=True)
class WriteRecords:
    """Command to write the records now. The workflow sends RecordsWritten when they are written."""

    id: str
    records: list[Record]


@dataclass(frozen=True)
class CompleteRun:
    """Command to end the run. Its last records are written before the workflow completes in Temporal."""

    id: str
    status: str
    error: dict[str, Any] | None
    records: list[Record]


Command = (
    RunAction
    | RunChild
    | OpenWait
    | SearchEvents
    | StartTimer
    | CancelTimer
    | CancelAttempt
    | WriteRecords
    | CompleteRun
)

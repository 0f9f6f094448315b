"""Commands of the engine. The workflow performs the commands; the engine only returns them.

Projection records (see `records.py`) describe what happened. A command that writes carries the records that were
gathered before it.
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
    # The places in the input that hold secrets, as `[{pointer, name}]`. The engine never sees the values of secrets.
    secrets: list[dict[str, str]] = field(default_factory=list)
    # `decide` if a human task decides about an unknown outcome. Empty if the attempt fails after an unknown outcome.
    on_unknown: str = ""
    # Decision about the unknown outcome of an earlier execution of this attempt: `{outcome, output?, executions}`.
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
    # The parent's logical time when it calls the child; 0 under semantics version 1.
    ready_ms: int = 0


@dataclass(frozen=True)
class OpenWait:
    """Command to write the gathered records and to search for events that came before the wait.

    The last of the records is the wait itself.
    """

    id: str
    wait_id: str
    summary: str
    records: list[Record]


@dataclass(frozen=True)
class SearchEvents:
    """Command to write the gathered records and to search for events of a wait whose deadline has passed.

    The input event EventsSearched reports the result of the search.
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
    """Command to cancel the activity or the child run of an attempt. The run does not wait for the end of either."""

    id: str


@dataclass(frozen=True)
class WriteRecords:
    """Command to write the records now. The workflow passes RecordsWritten to the engine after the write."""

    id: str
    records: list[Record]


@dataclass(frozen=True)
class CompleteRun:
    """Command to end the run. The workflow writes the run's last records before it completes in Temporal."""

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

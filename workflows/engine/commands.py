"""What the engine asks for. The pump performs it; the engine never does.

Records are projections of what happened (see `records.py`). They ride on the next command that writes anyway.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.definition import RetryPolicy

Record = dict[str, Any]


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
    # `[{pointer, name}]`: where secrets stand in the input. The engine never sees their values.
    secrets: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class RunChild:
    """Insert the child's row, write the records, start the child and wait for its end (ChildDone)."""

    id: str
    step_id: str
    step_path: str
    child_run_id: str
    workflow: str
    version: int
    input: Any
    records: list[Record]


@dataclass(frozen=True)
class OpenWait:
    """Write the gathered records, whose last one is the wait, and look for events that it can take."""

    id: str
    wait_id: str
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
    """Cancel the activity or the child of an attempt; the run does not wait for what becomes of it."""

    id: str


@dataclass(frozen=True)
class WriteRecords:
    """Write now; the pump answers with RecordsWritten when it is done."""

    id: str
    records: list[Record]


@dataclass(frozen=True)
class CompleteRun:
    """The run has ended; its last records are written before Temporal is told."""

    id: str
    status: str
    error: dict[str, Any] | None
    records: list[Record]


Command = RunAction | RunChild | OpenWait | StartTimer | CancelTimer | CancelAttempt | WriteRecords | CompleteRun

"""Input events of the engine. Each event carries its time, because the engine has no clock."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunStarted:
    """First event of a run. `accepted_ms` is the time at which the portal accepted the start; 0 if it is unknown."""

    now_ms: int
    accepted_ms: int = 0


@dataclass(frozen=True)
class ActionDone:
    """End of an attempt of an action. `error` is the error object if the action failed, else None.

    If `is_projected` is False, the activity was lost. The attempt and the records in its command were not written. If
    `unknown` is set, the outcome is unknown, and the end of the attempt was not written.
    Shapes: `unknown` is `{executions, startedAt, invocationId, idempotencyKey, decisionMs, outputSchema}`.
    """

    now_ms: int
    command_id: str
    output: Any = None
    error: dict[str, Any] | None = None
    is_projected: bool = True
    unknown: dict[str, Any] | None = None


@dataclass(frozen=True)
class ChildDone:
    """End of a child run, with its scopes or with the error that the parent sees.

    If `is_projected` is False, the row of the child was not inserted. The records in the same command were not written
    either.
    Shapes: `scopes` is `{payload, vars, meta, system}`.
    """

    now_ms: int
    command_id: str
    scopes: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    is_projected: bool = True
    # True if Temporal already knows a workflow with this id, because the parent started this workflow before a reset.
    is_id_taken: bool = False


@dataclass(frozen=True)
class TimerFired:
    now_ms: int
    command_id: str


@dataclass(frozen=True)
class RecordsWritten:
    now_ms: int
    command_id: str


@dataclass(frozen=True)
class EventsSearched:
    """End of a search for stored events after the deadline of a wait.

    `is_event_left` is True if some event was accepted before the deadline and this wait has not given a verdict on it
    yet.
    """

    now_ms: int
    command_id: str
    is_event_left: bool


@dataclass(frozen=True)
class EventSignalled:
    """Business event that was signalled for one wait of this run."""

    now_ms: int
    event_id: str
    event_name: str
    correlation_key: str
    wait_id: str
    payload: Any
    # Time at which the portal accepted the event, from PostgreSQL's clock.
    accepted_ms: int = 0
    # Ledger row of the command that completes the human task with this event. Empty for other waits.
    command_id: str = ""


@dataclass(frozen=True)
class TaskCompleted:
    """Response of a person to an open human task. The validator of the update has already checked it."""

    now_ms: int
    task_id: str
    response: Any
    completed_by: str
    command_id: str = ""
    accepted_ms: int = 0


@dataclass(frozen=True)
class CancelRequested:
    now_ms: int
    reason: str = ""


@dataclass(frozen=True)
class PauseRequested:
    """Request to stop at the next safe phase, because the history is long and the run must continue as new."""

    now_ms: int


@dataclass(frozen=True)
class RunContinued:
    """First event of an execution that continues from a checkpoint."""

    now_ms: int


EngineEvent = (
    RunStarted
    | RunContinued
    | PauseRequested
    | ActionDone
    | ChildDone
    | TimerFired
    | RecordsWritten
    | EventsSearched
    | EventSignalled
    | TaskCompleted
    | CancelRequested
)

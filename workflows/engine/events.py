"""What happens to a run, as the engine hears it. Each carries its time, because the engine has no clock."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunStarted:
    now_ms: int


@dataclass(frozen=True)
class ActionDone:
    """`error` is the error object of the attempt when the action failed, else None.

    `is_projected` False: the activity itself was lost, so neither the attempt nor the records it carried were written.
    """

    now_ms: int
    command_id: str
    output: Any = None
    error: dict[str, Any] | None = None
    is_projected: bool = True


@dataclass(frozen=True)
class ChildDone:
    """The child's end: its scopes `{payload, vars, meta, system}`, or the error that the parent sees.

    `is_projected` False: the child's row was not inserted, so the records that went with it were not written either.
    """

    now_ms: int
    command_id: str
    scopes: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    is_projected: bool = True
    # A workflow of this id has run before: a reset has undone that the parent started it.
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
class EventSignalled:
    """A business event that Temporal signalled for one wait of this run."""

    now_ms: int
    event_id: str
    event_name: str
    correlation_key: str
    wait_id: str
    payload: Any


@dataclass(frozen=True)
class TaskCompleted:
    """A person's response to an open human task; the update's validator has checked it."""

    now_ms: int
    task_id: str
    response: Any
    completed_by: str
    command_id: str = ""


@dataclass(frozen=True)
class CancelRequested:
    now_ms: int
    reason: str = ""


@dataclass(frozen=True)
class PauseRequested:
    """The execution has grown long: stop at the next safe place, so that the run can go on in a new one."""

    now_ms: int


@dataclass(frozen=True)
class RunContinued:
    """The first event of the execution that goes on from a checkpoint."""

    now_ms: int


EngineEvent = (
    RunStarted
    | RunContinued
    | PauseRequested
    | ActionDone
    | ChildDone
    | TimerFired
    | RecordsWritten
    | EventSignalled
    | TaskCompleted
    | CancelRequested
)

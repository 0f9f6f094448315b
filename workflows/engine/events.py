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
class CancelRequested:
    now_ms: int
    reason: str = ""


EngineEvent = RunStarted | ActionDone | TimerFired | RecordsWritten | EventSignalled | CancelRequested

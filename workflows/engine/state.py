"""The whole state of a run between two events: plain data, so that it can be written down and read again."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workflows.engine.definition import ROOT
from workflows.engine.scope import Scope


class Phase(StrEnum):
    """What the run is doing. The machine's table of transitions is keyed by it."""

    NEW = "new"
    WALKING = "walking"
    ACTION = "action"
    RETRY = "retry"
    EVENT_WAIT = "event_wait"
    TIME_WAIT = "time_wait"
    FLUSH = "flush"
    ENDED = "ended"


@dataclass
class Frame:
    """A block that is being walked; `index` is the step that runs now."""

    block: str
    index: int = 0


@dataclass
class OpenWaitState:
    id: str
    kind: str
    step_path: str
    step_id: str
    opened_ms: int
    deadline_ms: int | None = None
    event_name: str = ""
    key: str = ""
    filters: list[dict[str, Any]] = field(default_factory=list)
    timer_id: str = ""


@dataclass
class ActionState:
    """The attempt that runs, or the one that a retry timer leads to."""

    command_id: str
    attempt: int
    input: Any
    idempotency_key: str
    started_ms: int
    retry_wait_id: str
    # What the attempt's activity carries: until it has answered, nobody knows that it was written.
    records: list[dict[str, Any]] = field(default_factory=list)
    wait: OpenWaitState | None = None


@dataclass
class RunState:
    scope: Scope
    trigger_event_id: str = ""
    frames: list[Frame] = field(default_factory=lambda: [Frame(ROOT)])
    phase: Phase = Phase.NEW
    wait: OpenWaitState | None = None
    action: ActionState | None = None
    flush_id: str = ""
    seq: int = 0
    command_count: int = 0
    wait_count: int = 0
    step_count: int = 0
    failed_step_count: int = 0
    event_count: int = 0
    consumed_event_ids: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    status: str = "RUNNING"
    error: dict[str, Any] | None = None

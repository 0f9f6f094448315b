"""The whole state of a run between two events: plain data, so that it can be written down and read again (`checkpoint`)."""

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
    CHILD = "child"
    RETRY = "retry"
    EVENT_WAIT = "event_wait"
    HUMAN_WAIT = "human_wait"
    TIME_WAIT = "time_wait"
    FLUSH = "flush"
    PAUSED = "paused"
    ENDED = "ended"


# Phases in which nothing but a timer is under way, so that the run can go on in another execution.
SAFE_TO_CONTINUE = frozenset({Phase.RETRY, Phase.EVENT_WAIT, Phase.HUMAN_WAIT, Phase.TIME_WAIT, Phase.PAUSED})


@dataclass
class Frame:
    """A block that is being walked; `index` is the step that runs now. `started_ms`: when its step entered it."""

    block: str
    index: int = 0
    started_ms: int = 0


@dataclass
class OpenWaitState:
    id: str
    kind: str
    step_path: str
    step_id: str
    iteration: str
    opened_ms: int
    deadline_ms: int | None = None
    event_name: str = ""
    key: str = ""
    filters: list[dict[str, Any]] = field(default_factory=list)
    timer_id: str = ""
    # Of a human task: the JSON Schema that a response must fit.
    form_schema: dict[str, Any] | None = None


@dataclass
class AttemptState:
    """An attempt that something outside carries out (an action, a child run), or one that a retry timer follows."""

    started_ms: int
    retry_wait_id: str
    command_id: str = ""
    input: Any = None
    idempotency_key: str = ""
    child_run_id: str = ""
    launches: int = 1
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
    attempt: AttemptState | None = None
    # Of the step that the run stands at.
    attempt_number: int = 1
    # The write that ends a turn, and the write that carries verdicts while the run waits.
    flush_id: str = ""
    verdict_write_id: str = ""
    is_pausing: bool = False
    seq: int = 0
    command_count: int = 0
    wait_count: int = 0
    child_count: int = 0
    step_count: int = 0
    failed_step_count: int = 0
    event_count: int = 0
    # The last ones that resumed this run, oldest first.
    consumed_event_ids: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    record_bytes: int = 0
    status: str = "RUNNING"
    error: dict[str, Any] | None = None

"""State of a run between two events: plain data, so that `checkpoint` can serialise it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workflows.engine.definition import ROOT
from workflows.engine.records import Record
from workflows.engine.scope import Scope


class Phase(StrEnum):
    """Phase of a run, the key of the machine's table of transitions."""

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


# Phases in which only a timer is open, so that the run can continue as new.
SAFE_TO_CONTINUE = frozenset({Phase.RETRY, Phase.EVENT_WAIT, Phase.HUMAN_WAIT, Phase.TIME_WAIT, Phase.PAUSED})


@dataclass
class Frame:
    """Block that is being executed. `index` is its current step. `started_ms` is the time when the run entered it."""

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
    # Logical time at which the run became able to reach this wait (RunState.ready_ms). 0 under semantics 1.
    ready_ms: int = 0
    # Open search for stored events after the deadline, and the number of searches so far.
    look_id: str = ""
    looks: int = 0
    # For a human task only: the JSON Schema of the response.
    form_schema: dict[str, Any] | None = None


@dataclass
class AttemptState:
    """Attempt that an activity or a child run carries out, or failed attempt that a retry timer follows."""

    started_ms: int
    retry_wait_id: str
    command_id: str = ""
    input: Any = None
    idempotency_key: str = ""
    child_run_id: str = ""
    launches: int = 1
    # Records that the activity of the attempt writes. They count as unwritten until the activity has completed.
    records: list[Record] = field(default_factory=list)
    wait: OpenWaitState | None = None
    # Facts of an unknown outcome while its human task is open (`events.ActionDone.unknown`), with the error.
    unknown: dict[str, Any] | None = None


@dataclass
class RunState:
    scope: Scope
    trigger_event_id: str = ""
    # Logical time: the acceptance of the start, of the event or response that ended the last wait, or the due time of
    # the last timer. Delays of the portal do not move it.
    ready_ms: int = 0
    frames: list[Frame] = field(default_factory=lambda: [Frame(ROOT)])
    phase: Phase = Phase.NEW
    wait: OpenWaitState | None = None
    attempt: AttemptState | None = None
    # The attempt of the current step.
    attempt_number: int = 1
    # Command ids of the open writes: the write that ends a turn, and the write of verdicts while the run waits.
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
    # Events that resumed this run, oldest first, at most `event_steps.MAX_CONSUMED_IDS`.
    consumed_event_ids: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    record_bytes: int = 0
    status: str = "RUNNING"
    error: dict[str, Any] | None = None

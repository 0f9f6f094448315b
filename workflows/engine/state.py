"""State of a run between two events. It is plain data, so that `checkpoint` can serialise it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workflows.engine.definition import ROOT
from workflows.engine.records import Record
from workflows.engine.scope import Scope


class Phase(StrEnum):
    """Phase of a run. The machine looks up its transitions by this phase."""

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


# Phases in which the run has nothing open except a timer. The run can continue as new only in these phases.
SAFE_TO_CONTINUE = frozenset({Phase.RETRY, Phase.EVENT_WAIT, Phase.HUMAN_WAIT, Phase.TIME_WAIT, Phase.PAUSED})


@dataclass
class Frame:
    """Block that is being executed. `index` is its current step. The run entered the block at `started_ms`."""

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
    # Logical time from which the run could reach this wait (RunState.ready_ms). 0 under semantics version 1.
    ready_ms: int = 0
    # `look_id` is the command id of the open search for stored events after the deadline. `looks` is the number of
    # searches so far.
    look_id: str = ""
    looks: int = 0
    # For a human task only: the JSON Schema of the response.
    form_schema: dict[str, Any] | None = None


@dataclass
class AttemptState:
    """Current attempt: an activity or a child run carries it out, or it has failed and a retry timer is running."""

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
    # Facts of an unknown outcome, with the error (`events.ActionDone.unknown`). Set while the human task about it is
    # open.
    unknown: dict[str, Any] | None = None


@dataclass
class RunState:
    scope: Scope
    trigger_event_id: str = ""
    # Logical time of the run. It is the latest of these times:
    #
    # - the time at which the portal accepted the start
    # - the time at which the portal accepted the event or response that ended the last wait
    # - the due time of the last timer
    #
    # Delays of the portal do not change it.
    ready_ms: int = 0
    frames: list[Frame] = field(default_factory=lambda: [Frame(ROOT)])
    phase: Phase = Phase.NEW
    wait: OpenWaitState | None = None
    attempt: AttemptState | None = None
    # Number of the current step's attempt, which counts from 1.
    attempt_number: int = 1
    # Command ids of open writes. `flush_id` is the write at the end of a turn. `verdict_write_id` is the write of
    # verdicts while the run waits.
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
    # Ids of the events that resumed this run, oldest first, at most `event_steps.MAX_CONSUMED_IDS`.
    consumed_event_ids: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    record_bytes: int = 0
    status: str = "RUNNING"
    error: dict[str, Any] | None = None

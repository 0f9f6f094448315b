"""The course of a run as Temporal's histories tell it: its records in order, and what a reset has left behind.

A run is a chain of executions: one goes on from another (continue-as-new), or leaves another's history at an earlier point
(reset). The present one is followed back to the first. A reset's history holds the part that it kept, so the chain alone is
the present course; what was cut off stands only in the histories that were left. Records are those that the activities were
given, the starts and ends of attempts that they wrote themselves, and nothing else.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.records import Record
from workflows.temporal import contracts, gateway
from workflows.temporal.attempt_records import end_records, start_record
from workflows.temporal.history import Close, ExecutionHistory, Reset, Told, read_history

# Failures of an action's activity before it could write the start of its attempt.
UNWRITTEN = frozenset({"PastEpoch", "RecordsRefused"})
MAX_LOOKS = 3


@dataclass(frozen=True)
class Segment:
    """Records of one epoch. Part of the course, or cut off by the reset that the epoch names."""

    epoch: str
    records: list[Record]


@dataclass(frozen=True)
class OpenAttempt:
    """Its activity may have written more than the history tells yet."""

    path: str
    iteration: str
    attempt: int
    retry_wait_id: str


@dataclass(frozen=True)
class Course:
    """`started_ms`: of the first record that the run ever wrote, whatever a reset has cut off since.

    `reset_at`: the first number that belongs to the present execution alone, when a reset began it; else 0.

    `missing`: executions whose histories Temporal has deleted; without the first one the course begins in the middle.
    """

    workflow_id: str
    epoch: str
    first_run_id: str
    begin: ExecutionHistory
    segments: list[Segment]
    cut_off: list[Segment]
    started_ms: int | None
    reset_at: int
    open_attempts: list[OpenAttempt]
    children: list[contracts.ChildLaunch]
    close: Close | None
    is_whole: bool
    missing: list[str]
    events: int
    updates: set[str] = field(default_factory=set)

    @property
    def first_seq(self) -> int:
        return min((record["seq"] for record in self.records), default=2**53)

    @property
    def records(self) -> list[Record]:
        return [record for segment in self.segments for record in segment.records]

    @property
    def tells_the_run(self) -> bool:
        """Whether the run's own row follows from it."""
        return self.is_whole or any(record["kind"] == "run" for record in self.records)


def read_course(*, workflow_id: str) -> Course:
    """Errors: TemporalNotFound when Temporal knows no such workflow (any more), other TemporalErrors, HistoryUnreadable.

    Cost: a describe, and the histories of all executions of the run.
    """
    for _ in range(MAX_LOOKS):
        current = gateway.describe_run(workflow_id=workflow_id)
        last = read_history(workflow_id=workflow_id, run_id=current.run_id)
        if last.close is None or not last.close.continued_as:
            return _course(workflow_id, last)
        # It went on in a new execution while it was read.
    raise gateway.TemporalBusy(f"{workflow_id} goes on in new executions faster than it can be read")


def _course(workflow_id: str, last: ExecutionHistory) -> Course:
    missing: list[str] = []
    chain = _chain(workflow_id, last, missing)
    left = _left(workflow_id, chain, missing)
    segments = [segment for history in chain for segment in _segments(history)]
    told = [one for history in chain for one in history.told.values()]
    return Course(
        workflow_id=workflow_id,
        epoch=last.run_id,
        first_run_id=last.first_run_id,
        begin=chain[0],
        segments=segments,
        cut_off=_cut_off(chain, left),
        started_ms=_started_ms([*chain, *(history for _, history in left)]),
        reset_at=_reset_at(last),
        open_attempts=[_attempt(one.request) for one in told if _is_open_attempt(one)],
        children=[one.result for one in told if isinstance(one.result, contracts.ChildLaunch) and one.result.run],
        close=last.close,
        is_whole=not chain[0].continued_from,
        missing=missing,
        events=last.events,
        updates=set().union(*(history.updates for history in chain)),
    )


def _chain(workflow_id: str, last: ExecutionHistory, missing: list[str]) -> list[ExecutionHistory]:
    """The executions that the present one goes on from, the earliest that is left first."""
    chain = [last]
    while chain[0].continued_from:
        earlier = _read(workflow_id, chain[0].continued_from, missing)
        if earlier is None:
            break
        chain.insert(0, earlier)
    return chain


def _read(workflow_id: str, run_id: str, missing: list[str]) -> ExecutionHistory | None:
    try:
        return read_history(workflow_id=workflow_id, run_id=run_id)
    except gateway.TemporalNotFound:
        missing.append(run_id)
        return None


# -- Records -----------------------------------------------------------------------------------------------------------


def _segments(history: ExecutionHistory) -> list[Segment]:
    """The records by epoch. What was under way at a reset was done again by the execution that the reset began."""
    found: dict[str, list[Record]] = {}
    for one in history.told.values():
        last_event = one.ended_event_id or history.events + 1
        later = [reset for reset in history.resets if reset.event_id > last_event]
        epoch = later[0].base if later else history.run_id
        found.setdefault(epoch, []).extend(records_of(one))
    order = [*(reset.base for reset in history.resets), history.run_id]
    return [Segment(epoch, found[epoch]) for epoch in order if found.get(epoch)]


def records_of(one: Told) -> list[Record]:
    """What this activity has written, or will."""
    request = one.request
    if not isinstance(request, contracts.ActionRequest):
        return list(request.records) if one.outcome in ("completed", "open") else []
    if one.outcome == "canceled":
        return [start_record(request)] if one.was_picked_up else []
    if one.outcome == "failed":
        return [] if one.failure_type in UNWRITTEN else [start_record(request)]
    started = [*request.records, start_record(request)]
    if one.outcome == "open":
        return started
    reply: contracts.ActionReply = one.result
    ended_at_ms = reply.ended_at_ms or (int(one.ended_at.timestamp() * 1000) if one.ended_at else 0)
    return [*started, *end_records(request, now_ms=ended_at_ms, output=reply.output, error=reply.error)]


def _is_open_attempt(one: Told) -> bool:
    return one.outcome == "open" and isinstance(one.request, contracts.ActionRequest)


def _attempt(request: contracts.ActionRequest) -> OpenAttempt:
    return OpenAttempt(request.step_path, request.iteration, request.attempt, request.retry_wait_id)


# -- Resets ------------------------------------------------------------------------------------------------------------


def _reset_at(last: ExecutionHistory) -> int:
    if not last.resets:
        return 0
    kept = [segment for segment in _segments(last) if segment.epoch != last.run_id]
    own = [segment for segment in _segments(last) if segment.epoch == last.run_id]
    behind = 1 + max((record["seq"] for segment in kept for record in segment.records), default=0)
    return min([behind, *(record["seq"] for segment in own for record in segment.records)])


def _left(workflow_id: str, chain: list[ExecutionHistory], missing: list[str]) -> list[tuple[Reset, ExecutionHistory]]:
    """The executions that a reset has left, with those that went on from them."""
    seen = {history.run_id for history in chain}
    found: list[tuple[Reset, ExecutionHistory]] = []
    for reset in [reset for history in chain for reset in history.resets]:
        left = reset.base
        while left and left not in seen:
            seen.add(left)
            history = _read(workflow_id, left, missing)
            if history is None:
                break
            found.append((reset, history))
            left = history.close.continued_as if history.close else ""
    return found


def _cut_off(chain: list[ExecutionHistory], left: list[tuple[Reset, ExecutionHistory]]) -> list[Segment]:
    """Waits and tasks that the present course does not have any more."""
    kept = {record["id"] for history in chain for record in _waits_of(history)}
    found: list[Segment] = []
    for reset, history in left:
        records = [record for record in _waits_of(history) if record["id"] not in kept]
        kept |= {record["id"] for record in records}
        if records:
            found.append(Segment(reset.new, records))
    return found


def _started_ms(histories: list[ExecutionHistory]) -> int | None:
    told = (record for history in histories for one in history.told.values() for record in records_of(one))
    return min((record["at"] for record in told if record["kind"] == "run"), default=None)


def _waits_of(history: ExecutionHistory) -> list[dict[str, Any]]:
    return [record for one in history.told.values() for record in records_of(one) if record["kind"] in ("wait", "task")]

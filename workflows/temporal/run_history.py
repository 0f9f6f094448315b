"""The history of a run over all its executions: its projection records in order, and what resets have undone.

A run is a chain of executions. An execution can continue another one (continue-as-new). It can also start from an
earlier point in the history of another one (reset). This module follows the chain from the current execution back to
the first. The history after a reset contains the part that the reset kept, so the chain alone gives the valid records.
The records that a reset has undone are only in the histories of abandoned executions.

Rule: there are only two sources of records. They are the requests of activities, and the starts and ends of attempts
that activities write.
"""

from dataclasses import dataclass, field

from workflows.engine.clock import ms_of_datetime
from workflows.engine.records import Record, TaskRecord, WaitRecord, records_from_json
from workflows.temporal import contracts, gateway
from workflows.temporal.attempt_records import end_records, start_record
from workflows.temporal.history import Close, ExecutionHistory, RecordedActivity, Reset, read_history

# Types of failures that end an action's activity before it writes the start of its attempt.
UNWRITTEN = frozenset({"PastEpoch", "RecordsRefused"})
MAX_READS = 3
# Higher than every sequence number.
NO_SEQ = 2**53


@dataclass(frozen=True)
class Segment:
    """Records of one epoch. Either all of them are valid, or a reset has undone all of them.

    If a reset has undone the records, `epoch` is the epoch that this reset opened.
    """

    epoch: str
    records: list[Record]


@dataclass(frozen=True)
class OpenAttempt:
    """Attempt whose activity has not ended in the history. The activity may have written the attempt's end already."""

    path: str
    iteration: str
    attempt: int
    retry_wait_id: str


@dataclass(frozen=True)
class RunHistory:
    """Valid records of a run, and the other facts that a rebuild needs.

    `started_ms`: time of the first record that the run ever wrote, before any reset.
    `reset_seq`: first sequence number of the current execution if a reset began that execution; else 0.
    `undone`: waits and tasks that resets have undone.
    `missing`: executions whose histories Temporal has deleted.
    `unfinished_activities`: number of activities that have no end in the current execution.
    `is_whole`: False if the history of the first execution is missing. The records then begin in the middle of the run.
    """

    workflow_id: str
    epoch: str
    first_run_id: str
    begin: ExecutionHistory
    segments: list[Segment]
    undone: list[Segment]
    started_ms: int | None
    reset_seq: int
    open_attempts: list[OpenAttempt]
    children: list[contracts.ChildLaunch]
    close: Close | None
    is_whole: bool
    missing: list[str]
    events: int
    unfinished_activities: int = 0
    updates: set[str] = field(default_factory=set)

    @property
    def first_seq(self) -> int:
        return min((record["seq"] for record in self.records), default=NO_SEQ)

    @property
    def records(self) -> list[Record]:
        return [record for segment in self.segments for record in segment.records]

    @property
    def covers_run_row(self) -> bool:
        """Return True if the records contain the values of the run's own row."""
        return self.is_whole or any(record["kind"] == "run" for record in self.records)


def read_run_history(*, workflow_id: str) -> RunHistory:
    """Read the histories of all executions of the run.

    Errors: TemporalNotFound if Temporal does not know the workflow, or has deleted it; other TemporalErrors;
    HistoryUnreadable.
    Cost: one describe call, and the calls that read the history of each execution.
    """
    for _ in range(MAX_READS):
        current = gateway.describe_run(workflow_id=workflow_id)
        last = read_history(workflow_id=workflow_id, run_id=current.run_id)
        if last.close is None or not last.close.continued_as:
            return _run_history(workflow_id, last)
        # The run has continued in a new execution while its histories were read, so read them again.
    raise gateway.TemporalBusy(
        f"{workflow_id} continues in new executions faster than its history can be read; try again"
    )


def _run_history(workflow_id: str, last: ExecutionHistory) -> RunHistory:
    missing: list[str] = []
    chain = _chain(workflow_id, last, missing)
    abandoned = _abandoned(workflow_id, chain, missing)
    activities = [activity for history in chain for activity in history.activities.values()]
    return RunHistory(
        workflow_id=workflow_id,
        epoch=last.run_id,
        first_run_id=last.first_run_id,
        begin=chain[0],
        segments=[segment for history in chain for segment in _segments(history)],
        undone=_undone(chain, abandoned),
        started_ms=_started_ms([*chain, *(history for _, history in abandoned)]),
        reset_seq=_reset_seq(last),
        open_attempts=[_attempt(activity.request) for activity in activities if _is_open_attempt(activity)],
        children=[
            activity.result
            for activity in activities
            if isinstance(activity.result, contracts.ChildLaunch) and activity.result.run
        ],
        close=last.close,
        is_whole=not chain[0].continued_from,
        missing=missing,
        events=last.events,
        unfinished_activities=sum(activity.outcome == "open" for activity in last.activities.values()),
        updates=set().union(*(history.updates for history in chain)),
    )


def _chain(workflow_id: str, last: ExecutionHistory, missing: list[str]) -> list[ExecutionHistory]:
    """Return the executions up to the current one.

    The first entry is the earliest execution that Temporal still has.
    """
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
    """Return the records by epoch. If an activity was open at a reset, the new execution has run it again."""
    found: dict[str, list[Record]] = {}
    for activity in history.activities.values():
        last_event = activity.ended_event_id or history.events + 1
        later = [reset for reset in history.resets if reset.event_id > last_event]
        epoch = later[0].base if later else history.run_id
        found.setdefault(epoch, []).extend(records_of(activity))
    order = [*(reset.base for reset in history.resets), history.run_id]
    return [Segment(epoch, found[epoch]) for epoch in order if found.get(epoch)]


def records_of(activity: RecordedActivity) -> list[Record]:
    """Return the records that this activity has written, or will write if the activity is still open."""
    request = activity.request
    if not isinstance(request, contracts.ActionRequest):
        return records_from_json(list(request.records)) if activity.outcome in ("completed", "open") else []
    if activity.outcome == "canceled":
        return [start_record(request)] if activity.was_picked_up else []
    if activity.outcome == "failed":
        return [] if activity.failure_type in UNWRITTEN else [start_record(request)]
    started = [*records_from_json(request.records), start_record(request)]
    if activity.outcome == "open":
        return started
    reply: contracts.ActionReply = activity.result
    ended_at_ms = reply.ended_at_ms or (ms_of_datetime(activity.ended_at) if activity.ended_at else 0)
    return [
        *started,
        *end_records(request, now_ms=ended_at_ms, output=reply.output, error=reply.error, unknown=reply.unknown),
    ]


def _is_open_attempt(activity: RecordedActivity) -> bool:
    return activity.outcome == "open" and isinstance(activity.request, contracts.ActionRequest)


def _attempt(request: contracts.ActionRequest) -> OpenAttempt:
    return OpenAttempt(request.step_path, request.iteration, request.attempt, request.retry_wait_id)


# -- Resets ------------------------------------------------------------------------------------------------------------


def _reset_seq(last: ExecutionHistory) -> int:
    if not last.resets:
        return 0
    kept = [segment for segment in _segments(last) if segment.epoch != last.run_id]
    own = [segment for segment in _segments(last) if segment.epoch == last.run_id]
    after_kept = 1 + max((record["seq"] for segment in kept for record in segment.records), default=0)
    return min([after_kept, *(record["seq"] for segment in own for record in segment.records)])


def _abandoned(
    workflow_id: str, chain: list[ExecutionHistory], missing: list[str]
) -> list[tuple[Reset, ExecutionHistory]]:
    """Return the executions that resets have abandoned, and the executions that continued an abandoned execution."""
    seen = {history.run_id for history in chain}
    found: list[tuple[Reset, ExecutionHistory]] = []
    for reset in [reset for history in chain for reset in history.resets]:
        run_id = reset.base
        while run_id and run_id not in seen:
            seen.add(run_id)
            history = _read(workflow_id, run_id, missing)
            if history is None:
                break
            found.append((reset, history))
            run_id = history.close.continued_as if history.close else ""
    return found


def _undone(chain: list[ExecutionHistory], abandoned: list[tuple[Reset, ExecutionHistory]]) -> list[Segment]:
    """Return the waits and tasks that only abandoned executions have."""
    kept = {record["id"] for history in chain for record in _waits_of(history)}
    found: list[Segment] = []
    for reset, history in abandoned:
        records: list[Record] = [record for record in _waits_of(history) if record["id"] not in kept]
        kept |= {record["id"] for record in _waits_of(history)}
        if records:
            found.append(Segment(reset.new, records))
    return found


def _started_ms(histories: list[ExecutionHistory]) -> int | None:
    records = (
        record for history in histories for activity in history.activities.values() for record in records_of(activity)
    )
    return min((record["at"] for record in records if record["kind"] == "run"), default=None)


def _waits_of(history: ExecutionHistory) -> list[WaitRecord | TaskRecord]:
    return [
        record
        for activity in history.activities.values()
        for record in records_of(activity)
        if record["kind"] == "wait" or record["kind"] == "task"
    ]

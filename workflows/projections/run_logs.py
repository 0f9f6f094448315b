"""Log lines of a run, derived from its projection records (docs/reference/projections.md#log-of-a-run).

A record gives at most one line, so a repeated record writes no second line: a line has the epoch and the sequence
number of its record. A reset keeps the lines of past epochs, because what they say has happened.

Messages contain no payload values. The error of a line is stored beside the message and redacted when it is shown.

Call these functions under the lock of the run's row, inside a projection transaction.
"""

import uuid
from datetime import datetime
from typing import Any

from django.db.models import Count

from workflows.engine.clock import datetime_of_ms, ms_of_datetime
from workflows.engine.records import ChildRecord, Record, RunRecord, StepRecord, TaskRecord, VerdictRecord, WaitRecord
from workflows.models import Run, RunLog
from workflows.models.fields import row_id
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus, LogLevel, RunStatus, StepStatus, WaitKind, WaitStatus

# Lines of one run and level. The lines about the run itself are always kept.
MAX_LINES = 1_000
MAX_MESSAGE, MAX_ERROR_MESSAGE = 1_000, 2_000
# Sequence number of the line that opens an epoch. Records begin with number 1.
SEQ_OF_EPOCH = 0
_ERROR_FIELDS = ("category", "code", "message", "nodePath")


def record_logs(records: list[Record], *, run: Run, epoch: str) -> None:
    """Write the lines of a batch, and the line of its epoch if the run's row does not have this epoch yet.

    Lines over the limit of their level are left out.
    Cost: one statement, a second one for a new epoch, and one if the run has more than `MAX_LINES` records.
    """
    if records and run.projection_epoch != epoch:
        _record_epoch(run, min(records, key=lambda record: record["seq"]), epoch)
    lines = [line for record in records if (line := _line(record)) is not None]
    if not lines:
        return
    rows = [_row(run, epoch, record, level, message) for record, level, message in lines]
    if max(row.projection_seq for row in rows) > MAX_LINES:
        rows = _within_limit(run, rows)
    RunLog.objects.bulk_create(rows, ignore_conflicts=True)


def _record_epoch(run: Run, first: Record, epoch: str) -> None:
    if not run.projection_epoch:
        level, message = LogLevel.INFO, f"Temporal started the run with version {run.version} of the definition."
    elif first["seq"] <= run.projection_seq:
        level = LogLevel.WARNING
        message = "The run was reset in Temporal. The steps after the reset point are undone and run again."
    else:
        level = LogLevel.DEBUG
        message = "The run continues in a new execution of Temporal, because its history was long."
    at = datetime_of_ms(first["at"])
    _create_own(run, epoch=epoch, seq=SEQ_OF_EPOCH, at=at, level=level, message=message)


def record_end_log(run: Run, *, epoch: str, seq: int, at: datetime, status: str, error: dict[str, Any] | None) -> None:
    """Write the line for an end that only Temporal reports."""
    message = f"Temporal reports the end of the run: {RunStatus(status).label.lower()}."
    _create_own(run, epoch=epoch, seq=seq, at=at, level=LogLevel.ERROR, message=message, error=_stored_error(error))


def _create_own(run: Run, *, epoch: str, seq: int, at: datetime, **values: Any) -> None:
    row = RunLog(
        id=_line_id(ms_of_datetime(at), run, epoch, seq),
        tenant_id=run.tenant_id,
        run=run,
        projection_epoch=epoch,
        projection_seq=seq,
        at=at,
        **values,
    )
    RunLog.objects.bulk_create([row], ignore_conflicts=True)


def _row(run: Run, epoch: str, record: Any, level: LogLevel, message: str) -> RunLog:
    return RunLog(
        id=_line_id(record["at"], run, epoch, record["seq"]),
        tenant_id=run.tenant_id,
        run=run,
        projection_epoch=epoch,
        projection_seq=record["seq"],
        at=datetime_of_ms(record["at"]),
        level=level,
        step_path=record.get("path", ""),
        iteration=record.get("iteration", ""),
        message=message[:MAX_MESSAGE],
        error=_stored_error(record.get("error")),
    )


def _line_id(at_ms: int, run: Run, epoch: str, seq: int) -> uuid.UUID:
    """Return an id that orders the lines of one millisecond by their sequence number."""
    made = row_id(at_ms, run.id, epoch, seq).int
    return uuid.UUID(int=made & ~(0xFFF << 64) | (seq & 0xFFF) << 64)


def _stored_error(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an error without its details. They can contain the response of a target."""
    if error is None:
        return None
    kept = {name: error[name] for name in _ERROR_FIELDS if error.get(name) is not None}
    return {**kept, "message": str(kept.get("message", ""))[:MAX_ERROR_MESSAGE]}


def _within_limit(run: Run, rows: list[RunLog]) -> list[RunLog]:
    stored = RunLog.objects.filter(tenant_id=run.tenant_id, run=run).order_by().values_list("level")
    left = {level: MAX_LINES - number for level, number in stored.annotate(Count("id"))}
    kept = []
    for row in rows:
        is_of_run = not row.step_path
        room = left.get(row.level, MAX_LINES)
        if is_of_run or room > 0:
            kept.append(row)
            left[row.level] = room - 1
    return kept


# -- The texts ---------------------------------------------------------------------------------------------------------

Line = tuple[Any, LogLevel, str]


def _line(record: Record) -> Line | None:
    match record["kind"]:
        case "run":
            found = _of_run(record)
        case "step":
            found = _of_step(record)
        case "wait":
            found = _of_wait(record)
        case "task":
            found = _of_task(record)
        case "verdict":
            found = _of_verdict(record)
        case "child":
            found = _of_child(record)
    return (record, *found) if found is not None else None


def _of_run(record: RunRecord) -> tuple[LogLevel, str] | None:
    if record["status"] in OPEN_RUN_STATUSES:
        return None
    level = {RunStatus.SUCCEEDED: LogLevel.INFO, RunStatus.CANCELED: LogLevel.WARNING}.get(
        RunStatus(record["status"]), LogLevel.ERROR
    )
    return level, f"The run ended: {RunStatus(record['status']).label.lower()}."


def _of_step(record: StepRecord) -> tuple[LogLevel, str] | None:
    status, attempt = record["status"], record["attempt"]
    # If a step inside a control step fails, the control step is recorded with the same error and needs no own line.
    is_own_error = record.get("error", {}).get("nodePath", record["path"]) == record["path"]
    if status == StepStatus.RETRY_SCHEDULED and "nextAttemptAt" in record:
        delay = _duration(max(0, record["nextAttemptAt"] - record["at"]) / 1000)
        return LogLevel.WARNING, f"Attempt {attempt} failed. The next attempt follows in {delay}."
    if status == StepStatus.FAILED and is_own_error:
        number = f"Attempt {attempt}" if attempt > 1 else "The step"
        return LogLevel.WARNING, f"{number} failed. No attempt is left."
    if status == StepStatus.STARTED and record.get("childRunId"):
        return LogLevel.INFO, f"Started the child run {record['childRunId']}."
    if status == StepStatus.SUCCEEDED and record["type"] == "control.tryCatch" and record.get("branch") == "catch":
        return LogLevel.INFO, "The error was caught. The catch block has run."
    if status == StepStatus.SUCCEEDED and record.get("branch") and record["type"] == "control.if":
        return LogLevel.DEBUG, f"Branch: {record.get('branch')}."
    return None


def _of_wait(record: WaitRecord) -> tuple[LogLevel, str] | None:
    kind, status = record["waitKind"], record["status"]
    if status == WaitStatus.TIMED_OUT:
        subject = "The task was not completed" if kind == WaitKind.HUMAN else "No event matched"
        return LogLevel.WARNING, f"{subject} before the deadline."
    if status == WaitStatus.RESOLVED and record.get("eventId"):
        return LogLevel.INFO, f"The event {record['eventId']} matched."
    if status != WaitStatus.WAITING or kind not in (WaitKind.EVENT, WaitKind.TIME):
        return None
    until = f" until {_moment(record['deadlineAt'])}" if "deadlineAt" in record else ""
    if kind == WaitKind.TIME:
        return LogLevel.INFO, f"Waits{until}."
    return LogLevel.INFO, f"Waits for the event {record.get('eventName')} with the key {record.get('key')}{until}."


def _of_task(record: TaskRecord) -> tuple[LogLevel, str] | None:
    if record["status"] == "pending":
        return LogLevel.INFO, f"Opened the task “{record.get('title', '')}”."
    if record["status"] == "completed":
        by = f" by {record['completedBy']}" if record.get("completedBy") else ""
        return LogLevel.INFO, f"The task was completed{by}."
    return None


def _of_verdict(record: VerdictRecord) -> tuple[LogLevel, str] | None:
    """The value of a filter is left out, because the redaction rules can hide it."""
    event = f"The event {record['eventId']}"
    if record["verdict"] == DeliveryStatus.FILTERED:
        mismatch = record.get("mismatch")
        which = f"the filter {mismatch['path']} {mismatch['op']}" if mismatch else "a filter or the form of the task"
        return LogLevel.INFO, f"{event} did not match {which}."
    if record["verdict"] == DeliveryStatus.LATE:
        return LogLevel.WARNING, f"{event} came too late."
    return None


def _of_child(record: ChildRecord) -> tuple[LogLevel, str]:
    return LogLevel.WARNING, f"The child run {record['id']} will not be started."


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _moment(at_ms: int) -> str:
    return f"{datetime_of_ms(at_ms):%Y-%m-%d %H:%M:%S} UTC"

"""The only writer of projection rows (docs/reference/authority.md#projection-writers, docs/reference/engine.md#cost).

Who may call it: launch (inserts the run row), the run's own activities, the reconciler, retention, and the import of
legacy history; import-linter keeps everyone else away. A batch of records is written in one transaction under the lock of
the run's row. A record changes a row only when its number is higher than the row's, or its epoch is newer: so batches may
come twice, late or in any order. An epoch is Temporal's run id; one that is not the row's opens a new epoch only if
Temporal names it as the current one, else the whole batch is of the past and changes nothing.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from workflows.ledger import commands_observe_end, commands_observe_start
from workflows.models import Event, Run, RunStep, RunWait
from workflows.models.fields import row_id
from workflows.models.guard import WRITER_SETTING
from workflows.models.statements import update_rows
from workflows.projections.human_tasks import write_tasks
from workflows.projections.resets import cut_off
from workflows.projections.verdicts import wake_held, write_verdicts
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus, StepStatus, WaitStatus

Record = dict[str, Any]
StepKey = tuple[str, str, int]


@contextmanager
def projection_writer(writer: str) -> Iterator[None]:
    """A transaction in which projection rows may be written. The marker ends with this block, not with the transaction."""
    with transaction.atomic():
        before = _marker()
        _set_marker(writer)
        yield
        # After an exception the rollback to the savepoint has taken the marker back already.
        _set_marker(before)


def _marker() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting(%s, true), '')", [WRITER_SETTING])
        return str(cursor.fetchone()[0])


def _set_marker(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [WRITER_SETTING, value])


def record_launch(run: Run) -> bool:
    """Insert the run row, status STARTING, before Temporal is asked to start it. False: it was there already."""
    try:
        with projection_writer("launch"):
            run.save(force_insert=True)
    except IntegrityError:
        if Run.objects.filter(tenant_id=run.tenant_id, id=run.id).exists():
            return False
        raise
    return True


def record_first_run_id(*, tenant_id: uuid.UUID, run_id: uuid.UUID, temporal_run_id: str) -> None:
    """Temporal has the run. Its own records say everything else."""
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, temporal_first_run_id="").update(
            temporal_first_run_id=temporal_run_id
        )


def record_launch_failed(*, tenant_id: uuid.UUID, run_id: uuid.UUID, error: dict[str, Any]) -> None:
    """Temporal will never take this run: end it with the reason, so that nobody waits for it."""
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, status="STARTING", temporal_first_run_id="").update(
            status=RunStatus.FAILED,
            error=error,
            error_category=error["category"],
            error_code=error["code"],
            ended_at=timezone.now(),
            projected_at=timezone.now(),
        )


def record_launch_undone(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Take the row of a run back that Temporal certainly does not have."""
    with projection_writer("launch"):
        Run.objects.filter(tenant_id=tenant_id, id=run_id, status="STARTING", temporal_first_run_id="").delete()


def record_batch(
    records: list[Record],
    *,
    tenant_id: str,
    run_id: str,
    epoch: str,
    first_run_id: str,
    current_epoch: Callable[[], str],
) -> bool:
    """Write records of a run. False: they are of an epoch that is over, and nothing was written.

    `current_epoch` asks Temporal for the run id that it names as the current one; it is called only when the row's epoch
    is another.

    Cost: at most a dozen statements, however many records.
    Errors: Run.DoesNotExist when the row was never launched.
    """
    while True:
        known = Run.objects.only("projection_epoch").get(tenant_id=tenant_id, id=run_id).projection_epoch
        if known not in ("", epoch) and current_epoch() != epoch:
            return False
        with projection_writer("activity"):
            run = Run.objects.select_for_update(no_key=True).get(tenant_id=tenant_id, id=run_id)
            if run.projection_epoch == known:
                _BatchWriter(run, epoch, first_run_id).write(records)
                return True
        # Another epoch was opened while Temporal was asked; ask again.


def write_records_of(run: Run, records: list[Record], *, epoch: str, first_run_id: str) -> None:
    """The same records into rows that the caller has locked and may write: a rebuild."""
    _BatchWriter(run, epoch, first_run_id).write(records)


def write_waits_of(run: Run, records: list[Record], *, epoch: str) -> set[str]:
    """Waits alone, in the same way; their ids."""
    return _BatchWriter(run, epoch, "").write_waits(records)


class _BatchWriter:
    """One batch of one run, under the lock of the run's row."""

    def __init__(self, run: Run, epoch: str, first_run_id: str) -> None:
        self.run = run
        self.epoch = epoch
        self.first_run_id = first_run_id
        self.now = timezone.now()
        self.children: dict[str, uuid.UUID] = {}

    def write(self, records: list[Record]) -> None:
        of_kind: dict[str, list[Record]] = {kind: [] for kind in ("run", "step", "wait", "task", "verdict", "child")}
        for record in records:
            of_kind[record["kind"]].append(record)
        self._cut_off(min((record["seq"] for record in records), default=self.run.projection_seq + 1))
        self._write_children(of_kind["child"])
        self._write_steps(of_kind["step"])
        written_waits = self.write_waits(of_kind["wait"])
        write_tasks(of_kind["task"], run=self.run, written_waits=written_waits)
        write_verdicts(of_kind["verdict"], run=self.run)
        self._write_run(of_kind["run"])

    def _cut_off(self, first_seq: int) -> None:
        """The rows of past epochs from this number on are of a course that a reset has undone.

        An execution that only goes on from another (continue-as-new) goes on with its numbers, and cuts nothing off.
        """
        is_new_epoch = self.run.projection_epoch != self.epoch
        if not is_new_epoch and first_seq >= self.run.projection_base_seq:
            return
        run = self.run
        run.projection_base_seq = first_seq
        if is_new_epoch and not run.projection_epoch:
            return
        cut_off(run, epoch=self.epoch, first_seq=first_seq, now=self.now)
        if not is_new_epoch:
            return  # an earlier batch of this epoch that comes late
        run.projection_seq = min(run.projection_seq, first_seq - 1)
        if run.status not in OPEN_RUN_STATUSES:
            run.status, run.ended_at = RunStatus.RUNNING, None
            run.error, run.error_category, run.error_code = None, "", ""

    def _write_children(self, records: list[Record]) -> None:
        """Rows of children that will not be started any more. A child that was started says otherwise itself."""
        Run.objects.filter(
            tenant_id=self.run.tenant_id,
            id__in=[record["id"] for record in records],
            parent_run=self.run,
            status=RunStatus.STARTING,
            projection_epoch="",
        ).update(status=RunStatus.CANCELED, ended_at=self.now, projected_at=self.now)

    def _is_newer(self, row: Run | RunStep | RunWait, record: Record) -> bool:
        return row.projection_epoch != self.epoch or record["seq"] > row.projection_seq

    def _is_of_a_closed_run(self, record: Record) -> bool:
        """The late start of something in a run whose end has been recorded: it would stay open for ever, or open again
        what was closed with a workflow that Temporal has ended."""
        is_open = record["status"] in (StepStatus.STARTED, StepStatus.RETRY_SCHEDULED, WaitStatus.WAITING)
        run_has_ended = self.run.projection_epoch == self.epoch and self.run.status not in OPEN_RUN_STATUSES
        return is_open and run_has_ended and record["seq"] < self.run.projection_seq

    def _stamp(self, row: Run | RunStep | RunWait, record: Record) -> None:
        row.projection_epoch, row.projection_seq, row.projected_at = self.epoch, record["seq"], self.now

    def _write_steps(self, records: list[Record]) -> None:
        if not records:
            return
        self.children = self._launched({record["childRunId"] for record in records if record.get("childRunId")})
        paths = {record["path"] for record in records}
        rows: dict[StepKey, RunStep] = {
            (row.step_path, row.iteration, row.attempt): row
            for row in RunStep.objects.filter(tenant_id=self.run.tenant_id, run=self.run, step_path__in=paths)
        }
        new: dict[StepKey, RunStep] = {}
        changed: dict[StepKey, RunStep] = {}
        for record in records:
            key = (record["path"], record["iteration"], record["attempt"])
            row = rows.get(key)
            if self._is_of_a_closed_run(record):
                continue
            if row is None:
                made = row_id(record["startedAt"], self.run.id, *key)
                row = rows[key] = new[key] = RunStep(id=made, tenant_id=self.run.tenant_id, run=self.run)
            elif not self._is_newer(row, record):
                continue
            elif key not in new:
                changed[key] = row
            self._fill_step(row, record)
        RunStep.objects.bulk_create(new.values())
        update_rows(list(changed.values()), _STEP_FIELDS)

    def _launched(self, child_ids: set[str]) -> dict[str, uuid.UUID]:
        """Of these children those that have a row: one whose launch failed or was cancelled has none."""
        if not child_ids:
            return {}
        found = Run.objects.filter(tenant_id=self.run.tenant_id, id__in=child_ids).values_list("id", flat=True)
        return {str(child_id): child_id for child_id in found}

    def _fill_step(self, row: RunStep, record: Record) -> None:
        self._stamp(row, record)
        row.step_path, row.iteration, row.attempt = record["path"], record["iteration"], record["attempt"]
        row.step_id, row.step_type, row.name = record["id"], record["type"], record.get("name", "")
        row.status, row.branch = record["status"], record.get("branch", "")
        # What only an earlier record of this attempt told stays.
        row.action_id = record.get("actionId", row.action_id)
        row.action_version = record.get("actionVersion", row.action_version)
        row.input = record.get("input", row.input)
        row.output = None if record["status"] == StepStatus.STARTED else record.get("output", row.output)
        row.error = record.get("error")
        row.child_run_id = self.children.get(record.get("childRunId", ""), row.child_run_id)
        row.started_at = _moment(record["startedAt"])
        row.ended_at = None if record["status"] == "STARTED" else _moment(record["at"])
        row.next_attempt_at = _moment(record["nextAttemptAt"]) if "nextAttemptAt" in record else None

    def write_waits(self, records: list[Record]) -> set[str]:
        """The ids of the waits that these records changed."""
        if not records:
            return set()
        ids = {uuid.UUID(record["id"]) for record in records}
        rows = {row.id: row for row in RunWait.objects.filter(tenant_id=self.run.tenant_id, id__in=ids)}
        events = self._events({record["eventId"] for record in records if record.get("eventId")})
        new: dict[uuid.UUID, RunWait] = {}
        changed: dict[uuid.UUID, RunWait] = {}
        for record in records:
            wait_id = uuid.UUID(record["id"])
            row = rows.get(wait_id)
            if self._is_of_a_closed_run(record):
                continue
            if row is None:
                row = rows[wait_id] = new[wait_id] = RunWait(id=wait_id, tenant_id=self.run.tenant_id, run=self.run)
            elif not self._is_newer(row, record):
                continue
            elif wait_id not in new:
                changed[wait_id] = row
            self._fill_wait(row, record, events)
        RunWait.objects.bulk_create(new.values())
        update_rows(list(changed.values()), _WAIT_FIELDS)
        return {str(wait_id) for wait_id in (*new, *changed)}

    def _fill_wait(self, row: RunWait, record: Record, events: dict[str, uuid.UUID]) -> None:
        self._stamp(row, record)
        row.step_path, row.iteration, row.step_id = record["path"], record["iteration"], record["stepId"]
        row.kind, row.status = record["waitKind"], record["status"]
        row.event_name, row.correlation_key = record.get("eventName", ""), record.get("key", "")
        row.filters = record.get("filters", [])
        row.opened_at = _moment(record["openedAt"])
        if record["status"] == WaitStatus.WAITING or not row.opened_seq:
            row.opened_seq = record["seq"]
        row.deadline_at = _moment(record["deadlineAt"]) if "deadlineAt" in record else None
        row.resolved_at = None if record["status"] == "WAITING" else _moment(record["at"])
        row.event_id = events.get(record.get("eventId", ""))

    def _events(self, event_ids: set[str]) -> dict[str, uuid.UUID]:
        if not event_ids:
            return {}
        rows = Event.objects.filter(tenant_id=self.run.tenant_id, event_id__in=event_ids, occupies_id=True)
        return dict(rows.values_list("event_id", "id"))

    def _write_run(self, records: list[Record]) -> None:
        run = self.run
        was_open, was_starting = run.status in OPEN_RUN_STATUSES, run.status == RunStatus.STARTING
        for record in records:
            if self._is_newer(run, record):
                self._fill_run(run, record)
        run.projection_epoch = self.epoch
        run.projected_at = self.now
        run.temporal_first_run_id = run.temporal_first_run_id or self.first_run_id
        run.save(update_fields=_RUN_FIELDS)
        if was_starting:
            commands_observe_start(run)
        if was_open and run.status not in OPEN_RUN_STATUSES:
            wake_held(run)
            commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)

    def _fill_run(self, run: Run, record: Record) -> None:
        self._stamp(run, record)
        run.status, run.state, run.current_step_path = record["status"], record["state"][:200], record["stepPath"]
        run.step_count, run.failed_step_count = record["stepCount"], record["failedStepCount"]
        run.event_count = record["eventCount"]
        error = record.get("error")
        run.error = error
        run.error_category = error["category"] if error else ""
        run.error_code = error.get("code", "") if error else ""
        run.started_at = run.started_at or _moment(record["at"])
        run.ended_at = None if run.status in OPEN_RUN_STATUSES else _moment(record["at"])


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


_STAMP = ["projection_epoch", "projection_seq", "projected_at"]
_STEP_FIELDS = [
    *_STAMP, "step_id", "step_type", "name", "status", "branch", "action_id", "action_version", "input", "output", "error",
    "child_run", "started_at", "ended_at", "next_attempt_at",
]  # fmt: skip
_WAIT_FIELDS = [
    *_STAMP, "step_path", "iteration", "step_id", "kind", "status", "event_name", "correlation_key", "filters", "opened_seq",
    "opened_at", "deadline_at", "resolved_at", "event",
]  # fmt: skip
_RUN_FIELDS = [
    *_STAMP, "projection_base_seq", "temporal_first_run_id", "status", "state", "current_step_path", "step_count", "failed_step_count",
    "event_count", "error", "error_category", "error_code", "started_at", "ended_at",
]  # fmt: skip

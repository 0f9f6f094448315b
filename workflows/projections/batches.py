"""Batches of projection records, as a run's activities write them (docs/reference/projections.md#rows).

A batch is one transaction under the lock of the run's row. A record changes a row only if the record has a higher
sequence number than the row, or a newer epoch. So batches may arrive twice, late and in any order.

An epoch is Temporal's run id. If the epoch of a batch differs from the epoch of the row, Temporal is queried. If
Temporal names the epoch of the batch as the current epoch, the batch opens this epoch. Otherwise the whole batch
belongs to a past epoch and changes nothing.
"""

import uuid
from collections.abc import Callable

from django.utils import timezone

from workflows.engine.clock import datetime_of_ms
from workflows.engine.records import ChildRecord, Record, RunRecord, StepRecord, WaitRecord
from workflows.ledger import commands_observe_end, commands_observe_start
from workflows.models import Event, Run, RunStep, RunWait
from workflows.models.fields import row_id
from workflows.models.statements import update_rows
from workflows.projections.ends import STUCK_FIELDS, clear_stuck, wake_held_starts_on_commit
from workflows.projections.human_tasks import record_tasks
from workflows.projections.resets import record_reset
from workflows.projections.run_logs import record_logs
from workflows.projections.run_values import forget_end_values, record_end_values
from workflows.projections.transaction import projection_writer
from workflows.projections.verdicts import record_verdicts
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus, StepStatus, WaitStatus

StepKey = tuple[str, str, int]


def record_batch(
    records: list[Record],
    *,
    tenant_id: str,
    run_id: str,
    epoch: str,
    first_run_id: str,
    current_epoch: Callable[[], str],
) -> bool:
    """Write records of a run. Return False, and write nothing, if a newer epoch has replaced the epoch of the records.

    `current_epoch` requests the current run id from Temporal. It is called only if the epoch of the row differs.

    Cost: at most a dozen statements, for any number of records.
    Errors: Run.DoesNotExist if the run was never launched.
    """
    while True:
        known = Run.objects.only("projection_epoch").get(tenant_id=tenant_id, id=run_id).projection_epoch
        if known not in ("", epoch) and current_epoch() != epoch:
            return False
        with projection_writer("activity"):
            run = Run.objects.select_for_update(no_key=True).get(tenant_id=tenant_id, id=run_id)
            if run.projection_epoch == known:
                _Batch(run, epoch, first_run_id).record(records)
                return True
        # Another epoch was opened during the call to Temporal, so repeat the call.


def record_batch_locked(run: Run, records: list[Record], *, epoch: str, first_run_id: str) -> None:
    """Write records into rows that the caller has locked. Call it inside a projection transaction."""
    _Batch(run, epoch, first_run_id).record(records)


def record_waits_locked(run: Run, records: list[WaitRecord], *, epoch: str) -> set[str]:
    """Write only waits. Return the ids of the waits that changed. Call it inside a projection transaction."""
    return _Batch(run, epoch, "").record_waits(records)


class _Batch:
    """One batch of one run. The caller holds the lock of the run's row."""

    def __init__(self, run: Run, epoch: str, first_run_id: str) -> None:
        self.run = run
        self.epoch = epoch
        self.first_run_id = first_run_id
        self.now = timezone.now()
        self.children: dict[str, uuid.UUID] = {}
        self.late_waits: dict[str, RunWait] = {}

    def record(self, records: list[Record]) -> None:
        record_logs(records, run=self.run, epoch=self.epoch)
        self._record_new_epoch(min((record["seq"] for record in records), default=self.run.projection_seq + 1))
        self._record_children([record for record in records if record["kind"] == "child"])
        self._record_steps([record for record in records if record["kind"] == "step"])
        changed_waits = self.record_waits([record for record in records if record["kind"] == "wait"])
        tasks = [record for record in records if record["kind"] == "task"]
        record_tasks(tasks, run=self.run, changed_waits=changed_waits, late_waits=self.late_waits)
        record_verdicts([record for record in records if record["kind"] == "verdict"], run=self.run)
        self._record_run([record for record in records if record["kind"] == "run"])

    def _record_new_epoch(self, first_seq: int) -> None:
        """Undo what a reset has undone in Temporal, in rows of past epochs from sequence number `first_seq` on.

        Continue-as-new opens an epoch too. Its sequence numbers continue after those of the past epoch, so nothing is
        undone.
        """
        is_new_epoch = self.run.projection_epoch != self.epoch
        if not is_new_epoch and first_seq >= self.run.projection_base_seq:
            return
        run = self.run
        run.projection_base_seq = first_seq
        if is_new_epoch and not run.projection_epoch:
            return
        record_reset(run, epoch=self.epoch, first_seq=first_seq, now=self.now)
        if not is_new_epoch:
            return  # this batch belongs to the beginning of the current epoch and came late
        run.projection_seq = min(run.projection_seq, first_seq - 1)
        if run.status not in OPEN_RUN_STATUSES:
            run.status, run.ended_at = RunStatus.RUNNING, None
            run.error, run.error_category, run.error_code, run.output = None, "", "", None
            forget_end_values(run)

    def _is_newer(self, row: Run | RunStep | RunWait, record: RunRecord | StepRecord | WaitRecord) -> bool:
        return row.projection_epoch != self.epoch or record["seq"] > row.projection_seq

    def _opens_after_end(self, record: StepRecord | WaitRecord) -> bool:
        """Return True for a late record that opens a step or a wait of a run whose end has been recorded.

        Such a record must not be written. The step or wait would stay open for ever, although the run has ended.
        """
        is_open = record["status"] in (StepStatus.STARTED, StepStatus.RETRY_SCHEDULED, WaitStatus.WAITING)
        run_has_ended = self.run.projection_epoch == self.epoch and self.run.status not in OPEN_RUN_STATUSES
        return is_open and run_has_ended and record["seq"] < self.run.projection_seq

    def _opens_late(self, row: RunWait, record: WaitRecord) -> bool:
        """Return True if the record that opened the wait comes after a later record of the wait.

        The worker was killed before it opened the wait, and the wait was closed before Temporal repeated the activity.
        """
        is_late = row.projection_epoch == self.epoch and row.opened_seq > record["seq"]
        return is_late and record["status"] == WaitStatus.WAITING

    def _stamp(self, row: Run | RunStep | RunWait, record: RunRecord | StepRecord | WaitRecord) -> None:
        row.projection_epoch, row.projection_seq, row.projected_at = self.epoch, record["seq"], self.now

    # -- Children and steps ------------------------------------------------------------------------------------------

    def _record_children(self, records: list[ChildRecord]) -> None:
        """Close rows of children that will not be started.

        If a row has an epoch, its child was started and the row is not changed.
        """
        Run.objects.filter(
            tenant_id=self.run.tenant_id,
            id__in=[record["id"] for record in records],
            parent_run=self.run,
            status=RunStatus.STARTING,
            projection_epoch="",
        ).update(status=RunStatus.CANCELED, ended_at=self.now, projected_at=self.now)

    def _record_steps(self, records: list[StepRecord]) -> None:
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
            if self._opens_after_end(record):
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
        """Return the children that have a row. A child has no row if its launch failed or was canceled."""
        if not child_ids:
            return {}
        found = Run.objects.filter(tenant_id=self.run.tenant_id, id__in=child_ids).values_list("id", flat=True)
        return {str(child_id): child_id for child_id in found}

    def _fill_step(self, row: RunStep, record: StepRecord) -> None:
        self._stamp(row, record)
        row.step_path, row.iteration, row.attempt = record["path"], record["iteration"], record["attempt"]
        row.step_id, row.step_type, row.name = record["id"], record["type"], record.get("name", "")
        row.status, row.branch = record["status"], record.get("branch", "")
        # Only the first record of an attempt has these values, so a later record must not overwrite them.
        row.action_id = record.get("actionId", row.action_id)
        row.action_version = record.get("actionVersion", row.action_version)
        row.input = record.get("input", row.input)
        row.output = None if record["status"] == StepStatus.STARTED else record.get("output", row.output)
        row.error = record.get("error")
        row.child_run_id = self.children.get(record.get("childRunId", ""), row.child_run_id)
        row.started_at = datetime_of_ms(record["startedAt"])
        row.ended_at = None if record["status"] == StepStatus.STARTED else datetime_of_ms(record["at"])
        row.next_attempt_at = datetime_of_ms(record["nextAttemptAt"]) if "nextAttemptAt" in record else None

    # -- Waits -------------------------------------------------------------------------------------------------------

    def record_waits(self, records: list[WaitRecord]) -> set[str]:
        """Write waits, and return the ids of the waits that these records opened or closed."""
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
            if row is not None and self._opens_late(row, record):
                row.opened_seq = record["seq"]
                self.late_waits[record["id"]] = changed[wait_id] = row
                continue
            if self._opens_after_end(record):
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
        return {str(wait_id) for wait_id in (*new, *changed)} - self.late_waits.keys()

    def _fill_wait(self, row: RunWait, record: WaitRecord, events: dict[str, uuid.UUID]) -> None:
        self._stamp(row, record)
        row.step_path, row.iteration, row.step_id = record["path"], record["iteration"], record["stepId"]
        row.kind, row.status = record["waitKind"], record["status"]
        row.event_name, row.correlation_key = record.get("eventName", ""), record.get("key", "")
        row.filters = record.get("filters", [])
        row.opened_at = datetime_of_ms(record["openedAt"])
        if record["status"] == WaitStatus.WAITING or not row.opened_seq:
            row.opened_seq = record["seq"]
        row.ready_at = datetime_of_ms(record["readyAt"]) if "readyAt" in record else None
        row.deadline_at = datetime_of_ms(record["deadlineAt"]) if "deadlineAt" in record else None
        row.resolved_at = None if record["status"] == WaitStatus.WAITING else datetime_of_ms(record["at"])
        row.event_id = events.get(record.get("eventId", ""))

    def _events(self, event_ids: set[str]) -> dict[str, uuid.UUID]:
        if not event_ids:
            return {}
        rows = Event.objects.filter(tenant_id=self.run.tenant_id, event_id__in=event_ids, occupies_id=True)
        return dict(rows.values_list("event_id", "id"))

    # -- The run -----------------------------------------------------------------------------------------------------

    def _record_run(self, records: list[RunRecord]) -> None:
        run = self.run
        was_open, was_starting = run.status in OPEN_RUN_STATUSES, run.status == RunStatus.STARTING
        for record in records:
            started_at = datetime_of_ms(record["at"])  # a batch with an earlier record may come later
            run.started_at = min(run.started_at or started_at, started_at)
            if self._is_newer(run, record):
                self._fill_run(run, record)
        run.projection_epoch = self.epoch
        run.projected_at = self.now
        run.temporal_first_run_id = run.temporal_first_run_id or self.first_run_id
        clear_stuck(run)  # the workflow has made progress; if it cannot be moved again, the reconciler marks it again
        run.save(update_fields=_RUN_FIELDS)
        if was_starting:
            commands_observe_start(run)
        if was_open and run.status not in OPEN_RUN_STATUSES:
            record_end_values(run)
            wake_held_starts_on_commit(run)
            commands_observe_end(tenant_id=run.tenant_id, run_id=run.id, status=run.status)

    def _fill_run(self, run: Run, record: RunRecord) -> None:
        self._stamp(run, record)
        run.status, run.state, run.current_step_path = record["status"], record["state"][:200], record["stepPath"]
        run.step_count, run.failed_step_count = record["stepCount"], record["failedStepCount"]
        run.event_count = record["eventCount"]
        error = record.get("error")
        run.error, run.output = error, record.get("output")
        run.error_category = error["category"] if error else ""
        run.error_code = error.get("code", "") if error else ""
        run.ended_at = None if run.status in OPEN_RUN_STATUSES else datetime_of_ms(record["at"])


_STAMP = ["projection_epoch", "projection_seq", "projected_at"]
_STEP_FIELDS = [
    *_STAMP, "step_id", "step_type", "name", "status", "branch", "action_id", "action_version", "input", "output",
    "error", "child_run", "started_at", "ended_at", "next_attempt_at",
]  # fmt: skip
_WAIT_FIELDS = [
    *_STAMP, "step_path", "iteration", "step_id", "kind", "status", "event_name", "correlation_key", "filters",
    "opened_seq", "opened_at", "ready_at", "deadline_at", "resolved_at", "event",
]  # fmt: skip
_RUN_FIELDS = [
    *_STAMP, *STUCK_FIELDS, "projection_base_seq", "temporal_first_run_id", "status", "state", "current_step_path",
    "step_count", "failed_step_count", "event_count", "error", "error_category", "error_code", "output", "started_at",
    "ended_at",
]  # fmt: skip

"""Rebuild of a run's rows from Temporal's history, and comparison with the rows from before the rebuild.

The rows are deleted. Then the records are written again by the same code that wrote them first. All of this is one
transaction under the lock of the run's row. If nothing differs, the transaction is rolled back.

The history does not contain everything, so these values are kept:

- rows from before the first history that Temporal still has
- the end of an attempt that its activity has written and not yet reported to Temporal
- the holder of a human task
- decisions that people and deliveries have made since

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.utils import timezone

from workflows.engine.clock import datetime_of_ms
from workflows.engine.records import Record
from workflows.models import EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projection_differences import Difference, Rows, differences
from workflows.projections.batches import record_batch_locked, record_waits_locked
from workflows.projections.ends import STUCK_FIELDS, RunEnd, record_run_closed
from workflows.projections.human_tasks import record_tasks
from workflows.projections.repairs import Stamp, lock_if_unchanged
from workflows.projections.resets import record_reset, record_waits_undone
from workflows.projections.transaction import projection_writer
from workflows.statuses import RUN_STATUS_OF_TEMPORAL, DeliveryStatus, RunStatus, TaskStatus, WaitStatus
from workflows.temporal.run_history import RunHistory

# Columns that the portal writes for itself. No history contains these values.
NOT_IN_HISTORY = frozenset(
    {
        "projected_at",
        "drift_reason",
        "drift_found_at",
        "history_event_count",
        "history_bytes",
        "queued_until",
        "counted_seq",
        "took",  # PostgreSQL computes it from columns that are compared
        *STUCK_FIELDS,
    }
)
OPEN_TASKS = frozenset({TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETING})
HOLDER_FIELDS = ("claimed_by_id", "claimed_at", "completing_at")


@dataclass(frozen=True)
class Rebuilt:
    """Result of a rebuild. `opened_waits`: the waits that are open after the rebuild and were not open before it."""

    differences: list[Difference]
    opened_waits: list[uuid.UUID]


class _RollBack(Exception):
    """Ends the transaction without a change. `record_rebuild` catches this exception and takes the result from it."""

    def __init__(self, rebuilt: Rebuilt) -> None:
        self.rebuilt = rebuilt


def record_rebuild(
    run: Run, history: RunHistory, *, facts: dict[str, Any], end: RunEnd | None, is_dry_run: bool
) -> Rebuilt | None:
    """Rebuild the run's rows and return the differences. Return None if the row has changed since the caller read it.

    `facts`: fields of the row that were fixed when the run began. `end`: the run's end if Temporal reports one.
    """
    try:
        with projection_writer("rebuild"):
            row = lock_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
            if row is None:
                return None
            rebuilt = _Rebuild(row, history, timezone.now()).run_all(facts, end)
            if is_dry_run or not rebuilt.differences:
                raise _RollBack(rebuilt)
            return rebuilt
    except _RollBack as rolled_back:
        return rolled_back.rebuilt


class _Rebuild:
    """One rebuild of one run. `steps`, `waits` and `tasks` are the rows as they were before the rebuild."""

    def __init__(self, run: Run, history: RunHistory, now: datetime) -> None:
        self.run, self.history, self.now = run, history, now
        self.before = _rows_of(run)
        self.of_run = {"tenant_id": run.tenant_id, "run": run}
        self.steps = list(RunStep.objects.filter(**self.of_run))
        self.waits = list(RunWait.objects.filter(**self.of_run))
        self.tasks = list(HumanTask.objects.filter(**self.of_run))

    def run_all(self, facts: dict[str, Any], end: RunEnd | None) -> Rebuilt:
        history, run = self.history, self.run
        if history.reset_seq and run.projection_epoch not in ("", history.epoch):
            # The activities after the reset have written nothing yet. So first undo in the rows what the reset has
            # undone.
            record_reset(run, epoch=history.epoch, first_seq=history.reset_seq, now=self.now)
        self._clear(facts)
        for segment in history.undone:
            self._record_undone(segment.epoch, segment.records)
        for segment in history.segments:
            records = self._without_moved_verdicts(segment.records)
            record_batch_locked(run, records, epoch=segment.epoch, first_run_id=history.first_run_id)
        self._adopt_epoch()
        self._keep_open_attempts()
        self._keep_waits_without_history()
        self._keep_task_holders()
        if end is not None and RUN_STATUS_OF_TEMPORAL[end.status] != run.status:
            record_run_closed(run, end, now=self.now)
        return self._compared()

    # -- Clearing ------------------------------------------------------------------------------------------------------

    def _clear(self, facts: dict[str, Any]) -> None:
        run, since = self.run, 0 if self.history.is_whole else self.history.first_seq
        with connection.cursor() as cursor:
            # Plain SQL instead of Django's delete, because deliveries refer to these waits. The waits exist again
            # before the transaction ends.
            of_run: list[Any] = [run.tenant_id, run.id, since]
            waits = "SELECT id FROM workflow_run_waits WHERE tenant_id = %s AND run_id = %s AND opened_seq >= %s"
            cursor.execute(f"DELETE FROM workflow_tasks WHERE wait_id IN ({waits})", of_run)  # noqa: S608
            cursor.execute(f"DELETE FROM workflow_run_waits WHERE id IN ({waits})", of_run)  # noqa: S608
        RunStep.objects.filter(**self.of_run, projection_seq__gte=since).delete()
        if since:
            kept = RunWait.objects.filter(**self.of_run, projection_seq__gte=since)
            kept.update(status=WaitStatus.WAITING, resolved_at=None, event=None, projection_seq=since - 1)
        else:
            HumanTask.objects.filter(**self.of_run).delete()
        started_ms = self.history.started_ms
        started_at = run.started_at if started_ms is None else datetime_of_ms(started_ms)
        if self.history.missing and run.started_at is not None and started_at is not None:
            started_at = min(started_at, run.started_at)
        blank = {**_BLANK, "started_at": started_at}
        for name, value in {**(blank if self.history.covers_run_row else {}), **facts}.items():
            setattr(run, name, value)
        run.save()

    # -- Writing the records again -----------------------------------------------------------------------------------

    def _record_undone(self, epoch: str, records: list[Record]) -> None:
        waits = [record for record in records if record["kind"] == "wait"]
        written = record_waits_locked(self.run, waits, epoch=epoch)
        tasks = [record for record in records if record["kind"] == "task"]
        record_tasks(tasks, run=self.run, changed_waits=written)
        record_waits_undone(self.run, [uuid.UUID(wait_id) for wait_id in written], epoch=epoch, now=self.now)

    def _without_moved_verdicts(self, records: list[Record]) -> list[Record]:
        """Leave out verdicts on deliveries that are being sent again, or that a person has decided in the meantime."""
        if not any(record["kind"] == "verdict" for record in records):
            return records
        moved = EventDelivery.objects.filter(
            tenant_id=self.run.tenant_id,
            wait__run=self.run,
            status__in=[DeliveryStatus.PENDING, DeliveryStatus.DEAD, DeliveryStatus.DISCARDED],
        )
        pairs = {(str(wait_id), event_id) for wait_id, event_id in moved.values_list("wait_id", "event__event_id")}
        return [
            record
            for record in records
            if record["kind"] != "verdict" or (record["waitId"], record["eventId"]) not in pairs
        ]

    def _adopt_epoch(self) -> None:
        """Give the run's row the epoch that a reset has opened, if this epoch has no record yet."""
        if self.history.reset_seq and self.run.projection_epoch != self.history.epoch:
            self.run.projection_epoch, self.run.projection_base_seq = self.history.epoch, self.history.reset_seq
            self.run.save(update_fields=["projection_epoch", "projection_base_seq"])

    # -- Values that the history does not contain --------------------------------------------------------------------

    def _keep_open_attempts(self) -> None:
        """Keep the end of an attempt, and its retry wait.

        This applies if the activity has written the end but has not yet reported it to Temporal.
        """
        for attempt in self.history.open_attempts:
            key = (attempt.path, attempt.iteration, attempt.attempt)
            old = next((row for row in self.steps if (row.step_path, row.iteration, row.attempt) == key), None)
            if old is None or old.projection_epoch != self.history.epoch:
                continue
            rebuilt = RunStep.objects.filter(
                **self.of_run, step_path=old.step_path, iteration=old.iteration, attempt=old.attempt
            )
            if not rebuilt.filter(projection_seq__lt=old.projection_seq).delete()[0]:
                continue
            old.save(force_insert=True)
            for wait in self.waits:
                is_its_retry = str(wait.id) == attempt.retry_wait_id
                if is_its_retry and not RunWait.objects.filter(id=wait.id).exists():
                    wait.save(force_insert=True)

    def _keep_waits_without_history(self) -> None:
        """Keep a wait that no history contains, and close it.

        This applies if a delivery refers to the wait, or if a history is missing.
        """
        rebuilt = set(RunWait.objects.filter(**self.of_run).values_list("id", flat=True))
        lost = [wait for wait in self.waits if wait.id not in rebuilt]
        referred_to = set(
            EventDelivery.objects.filter(wait_id__in=[wait.id for wait in lost]).values_list("wait_id", flat=True)
        )
        for wait in lost:
            if wait.id not in referred_to and not self.history.missing:
                continue
            if wait.status == WaitStatus.WAITING:
                wait.status, wait.resolved_at = WaitStatus.CANCELED, wait.opened_at
            wait.save(force_insert=True)
            for task in self.tasks:
                if task.wait_id == wait.id:
                    task.status = TaskStatus.CANCELED if task.status in OPEN_TASKS else task.status
                    task.save(force_insert=True)

    def _keep_task_holders(self) -> None:
        """Keep the holder of each task.

        People claim a task between its two records, so no record contains the holder.
        """
        rebuilt = {task.id: task for task in HumanTask.objects.filter(**self.of_run)}
        for old in self.tasks:
            task = rebuilt.get(old.id)
            if task is None:
                continue
            kept = {name: getattr(old, name) for name in HOLDER_FIELDS}
            if task.status == TaskStatus.PENDING and old.status in OPEN_TASKS:
                kept["status"] = old.status
            elif task.status not in OPEN_TASKS:
                kept.pop("completing_at")
            HumanTask.objects.filter(id=old.id).update(**kept)

    # -- Comparing -----------------------------------------------------------------------------------------------------

    def _compared(self) -> Rebuilt:
        Run.objects.filter(id=self.run.id).update(projected_at=self.now, drift_reason="", drift_found_at=None)
        after = _rows_of(self.run)
        was_open = {wait.id for wait in self.waits if wait.status == WaitStatus.WAITING}
        now_open = RunWait.objects.filter(**self.of_run, status=WaitStatus.WAITING).values_list("id", flat=True)
        return Rebuilt(differences(self.before, after), [wait_id for wait_id in now_open if wait_id not in was_open])


def _rows_of(run: Run) -> Rows:
    """Return the fields of the run and of its steps, waits and tasks that follow from Temporal."""
    of_run = {"tenant_id": run.tenant_id, "run_id": run.id}
    rows: Rows = {("run",): _fields(Run.objects.get(id=run.id), NOT_IN_HISTORY)}
    for step in RunStep.objects.filter(**of_run):
        # The ids of older rows were not derived from the values that identify the row.
        identity = ("step", step.step_path, step.iteration, str(step.attempt))
        rows[identity] = _fields(step, NOT_IN_HISTORY | {"id"})
    for wait in RunWait.objects.filter(**of_run):
        rows["wait", str(wait.id)] = _fields(wait, NOT_IN_HISTORY)
    for task in HumanTask.objects.filter(**of_run):
        rows["task", str(task.id)] = _fields(task, NOT_IN_HISTORY)
    return rows


def _fields(row: models.Model, without: frozenset[str]) -> dict[str, Any]:
    return {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name not in without
    }


_BLANK: dict[str, Any] = {
    "status": RunStatus.STARTING, "state": "", "current_step_path": "", "error": None, "error_category": "",
    "error_code": "", "step_count": 0, "failed_step_count": 0, "event_count": 0, "ended_at": None, "output": None,
    "projection_epoch": "", "projection_seq": 0, "projection_base_seq": 0,
}  # fmt: skip

"""A run's rows made again from its course, and compared with what stood there (docs/reference/authority.md#age-and-repair-of-projections, docs/reference/engine.md#cost).

The rows are cleared and the records replayed by the same code that wrote them first, in one transaction under the lock of
the run's row; when nothing differs it is rolled back. What the course does not tell stays: rows before its beginning when
Temporal has deleted the first histories, an attempt's end that its activity has written and not returned yet, who holds a
task, and whatever people and deliveries have decided since.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, models
from django.utils import timezone

from workflows.engine.records import Record
from workflows.models import EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.projection_differences import Difference, Rows, differences
from workflows.projections.ends import RunEnd, close_run
from workflows.projections.human_tasks import write_tasks
from workflows.projections.repairs import Stamp, locked_if_unchanged
from workflows.projections.resets import close_cut_off, cut_off
from workflows.projections.writer import projection_writer, write_records_of, write_waits_of
from workflows.statuses import RUN_STATUS_OF_TEMPORAL, DeliveryStatus, RunStatus, TaskStatus, WaitStatus
from workflows.temporal.course import Course

# Notes of the portal's own, which no history tells.
UNTOLD = frozenset({"projected_at", "drift_reason", "drift_found_at", "history_event_count", "history_bytes"})
OPEN_TASKS = frozenset({TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETING})
HELD = ("claimed_by_id", "claimed_at", "completing_at")


@dataclass(frozen=True)
class Rebuilt:
    differences: list[Difference]
    opened_waits: list[uuid.UUID]


class _Undo(Exception):
    """Rolls the rows back to what they were."""

    def __init__(self, rebuilt: Rebuilt) -> None:
        self.rebuilt = rebuilt


def record_rebuilt(
    run: Run, course: Course, *, facts: dict[str, Any], end: RunEnd | None, is_dry_run: bool
) -> Rebuilt | None:
    """What differed, and the waits that are open now and were not before. None: the row has changed since it was read.

    `facts`: of the run's beginning, as its first execution tells them. `end`: as Temporal says it, where it has ended.
    """
    try:
        with projection_writer("rebuild"):
            row = locked_if_unchanged(tenant_id=run.tenant_id, run_id=run.id, stamp=Stamp.of(run))
            if row is None:
                return None
            rebuilt = _Rebuild(row, course, timezone.now()).make(facts, end)
            if is_dry_run or not rebuilt.differences:
                raise _Undo(rebuilt)
            return rebuilt
    except _Undo as undone:
        return undone.rebuilt


class _Rebuild:
    def __init__(self, run: Run, course: Course, now: datetime) -> None:
        self.run, self.course, self.now = run, course, now
        self.before = _rows_of(run)
        self.of_run = {"tenant_id": run.tenant_id, "run": run}
        self.steps = list(RunStep.objects.filter(**self.of_run))
        self.waits = list(RunWait.objects.filter(**self.of_run))
        self.tasks = list(HumanTask.objects.filter(**self.of_run))

    def make(self, facts: dict[str, Any], end: RunEnd | None) -> Rebuilt:
        course, run = self.course, self.run
        if course.reset_at and run.projection_epoch not in ("", course.epoch):
            # A reset that has written nothing yet: what it cut off is taken back first.
            cut_off(run, epoch=course.epoch, first_seq=course.reset_at, now=self.now)
        self._clear(facts)
        for segment in course.cut_off:
            self._write_cut_off(segment.epoch, segment.records)
        for segment in course.segments:
            records = self._undecided(segment.records)
            write_records_of(run, records, epoch=segment.epoch, first_run_id=course.first_run_id)
        self._adopt_epoch()
        self._keep_open_attempts()
        self._keep_untold_waits()
        self._keep_holders()
        if end is not None and RUN_STATUS_OF_TEMPORAL[end.status] != run.status:
            close_run(run, end, now=self.now)
        return self._compared()

    # -- Clearing ------------------------------------------------------------------------------------------------------

    def _clear(self, facts: dict[str, Any]) -> None:
        run, since = self.run, 0 if self.course.is_whole else self.course.first_seq
        with connection.cursor() as cursor:
            # Plain SQL: deliveries point at waits, which come again before the transaction's end.
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
        begun = self.course.started_ms
        started_at = run.started_at if begun is None else datetime.fromtimestamp(begun / 1000, tz=UTC)
        if self.course.missing and run.started_at is not None and started_at is not None:
            started_at = min(started_at, run.started_at)
        blank = {**_BLANK, "started_at": started_at}
        for name, value in {**(blank if self.course.tells_the_run else {}), **facts}.items():
            setattr(run, name, value)
        run.save()

    # -- Replaying -----------------------------------------------------------------------------------------------------

    def _write_cut_off(self, epoch: str, records: list[Record]) -> None:
        waits = [record for record in records if record["kind"] == "wait"]
        written = write_waits_of(self.run, waits, epoch=epoch)
        write_tasks([record for record in records if record["kind"] == "task"], run=self.run, written_waits=written)
        close_cut_off(self.run, [uuid.UUID(wait_id) for wait_id in written], epoch=epoch, now=self.now)

    def _undecided(self, records: list[Record]) -> list[Record]:
        """Without verdicts on deliveries that are sent again, or that a person has decided: they have their own course."""
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
        """A reset that has written nothing yet is the present course all the same."""
        if self.course.reset_at and self.run.projection_epoch != self.course.epoch:
            self.run.projection_epoch, self.run.projection_base_seq = self.course.epoch, self.course.reset_at
            self.run.save(update_fields=["projection_epoch", "projection_base_seq"])

    # -- What the course does not tell -----------------------------------------------------------------------------------

    def _keep_open_attempts(self) -> None:
        for attempt in self.course.open_attempts:
            key = (attempt.path, attempt.iteration, attempt.attempt)
            old = next((row for row in self.steps if (row.step_path, row.iteration, row.attempt) == key), None)
            if old is None or old.projection_epoch != self.course.epoch:
                continue
            told = RunStep.objects.filter(
                **self.of_run, step_path=old.step_path, iteration=old.iteration, attempt=old.attempt
            )
            if not told.filter(projection_seq__lt=old.projection_seq).delete()[0]:
                continue
            old.save(force_insert=True)
            for wait in self.waits:
                is_its_retry = str(wait.id) == attempt.retry_wait_id
                if is_its_retry and not RunWait.objects.filter(id=wait.id).exists():
                    wait.save(force_insert=True)

    def _keep_untold_waits(self) -> None:
        """A wait that no history tells of stays, closed, where a delivery points at it, or a history is missing."""
        standing = set(RunWait.objects.filter(**self.of_run).values_list("id", flat=True))
        lost = [wait for wait in self.waits if wait.id not in standing]
        pointed_at = set(
            EventDelivery.objects.filter(wait_id__in=[wait.id for wait in lost]).values_list("wait_id", flat=True)
        )
        for wait in lost:
            if wait.id not in pointed_at and not self.course.missing:
                continue
            if wait.status == WaitStatus.WAITING:
                wait.status, wait.resolved_at = WaitStatus.CANCELED, wait.opened_at
            wait.save(force_insert=True)
            for task in self.tasks:
                if task.wait_id == wait.id:
                    task.status = TaskStatus.CANCELED if task.status in OPEN_TASKS else task.status
                    task.save(force_insert=True)

    def _keep_holders(self) -> None:
        """Who holds a task is decided by people, between the records that open and close it."""
        standing = {task.id: task for task in HumanTask.objects.filter(**self.of_run)}
        for old in self.tasks:
            task = standing.get(old.id)
            if task is None:
                continue
            held = {name: getattr(old, name) for name in HELD}
            if task.status == TaskStatus.PENDING and old.status in OPEN_TASKS:
                held["status"] = old.status
            elif task.status not in OPEN_TASKS:
                held.pop("completing_at")
            HumanTask.objects.filter(id=old.id).update(**held)

    # -- Comparing -----------------------------------------------------------------------------------------------------

    def _compared(self) -> Rebuilt:
        Run.objects.filter(id=self.run.id).update(projected_at=self.now, drift_reason="", drift_found_at=None)
        after = _rows_of(self.run)
        was_open = {wait.id for wait in self.waits if wait.status == WaitStatus.WAITING}
        now_open = RunWait.objects.filter(**self.of_run, status=WaitStatus.WAITING).values_list("id", flat=True)
        return Rebuilt(differences(self.before, after), [wait_id for wait_id in now_open if wait_id not in was_open])


def _rows_of(run: Run) -> Rows:
    """All that Temporal tells, by what each row is."""
    of_run = {"tenant_id": run.tenant_id, "run_id": run.id}
    rows: Rows = {("run",): _fields(Run.objects.get(id=run.id), UNTOLD)}
    for step in RunStep.objects.filter(**of_run):
        # The id of a row from before ids were made of what the row is may be another.
        rows["step", step.step_path, step.iteration, str(step.attempt)] = _fields(step, UNTOLD | {"id"})
    for wait in RunWait.objects.filter(**of_run):
        rows["wait", str(wait.id)] = _fields(wait, UNTOLD)
    for task in HumanTask.objects.filter(**of_run):
        rows["task", str(task.id)] = _fields(task, UNTOLD)
    return rows


def _fields(row: models.Model, without: frozenset[str]) -> dict[str, Any]:
    return {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name not in without
    }


_BLANK: dict[str, Any] = {
    "status": RunStatus.STARTING, "state": "", "current_step_path": "", "error": None, "error_category": "", "error_code": "",
    "step_count": 0, "failed_step_count": 0, "event_count": 0, "ended_at": None, "output": None,
    "projection_epoch": "", "projection_seq": 0, "projection_base_seq": 0,
}  # fmt: skip

"""Deletion of old rows of tenants, part by part (docs/reference/retention.md#how-rows-are-deleted).

Each batch is one short transaction. A process that is killed loses at most its last batch, and the next process
continues. Several processes can delete at the same time, because each skips the rows that another one has locked.
"""

import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from workflows.database_errors import is_statement_error
from workflows.models import Event, Run, Tenant
from workflows.projections.retention import old_families, prune_runs
from workflows.services.retention.old_events import prune_events
from workflows.services.retention.old_rows import (
    TABLES,
    prune_ledger,
    prune_rows,
    prune_session_rows,
    prune_sessions,
    prune_sign_ins,
)
from workflows.services.retention.open_runs import runs_repair, unended_in_temporal
from workflows.services.retention.policy import policy_of, runs_kept_by_temporal
from workflows.services.retention.record import DeletionRecord
from workflows.temporal.gateway import TemporalError

logger = logging.getLogger(__name__)

BATCH = 500
LEDGER_BATCH = 1_000
# After a batch that took longer than SLOW seconds, the next one is half as large, but not smaller than LEAST_BATCH.
# After a quick batch, the next one is larger again. So transactions stay short also on a loaded server.
SLOW, LEAST_BATCH = 1.0, 50
# A Celery task may run for 120 s.
SLICE_SECONDS = 60.0


@dataclass
class Progress:
    """State of one part of the deletion after a batch.

    `rows`: deleted rows by table; in a dry run, the rows that would be deleted. `kept`: old runs or events that were
    kept, by reason. `expected`: number of old rows before the deletion, None if it was not counted. `problem`: why the
    part has stopped. Units: seconds.
    """

    tenant: str
    part: str
    rows: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    expected: int | None = None
    seconds: float = 0.0
    longest: float = 0.0
    is_last: bool = False
    problem: str = ""

    @property
    def total(self) -> int:
        return sum(self.rows.values())


@dataclass(frozen=True)
class Pass:
    """Options of one deletion. `rest`: pause after each batch, as a part of its time. `stop_at`: monotonic time."""

    batch: int = BATCH
    is_dry: bool = False
    counts: bool = False
    rest: float = 0.0
    stop_at: float = float("inf")


class BatchSize:
    """Number of runs or events in the next batch, at most that of the options."""

    def __init__(self, most: int) -> None:
        self._most = self.number = most

    @contextmanager
    def adapted(self) -> Iterator[None]:
        """Measure the transaction of a batch, and adapt the size of the next one."""
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        if took > SLOW:
            self.number = max(min(LEAST_BATCH, self._most), self.number // 2)
        elif took < SLOW / 4:
            self.number = min(self._most, self.number * 2)


# One batch of a part: it adds to the progress, and returns True if more rows may be left.
Step = Callable[[Progress], bool]


def tenants_prune(*, tenants: Iterable[Tenant], options: Pass) -> Iterator[Progress]:
    """Delete the old rows of tenants and the old rows without a tenant. Yield the progress after each batch.

    What was deleted of a tenant is one row of its command ledger. Each batch writes it in its own transaction.

    Errors: OperationalError or InterfaceError if the database is away. Another error ends only its part, and
    `problem` of the progress says so.
    """
    yield from _part("", "sessions", _sessions(options), options)
    yield from _part("", "sign-ins", _sign_ins(None, DeletionRecord(None), options), options)
    for tenant in tenants:
        record = DeletionRecord(None if options.is_dry else tenant)
        problems: dict[str, str] = {}
        is_whole = False
        try:
            for progress in _tenant(tenant, record, options):
                if progress.problem:
                    problems[progress.part] = progress.problem
                yield progress
            is_whole = True
        finally:  # also if an operator stops the command, or the database was away
            record.end(problems, is_whole=is_whole)


def tenants_prune_slice() -> tuple[dict[str, int], bool]:
    """Delete old rows of all tenants until SLICE_SECONDS are over. After each batch, rest as long as the batch took.

    Return the number of deleted rows by table, and True if no further slice is needed now: nothing was left, or only
    rows that must be kept.
    """
    options = Pass(rest=1.0, stop_at=time.monotonic() + SLICE_SECONDS)
    deleted: Counter[str] = Counter()
    for progress in tenants_prune(tenants=tenants_in_turn(), options=options):
        if progress.is_last:
            deleted.update({table: count for table, count in progress.rows.items() if count})
    return dict(deleted), time.monotonic() <= options.stop_at or not deleted


def tenants_in_turn() -> list[Tenant]:
    """Return all tenants in a random order. If the time of a slice is over, other tenants are first in the next one."""
    tenants = list(Tenant.objects.all())
    random.shuffle(tenants)
    return tenants


def _tenant(tenant: Tenant, record: DeletionRecord, options: Pass) -> Iterator[Progress]:
    policy = policy_of(tenant)
    before = policy.before()
    for table in TABLES:
        yield from _part(tenant.slug, table, _rows(tenant.id, table, before, record, options), options)
    try:
        runs_end = min(before["runs"], timezone.now() - runs_kept_by_temporal())
    except TemporalError as error:
        problem = f"Temporal does not say how long it keeps runs ({error}); no run was deleted; repeat it later"
        yield Progress(tenant.slug, "runs", is_last=True, problem=problem)
    else:
        expected = Run.objects.filter(tenant=tenant, ended_at__lt=runs_end).count() if options.counts else None
        step = _runs(tenant.id, runs_end, policy.runs, record, options)
        yield from _part(tenant.slug, "runs", step, options, expected=expected)
    expected = Event.objects.filter(tenant=tenant, received_at__lt=before["events"]).count() if options.counts else None
    step = _events(tenant.id, before["events"], record, options)
    yield from _part(tenant.slug, "events", step, options, expected=expected)
    yield from _part(tenant.slug, "sign-ins", _sign_ins(tenant.id, record, options), options)
    yield from _part(tenant.slug, "ledger", _ledger(tenant.id, record, options), options)


def _part(tenant: str, part: str, step: Step, options: Pass, *, expected: int | None = None) -> Iterator[Progress]:
    progress = Progress(tenant, part, expected=expected)
    while not progress.is_last:
        started = time.monotonic()
        if started > options.stop_at:
            progress.problem = "the time of this pass is over; the next pass continues"
            progress.is_last = True
        else:
            try:
                progress.is_last = not step(progress)
            except TemporalError as error:
                progress.problem = f"runs could not be compared with Temporal ({error}); repeat it later"
                progress.is_last = True
            except Exception as error:
                if isinstance(error, InterfaceError) or (
                    isinstance(error, OperationalError) and not is_statement_error(error)
                ):
                    raise
                logger.exception("the deletion of old rows of tenant %s stopped: %s", tenant, part)
                progress.problem, progress.is_last = str(error).strip().splitlines()[0], True
            took = time.monotonic() - started
            progress.seconds += took
            progress.longest = max(progress.longest, took)
            if not progress.is_last:
                time.sleep(options.rest * took)
        yield progress


def _runs(tenant_id: uuid.UUID, before: datetime, days: int, record: DeletionRecord, options: Pass) -> Step:
    position: Any = None
    size = BatchSize(options.batch)

    def step(progress: Progress) -> bool:
        nonlocal position
        families = old_families(tenant_id=tenant_id, before=before, after=position, limit=size.number)
        unended = unended_in_temporal(families.workflows, before=before)
        with size.adapted(), record.batch() as deleted:
            batch = prune_runs(
                tenant_id=tenant_id,
                families=families,
                before=before,
                days=days,
                unended=unended,
                is_dry=options.is_dry,
            )
            deleted.update(batch.deleted)
        position = families.position
        progress.rows.update(deleted)
        progress.kept.update(batch.kept)
        if not options.is_dry:
            runs_repair(unended)
        return position is not None

    return step


def _events(tenant_id: uuid.UUID, before: datetime, record: DeletionRecord, options: Pass) -> Step:
    position: Any = None
    size = BatchSize(options.batch)

    def step(progress: Progress) -> bool:
        nonlocal position
        with size.adapted(), record.batch() as deleted:
            batch = prune_events(
                tenant_id=tenant_id, before=before, after=position, limit=size.number, is_dry=options.is_dry
            )
            deleted.update(batch.deleted)
        position = batch.position
        progress.rows.update(deleted)
        progress.kept.update(batch.kept)
        return position is not None

    return step


def _rows(tenant_id: uuid.UUID, table: str, before: dict[str, datetime], record: DeletionRecord, options: Pass) -> Step:
    def prune() -> int:
        return prune_rows(table=table, tenant_id=tenant_id, before=before, limit=options.batch, is_dry=options.is_dry)

    return _counted(table, prune, record, options)


def _sign_ins(tenant_id: uuid.UUID | None, record: DeletionRecord, options: Pass) -> Step:
    def prune() -> int:
        return prune_sign_ins(tenant_id=tenant_id, limit=options.batch, is_dry=options.is_dry)

    return _counted("sign_in_records", prune, record, options)


def _counted(table: str, prune: Callable[[], int], record: DeletionRecord, options: Pass) -> Step:
    def step(progress: Progress) -> bool:
        with record.batch() as deleted:
            deleted[table] = found = prune()
        progress.rows.update(deleted)
        return found == options.batch and not options.is_dry

    return step


def _sessions(options: Pass) -> Step:
    def step(progress: Progress) -> bool:
        found = {
            "django_session": prune_sessions(limit=options.batch, is_dry=options.is_dry),
            "usersessions_usersession": prune_session_rows(limit=options.batch, is_dry=options.is_dry),
        }
        progress.rows.update(found)
        return options.batch in found.values() and not options.is_dry

    return step


def _ledger(tenant_id: uuid.UUID, record: DeletionRecord, options: Pass) -> Step:
    def step(progress: Progress) -> bool:
        with record.batch() as deleted:
            links, commands, kept_by = prune_ledger(tenant_id=tenant_id, limit=LEDGER_BATCH, is_dry=options.is_dry)
            deleted.update(workflow_command_entries=links, workflow_commands=commands)
        progress.rows.update(deleted)
        if kept_by:
            progress.kept[f"command of a {kept_by} that is kept"] = 1
        return links == LEDGER_BATCH and not options.is_dry

    return step

"""Everything of a tenant that comes due: deadlines of event waits, timers, retries, tasks, and times of schedules.

A run in the queue of its concurrency key is not part of it, because it waits for another run and has no time limit.

Source: docs/reference/screens.md#next
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, JSONObject, NullIf
from django.utils import timezone

from workflows.models import HumanTask, RunStep, RunWait, Tenant
from workflows.selectors.attention import OVERDUE_AFTER
from workflows.selectors.keyset import PAGE_SIZE, KeysetPage, behind_time, position_text, read_time_position
from workflows.selectors.navigation import CappedCount
from workflows.selectors.schedules import doubt_column, starting_schedules
from workflows.statuses import OPEN_RUN_STATUSES, OPEN_TASK_STATUSES, WaitKind, WaitStatus

MOST_COUNTED = 1_000
# The dashboard shows more than overdue rows, however many there are.
MOST_PASSED = 3
EVENT, TIME, QUOTA, RETRY, TASK, SCHEDULE = "event", "time", "quota", "retry", "task", "schedule"
# The sources of each kind that a reader can choose. Each source reads one range of an index.
KINDS = {"deadline": (EVENT,), "timer": (TIME, QUOTA), "retry": (RETRY,), "task": (TASK,), "schedule": (SCHEDULE,)}
SOURCES = tuple(source for sources in KINDS.values() for source in sources)
_WAITS = {EVENT: WaitKind.EVENT, TIME: WaitKind.TIME, QUOTA: WaitKind.QUOTA, RETRY: WaitKind.RETRY}
# The column with the due time.
_TIMES = {**dict.fromkeys(_WAITS, "deadline_at"), TASK: "due_at", SCHEDULE: "next_run_at"}


def due_page(*, tenant_id: uuid.UUID, kind: str = "", definition: str = "", at: str = "") -> KeysetPage:
    """Return one page of what is overdue or comes due, the earliest time first.

    `kind` is one of `KINDS`, `definition` is a key; empty texts select everything. `at` is the position of an earlier
    page. A position that cannot be read leads to the first page.
    Cost: one statement. Each source reads a range of its index, at most one page.
    """
    position = read_time_position(at)
    is_back = position is not None and position.is_before
    due = due_of_sources(tenant_id, definition=definition)
    sources = KINDS[kind] if kind else SOURCES
    behind = [
        (name, due[name].filter(behind_time(position, by=_TIMES[name])) if position else due[name], PAGE_SIZE + 1)
        for name in sources
    ]
    found = _read(behind, tenant_id, PAGE_SIZE + 1, is_back=is_back)
    if position and len(found) < (PAGE_SIZE if is_back else 1):  # rows are no longer due
        return due_page(tenant_id=tenant_id, kind=kind, definition=definition)
    has_more, shown = len(found) > PAGE_SIZE, found[:PAGE_SIZE][:: -1 if is_back else 1]
    following, previous = (is_back or has_more), (has_more if is_back else position is not None)
    return KeysetPage(
        shown,
        position_text([shown[-1]["at"], shown[-1]["id"]]) if following else "",
        position_text([shown[0]["at"], shown[0]["id"]], is_before=True) if previous else "",
        is_first=not previous,
    )


def next_due(*, tenant_id: uuid.UUID, limit: int) -> list[dict[str, Any]]:
    """Return the first rows whose time has passed, at most `MOST_PASSED`, and then the first that come due.

    Cost: one statement.
    """
    now, due = timezone.now(), due_of_sources(tenant_id)
    passed = [(name, rows.filter(**{f"{_TIMES[name]}__lt": now}), MOST_PASSED) for name, rows in due.items()]
    coming = [(name, rows.filter(**{f"{_TIMES[name]}__gte": now}), limit) for name, rows in due.items()]
    rows = _read([*passed, *coming], tenant_id, len(due) * MOST_PASSED + limit)
    first = [row for row in rows if row["at"] < now][:MOST_PASSED]
    return [*first, *(row for row in rows if row["at"] >= now)][:limit]


def due_counts(*, tenant_id: uuid.UUID, definition: str = "") -> dict[str, int]:
    """Return the number of rows of each kind. It is above `MOST_COUNTED` if there are more. Cost: one statement."""
    found: Any = Tenant.objects.filter(id=tenant_id).values(**due_columns(tenant_id, definition=definition)).get()
    return {kind: sum(found[f"due_{source}"] for source in sources) for kind, sources in KINDS.items()}


def passed_columns(tenant_id: uuid.UUID) -> dict[str, CappedCount]:
    """Return the number of rows of each source whose time has passed, as columns like `due_columns`."""
    now = timezone.now()
    return {
        f"passed_{name}": CappedCount(rows.filter(**{f"{_TIMES[name]}__lt": now}), limit=MOST_COUNTED + 1)
        for name, rows in due_of_sources(tenant_id).items()
    }


def due_columns(tenant_id: uuid.UUID, *, definition: str = "") -> dict[str, CappedCount]:
    """Return the number of rows of each source as columns of a statement that reads more about the tenant."""
    due = due_of_sources(tenant_id, definition=definition)
    return {f"due_{name}": CappedCount(rows, limit=MOST_COUNTED + 1) for name, rows in due.items()}


def due_of_sources(tenant_id: uuid.UUID, *, definition: str = "") -> dict[str, QuerySet[Any]]:
    """Return the rows of each source without an order. `definition` is a key; an empty text selects all of them."""
    own: dict[str, Any] = {"tenant_id": tenant_id}
    # The status of the run is implied by that of the wait. It lets the database find the runs of one definition.
    of_run = {"run__definition_key": definition, "run__status__in": OPEN_RUN_STATUSES} if definition else {}
    waits = RunWait.objects.filter(**own, **of_run, status=WaitStatus.WAITING, deadline_at__isnull=False)
    tasks = HumanTask.objects.filter(**own, **of_run, status__in=OPEN_TASK_STATUSES, due_at__isnull=False)
    schedules = starting_schedules(tenant_id)
    # The due time of a task is shown, and not the deadline of its wait.
    return {
        **{name: waits.filter(kind=kind) for name, kind in _WAITS.items()},
        TASK: tasks,
        SCHEDULE: schedules.filter(definition__key=definition) if definition else schedules,
    }


def _read(
    due: Iterable[tuple[str, QuerySet[Any], int]], tenant_id: uuid.UUID, limit: int, *, is_back: bool = False
) -> list[dict[str, Any]]:
    """Return the first rows of these sources together, in the order of their times. Each source has its own limit.

    `is_back`: return the last rows, the latest time first.

    Shapes: each row has `kind` (its source), `id`, `at`, `definition`, `name` and `is_overdue`. Each row except a
    schedule has `run` (an id) and `key`. A retry also has `attempt`, `version` and `path`. A schedule has `doubt`: why
    it may start no run at this time.
    """
    sign = "-" if is_back else ""
    parts = [
        rows.order_by(f"{sign}{_TIMES[name]}", f"{sign}id")
        .annotate(at=F(_TIMES[name]), source=Value(name), facts=JSONObject(**_facts(name, tenant_id)))
        .values_list("at", "id", "source", "facts")[:most]
        for name, rows, most in due
    ]
    found = parts[0].union(*parts[1:], all=True).order_by(f"{sign}at", f"{sign}id")[:limit] if parts[1:] else parts[0]
    return [_row(*row) for row in found]


def _row(at: datetime, row_id: uuid.UUID, kind: str, facts: dict[str, Any]) -> dict[str, Any]:
    # Temporal needs a moment to fire a timer or a schedule, and a worker to record it.
    late_from = timezone.now() if kind == TASK else timezone.now() - OVERDUE_AFTER
    return {"at": at, "id": row_id, "kind": kind, **facts, "is_overdue": at < late_from and not facts.get("doubt")}


def _facts(source: str, tenant_id: uuid.UUID) -> dict[str, Any]:
    if source == SCHEDULE:
        return {"definition": F("definition__name"), "name": F("name"), "doubt": doubt_column()}
    run = {"run": F("run_id"), "key": F("run__correlation_key"), "definition": F("run__definition__name")}
    if source == TASK:
        return {**run, "name": F("title")}
    attempts = RunStep.objects.filter(
        tenant_id=tenant_id, run=OuterRef("run"), step_path=OuterRef("step_path"), iteration=OuterRef("iteration")
    )
    latest = attempts.order_by("-attempt")
    name = Coalesce(NullIf(Subquery(latest.values("name")[:1]), Value("")), F("step_id"))
    if source != RETRY:
        return {**run, "name": name}
    place = {"version": F("run__definition_version_id"), "path": F("step_path")}
    return {**run, **place, "name": name, "attempt": Subquery(latest.values("attempt")[:1])}

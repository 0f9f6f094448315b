"""Filters and counts of the run list.

A shown status is a stored status, "retrying" or "unknown". The last two come from open waits and tasks, and the shown
statuses RUNNING and WAITING leave them out. So each run has exactly one shown status.
"""

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from workflows.database_errors import is_canceled
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask, Run, RunWait
from workflows.models.statements import statement_limit
from workflows.selectors.work import runs_that_decide
from workflows.statuses import OPEN_RUN_STATUSES, OPEN_TASK_STATUSES, RunStatus, WaitKind, WaitStatus

RETRYING, UNKNOWN = "retrying", "unknown"
# Statuses of a run that may wait for its next attempt. The engine keeps RUNNING between the attempts of a step.
STARTED_STATUSES = (RunStatus.RUNNING.value, RunStatus.WAITING.value)
# Filter value for the runs of all open statuses.
OPEN = "open"
SHOWN_STATUSES = (
    RunStatus.STARTING.value, RunStatus.RUNNING.value, RunStatus.WAITING.value, RETRYING, UNKNOWN,
    RunStatus.FAILED.value, RunStatus.SUCCEEDED.value, RunStatus.CANCELED.value, RunStatus.TERMINATED.value,
    RunStatus.TIMED_OUT.value,
)  # fmt: skip
OPEN_SHOWN_STATUSES = (*(status.value for status in OPEN_RUN_STATUSES), RETRYING, UNKNOWN)
ENDED_SHOWN_STATUSES = tuple(status for status in SHOWN_STATUSES if status not in OPEN_SHOWN_STATUSES)
MOST_COUNTED = 1_000
COUNT_SECONDS = 1.0
# Up to this number of replayed runs, the list reads them by their ids.
MOST_REPLAYED = 500
SPANS = {
    "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}  # fmt: skip
WITHOUT_REPLAYS, ONLY_REPLAYS, NEWEST_REPLAYS, REPLAYED = "without", "only", "newest", "replayed"
NOT_REPLAYED, DECIDING = "never", "deciding"
REPLAY_CHOICES = {
    WITHOUT_REPLAYS: "without replays", ONLY_REPLAYS: "only replays",
    DECIDING: "a run and its replays once, the newest decides",
    NEWEST_REPLAYS: "newest replay of each run", REPLAYED: "only runs that were replayed",
    NOT_REPLAYED: "only runs that were never replayed",
}  # fmt: skip


def runs_of_shown_status(runs: QuerySet[Run], *, tenant_id: uuid.UUID, status: str) -> QuerySet[Run]:
    """Return the runs of a shown status, or all open runs for `OPEN`."""
    if status == OPEN:
        return runs.filter(status__in=[one.value for one in OPEN_RUN_STATUSES])
    retries, decisions = _retries(tenant_id), _decisions(tenant_id)
    if status == UNKNOWN:
        return runs.filter(status__in=STARTED_STATUSES, id__in=decisions.values("run_id"))
    is_undecided = Exists(decisions.filter(run=OuterRef("pk")))
    if status == RETRYING:
        return runs.filter(status__in=STARTED_STATUSES, id__in=retries.values("run_id")).exclude(is_undecided)
    if status in STARTED_STATUSES:
        return runs.filter(status=status).exclude(is_undecided).exclude(Exists(retries.filter(run=OuterRef("pk"))))
    return runs.filter(status=status)


def _retries(tenant_id: uuid.UUID) -> QuerySet[RunWait]:
    return RunWait.objects.filter(tenant_id=tenant_id, kind=WaitKind.RETRY, status=WaitStatus.WAITING)


def _decisions(tenant_id: uuid.UUID) -> QuerySet[HumanTask]:
    """Return the open decisions about actions whose outcome is unknown."""
    open_statuses = [one.value for one in OPEN_TASK_STATUSES]
    return HumanTask.objects.filter(tenant_id=tenant_id, task_type=DECIDE_OUTCOME, status__in=open_statuses)


def runs_at_step(runs: QuerySet[Run], step_path: str) -> QuerySet[Run]:
    """Return the open runs whose current step is this one."""
    return runs.filter(current_step_path=step_path, status__in=[one.value for one in OPEN_RUN_STATUSES])


def runs_waiting_for(runs: QuerySet[Run], event_name: str) -> QuerySet[Run]:
    """Return the runs with an open wait for this event."""
    waits = RunWait.objects.filter(
        tenant_id=OuterRef("tenant_id"), run=OuterRef("pk"), event_name=event_name, status=WaitStatus.WAITING
    )
    return runs.filter(Exists(waits), status__in=[one.value for one in OPEN_RUN_STATUSES])


def runs_started_within(runs: QuerySet[Run], span: str) -> QuerySet[Run]:
    return runs.filter(created_at__gte=timezone.now() - SPANS[span])


def runs_open_longer_than(runs: QuerySet[Run], span: str) -> QuerySet[Run]:
    return runs.filter(
        created_at__lte=timezone.now() - SPANS[span], status__in=[one.value for one in OPEN_RUN_STATUSES]
    )


def runs_by_replays(runs: QuerySet[Run], choice: str, *, tenant_id: uuid.UUID) -> QuerySet[Run]:
    """Return the runs of a choice of `replays`. Cost: one statement for `REPLAYED`.

    If few runs were replayed, their ids are read first. Otherwise PostgreSQL would look for them among all runs.
    """
    if choice == REPLAYED:
        replays = Run.objects.filter(tenant_id=tenant_id, replay_of__isnull=False)
        found = replays.values_list("replay_of", flat=True).distinct()[: MOST_REPLAYED + 1]
        ids = [run_id for run_id in found if run_id is not None]
        if len(ids) <= MOST_REPLAYED:
            return runs.filter(id__in=ids)
        return runs.filter(Exists(Run.objects.filter(tenant_id=OuterRef("tenant_id"), replay_of=OuterRef("pk"))))
    if choice == DECIDING:
        return runs_that_decide(runs)
    if choice == NEWEST_REPLAYS:
        return runs_that_decide(runs.filter(replay_of__isnull=False))
    if choice == NOT_REPLAYED:
        return runs_that_decide(runs.filter(replay_of__isnull=True))
    return runs.filter(replay_of__isnull=choice == WITHOUT_REPLAYS)


@dataclass(frozen=True)
class StatusCounts:
    """Numbers of runs by shown status. `is_part`: there are more runs than were counted."""

    numbers: dict[str, int]
    is_part: bool = False


def shown_status_counts(
    runs: QuerySet[Run],
    *,
    tenant_id: uuid.UUID,
    ranges: Sequence[QuerySet[Run]] = (),
    statuses: Collection[str] = SHOWN_STATUSES,
) -> StatusCounts | None:
    """Return the number of runs by shown status. `MOST_COUNTED` + 1 means more than `MOST_COUNTED`.

    Each status has its range of an index, in which at most `MOST_COUNTED` + 1 entries are read. `statuses` are those
    that the runs can have. If no index has the runs by status, for example those of a search, `ranges` has them in the
    order of other indexes. Then the statuses of `MOST_COUNTED` + 1 runs of each range are counted.

    Return None if this takes longer than `COUNT_SECONDS`. Cost: one statement.
    """
    try:
        with statement_limit(COUNT_SECONDS), connection.cursor() as cursor:
            cursor.execute(*(_of_ranges(ranges, tenant_id) if ranges else _of_statuses(runs, tenant_id, statuses)))
            found: dict[str, int] = dict(cursor.fetchall())
    except OperationalError as error:
        if not is_canceled(error):
            raise
        return None
    except EmptyResultSet:
        found = {}
    is_part = bool(ranges) and sum(found.values()) > MOST_COUNTED
    return StatusCounts(dict.fromkeys(SHOWN_STATUSES, 0) | found, is_part)


def _of_statuses(runs: QuerySet[Run], tenant_id: uuid.UUID, statuses: Collection[str]) -> tuple[str, list[Any]]:
    parts: list[str] = []
    parameters: list[Any] = []
    for status in statuses:
        # The order is that of the indexes that contain the status. Without it, PostgreSQL may join all runs of the
        # tenant with the waits, because it assumes the same share of each status in each tenant.
        counted = runs_of_shown_status(runs, tenant_id=tenant_id, status=status).order_by("-created_at").values("pk")
        for sql, values in _counted([counted]):
            parts.append(f"SELECT %s, count(*) FROM ({sql}) AS counted")  # noqa: S608
            parameters += [status, *values]
    if not parts:
        raise EmptyResultSet
    return " UNION ALL ".join(parts), parameters


def _of_ranges(ranges: Sequence[QuerySet[Run]], tenant_id: uuid.UUID) -> tuple[str, list[Any]]:
    shown = Case(
        When(~Q(status__in=STARTED_STATUSES), then=F("status")),
        When(Exists(_decisions(tenant_id).filter(run=OuterRef("pk"))), then=Value(UNKNOWN)),
        When(Exists(_retries(tenant_id).filter(run=OuterRef("pk"))), then=Value(RETRYING)),
        default=F("status"),
    )
    found = list(_counted([runs.annotate(shown_status=shown).values("pk", "shown_status") for runs in ranges]))
    if not found:
        raise EmptyResultSet
    # A run of several ranges is counted once.
    sql = " UNION ".join(f"({part})" for part, _ in found)
    return (
        f"SELECT shown_status, count(*) FROM ({sql}) AS counted GROUP BY shown_status",  # noqa: S608
        [value for _, values in found for value in values],
    )


def _counted(parts: Sequence[QuerySet[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the statement of each part that reads as many rows as are counted. Leave out a part that has no rows."""
    for rows in parts:
        try:
            yield rows[: MOST_COUNTED + 1].query.sql_with_params()
        except EmptyResultSet:
            continue

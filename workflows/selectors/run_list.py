"""Filters and counts of the run list.

A shown status is a stored status, "retrying" or "unknown". The last two come from open waits and tasks of waiting runs,
and the shown status WAITING leaves them out. So each run has exactly one shown status.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from workflows.database_errors import is_canceled
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask, Run, RunWait
from workflows.models.statements import statement_limit
from workflows.statuses import OPEN_RUN_STATUSES, OPEN_TASK_STATUSES, RunStatus, WaitKind, WaitStatus

RETRYING, UNKNOWN = "retrying", "unknown"
SHOWN_STATUSES = (
    RunStatus.STARTING.value, RunStatus.RUNNING.value, RunStatus.WAITING.value, RETRYING, UNKNOWN,
    RunStatus.FAILED.value, RunStatus.SUCCEEDED.value, RunStatus.CANCELED.value, RunStatus.TERMINATED.value,
    RunStatus.TIMED_OUT.value,
)  # fmt: skip
MOST_COUNTED = 1_000
COUNT_SECONDS = 1.0
SPANS = {
    "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}  # fmt: skip
WITHOUT_REPLAYS, ONLY_REPLAYS, REPLAYED = "without", "only", "replayed"


def runs_of_shown_status(runs: QuerySet[Run], *, tenant_id: uuid.UUID, status: str) -> QuerySet[Run]:
    retries = RunWait.objects.filter(tenant_id=tenant_id, kind=WaitKind.RETRY, status=WaitStatus.WAITING)
    decisions = HumanTask.objects.filter(
        tenant_id=tenant_id, task_type=DECIDE_OUTCOME, status__in=[one.value for one in OPEN_TASK_STATUSES]
    )
    if status == UNKNOWN:
        return runs.filter(status=RunStatus.WAITING, id__in=decisions.values("run_id"))
    is_undecided = Exists(decisions.filter(run=OuterRef("pk")))
    if status == RETRYING:
        return runs.filter(status=RunStatus.WAITING, id__in=retries.values("run_id")).exclude(is_undecided)
    if status == RunStatus.WAITING:
        return runs.filter(status=status).exclude(is_undecided).exclude(Exists(retries.filter(run=OuterRef("pk"))))
    return runs.filter(status=status)


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


def runs_by_replays(runs: QuerySet[Run], choice: str) -> QuerySet[Run]:
    if choice == REPLAYED:
        return runs.filter(Exists(Run.objects.filter(tenant_id=OuterRef("tenant_id"), replay_of=OuterRef("pk"))))
    return runs.filter(replay_of__isnull=choice == WITHOUT_REPLAYS)


def shown_status_counts(
    runs: QuerySet[Run], *, tenant_id: uuid.UUID, statuses: Sequence[str] = SHOWN_STATUSES
) -> dict[str, int] | None:
    """Return the number of runs by shown status. `MOST_COUNTED` + 1 means more than `MOST_COUNTED`.

    Return None if the count takes longer than `COUNT_SECONDS`. Cost: one statement.
    """
    parts, parameters, counts = [], [], dict.fromkeys(statuses, 0)
    for status in statuses:
        counted = runs_of_shown_status(runs, tenant_id=tenant_id, status=status).order_by().values("pk")
        try:
            sql, values = counted[: MOST_COUNTED + 1].query.sql_with_params()
        except EmptyResultSet:
            continue
        parts.append(f"SELECT %s, count(*) FROM ({sql}) AS counted")  # noqa: S608
        parameters += [status, *values]
    if not parts:
        return counts
    try:
        with statement_limit(COUNT_SECONDS), connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), parameters)
            return counts | dict(cursor.fetchall())
    except OperationalError as error:
        if not is_canceled(error):
            raise
        return None

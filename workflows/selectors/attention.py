"""Problems that need an operator: the rows of each problem, most urgent first.

The dashboard counts these rows, and the lists that it links to select the same rows. So a count and its list agree.

Source: docs/reference/screens.md#dashboard
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.event_outcomes import has_outcome
from workflows.models import (
    BulkJob,
    Command,
    Definition,
    Event,
    EventDelivery,
    HumanTask,
    IncidentFailure,
    Run,
    RunStep,
    RunWait,
)
from workflows.selectors.work import runs_that_decide
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    OPEN_TASK_STATUSES,
    BulkState,
    CommandState,
    DeliveryStatus,
    Engine,
    EventOutcome,
    IncidentState,
    RunStatus,
    WaitKind,
    WaitStatus,
)

FAILED_WITHIN = RECEIVED_WITHIN = timedelta(hours=24)
LONG_RETRY = timedelta(minutes=15)
DUE_WITHIN = timedelta(hours=1)
# Temporal needs a moment to fire a timer, and a worker to record it.
OVERDUE_AFTER = timedelta(minutes=1)
STARTED_AFTER = timedelta(minutes=1)
# The reconciler compares each open run whose row is older than 10 minutes (COMPARE_AFTER). It needs a moment for many.
CHECKED_WITHIN = timedelta(minutes=12)
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.TIMED_OUT)


class EventProblem(StrEnum):
    """Values of the filter `problem` of the event list."""

    REJECTED = "rejected"
    UNUSED = "unused"


EVENT_PROBLEM_WORDS = {
    EventProblem.REJECTED: "rejected in the last 24 hours",
    EventProblem.UNUSED: "received in the last 24 hours, and no run used the event",
}
# No run used these events, and their buffer time is over.
UNUSED_OUTCOMES = (EventOutcome.UNMATCHED, EventOutcome.UNCORRELATED, EventOutcome.BUFFER_OVER)


class RunProblem(StrEnum):
    """Values of the filter `problem` of the run list."""

    FAILED = "failed"
    UNOWNED = "unowned"
    STUCK = "stuck"
    LONG_RETRY = "retrying"
    OVERDUE = "overdue"
    STARTING = "starting"
    DRIFT = "drift"
    UNCHECKED = "unchecked"


RUN_PROBLEM_WORDS = {
    RunProblem.FAILED: "failed in the last 24 hours, no replay",
    RunProblem.UNOWNED: "failed in the last 24 hours, without an owner; of a run and its replays only the newest",
    RunProblem.STUCK: "Temporal cannot move the run",
    RunProblem.LONG_RETRY: "retrying for more than 15 minutes",
    RunProblem.OVERDUE: "a wait is past its deadline",
    RunProblem.STARTING: "starting for more than 1 minute",
    RunProblem.DRIFT: "differs from Temporal",
    RunProblem.UNCHECKED: "not checked against Temporal for more than 12 minutes",
}


def runs_with_problem(runs: QuerySet[Run], problem: str, *, tenant_id: uuid.UUID) -> QuerySet[Run]:
    """Return those of the tenant's runs that have the problem. `problem` is a value of `RunProblem`."""
    return _RUNS[RunProblem(problem)](runs, tenant_id)


def long_retries(tenant_id: uuid.UUID) -> QuerySet[RunWait]:
    """Return the open retry waits of steps whose first attempt began more than 15 minutes ago, the oldest first.

    The rows are annotated with `first_attempt_at`.
    """
    # A scalar subquery is evaluated for each wait, with the unique index of the steps. The planner could turn an EXISTS
    # into a join that reads all steps.
    first = RunStep.objects.filter(
        tenant_id=tenant_id, run=OuterRef("run"), step_path=OuterRef("step_path"), iteration=OuterRef("iteration"),
        attempt=1,
    )  # fmt: skip
    waits = RunWait.objects.filter(tenant_id=tenant_id, status=WaitStatus.WAITING, kind=WaitKind.RETRY)
    known = waits.annotate(first_attempt_at=Subquery(first.values("started_at")[:1]))
    return known.filter(first_attempt_at__lt=timezone.now() - LONG_RETRY).order_by("first_attempt_at")


def overdue_waits(tenant_id: uuid.UUID) -> QuerySet[RunWait]:
    """Return the open waits whose deadline has passed, the longest overdue first."""
    late = timezone.now() - OVERDUE_AFTER
    waits = RunWait.objects.filter(tenant_id=tenant_id, status=WaitStatus.WAITING, deadline_at__lt=late)
    return waits.order_by("deadline_at")


def tasks_due_soon(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    """Return the open tasks that are overdue or due within one hour, the first due first."""
    due = tasks.filter(status__in=OPEN_TASK_STATUSES, due_at__lte=timezone.now() + DUE_WITHIN)
    return due.order_by("due_at")


def open_decisions(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    """Return the open decisions about actions whose outcome is unknown, oldest first."""
    return tasks.filter(task_type=DECIDE_OUTCOME, status__in=OPEN_TASK_STATUSES).order_by("created_at")


def held_deliveries(deliveries: QuerySet[EventDelivery]) -> QuerySet[EventDelivery]:
    """Return the starts that wait for a slot or for the resume of a paused definition, the longest held first."""
    return deliveries.filter(status=DeliveryStatus.PENDING, held_since__isnull=False).order_by("held_since")


def dead_deliveries(deliveries: QuerySet[EventDelivery]) -> QuerySet[EventDelivery]:
    """Return the dead deliveries, newest first."""
    return deliveries.filter(status=DeliveryStatus.DEAD).order_by("-created_at")


def events_with_problem(events: QuerySet[Event], problem: str) -> QuerySet[Event]:
    """Return the events of the last 24 hours that have the problem, newest first. Source: `EventProblem`."""
    outcomes = (EventOutcome.REJECTED,) if problem == EventProblem.REJECTED else UNUSED_OUTCOMES
    recent = events.filter(has_outcome(*outcomes), received_at__gte=timezone.now() - RECEIVED_WITHIN)
    return recent.order_by("-received_at")


def auto_paused_definitions(definitions: QuerySet[Definition]) -> QuerySet[Definition]:
    """Return the definitions that the portal has paused, the last paused first."""
    paused = definitions.filter(is_paused=True, is_auto_paused=True, archived_at__isnull=True)
    return paused.order_by(F("paused_at").desc(nulls_last=True))


def paused_jobs(jobs: QuerySet[BulkJob]) -> QuerySet[BulkJob]:
    """Return the bulk jobs that wait for a person to go on or to stop them, the last started first."""
    return jobs.filter(state=BulkState.PAUSED).order_by("-started_at")


def unknown_commands(commands: QuerySet[Command]) -> QuerySet[Command]:
    """Return the commands whose outcome is unknown, oldest first."""
    return commands.filter(state=CommandState.UNKNOWN).order_by("requested_at")


def _recently_failed(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.filter(status__in=FAILED_STATUSES, ended_at__gte=timezone.now() - FAILED_WITHIN)


def _failed(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    return _recently_failed(runs).filter(replay_of__isnull=True)


def _unowned(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    """Return the failed runs that are the newest of their work (`selectors/work.py`).

    Leave out the runs of an incident that has an owner, is snoozed, or is resolved or closed.
    """
    handled = [IncidentState.SNOOZED, IncidentState.RESOLVED, IncidentState.CLOSED]
    shown = IncidentFailure.objects.annotate(
        shown_state=Coalesce("incident__merged_into__state", "incident__state"),
        shown_owner=Case(
            When(incident__merged_into__isnull=True, then=F("incident__owner_name")),
            default=F("incident__merged_into__owner_name"),
        ),
    ).filter(tenant_id=tenant_id, run_id=OuterRef("pk"), failed_at=OuterRef("ended_at"))
    is_handled = shown.filter(Q(shown_state__in=handled) | ~Q(shown_owner=""))
    return runs_that_decide(_recently_failed(runs)).exclude(Exists(is_handled))


def _stuck(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    return runs.filter(status__in=OPEN_RUN_STATUSES, stuck_since__isnull=False)


def _starting(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    late = timezone.now() - STARTED_AFTER
    return runs.filter(status=RunStatus.STARTING, created_at__lt=late, queued_until__isnull=True)


def _drift(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    # The condition is the one of the index workflow_runs_drifted.
    return runs.filter(Q(engine=Engine.TEMPORAL, status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=False))


def _unchecked(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    return agreeing_runs(runs).filter(projected_at__lt=timezone.now() - CHECKED_WITHIN)


def agreeing_runs(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Return the open runs in which no comparison found a difference. Temporal does not know a queued start.

    `projected_at` is the last check of a run: a write of its own workflow, or a comparison with Temporal.
    """
    # The condition is the one of the index workflow_runs_walk.
    known = Q(engine=Engine.TEMPORAL, status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=True)
    return runs.filter(known, queued_until__isnull=True)


def _retrying(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    return runs.filter(id__in=long_retries(tenant_id).order_by().values("run"))


def _overdue(runs: QuerySet[Run], tenant_id: uuid.UUID) -> QuerySet[Run]:
    return runs.filter(id__in=overdue_waits(tenant_id).order_by().values("run"))


_RUNS: dict[RunProblem, Callable[[QuerySet[Run], uuid.UUID], QuerySet[Run]]] = {
    RunProblem.FAILED: _failed,
    RunProblem.UNOWNED: _unowned,
    RunProblem.STUCK: _stuck,
    RunProblem.LONG_RETRY: _retrying,
    RunProblem.OVERDUE: _overdue,
    RunProblem.STARTING: _starting,
    RunProblem.DRIFT: _drift,
    RunProblem.UNCHECKED: _unchecked,
}

"""Numbers of the dashboard, in one statement: problems, backlog, what comes due, and the counts of the navigation.

Source: docs/reference/screens.md#dashboard
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, IntegerField, JSONField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, JSONObject, NullIf
from django.utils import timezone

from workflows.models import (
    ActionInvocation,
    BulkJob,
    Command,
    Definition,
    Event,
    EventDelivery,
    HumanTask,
    Run,
    RunStep,
    RunWait,
    Schedule,
    Tenant,
)
from workflows.selectors import attention
from workflows.selectors.attention import EventProblem, RunProblem
from workflows.selectors.due import due_columns, passed_columns
from workflows.selectors.incidents import shown_incident_of_run
from workflows.selectors.navigation import navigation_columns, navigation_of
from workflows.selectors.schedules import ScheduleProblem, difference_facts, schedules_with_problem
from workflows.statuses import DeliveryStatus

MOST_COUNTED = 1_000
# The newest calls of actions that the system health counts.
CALLED_WITHIN, MOST_CALLS = timedelta(hours=1), 2_000
# The counted rows, the rows of which the first is shown, and its facts.
ProblemRows = tuple[QuerySet[Any], QuerySet[Any], dict[str, Any]]


@dataclass(frozen=True)
class Problem:
    """Rows of one problem: their number, at most `MOST_COUNTED` + 1, and facts about the most urgent row."""

    name: str
    count: int
    first: dict[str, Any] | None


@dataclass(frozen=True)
class Calls:
    """Calls of actions, and the action of which most calls failed: its id, version, calls and failed calls.

    A call with several attempts counts once. Its last attempt decides.
    """

    total: int
    action: str
    version: int
    calls: int
    failed: int


@dataclass(frozen=True)
class Backlog:
    """Work that the portal has not done yet. Counts are at most `MOST_COUNTED` + 1.

    `open_runs`: open runs without drift, those with the oldest checks first. `uncompared`: those of them that were
    never compared with Temporal. `unchecked`: those whose last check is older than `CHECKED_WITHIN`. A check is a
    comparison, or a write of the run's own workflow. `oldest_check_at`: the oldest of the last checks.
    `schedules_since`: the oldest of the last comparisons of schedules, None if one was never compared.
    `calls`: calls of actions that ended in the last hour, or None if no call ended.
    `read_seconds`: how long the database took for all numbers of the page.
    """

    open_runs: int
    uncompared: int
    unchecked: int
    oldest_check_at: datetime | None
    unrouted: int
    unrouted_since: datetime | None
    deliveries: int
    deliveries_since: datetime | None
    schedules: int
    schedules_unchecked: int
    schedules_since: datetime | None
    calls: Calls | None
    read_seconds: float


@dataclass(frozen=True)
class Numbers:
    """Problems by name, and more counts.

    `due`: rows of the page "Next". `passed`: those of them whose time has passed. `navigation`: see
    `navigation_counts`.
    """

    problems: dict[str, Problem]
    backlog: Backlog
    due: int
    passed: int
    navigation: dict[str, int]


class _Count(Subquery):
    """Number of rows of a query, at most `MOST_COUNTED` + 1. The database reads no more rows.

    The rows of a query with `values` are counted as they are.
    """

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any]) -> None:
        counted = rows.order_by()
        super().__init__((counted if counted.query.values_select else counted.values("pk"))[: MOST_COUNTED + 1])


class _Uncompared(Subquery):
    """Number of the runs of a query that were never compared. A comparison stores the length of the history."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted WHERE counted.history_event_count = 0)"
    output_field = IntegerField()


class _WorstAction(Subquery):
    """The fields of `Calls` as JSON, for a query of calls. An action without a failed call comes last."""

    template = """(
        SELECT jsonb_build_object(
            'total', sum(count(*)) OVER (), 'action', counted.action_id, 'version', counted.action_version,
            'calls', count(*), 'failed', count(*) FILTER (WHERE counted.status = 'FAILED')
        )
        FROM (%(subquery)s) counted GROUP BY counted.action_id, counted.action_version
        ORDER BY count(*) FILTER (WHERE counted.status = 'FAILED') DESC, count(*) DESC LIMIT 1
    )"""
    output_field = JSONField()


class _LargestIncident(Subquery):
    """The incident with most runs of a query, how many of these it has, and the number of further incidents.

    At most `MOST_COUNTED` + 1 runs are read. Runs that no incident shows yet are left out.
    """

    template = """(
        SELECT counted.incident || jsonb_build_object('runs', count(*), 'others', count(*) OVER () - 1)
        FROM (%(subquery)s) counted
        WHERE counted.incident IS NOT NULL
        GROUP BY counted.incident ORDER BY count(*) DESC, counted.incident->'number' DESC LIMIT 1
    )"""
    output_field = JSONField()

    def __init__(self, runs: QuerySet[Run]) -> None:
        shown = shown_incident_of_run("id", "number", "definition__name", "error_code", "error_category")
        super().__init__(runs.values(incident=shown)[: MOST_COUNTED + 1])


def dashboard_numbers(*, tenant_id: uuid.UUID) -> Numbers:
    """Return the numbers of the dashboard. Cost: one statement, which reads only ranges of indexes."""
    rows = _problem_rows(tenant_id)
    columns: dict[str, Any] = {f"{name}_count": _Count(counted) for name, (counted, _, _) in rows.items()}
    for name, (_, shown, facts) in rows.items():
        columns[f"{name}_first"] = _first(shown, JSONObject(**facts))
    due, passed = due_columns(tenant_id), passed_columns(tenant_id)
    columns |= {**_backlog_columns(tenant_id), **due, **passed, **navigation_columns(tenant_id)}
    began = time.perf_counter()
    found: Any = Tenant.objects.filter(id=tenant_id).values(**columns).get()
    read_seconds = time.perf_counter() - began
    problems = {name: Problem(name, found[f"{name}_count"], _read(found[f"{name}_first"])) for name in rows}
    oldest = [at for at in (found["pending_since"], found["sent_since"]) if at is not None]
    backlog = Backlog(
        open_runs=found["open_runs"],
        uncompared=found["uncompared"],
        unchecked=found["unchecked"],
        oldest_check_at=found["oldest_check_at"],
        unrouted=found["unrouted"],
        unrouted_since=found["unrouted_since"],
        deliveries=found["pending"] + found["sent"],
        deliveries_since=min(oldest, default=None),
        **{name: found[name] for name in ("schedules", "schedules_unchecked", "schedules_since")},
        calls=Calls(**found["calls"]) if found["calls"] else None,
        read_seconds=read_seconds,
    )
    return Numbers(
        problems, backlog, sum(found[name] for name in due), sum(found[name] for name in passed), navigation_of(found)
    )


def _problem_rows(tenant_id: uuid.UUID) -> dict[str, ProblemRows]:
    return {
        **_run_problems(tenant_id),
        **_wait_problems(tenant_id),
        **_event_problems(tenant_id),
        **_other_problems(tenant_id),
    }


def _run_problems(tenant_id: uuid.UUID) -> dict[str, ProblemRows]:
    runs = Run.objects.filter(tenant_id=tenant_id)
    failed, stuck, starting, drift = (
        attention.runs_with_problem(runs, problem, tenant_id=tenant_id)
        for problem in (RunProblem.UNOWNED, RunProblem.STUCK, RunProblem.STARTING, RunProblem.DRIFT)
    )
    run = {"id": F("id"), "key": F("correlation_key"), "definition": F("definition__name")}
    newest = failed.order_by("-ended_at")
    failure = {"at": F("ended_at"), "code": F("error_code"), "incident": _LargestIncident(newest)}
    return {
        "stuck": (stuck, stuck.order_by("stuck_since"), {**run, "at": F("stuck_since"), "why": F("stuck_cause")}),
        "failed": (failed, newest, {**run, **failure}),
        "starting": (starting, starting.order_by("created_at"), {**run, "at": F("created_at")}),
        "drift": (
            drift, drift.order_by("drift_found_at"), {**run, "at": F("drift_found_at"), "why": F("drift_reason")},
        ),
    }  # fmt: skip


def _wait_problems(tenant_id: uuid.UUID) -> dict[str, ProblemRows]:
    tasks = HumanTask.objects.filter(tenant_id=tenant_id)
    retries, overdue = attention.long_retries(tenant_id), attention.overdue_waits(tenant_id)
    decisions, due = attention.open_decisions(tasks), attention.tasks_due_soon(tasks)
    run = {"id": F("run_id"), "key": F("run__correlation_key"), "definition": F("run__definition__name")}
    task = {**run, "task": F("id"), "title": F("title")}
    attempts = RunStep.objects.filter(
        tenant_id=tenant_id, run=OuterRef("run"), step_path=OuterRef("step_path"), iteration=OuterRef("iteration")
    )
    latest = attempts.order_by("-attempt")
    step = {**run, "step": Coalesce(NullIf(Subquery(latest.values("name")[:1]), Value("")), F("step_id"))}
    attempt = {
        "attempt": Subquery(latest.values("attempt")[:1]), "code": Subquery(latest.values("error__code")[:1]),
        "version": F("run__definition_version_id"), "path": F("step_path"),
    }  # fmt: skip
    return {
        "unknown": (decisions, decisions, {**task, "at": F("created_at")}),
        "retrying": (_runs_of(retries), retries, {**step, **attempt, "at": F("first_attempt_at")}),
        "due": (due, due, {**task, "at": F("due_at")}),
        "overdue": (_runs_of(overdue), overdue, {**step, "at": F("deadline_at")}),
    }


def _event_problems(tenant_id: uuid.UUID) -> dict[str, ProblemRows]:
    # The reason of an event can contain a value that the rules of the tenant hide, so its code is shown.
    facts = {"id": F("id"), "event_type": F("event_type"), "code": F("outcome_code"), "at": F("received_at")}
    found = {
        name: attention.events_with_problem(Event.objects.filter(tenant_id=tenant_id), name) for name in EventProblem
    }
    return {f"{name}_events": (rows, rows, facts) for name, rows in found.items()}


def _other_problems(tenant_id: uuid.UUID) -> dict[str, ProblemRows]:
    deliveries = EventDelivery.objects.filter(tenant_id=tenant_id)
    dead, held = attention.dead_deliveries(deliveries), attention.held_deliveries(deliveries)
    commands = attention.unknown_commands(Command.objects.filter(tenant_id=tenant_id))
    paused = attention.auto_paused_definitions(Definition.objects.filter(tenant_id=tenant_id))
    jobs = attention.paused_jobs(BulkJob.objects.filter(tenant_id=tenant_id))
    schedules = schedules_with_problem(Schedule.objects.filter(tenant_id=tenant_id), ScheduleProblem.DIFFERS)
    job = {"action": F("action"), "total": F("total"), "incident": F("incident__number")}
    pause = {"at": F("paused_at"), "why": F("paused_reason")}
    delivery = {"event": F("event_id"), "event_type": F("event__event_type"), "definition": F("definition__name")}
    hold = {
        "definition_id": F("definition_id"), "at": F("held_since"), "is_paused": F("definition__is_paused"),
        "why": F("definition__paused_reason"),
    }  # fmt: skip
    return {
        "auto_paused": (paused, paused, {"id": F("id"), "definition": F("name"), **pause}),
        "paused_jobs": (jobs, jobs, {"id": F("id"), "at": F("started_at"), **job}),
        "dead": (dead, dead, {**delivery, "at": F("decided_at"), "attempts": F("attempts")}),
        "commands": (commands, commands, {"id": F("id"), "action": F("action"), "at": F("requested_at")}),
        "held": (held, held, {**delivery, **hold}),
        "schedules": (
            schedules,
            schedules,
            {"id": F("id"), "name": F("name"), "definition": F("definition__name"), **difference_facts()},
        ),
    }


def _runs_of(waits: QuerySet[RunWait]) -> QuerySet[Any]:
    """Return the runs of the waits, each once. The list of these runs has the same number of rows."""
    return waits.order_by().values("run").distinct()


def _backlog_columns(tenant_id: uuid.UUID) -> dict[str, Any]:
    own: dict[str, Any] = {"tenant_id": tenant_id}
    runs = Run.objects.filter(**own)
    agreeing = attention.agreeing_runs(runs)
    unchecked = attention.runs_with_problem(runs, RunProblem.UNCHECKED, tenant_id=tenant_id)
    unrouted = Event.objects.filter(**own, routed_at__isnull=True)
    pending = EventDelivery.objects.filter(**own, status=DeliveryStatus.PENDING, held_since__isnull=True)
    sent = EventDelivery.objects.filter(**own, status=DeliveryStatus.SENT)
    schedules = Schedule.objects.filter(**own, removed_at__isnull=True)
    calls = ActionInvocation.objects.filter(**own, ended_at__gte=timezone.now() - CALLED_WITHIN).order_by("-ended_at")
    return {
        "calls": _WorstAction(calls.values("action_id", "action_version", "status")[:MOST_CALLS]),
        "open_runs": _Count(agreeing),
        "uncompared": _Uncompared(agreeing.order_by("projected_at").values("history_event_count")[: MOST_COUNTED + 1]),
        "unchecked": _Count(unchecked),
        "oldest_check_at": _first(agreeing.order_by("projected_at"), "projected_at"),
        "unrouted": _Count(unrouted),
        "unrouted_since": _first(unrouted.order_by("route_at"), "received_at"),
        "pending": _Count(pending),
        "pending_since": _first(pending.order_by("created_at"), "created_at"),
        "sent": _Count(sent),
        "sent_since": _first(sent.order_by("created_at"), "created_at"),
        "schedules": _Count(schedules),
        "schedules_unchecked": _Count(schedules_with_problem(schedules, ScheduleProblem.UNCHECKED)),
        "schedules_since": _first(schedules.order_by(F("last_synced_at").asc(nulls_first=True)), "last_synced_at"),
    }


def _first(rows: QuerySet[Any], value: Any) -> Subquery:
    named = rows.annotate(shown=F(value) if isinstance(value, str) else value)
    return Subquery(named.values("shown")[:1])


def _read(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the facts with their time as a datetime. PostgreSQL writes times in JSON objects as text."""
    if facts is None or facts["at"] is None:
        return facts
    return {**facts, "at": datetime.fromisoformat(facts["at"])}

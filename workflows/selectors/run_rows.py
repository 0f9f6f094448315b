"""Explanation of each run on a page of the run list: its shown status, its error or current step, and its replay."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Case, JSONField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, JSONObject

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.error_reasons import error_shown
from workflows.models import Command, EventDelivery, HumanTask, Run, RunStep, RunWait
from workflows.redaction import Rules
from workflows.selectors.navigation import CappedCount
from workflows.selectors.retry_limits import retry_limits
from workflows.selectors.run_list import RETRYING, STARTED_STATUSES, UNKNOWN
from workflows.selectors.runs_in_the_way import in_the_way_of, run_in_the_way
from workflows.statuses import (
    OPEN_TASK_STATUSES,
    CommandAction,
    CommandState,
    DeliveryStatus,
    RunStatus,
    StepStatus,
    WaitKind,
    WaitStatus,
)

_RETRY_FIRST = Case(When(kind=WaitKind.RETRY, then=Value(0)), default=Value(1))
# A decision about an unknown outcome comes first.
_DECISION_FIRST = Case(When(task_type=DECIDE_OUTCOME, then=Value(0)), default=Value(1))


@dataclass
class RunRow:
    """A run of the list with what explains it.

    `definition`: name of the definition. `error`: the redacted error. `retry`: the failed attempt before the retry.
    `attempts`: the largest number of attempts of its step. `data`: the business data by the name of their column.
    """

    run: Run
    definition: str
    error: Any
    retry: RunStep | None = None
    attempts: int | None = None
    data: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """Return the shown status (`workflows/selectors/run_list.py`)."""
        if self.run.status not in STARTED_STATUSES:
            return self.run.status
        if self.task is not None and self.task["task_type"] == DECIDE_OUTCOME:
            return UNKNOWN
        return RETRYING if self.wait is not None and self.wait["kind"] == WaitKind.RETRY else self.run.status

    @property
    def step(self) -> str:
        return step_title(self.run)

    @cached_property
    def wait(self) -> dict[str, Any] | None:
        """Return the open wait with the nearest deadline. A retry comes first."""
        return _explained(self.run, "open_wait")

    @cached_property
    def task(self) -> dict[str, Any] | None:
        """Return the open task that is due first. A decision about an unknown outcome comes first."""
        return _explained(self.run, "open_task")

    @cached_property
    def replay(self) -> dict[str, Any] | None:
        """Return the newest replay. `tries`: the number of replays, at most 100. `word`: its status as a word."""
        found = _explained(self.run, "newest_replay")
        return found and {**found, "word": RunStatus(found["status"]).label.lower()}

    @cached_property
    def in_the_way(self) -> dict[str, Any] | None:
        """Return the run because of which a replay would be refused, if it is not the newest replay."""
        other = in_the_way_of(self.run)
        return None if other is None or (self.replay and self.replay["id"] == other["id"]) else other

    @cached_property
    def canceled_by(self) -> dict[str, Any] | None:
        """Return the command that ended the run."""
        return _explained(self.run, "end_command")


def _explained(run: Run, name: str) -> dict[str, Any] | None:
    """Return the columns of a row that `runs_explained` found. JSON has times as texts."""
    found: dict[str, Any] | None = getattr(run, name)
    return found and {
        key: datetime.fromisoformat(value) if key.endswith("_at") and value else value for key, value in found.items()
    }


def step_title(run: Run) -> str:
    """Return the name of the failed or current step of a run from `with_step_names`."""
    return getattr(run, "step_name", None) or getattr(run, "step_id", None) or ""


def with_step_names(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Annotate the runs with the name and the id of their failed or current step."""
    steps = RunStep.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        run=OuterRef("pk"),
        step_path=Coalesce(OuterRef("failed_step_path"), OuterRef("current_step_path")),
    )
    return runs.annotate(step_name=Subquery(steps.values("name")[:1]), step_id=Subquery(steps.values("step_id")[:1]))


def runs_explained(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Annotate the runs with what `RunRow` shows.

    Each annotation is a subquery with an index. PostgreSQL computes them only for the rows of the page, because the
    page has a limit.
    """
    of_run = {"tenant_id": OuterRef("tenant_id"), "run": OuterRef("pk")}
    dead = EventDelivery.objects.filter(
        tenant_id=OuterRef("tenant_id"), wait=OuterRef("pk"), status=DeliveryStatus.DEAD
    ).order_by("-created_at")
    waits = RunWait.objects.filter(**of_run, status=WaitStatus.WAITING).order_by(_RETRY_FIRST, "deadline_at")
    waits = waits.annotate(dead_event=Subquery(dead.values("event")[:1]))
    tasks = HumanTask.objects.filter(**of_run, status__in=OPEN_TASK_STATUSES).order_by(_DECISION_FIRST, "due_at")
    replays = Run.objects.filter(tenant_id=OuterRef("tenant_id"), replay_of=OuterRef("pk")).order_by("-created_at")
    commands = Command.objects.filter(
        **of_run, action__in=[CommandAction.CANCEL, CommandAction.TERMINATE], state=CommandState.OBSERVED
    ).order_by("-requested_at")
    originals = Run.objects.filter(tenant_id=OuterRef("tenant_id"), id=OuterRef("replay_of"))
    ended = [RunStatus.CANCELED.value, RunStatus.TERMINATED.value]
    tries = CappedCount(Run.objects.filter(tenant_id=OuterRef("tenant_id"), replay_of=OuterRef("replay_of")))
    newest = JSONObject(id="id", status="status", created_at="created_at", tries=tries)
    return runs.annotate(
        open_wait=_first(
            waits, "kind", "event_name", "deadline_at", "step_path", "iteration", "dead_event",
            when=STARTED_STATUSES,
        ),
        open_task=_first(tasks, "id", "task_type", "title", "due_at", when=STARTED_STATUSES),
        newest_replay=Subquery(replays.values(found=newest)[:1]),
        in_the_way=run_in_the_way(),
        original_key=Subquery(originals.values("correlation_key")),
        end_command=_first(commands, "actor_type", "actor_name", "reason", when=ended),
    )  # fmt: skip


def _first(rows: QuerySet[Any], *columns: str, when: Sequence[str]) -> Case:
    """Return the columns of the first row as JSON, for runs with one of these statuses."""
    found = JSONObject(**{column: column for column in columns})
    return Case(When(status__in=when, then=Subquery(rows.values(found=found)[:1])), output_field=JSONField())


def run_rows(
    runs: list[Run], *, tenant_id: uuid.UUID, names: dict[str, str], rules: Rules, sees_payloads: bool
) -> list[RunRow]:
    """Return the rows of one page of `runs_explained`. `names` has the names of definitions by key.

    Cost: two statements if a run waits for a retry, and one if the limits of its version are kept.
    """
    rows = [
        RunRow(
            run,
            names.get(run.definition_key, run.definition_key),
            error_shown(run.error, rules, sees_payloads=sees_payloads),
        )
        for run in runs
    ]
    places = Q()
    for row in rows:
        if row.status == RETRYING and row.wait is not None:
            places |= Q(run=row.run.id, step_path=row.wait["step_path"], iteration=row.wait["iteration"])
    if places:
        steps = RunStep.objects.filter(places, tenant_id=tenant_id, status=StepStatus.RETRY_SCHEDULED)
        newest = steps.defer("input", "output").order_by("run", "-attempt").distinct("run")
        retries = {step.run_id: step for step in newest}
        limits = retry_limits(
            (row.run.definition_version_id, retries[row.run.id].step_path) for row in rows if row.run.id in retries
        )
        for row in rows:
            row.retry = retries.get(row.run.id)
            if row.retry is not None:
                row.retry.error = error_shown(row.retry.error, rules, sees_payloads=sees_payloads)
                row.attempts = limits.get((row.run.definition_version_id, row.retry.step_path))
    return rows
